//! The properties of `tests::hostile` for a bounded time on files made by mutation of good ones, and every single bit of a
//! `weights.bin` flipped. `BN_LENET_HOSTILE_SECONDS` is the time of each, 2 without it; `tests/fuzz` looks longer.

use std::io::Write;
use std::time::{Duration, Instant};

use bn_core::FormatError;
use bn_core::format::WEIGHTS_BYTES;
use flate2::Compression;
use flate2::write::GzEncoder;
use host_trainer::checkpoint::{Checkpoint, Origin};
use host_trainer::firmware::shipped_weights;
use host_trainer::parameters::Variance;
use host_trainer::weights::AlignedBytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tests::hostile::{self, Forge};

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

/// A good file, damaged: bits flipped, bytes overwritten, a piece cut out, doubled, taken from elsewhere, the end cut off.
fn damaged(good: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    const EXTREMES: [u8; 6] = [0, 1, 0x7F, 0x80, 0xFE, 0xFF];
    let mut bytes = good.to_vec();
    for _ in 0..1 << rng.random_range(0..4) {
        if bytes.is_empty() {
            break;
        }
        // Half of all damage is near the beginning, where headers are.
        let reach = if rng.random() { bytes.len().min(4096) } else { bytes.len() };
        let at = rng.random_range(0..reach);
        let length = rng.random_range(1..=64).min(bytes.len() - at);
        match rng.random_range(0..7) {
            0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes[at] = EXTREMES[rng.random_range(0..EXTREMES.len())],
            3 => bytes[at..at + length].fill_with(|| rng.random()),
            4 => drop(bytes.drain(at..at + length)),
            5 => {
                let piece = bytes[at..at + length].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn shipped() -> Vec<u8> {
    std::fs::read(shipped_weights().expect("a checkout")).expect("the shipped weights")
}

#[test]
fn weights_by_mutation() {
    let good = shipped();
    let mut aligned = AlignedBytes::new(&good);
    for_a_while(
        "weights.bin, damaged",
        |rng| damaged(&good, rng),
        |bytes| {
            aligned = AlignedBytes::new(bytes);
            let accepted = bn_core::parse(aligned.as_slice()).is_ok();
            assert!(!accepted || bytes == good, "a damaged file was accepted");
            accepted
        },
    );
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

#[test]
fn idx_files_by_mutation() {
    let file = |dimensions: &[u32]| {
        let header = std::iter::once(0x0800 + dimensions.len() as u32).chain(dimensions.iter().copied());
        let count = dimensions.iter().product::<u32>();
        header.flat_map(u32::to_be_bytes).chain((0..count).map(|value| (value % 10) as u8)).collect::<Vec<u8>>()
    };
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    let plain = [file(&[3, 28, 28]), file(&[40])];
    let bomb = gzip(&[file(&[1, 28, 28]), vec![0; 1 << 20]].concat());
    let good = [plain[0].clone(), plain[1].clone(), gzip(&plain[0]), gzip(&plain[1]), bomb];
    for_a_while("IDX, damaged", |rng| damaged(&good[rng.random_range(0..good.len())], rng), hostile::idx);
}

#[test]
fn checkpoints_by_mutation() {
    let parameters = tests::golden_parameters("trained.safetensors", Variance::Unbiased);
    let origin = Origin::Imported("trained.safetensors".into());
    let good = Checkpoint { parameters, batches_tracked: 7, origin, moments: None }.to_bytes().expect("finite numbers");
    assert!(hostile::checkpoint(&good));
    for_a_while(
        "checkpoint, damaged",
        |rng| damaged(&good, rng),
        |bytes| {
            let accepted = hostile::checkpoint(bytes);
            assert!(!accepted || bytes == good, "a damaged checkpoint was accepted");
            accepted
        },
    );
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
