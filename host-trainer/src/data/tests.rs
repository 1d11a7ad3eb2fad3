//! What loading promises: where files are looked for, every kind of damage by name, nothing changed on the disk.

use std::fs;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::test_server::{Server, serve};
use super::*;

/// No network: nothing listens there, and nothing is asked.
fn offline() -> Network {
    Network { mirrors: Vec::new(), ..Network::official() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An IDX file of these dimensions, whose value at position i is i modulo 10.
fn idx_file(dimensions: &[u32]) -> Vec<u8> {
    let header = std::iter::once(0x0800 + dimensions.len() as u32).chain(dimensions.iter().copied());
    let count = dimensions.iter().product::<u32>();
    header.flat_map(u32::to_be_bytes).chain((0..count).map(|value| (value % 10) as u8)).collect()
}

/// A directory with a small data set of 6 + 4 examples.
fn small() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (file, count) in FILES.iter().zip([6, 6, 4, 4]) {
        let dimensions = [count, 28, 28];
        let rank = if file.kind == files::Kind::Images { 3 } else { 1 };
        fs::write(directory.path().join(file.name), gzip(&idx_file(&dimensions[..rank]))).unwrap();
    }
    directory
}

fn unchecked(directory: &Path) -> Request {
    Request { data_dir: Some(directory.to_owned()), checksum: false, ..Request::default() }
}

/// Names and contents of a directory's files.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut contents: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    contents.sort();
    contents
}

/// Loads and expects an error of one line with that exit code, and no file touched; returns the line.
fn refusal(request: &Request, exit_code: u8) -> String {
    let directory = request.data_dir.clone().expect("these tests name a directory");
    let before = if directory.is_dir() { contents(&directory) } else { Vec::new() };
    let error = load_from(request, &Places::default(), &offline()).expect_err("bad files must be refused");
    let line = error.to_string();
    assert_eq!(error.exit_code(), exit_code, "{line}");
    assert!(!line.contains('\n') && line.contains("; "), "one line with a remedy: {line}");
    if directory.is_dir() {
        assert_eq!(before, contents(&directory), "files were touched");
    }
    line
}

/// What is said when one file of the small data set is replaced.
fn with_file(index: usize, bytes: &[u8]) -> String {
    let directory = small();
    fs::write(directory.path().join(FILES[index].name), bytes).unwrap();
    let line = refusal(&unchecked(directory.path()), 2);
    assert!(line.contains(FILES[index].name), "the file must be named: {line}");
    line
}

#[test]
fn any_data_set_in_the_format_loads_without_checksums() {
    let directory = small();
    let dataset = load_from(&unchecked(directory.path()), &Places::default(), &offline()).unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len()), (6, 4));
    assert_eq!(dataset.train.labels, [0, 1, 2, 3, 4, 5]);
    assert_eq!(dataset.test.images()[1].as_flattened()[..3], [4, 5, 6]);
    assert_eq!(dataset.name, directory.path().canonicalize().unwrap().display().to_string());
    assert_eq!(dataset.source, dataset.name);
}

#[test]
fn a_name_with_a_dot_or_a_folder_of_that_name_is_no_obstacle() {
    let directory = small();
    for file in &FILES {
        let published = directory.path().join(file.name);
        fs::rename(&published, directory.path().join(file.name.replacen("-idx", ".idx", 1))).unwrap();
        fs::create_dir(directory.path().join(file.unpacked_name())).unwrap();
    }
    let dataset = load_from(&unchecked(directory.path()), &Places::default(), &offline()).unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len()), (6, 4));
}

#[test]
fn torchvisions_root_is_followed_to_its_files() {
    let files = small();
    let root = tempfile::tempdir().unwrap();
    for below in ["FashionMNIST/raw", "KMNIST/raw"] {
        fs::create_dir_all(root.path().join(below)).unwrap();
    }
    for file in &FILES {
        fs::copy(files.path().join(file.name), root.path().join("FashionMNIST/raw").join(file.name)).unwrap();
    }
    let raw = root.path().join("FashionMNIST/raw").canonicalize().unwrap();
    for named in ["", "FashionMNIST", "FashionMNIST/raw"] {
        let named = root.path().join(named);
        let dataset = load_from(&unchecked(&named), &Places::default(), &offline()).unwrap();
        assert_eq!(dataset.source, raw.display().to_string());
        let places = Places { environment: Some(named), cache: None };
        let request = Request { checksum: false, ..Request::default() };
        assert_eq!(load_from(&request, &places, &offline()).unwrap().source, dataset.source);
    }
    let message = refusal(&unchecked(&root.path().join("KMNIST")), 2);
    assert!(message.contains("KMNIST lacks train-images-idx3-ubyte.gz"), "{message}");
}

#[test]
fn what_is_drawn_is_not_read_from_a_directory() {
    let request = Request { dataset: DatasetName::Garments, ..unchecked(Path::new("garments")) };
    assert!(refusal(&request, 2).contains("--dataset garments is drawn, not read from garments; leave out either"));
}

#[test]
fn unpacked_files_load_as_well() {
    let directory = small();
    let expected = load_from(&unchecked(directory.path()), &Places::default(), &offline()).unwrap();
    for file in &FILES {
        let packed = directory.path().join(file.name);
        let mut bytes = Vec::new();
        GzDecoder::new(&fs::read(&packed).unwrap()[..]).read_to_end(&mut bytes).unwrap();
        fs::write(directory.path().join(file.unpacked_name()), bytes).unwrap();
        fs::remove_file(packed).unwrap();
    }
    assert_eq!(load_from(&unchecked(directory.path()), &Places::default(), &offline()).unwrap(), expected);
}

#[test]
fn summaries_name_files_sizes_and_sums() {
    let directory = small();
    let summary = summary_from(&unchecked(directory.path()), &Places::default(), &offline()).unwrap();
    assert_eq!((summary.train_examples, summary.test_examples, summary.official), (6, 4, false));
    assert_eq!(summary.files.len(), 4);
    for file in &summary.files {
        let bytes = fs::read(&file.path).unwrap();
        assert_eq!((file.bytes, &file.md5), (bytes.len() as u64, &md5_hex(&bytes)));
    }
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["files"][3]["examples"], 4);
}

#[test]
fn damaged_containers_are_named() {
    let good = gzip(&idx_file(&[6, 28, 28]));
    let idx = idx_file(&[6, 28, 28]);
    assert!(with_file(0, b"").contains("the file is empty"));
    assert!(with_file(0, b"<!DOCTYPE html><html><body>404</body></html>").contains("web page"));
    let zip = with_file(0, b"PK\x03\x04 a zip file");
    assert!(zip.contains("this is a zip archive, not an IDX file of images or labels; unpack it"), "{zip}");
    assert!(with_file(0, b"\x01\x02\x03\x04\x05").contains("not a gzip file (it begins with [01, 02, 03, 04])"));
    assert!(with_file(0, &idx).contains("not compressed"));
    assert!(with_file(0, &good[..good.len() / 2]).contains("cut off"));
    assert!(with_file(0, &good[..good.len() - 3]).contains("cut off"));
    assert!(with_file(0, &good[..5]).contains("cut off"));
    for position in [2, good.len() / 2, good.len() - 6, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[position] ^= 0x55;
        // A damaged stream may also decode to another header or length; never to a data set.
        assert!(with_file(0, &damaged).contains("; "), "byte {position}");
    }
    let mut checksum = good.clone();
    checksum[good.len() - 6] ^= 1;
    assert!(with_file(0, &checksum).contains("checksum"));
    assert!(with_file(0, &[good.as_slice(), b"more"].concat()).contains("foreign bytes follow the gzip stream"));
    assert!(with_file(0, &[good.as_slice(), &good].concat()).contains("foreign bytes follow the gzip stream"));
}

#[test]
fn damaged_headers_are_named() {
    let image = |edit: fn(&mut Vec<u8>)| {
        let mut bytes = idx_file(&[6, 28, 28]);
        edit(&mut bytes);
        with_file(0, &gzip(&bytes))
    };
    assert!(image(|b| b.truncate(3)).contains("header is cut off after 3 bytes"));
    assert!(image(|b| b.truncate(11)).contains("header is cut off after 11 bytes"));
    assert!(image(|b| b.clear()).contains("header is cut off after 0 bytes"));
    assert!(image(|b| b[0] = 1).contains("magic number is 0x01000803, not 0x00000803"));
    assert!(image(|b| b[2] = 0x0d).contains("IDX type 0x0d"));
    assert!(image(|b| b[3] = 5).contains("has 5 dimensions, not 3"));
    assert!(image(|b| b[3] = 1).contains("holds labels where images belong"));
    assert!(image(|b| b[11] = 0).contains("of 0 values each"));
    assert!(image(|b| b[12] = 1).contains("of 469762832 values each, not of 1 to 4194304"));
    assert!(image(|b| b[7] = 0).contains("holds no example"));
    assert!(image(|b| b[4..8].fill(0xff)).contains("claims 4294967295 examples"));
    assert!(with_file(1, &gzip(&idx_file(&[6, 28, 28]))).contains("holds images where labels belong"));
    assert!(with_file(1, &gzip(&idx_file(&[3, 2]))).contains("has 2 dimensions, not 1"));
}

#[test]
fn damaged_values_are_named() {
    let whole = idx_file(&[6, 28, 28]);
    assert!(with_file(0, &gzip(&whole[..whole.len() - 1])).contains("end after 4703 of 4704 bytes"));
    assert!(with_file(0, &gzip(&whole[..16])).contains("end after 0 of 4704 bytes"));
    assert!(with_file(0, &gzip(&[&whole[..], b"x"].concat())).contains("more bytes follow the 4704"));
    assert!(with_file(1, &gzip(&idx_file(&[5]))).contains("5 labels for 6 images"));
}

#[test]
fn a_stream_that_never_ends_is_not_followed() {
    // 64 MB of zeros after a header that claims six images: reading stops one byte beyond the claim.
    let mut bytes = idx_file(&[6, 28, 28]);
    bytes.resize(64 << 20, 0);
    let started = std::time::Instant::now();
    assert!(with_file(0, &gzip(&bytes)).contains("more bytes follow"));
    // A header that claims the most, over a short file, costs no memory either: it is the data that grows the buffer.
    let mut claims = idx_file(&[6, 28, 28]);
    claims[4..8].copy_from_slice(&(idx::MAX_EXAMPLES as u32).to_be_bytes());
    assert!(with_file(0, &gzip(&claims)).contains("end after 4704 of 784000000 bytes"));
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn a_directory_in_place_of_a_file_is_refused() {
    let directory = small();
    fs::remove_file(directory.path().join(FILES[2].name)).unwrap();
    fs::create_dir(directory.path().join(FILES[2].name)).unwrap();
    assert!(refusal(&unchecked(directory.path()), 2).contains("this is a directory"));
}

#[test]
fn a_named_directory_must_be_complete() {
    let directory = small();
    fs::remove_file(directory.path().join(FILES[3].name)).unwrap();
    let line = refusal(&unchecked(directory.path()), 2);
    assert!(line.starts_with("--data-dir ") && line.contains("lacks t10k-labels-idx1-ubyte.gz"), "{line}");
    assert!(refusal(&unchecked(&directory.path().join("nowhere")), 2).contains("does not exist"));
    let file = directory.path().join(FILES[0].name);
    let request = unchecked(&file);
    let error = load_from(&request, &Places::default(), &offline()).unwrap_err();
    assert!(error.to_string().contains("is not a directory"), "{error}");
}

#[test]
fn with_checksums_only_the_published_files_pass() {
    let directory = small();
    let request = Request { checksum: true, ..unchecked(directory.path()) };
    let line = refusal(&request, 2);
    assert!(line.contains("not Fashion-MNIST's (its MD5 is ") && line.contains("--no-checksum"), "{line}");
    // Damage is still told apart from another data set.
    fs::write(directory.path().join(FILES[0].name), b"<html>Sign in</html>").unwrap();
    assert!(refusal(&request, 2).contains("web page"));
}

#[test]
fn mnist_is_recognised() {
    for file in &FILES {
        let line = not_official(Path::new(file.name), file, b"", file.mnist_md5, file.md5).to_string();
        assert!(line.contains("this is MNIST's file, not Fashion-MNIST's; "), "{line}");
    }
}

#[test]
fn places_are_tried_in_their_order() {
    let (named, environment, cache) = (small(), small(), small());
    let empty = tempfile::tempdir().unwrap();
    let source = |request: &Request, places: &Places| load_from(request, places, &offline()).map(|found| found.source);
    let of = |directory: &TempDir| directory.path().canonicalize().unwrap().display().to_string();
    let mut places = Places { environment: Some(environment.path().to_owned()), cache: Some(cache.path().to_owned()) };
    let mut request = unchecked(named.path());
    assert_eq!(source(&request, &places).unwrap(), of(&named));
    request.data_dir = None;
    assert_eq!(source(&request, &places).unwrap(), of(&environment));
    places.environment = Some(empty.path().to_owned());
    assert_eq!(source(&request, &places).unwrap(), of(&cache));
    // A named directory is the only one that is looked at.
    request.data_dir = Some(empty.path().to_owned());
    assert_eq!(source(&request, &places).unwrap_err().exit_code(), 2);
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn without_a_download_the_places_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let request = Request { download: false, ..Request::default() };
    let places = Places { environment: Some(empty.path().join("a")), cache: Some(empty.path().join("b")) };
    let error = load_from(&request, &places, &offline()).unwrap_err();
    let line = error.to_string();
    assert_eq!(error.exit_code(), 3, "{line}");
    assert!(line.contains("FASHION_MNIST_DIR") && line.contains("the cache") && line.contains("--dataset garments"));
    assert!(!line.contains('\n'), "{line}");
    assert!(!places.cache.unwrap().exists(), "looking creates nothing");
}

/// The directory of the real files.
pub(super) fn real_directory() -> PathBuf {
    Places::of_system().environment.expect("set FASHION_MNIST_DIR to the directory of the four files of Fashion-MNIST")
}

#[test]
#[ignore = "needs FASHION_MNIST_DIR; `.ci/run test` runs it"]
fn the_real_data_set_loads() {
    let directory = real_directory();
    let request = Request { data_dir: Some(directory.clone()), ..Request::default() };
    let (dataset, summary) = read(&request, &Places::default(), &offline()).unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len()), (60_000, 10_000));
    assert_eq!((dataset.name.as_str(), summary.official), ("fashion-mnist", true));
    assert_eq!(dataset.source, directory.canonicalize().unwrap().display().to_string());
    let pixels = dataset.train.images().as_flattened().as_flattened();
    let mean = pixels.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / pixels.len() as f64 / 255.0;
    assert!((mean - 0.2860).abs() < 5e-5, "{mean}");
    for split in [&dataset.train, &dataset.test] {
        for class in 0..10 {
            assert_eq!(split.labels.iter().filter(|&&label| label == class).count(), split.len() / 10);
        }
    }
}

#[test]
#[ignore = "needs FASHION_MNIST_DIR; `.ci/run test` runs it"]
fn real_files_are_refused_when_a_bit_or_their_place_differs() {
    let real = real_directory();
    let directory = tempfile::tempdir().unwrap();
    for file in &FILES {
        fs::copy(real.join(file.name), directory.path().join(file.name)).unwrap();
    }
    let request = Request { data_dir: Some(directory.path().to_owned()), ..Request::default() };
    let test_labels = directory.path().join(FILES[3].name);
    let good = fs::read(&test_labels).unwrap();
    // The time in the gzip header, which does not change what is inside.
    let mut damaged = good.clone();
    damaged[4] ^= 1;
    fs::remove_file(&test_labels).unwrap();
    fs::write(&test_labels, damaged).unwrap();
    assert!(refusal(&request, 2).contains("its MD5 is"));
    // Training labels under the test labels' name.
    fs::write(&test_labels, fs::read(real.join(FILES[1].name)).unwrap()).unwrap();
    assert!(refusal(&request, 2).contains("its MD5 is 25c81989df183df01b3e8a0aad5dffbe"));
    // Unpacked, the sums of the contents count.
    fs::remove_file(&test_labels).unwrap();
    let mut unpacked = Vec::new();
    GzDecoder::new(&good[..]).read_to_end(&mut unpacked).unwrap();
    fs::write(directory.path().join(FILES[3].unpacked_name()), &unpacked).unwrap();
    assert!(load_from(&request, &Places::default(), &offline()).is_ok());
    unpacked[100] ^= 1;
    fs::write(directory.path().join(FILES[3].unpacked_name()), &unpacked).unwrap();
    assert!(refusal(&request, 2).contains(FILES[3].unpacked_name()));
}

/// The whole way with the real files: two that download at once into one cache, then loading from it.
#[test]
#[ignore = "needs FASHION_MNIST_DIR; `.ci/run test` runs it"]
fn two_at_once_fetch_the_real_files_once() {
    let real = real_directory();
    let server = Server::new(move |asked, stream| {
        let bytes = fs::read(real.join(asked.path.trim_start_matches('/')))?;
        serve(&bytes, asked, stream)
    });
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let network = Network { mirrors: vec![server.url()], https_only: false, ..Network::official() };
    std::thread::scope(|scope| {
        let fetch = || download::fetch(&cache, &network);
        let (first, second) = (scope.spawn(fetch), scope.spawn(fetch));
        first.join().unwrap().unwrap();
        second.join().unwrap().unwrap();
    });
    assert_eq!(server.asked().len(), FILES.len());
    let places = Places { environment: None, cache: Some(cache) };
    let dataset = load_from(&Request { download: false, ..Request::default() }, &places, &network).unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len()), (60_000, 10_000));
}
