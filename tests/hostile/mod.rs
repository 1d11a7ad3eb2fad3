//! What must hold for every input from outside, as functions of arbitrary bytes: `tests/hostile_input.rs` runs them for a
//! bounded time on stable Rust, `tests/fuzz` under libFuzzer. Each panics where a property does not hold. Touches no file.

mod edits;
mod forged_onnx;
mod memory;
mod models;
mod networks;
mod own;
mod weights;

use std::io::Read;
use std::path::Path;

use bn_core::lenet::PIXELS;
use firmware_demo::protocol::Trailer;
use firmware_demo::stream::{self, StreamError};
use flate2::read::GzDecoder;
use host_trainer::Error;
use host_trainer::data::files::Kind;
use host_trainer::data::idx;

use memory::within;

pub use edits::Files;
pub use forged_onnx::onnx_forged;
pub use models::Models;
pub use networks::{composed, files as network_files, network};
pub use own::{array_files, arrays, picture, picture_files, table, table_files};
pub use weights::{Forge, Weights};

/// An IDX file: whatever is accepted holds as many values as its header says. A file that lies about its length costs nothing.
pub fn idx(bytes: &[u8]) -> bool {
    let mut accepted = false;
    for kind in [Kind::Images, Kind::Labels] {
        if let Some(content) = idx_values("x", bytes, kind) {
            accepted = true;
            let (header, width) = if bytes[2] == 0x0C { (12, 32) } else { (4 + 4 * content.dims.len(), 1) };
            let whole = bytes.len() == header + width * content.values.len();
            assert!(whole || bytes.starts_with(&GZIP) || bytes[2] == 0x0C, "every byte was read");
        }
    }
    accepted
}

/// A gzip of an IDX file. The first byte says whether the rest is the gzip as it is, or the content of a sound one: a mutated
/// checksum of a gzip is hardly ever right. It may at most unpack to the length that the header claims.
pub fn idx_gz(bytes: &[u8]) -> bool {
    let Some((&how, rest)) = bytes.split_first() else { return false };
    let sound = how.is_multiple_of(2) && rest.len() <= usize::from(u16::MAX);
    let file = if sound { gzip_stored(rest) } else { rest.to_vec() };
    let mut accepted = false;
    for kind in [Kind::Images, Kind::Labels] {
        let values = idx_values("x.gz", &file, kind);
        if sound && !rest.starts_with(&GZIP) {
            let plain = idx::parse("x", rest, kind, None);
            assert_eq!(values, plain.ok(), "packed and plain are the same file");
        }
        accepted |= values.is_some();
    }
    accepted
}

const GZIP: [u8; 2] = [0x1F, 0x8B];
/// As much as deflate can pack into a byte.
const DEFLATE_MOST: usize = 1032;

/// A gzip of one block that is stored as it is.
///
/// # Panics
/// If `content` is longer than such a block.
pub fn gzip_stored(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("at most 65,535 bytes");
    let mut sum = flate2::Crc::new();
    sum.update(content);
    let block = [[1].as_slice(), &length.to_le_bytes(), &(!length).to_le_bytes(), content].concat();
    let end = [sum.sum().to_le_bytes(), u32::from(length).to_le_bytes()];
    [&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF], block.as_slice(), end.as_flattened()].concat()
}

/// The most bytes of content that a reader may believe in: those that are there, or, unpacked, those that the header claims
/// and deflate could hide in so short a file.
fn content(bytes: &[u8]) -> usize {
    if !bytes.starts_with(&GZIP) {
        return bytes.len();
    }
    let mut header = Vec::new();
    // Where the stream is damaged, what came before it counts.
    let _ = GzDecoder::new(bytes).take(4).read_to_end(&mut header);
    let rank = usize::from(header.get(3).copied().unwrap_or(0)).min(4);
    let mut header = Vec::new();
    let _ = GzDecoder::new(bytes).take(4 + 4 * rank as u64).read_to_end(&mut header);
    let words = header.as_chunks().0.iter().skip(1).map(|&word| u32::from_be_bytes(word) as usize);
    let width = if header.get(2) == Some(&0x0C) { 4 } else { 1 };
    words.fold(width, usize::saturating_mul).min(DEFLATE_MOST * bytes.len())
}

/// What the reader makes of a file of that name, in memory for the content and for a copy of it.
fn idx_values(name: &str, bytes: &[u8], kind: Kind) -> Option<idx::Content> {
    let room = 2 * content(bytes);
    match within(room, || idx::parse(name, bytes, kind, None)) {
        Ok(values) => {
            assert!((1..=idx::MAX_EXAMPLES).contains(&values.len()));
            assert_eq!(values.values.len(), values.dims.iter().product::<usize>());
            let other = idx::parse(name, bytes, kind, Some(values.len() + 1));
            assert_eq!(other, Err(idx::Damage::Count(values.len(), values.len() + 1)));
            Some(values)
        }
        Err(damage) => {
            one_line(&damage.at(Path::new("hostile")));
            None
        }
    }
}

/// The stream of images into the firmware and its results back. The first byte says how the host hands the rest out: in
/// pieces of that length, with an error after the last of them where its highest bit is set.
pub fn image_stream(bytes: &[u8]) -> bool {
    let Some((&how, file)) = bytes.split_first() else { return false };
    let (piece, fails) = (usize::from(how & 0x7F).pow(2).max(1), how & 0x80 != 0);
    let (mut rest, mut images, mut buffer) = (file, 0, [[0_u8; PIXELS]; 3]);
    let end = loop {
        let mut read = |buffer: &mut [u8]| {
            let count = piece.min(buffer.len()).min(rest.len());
            if count == 0 && fails {
                return Err(());
            }
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        };
        match stream::fill(buffer.as_flattened_mut(), PIXELS, &mut read) {
            Ok(0) => break None,
            Ok(count) => {
                assert!(count <= buffer.len());
                let read = &file[images * PIXELS..][..count * PIXELS];
                assert_eq!(&buffer.as_flattened()[..count * PIXELS], read, "images arrive as they were sent");
                images += count;
            }
            Err(error) => break Some(error),
        }
    };
    match end {
        None => assert!(!fails && file.len() == images * PIXELS, "an end within an image is no end"),
        Some(StreamError::CutOff) => assert!(!fails && !file.len().is_multiple_of(PIXELS)),
        Some(StreamError::Unreadable) => assert!(fails),
    }
    results(file);
    end.is_none()
}

/// Results as bytes: what reads as a trailer is written back to the same bytes.
fn results(bytes: &[u8]) {
    if let Some((_, last)) = bytes.split_last_chunk::<{ Trailer::BYTES }>()
        && let Some(trailer) = Trailer::from_bytes(last)
    {
        assert_eq!(Trailer::from_bytes(&trailer.to_bytes()), Some(trailer));
    }
}

/// A refusal is one line with a remedy and exit code 2.
///
/// # Panics
/// If it is not.
pub fn one_line(error: &Error) {
    let line = error.to_string();
    assert!(line.contains("; ") && !line.contains('\n'), "{line:?}");
    assert_eq!(error.exit_code(), 2, "{line}");
}
