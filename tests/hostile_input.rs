//! The properties of `tests::hostile` for a bounded time on files made by mutation of good ones, some of them through the
//! program, and every single bit of a `weights.bin` flipped. `BN_LENET_HOSTILE_SECONDS` is the time of each, 2 without it;
//! `tests/fuzz` looks longer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bn_core::FormatError;
use bn_core::file::WeightsFile;
use bn_core::format::HEADER_BYTES;
use bn_core::kernels::Core;
use chacha20::ChaCha8Rng;
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use host_trainer::cli::{self, Cli};
use host_trainer::device::firmware::shipped_weights;
use host_trainer::export::Channels;
use rand::{Rng, RngExt, SeedableRng};
use tests::hostile::{self, Files, Forge, Models, Weights};

use crate::zoo_device::exported;

/// Runs `property` on one input after another until the time is over; says how many there were, and how many were accepted.
fn for_a_while(what: &str, mut input: impl FnMut(&mut ChaCha8Rng) -> Vec<u8>, mut property: impl FnMut(&[u8]) -> bool) {
    let seconds = std::env::var("BN_LENET_HOSTILE_SECONDS").map_or(2, |text| text.parse().expect("whole seconds"));
    let limit = Duration::from_secs(seconds);
    let (start, mut rng) = (Instant::now(), ChaCha8Rng::seed_from_u64(seconds));
    let (mut inputs, mut accepted) = (0_u64, 0_u64);
    while start.elapsed() < limit {
        accepted += u64::from(property(&input(&mut rng)));
        inputs += 1;
    }
    println!("{what}: {inputs} inputs, {accepted} accepted, every property held");
}

/// Which good file, never one as it is, and up to eight edits: see [`Files`].
fn damage(rng: &mut impl Rng) -> Vec<u8> {
    let edits = 1 << rng.random_range(0..4);
    (0..=8 * edits).map(|_| rng.random()).collect()
}

fn shipped() -> Vec<u8> {
    std::fs::read(shipped_weights().expect("a checkout")).expect("the shipped weights")
}

#[test]
fn weights_by_mutation() {
    let mut weights = Weights::new(&shipped());
    for_a_while("weights.bin, damaged", damage, |bytes| weights.check(bytes));
}

#[test]
fn weights_forged() {
    let mut forge = Forge::new(&shipped());
    for_a_while("weights.bin, forged under a right checksum", edits, |bytes| forge.check(bytes));
}

/// Forged bytes of a file: some edits, and what runs.
fn edits(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let length = 7 * rng.random_range(0..5) + 1;
    (0..length).map(|_| if rng.random_bool(0.2) { 0xFF } else { rng.random() }).collect()
}

#[test]
fn weights_of_any_network_forged() {
    let mut forge = Forge::new(&tests::any_network().0.to_bytes());
    for_a_while("weights.bin of any network, forged under a right checksum", edits, |bytes| forge.check(bytes));
}

/// An IDX file of those dimensions.
fn idx_file(dimensions: &[u32]) -> Vec<u8> {
    let header = std::iter::once(0x0800 + dimensions.len() as u32).chain(dimensions.iter().copied());
    let count = dimensions.iter().product::<u32>();
    header.flat_map(u32::to_be_bytes).chain((0..count).map(|value| (value % 10) as u8)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn idx_files_by_mutation() {
    let mut files = Files::new(vec![(idx_file(&[3, 28, 28]), 16), (idx_file(&[40]), 8)]);
    for_a_while("IDX, damaged", damage, |bytes| hostile::idx(files.damaged(bytes)));
}

#[test]
fn idx_gz_by_mutation() {
    let (images, labels) = (idx_file(&[3, 28, 28]), idx_file(&[40]));
    let bomb = [idx_file(&[1, 28, 28]), vec![0; 1 << 20]].concat();
    // The first byte: as it is, or as the content of a sound gzip.
    let packed = [&images, &labels, &bomb].map(|file| [&[1], gzip(file).as_slice()].concat());
    let plain = [&images, &labels].map(|file| [&[0], file.as_slice()].concat());
    let good = packed.into_iter().chain(plain).map(|file| (file.len().min(32), file)).map(|(head, file)| (file, head));
    let mut files = Files::new(good.collect());
    for_a_while("gzip of IDX, damaged", damage, |bytes| hostile::idx_gz(files.damaged(bytes)));
}

#[test]
fn checkpoints_by_mutation() {
    let mut models = Models::checkpoints();
    for_a_while("checkpoint, damaged", damage, |bytes| models.check(bytes));
}

#[test]
fn state_dicts_by_mutation() {
    let mut models = Models::state_dicts();
    for_a_while("state_dict, damaged", damage, |bytes| models.check(bytes));
}

#[test]
fn onnx_files_by_mutation() {
    let mut models = Models::onnx_files();
    for_a_while("ONNX, damaged", damage, |bytes| models.check(bytes));
}

#[test]
fn onnx_files_forged() {
    let choices = |rng: &mut ChaCha8Rng| (0..rng.random_range(2..60)).map(|_| rng.random()).collect();
    for_a_while("ONNX, forged", choices, hostile::onnx_forged);
}

#[test]
fn networks_by_mutation() {
    let mut files = hostile::network_files();
    for_a_while(".net, damaged", damage, |bytes| hostile::network(files.damaged(bytes)));
}

#[test]
fn networks_from_words() {
    let choices = |rng: &mut ChaCha8Rng| (0..rng.random_range(1..80)).map(|_| rng.random()).collect();
    for_a_while(".net, put together", choices, |bytes| hostile::network(&hostile::composed(bytes)));
}

#[test]
fn pictures_by_mutation() {
    let mut files = hostile::picture_files();
    for_a_while("pictures, damaged", damage, |bytes| hostile::picture(files.damaged(bytes)));
}

#[test]
fn arrays_by_mutation() {
    let mut files = hostile::array_files();
    for_a_while("arrays, damaged", damage, |bytes| hostile::arrays(files.damaged(bytes)));
}

#[test]
fn tables_by_mutation() {
    let mut files = hostile::table_files();
    for_a_while("CSV, damaged", damage, |bytes| hostile::table(files.damaged(bytes)));
}

/// A kind of file, and what the program does with one.
struct Kind {
    what: &'static str,
    files: Files,
    /// Where the program looks for it.
    place: PathBuf,
    arguments: Vec<PathBuf>,
    /// What it writes where it accepts the file.
    out: Option<PathBuf>,
    inputs: usize,
}

impl Kind {
    fn new(what: &'static str, files: Files, place: &Path, arguments: &[&Path]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { what, files, place: place.to_owned(), arguments, out: None, inputs: 0 }
    }

    /// Through the program from its arguments on: exit code 2 and one line, or what it should do; no file but its own is touched.
    fn check(&mut self, description: &[u8]) -> bool {
        self.inputs += 1;
        let damaged = self.files.damaged(description);
        std::fs::write(&self.place, damaged).expect("a file");
        let entries = || std::fs::read_dir(self.place.parent().expect("a folder")).expect("a folder").count();
        let before = entries();
        let arguments = std::iter::once(Path::new("host-trainer")).chain(self.arguments.iter().map(PathBuf::as_path));
        let result = cli::run(Cli::parse_from(arguments), &mut Vec::new());
        if let Err(error) = &result {
            hostile::one_line(error);
        }
        assert!(std::fs::read(&self.place).expect("the file") == damaged, "the file was changed");
        if let Some(out) = &self.out {
            assert_eq!(out.exists(), result.is_ok());
            let _ = std::fs::remove_file(out);
        }
        assert_eq!(entries(), before, "nothing else is left");
        result.is_ok()
    }
}

/// A data set of three images that is not Fashion-MNIST: see `data --no-checksum`.
fn idx_kind(folder: &Path) -> Kind {
    let (images, labels) = (idx_file(&[3, 28, 28]), idx_file(&[3]));
    std::fs::create_dir(folder).expect("a folder");
    for (images_name, labels_name) in
        [("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")]
    {
        std::fs::write(folder.join(images_name), &images).expect("a file");
        std::fs::write(folder.join(labels_name), &labels).expect("a file");
    }
    let arguments = ["data", "--offline", "--no-checksum", "--data-dir"].map(Path::new);
    let arguments = [&arguments[..], &[folder]].concat();
    Kind::new("IDX", Files::new(vec![(images, 16)]), &folder.join("t10k-images-idx3-ubyte"), &arguments)
}

/// A file of own data: see `data --data`. A folder of pictures is named, of anything else the file.
fn own_kind(what: &'static str, files: Files, folder: &Path, name: &str) -> Kind {
    let place = folder.join(name);
    std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
    let named = if what == "pictures" { folder } else { &place };
    Kind::new(what, files, &place, &[Path::new("data"), Path::new("--data"), named])
}

#[test]
fn damaged_files_through_the_program_by_mutation() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, out) = (directory.path().join("file"), directory.path().join("out"));
    let inspect = |what, files| Kind::new(what, files, &file, &[Path::new("inspect"), &file]);
    let import = |what, files| {
        let arguments = [Path::new("import"), &file, Path::new("--out"), &out];
        Kind { out: Some(out.clone()), ..Kind::new(what, files, &file, &arguments) }
    };
    let mut kinds = [
        inspect("weights.bin", Files::new(vec![(shipped(), 64)])),
        inspect("checkpoints", Models::checkpoints().into_files()),
        import("state_dicts", Models::state_dicts().into_files()),
        import("ONNX", Models::onnx_files().into_files()),
        idx_kind(&directory.path().join("data")),
        own_kind("pictures", hostile::picture_files(), &directory.path().join("pictures"), "class/picture"),
        own_kind("arrays", hostile::array_files(), &directory.path().join("arrays"), "x.npz"),
        own_kind("tables", hostile::table_files(), &directory.path().join("tables"), "x.csv"),
    ];
    let mut turns = (0..kinds.len()).cycle();
    for_a_while("files through the program", damage, |bytes| kinds[turns.next().expect("a cycle")].check(bytes));
    println!("of them {}", kinds.map(|kind| format!("{} {}", kind.what, kind.inputs)).join(", "));
}

#[test]
fn image_streams() {
    let whole: Vec<u8> = (0..5 * 784_u32).map(|value| value as u8).collect();
    let stream = |rng: &mut ChaCha8Rng| {
        let length = if rng.random() { 784 * rng.random_range(0..6) } else { rng.random_range(0..whole.len()) };
        [&[rng.random()], &whole[..length]].concat()
    };
    for_a_while("streams of images", stream, hostile::image_stream);
}

/// The seeds of a fuzz target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seed = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("a readable entry").path();
        (
            path.file_name().expect("a file").to_string_lossy().into_owned(),
            std::fs::read(&path).expect("a readable seed"),
        )
    };
    entries.map(seed).collect()
}

/// Each seed is accepted or refused as its name says, and every property holds on it.
#[test]
fn the_seeds_of_the_fuzz_targets_do_what_they_are_named_for() {
    let (mut weights, mut forge) = (Weights::new(&shipped()), Forge::new(&shipped()));
    let (mut checkpoints, mut state_dicts) = (Models::checkpoints(), Models::state_dicts());
    let mut onnx_files = Models::onnx_files();
    let (mut pictures, mut arrays, mut tables) =
        (hostile::picture_files(), hostile::array_files(), hostile::table_files());
    type Property<'a> = &'a mut dyn FnMut(&[u8]) -> bool;
    let targets: [(&str, Property<'_>); 13] = [
        ("weights", &mut |seed| weights.check(seed)),
        ("weights_forged", &mut |seed| forge.check(seed)),
        ("idx", &mut hostile::idx),
        ("idx_gz", &mut hostile::idx_gz),
        ("image_stream", &mut hostile::image_stream),
        ("checkpoint", &mut |seed| checkpoints.check(seed)),
        ("state_dict", &mut |seed| state_dicts.check(seed)),
        ("onnx", &mut |seed| onnx_files.check(seed)),
        ("onnx_forged", &mut hostile::onnx_forged),
        ("network", &mut |seed| hostile::network(seed)),
        ("pictures", &mut |seed| hostile::picture(pictures.damaged(seed))),
        ("arrays", &mut |seed| hostile::arrays(arrays.damaged(seed))),
        ("tables", &mut |seed| hostile::table(tables.damaged(seed))),
    ];
    let mut wrong = Vec::new();
    for (target, property) in targets {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for (name, seed) in seeds {
            let outcome = if property(&seed) { "accepted" } else { "refused" };
            if !name.starts_with(outcome) {
                wrong.push(format!("{target}: the seed {name} is {outcome}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A CRC-32 finds every burst of up to 32 bits; here every single one is tried.
#[test]
fn every_flipped_bit_of_the_shipped_weights_is_refused() {
    let mut bytes = shipped();
    let mut by_checksum = 0;
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = WeightsFile::read(&bytes).expect_err("a flipped bit");
        by_checksum += usize::from(matches!(error, FormatError::Checksum { .. }));
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(WeightsFile::read(&bytes).is_ok());
    println!("{} flipped bits refused, {by_checksum} of them by the checksum", 8 * bytes.len());
}

/// A file of at most so many bits has each of them flipped.
const SMALL: usize = 1 << 15;

/// Of each public network all bits of the header and so many others, drawn: `BN_LENET_FLIPS`, 1,000 without it; of a small file all.
#[test]
#[cfg_attr(not(zoo), ignore = "needs the public networks: set BN_ZOO_DIR to their folder")]
fn flipped_bits_of_the_public_networks_are_refused() {
    let count = std::env::var("BN_LENET_FLIPS").map_or(1_000, |text| text.parse().expect("a whole number"));
    for name in crate::zoo::STORED.map(|stored| stored.name) {
        let (file, _) = exported(name, Channels::Live, Core::M4);
        let mut bytes = file.to_bytes();
        let (bits, mut rng) = (8 * bytes.len(), ChaCha8Rng::seed_from_u64(1));
        let (all, drawn) = if bits <= SMALL { (bits, 0) } else { (8 * HEADER_BYTES, count) };
        let drawn_bits = (0..drawn).map(|_| rng.random_range(8 * HEADER_BYTES..bits));
        for bit in (0..all).chain(drawn_bits) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(WeightsFile::read(&bytes).is_err(), "{name}: bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        println!("{name}: {} flipped bits of {bits} refused", all + drawn);
    }
}
