//! Own data as arbitrary bytes: pictures, arrays and tables. Touches no file but the golden pictures.

use std::path::Path;

use bn_core::network::Shape;
use host_trainer::Error;
use host_trainer::data::own::{arrays, csv};
use host_trainer::data::picture;

use super::edits::Files;
use super::memory::within;
use super::one_line;

/// Bytes of a picture's beginning where most edits go.
const PICTURE_HEAD: usize = 400;

/// A picture file: whatever is accepted has all its pixels, and is resized to a network's input.
pub fn picture(bytes: &[u8]) -> bool {
    match picture::parse(bytes) {
        Ok(picture) => {
            assert!(picture.width * picture.height <= picture::MAX_PIXELS);
            assert_eq!(picture.pixels.len(), picture.width * picture.height * picture.channels);
            let shape = Shape::new(1, 28, 28);
            assert_eq!(picture.fit(shape).planes().len(), shape.len());
            true
        }
        Err(problem) => {
            one_line(&Error::bad_file("x.png", problem, "remove it"));
            false
        }
    }
}

/// Arrays: `.npy`, `.npz` or `.safetensors`. Whatever is accepted has as many labels as examples, or none; an array that lies about its
/// size costs nothing.
pub fn arrays(bytes: &[u8]) -> bool {
    // Only an archive may unpack to more than there is.
    let room = if bytes.starts_with(b"PK") { super::DEFLATE_MOST } else { 8 };
    match within(room * bytes.len(), || arrays::from_bytes(Path::new("x"), bytes, None)) {
        Ok(own) => {
            let labels = own.train.labels.len();
            assert!(labels == 0 || labels == own.train.len());
            true
        }
        Err(error) => {
            one_line(&error);
            false
        }
    }
}

/// A table: whatever is accepted has a label a row, or none where every label is unknown.
pub fn table(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match within(64 * bytes.len(), || csv::from_texts(&[(Path::new("x.csv"), text)], None)) {
        Ok(own) => {
            let labels = own.train.labels.len();
            assert!(labels == 0 || labels == own.train.len());
            true
        }
        Err(error) => {
            one_line(&error);
            false
        }
    }
}

/// Pictures of every format and mode.
///
/// # Panics
/// If a golden picture cannot be read.
pub fn picture_files() -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/pictures");
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("golden pictures").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|path| {
        path.extension().is_some_and(|extension| ["png", "jpg", "bmp"].iter().any(|&known| known == extension))
    });
    paths.sort();
    let good = |path| std::fs::read(path).expect("a golden picture");
    Files::new(
        paths
            .into_iter()
            .map(good)
            .map(|file: Vec<u8>| (file.len().min(PICTURE_HEAD), file))
            .map(|(head, file)| (file, head))
            .collect(),
    )
}

/// A `.npy` of that type and those dimensions.
fn npy(kind: &str, dims: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {dims}, }}\n");
    [b"\x93NUMPY\x01\0", (header.len() as u16).to_le_bytes().as_slice(), header.as_bytes(), data].concat()
}

/// Archives with one entry stored and one deflated, and single arrays.
///
/// # Panics
/// Never: memory takes everything.
pub fn array_files() -> Files {
    let inputs = npy("|u1", "(6, 2, 3)", &[7; 36]);
    let floats = npy("<f4", "(3, 4)", &[1.5_f32; 12].map(f32::to_le_bytes).concat());
    let labels = npy("<i8", "(6,)", &[0_i64, 1, 2, 0, 1, 2].map(i64::to_le_bytes).concat());
    let names: Vec<u8> = "abc".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    let classes = npy("<U1", "(3,)", &names);
    let archive = zip(&[("x.npy", &inputs), ("y.npy", &labels), ("classes.npy", &classes)]);
    // The list at the end decides as much as the beginning does.
    let whole = archive.len();
    Files::new(vec![(archive, whole), (inputs, 80), (floats, 80)])
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for (at, (name, content)) in entries.iter().enumerate() {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("memory");
        let deflated = encoder.finish().expect("memory");
        let (method, packed) = if at == 0 { (0, *content) } else { (8, deflated.as_slice()) };
        let sizes = [crc.sum(), packed.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
        let common = [&[20, 0, 0, 0, method, 0, 0, 0, 0, 0], sizes.as_slice(), &[name.len() as u8, 0, 0, 0]].concat();
        let place = (file.len() as u32).to_le_bytes();
        list.extend([b"PK\x01\x02\x14\0", common.as_slice(), &[0; 10], &place, name.as_bytes()].concat());
        file.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes(), packed].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let places = [list.len() as u32, file.len() as u32].map(u32::to_le_bytes).concat();
    [file.as_slice(), &list, b"PK\x05\x06\0\0\0\0", &count, &count, &places, &[0, 0]].concat()
}

/// Tables with a header and without, of pixels and of numbers.
pub fn table_files() -> Files {
    let pixels = b"label,p0,p1,p2\n0,1,2,3\n1,255,0,7\n".to_vec();
    let windows = b"walk,0.5,-1e3,2\nrun,1,2,3.25\nwalk,4,5,6\n".to_vec();
    Files::new([pixels, windows].into_iter().map(|file| (file.len(), file)).map(|(head, file)| (file, head)).collect())
}
