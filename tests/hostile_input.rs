//! The properties of `tests::hostile` for a bounded time on files made by mutation of good ones, some of them through the
//! program, and every single bit of a `weights.bin` flipped. `BN_LENET_HOSTILE_SECONDS` is the time of each, 2 without it;
//! `tests/fuzz` looks longer.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bn_core::FormatError;
use bn_core::format::WEIGHTS_BYTES;
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use host_trainer::cli::{self, Cli};
use host_trainer::device::firmware::shipped_weights;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tests::hostile::{self, Files, Forge, Models, Weights};

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
    let edits = |rng: &mut ChaCha8Rng| {
        let length = 7 * rng.random_range(0..5) + 1;
        (0..length).map(|_| if rng.random_bool(0.2) { 0xFF } else { rng.random() }).collect()
    };
    for_a_while("weights.bin, forged under a right checksum", edits, |bytes| forge.check(bytes));
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

/// The program from its arguments on: exit code 2 and one line, or what it should do; and no file but its own is touched.
#[test]
fn damaged_files_through_the_program_by_mutation() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, out) = (directory.path().join("file"), directory.path().join("out"));
    let run = |arguments: &[&Path]| {
        let arguments = [&[Path::new("host-trainer")], arguments].concat();
        cli::run(Cli::parse_from(arguments), &mut Vec::new())
    };
    let mut kinds = [
        ("inspect", Files::new(vec![(shipped(), 64)])),
        ("inspect", Models::checkpoints().into_files()),
        ("import", Models::state_dicts().into_files()),
        ("import", Models::onnx_files().into_files()),
    ];
    let mut turn = 0;
    for_a_while("files through the program", damage, |bytes| {
        turn += 1;
        let (verb, files) = &mut kinds[turn % 4];
        let damaged = files.damaged(bytes);
        std::fs::write(&file, damaged).expect("a file");
        let result = match *verb {
            "import" => run(&[Path::new("import"), &file, Path::new("--out"), &out]),
            verb => run(&[Path::new(verb), &file]),
        };
        let accepted = result.is_ok();
        if let Err(error) = result {
            hostile::one_line(&error);
        }
        assert!(std::fs::read(&file).expect("the file") == damaged, "the file was changed");
        assert_eq!(out.exists(), accepted && *verb == "import");
        let _ = std::fs::remove_file(&out);
        assert_eq!(std::fs::read_dir(&directory).expect("the directory").count(), 1, "nothing else is left");
        accepted
    });
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

/// A CRC-32 finds every burst of up to 32 bits; here every single one is tried.
#[test]
fn every_flipped_bit_of_the_shipped_weights_is_refused() {
    let mut aligned = vec![0_u32; WEIGHTS_BYTES / 4];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
    bytes.copy_from_slice(&shipped());
    let mut by_checksum = 0;
    for bit in 0..8 * WEIGHTS_BYTES {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = bn_core::parse(bytes).expect_err("a flipped bit");
        by_checksum += usize::from(matches!(error, FormatError::Checksum { .. }));
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(bn_core::parse(bytes).is_ok());
    println!("{} flipped bits refused, {by_checksum} of them by the checksum", 8 * WEIGHTS_BYTES);
}
