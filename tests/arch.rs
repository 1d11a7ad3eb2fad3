//! Every core and every path gives the host's bits: on the shipped model within its budget of instructions, on models at the
//! edges of what the parser's proofs allow, and not on a model with one bit flipped. Needs QEMU and the thumb targets.

use std::path::Path;

use bn_core::format::WeightsFile;
use bn_core::lenet::{CLASSES, KERNEL, POOL};
use bn_core::ops::winograd::POINTS;
use bn_core::quant::{Pair, SIGMOID_STEP, pack_weights, sigmoid_table, sigmoid_table_uncentred};
use bn_core::{Image, Model};
use bytemuck::Zeroable;
use host_trainer::data::Split;
use host_trainer::emulate::{EmulateReport, EmulateRequest, Machine, emulate};
use host_trainer::firmware::shipped_weights;
use host_trainer::inference;
use host_trainer::weights::AlignedBytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::emulator::{random_images, ready};

/// Most instructions of an inference. Counts are deterministic: one more is a change that somebody made.
const BUDGETS: [(Machine, bool, u64); 6] = [
    (Machine::Netduinoplus2, false, 148_600),
    (Machine::Mps2An500, false, 148_600),
    (Machine::Mps2An505, false, 148_600),
    (Machine::Mps2An386, true, 640_000),
    (Machine::Mps2An385, false, 635_000),
    (Machine::Microbit, false, 1_070_000),
];
/// Bytes of RAM besides the image and of flash that an inference may take.
const RAM: u64 = 5_120;

fn run(weights: Model<'_>, machine: Machine, portable: bool, images: &Split) -> EmulateReport {
    emulate(&EmulateRequest { weights, machine, images, portable }).expect("the emulator runs")
}

#[test]
fn every_core_gives_the_hosts_bits_within_its_budget() {
    if !ready() {
        return;
    }
    let path = shipped_weights().expect("a checkout");
    let bytes = AlignedBytes::read(&path).expect("shipped weights");
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(3), 64);
    for (machine, portable, budget) in BUDGETS {
        let report = run(bytes.model(&path).expect("good weights"), machine, portable, &images);
        report.verdict().unwrap();
        let instructions = report.instructions_range[1];
        assert!(u64::from(instructions) <= budget, "{machine}: {instructions} instructions, more than {budget}");
        let ram = report.scratch_bytes + report.stack_bytes;
        assert!(ram <= RAM, "{machine}: {ram} bytes of RAM");
    }
}

/// What a model's numbers are drawn from.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Every number as large as the parser allows.
    Saturated,
    /// Random lanes of the whole range, as far as the parser allows.
    Random,
    /// No weight at all: only biases.
    Dead,
}

/// A model of extremes: lanes and biases are halved until the parser's proofs hold.
fn extreme(kind: Kind, seed: u64) -> AlignedBytes {
    for halvings in 0..24 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut file: Box<WeightsFile> = Box::new(WeightsFile::zeroed());
        fill(&mut file, kind, halvings, &mut rng);
        file.seal();
        if bn_core::parse(file.bytes()).is_ok() {
            return AlignedBytes::new(file.bytes());
        }
    }
    panic!("{kind:?} of seed {seed} never fits")
}

fn fill(f: &mut WeightsFile, kind: Kind, halvings: u32, rng: &mut impl Rng) {
    let lane = |rng: &mut dyn FnMut() -> i32| match kind {
        Kind::Saturated => ((32_767 >> halvings.min(14)) * (1 - 2 * (rng() & 1))) as i16,
        Kind::Random => ((rng() % 32_768) >> halvings.min(14)) as i16,
        Kind::Dead => 0,
    };
    let mut draw = || rng.random::<i32>();
    for points in &mut f.conv1_lanes {
        for rows in points {
            let w: [i16; KERNEL] = std::array::from_fn(|_| lane(&mut draw));
            *rows = [
                [Pair::new(w[0], w[1]), Pair::new(w[2], w[3]), Pair::new(w[4], 0)],
                [Pair::new(0, w[0]), Pair::new(w[1], w[2]), Pair::new(w[3], w[4])],
            ];
        }
    }
    for pair in f.conv2_lanes.as_flattened_mut().as_flattened_mut().as_flattened_mut() {
        *pair = Pair::new(lane(&mut draw), lane(&mut draw));
    }
    let weight = |draw: &mut dyn FnMut() -> i32| match kind {
        Kind::Saturated => 127 * (1 - 2 * (draw() & 1)) as i8,
        Kind::Random => (draw() % 128) as i8,
        Kind::Dead => 0,
    };
    let mut weights = || pack_weights(std::array::from_fn(|_| weight(&mut draw)));
    f.linear1_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    f.linear2_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    for (block, quads) in f.linear3_weight.iter_mut().enumerate() {
        let outputs = CLASSES.min(4 * (block + 1)) - 4 * block;
        quads[..21].iter_mut().for_each(|quad| quad[..outputs].fill_with(&mut weights));
    }
    let mut bias = || draw() >> halvings;
    f.conv1_bias.fill_with(&mut bias);
    f.conv2_bias.fill_with(&mut bias);
    f.linear1_bias.as_flattened_mut().fill_with(&mut bias);
    f.linear2_bias.as_flattened_mut().fill_with(&mut bias);
    f.linear3_bias.as_flattened_mut()[..CLASSES].fill_with(&mut bias);
    let mut multiplier = || (draw() & 0xFFFF) + 1;
    f.linear1_multiplier.as_flattened_mut().fill_with(&mut multiplier);
    f.linear2_multiplier.as_flattened_mut().fill_with(&mut multiplier);
    f.linear3_multiplier.as_flattened_mut()[..CLASSES].fill_with(|| draw() | 1 << 30 & i32::MAX);
    f.linear3_multiplier.as_flattened_mut()[..CLASSES].iter_mut().for_each(|m| *m &= i32::MAX);
    f.conv1_sigmoid = sigmoid_table_uncentred(SIGMOID_STEP);
    f.conv2_sigmoid = sigmoid_table(SIGMOID_STEP);
    f.linear_sigmoid = sigmoid_table(SIGMOID_STEP);
}

#[test]
fn the_fast_path_is_the_portable_one_at_the_edges_of_the_proofs() {
    if !ready() {
        return;
    }
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(4), 512);
    let kinds = [(Kind::Saturated, 0), (Kind::Saturated, 1), (Kind::Random, 2), (Kind::Random, 3), (Kind::Dead, 4)];
    for (kind, seed) in kinds {
        let bytes = extreme(kind, seed);
        let report = run(bytes.model(Path::new("extremes")).expect("it parsed"), Machine::default(), false, &images);
        assert_eq!((report.logits_differing, report.classes_differing), (0, 0), "{kind:?} {seed}");
    }
}

/// A table, and what flips one bit of it.
type Flip = (&'static str, fn(&mut WeightsFile));

/// A comparison that a wrong weight passes would prove nothing: one bit of each table must show in some logit.
#[test]
fn a_flipped_bit_of_each_table_is_seen() {
    let path = shipped_weights().expect("a checkout");
    let bytes = AlignedBytes::read(&path).expect("shipped weights");
    let model = bytes.model(&path).expect("good weights");
    let images: Vec<Image> = random_images(&mut ChaCha8Rng::seed_from_u64(5), 64).images;
    let right = inference::int8(&model, &images);
    let flips: [Flip; 11] = [
        ("conv1_lanes", |f| f.conv1_lanes[2][POINTS - 2][POOL - 1][1].high ^= 1 << 6),
        ("conv2_lanes", |f| f.conv2_lanes[7][0][2][4].low ^= 1 << 6),
        ("conv1_bias", |f| f.conv1_bias[5] ^= 1 << 18),
        ("conv2_bias", |f| f.conv2_bias[15] ^= 1 << 22),
        ("linear1_weight", |f| f.linear1_weight[29][63][3].high ^= 1 << 13),
        ("linear2_weight", |f| f.linear2_weight[20][29][0].low ^= 1 << 5),
        ("linear3_weight", |f| f.linear3_weight[2][20][1].low ^= 1 << 5),
        ("linear1_bias", |f| f.linear1_bias[29][3] ^= 1 << 22),
        ("linear2_bias", |f| f.linear2_bias[0][0] ^= 1 << 22),
        ("linear3_bias", |f| f.linear3_bias[2][1] ^= 1 << 12),
        ("linear3_multiplier", |f| f.linear3_multiplier[2][1] ^= 1 << 12),
    ];
    for (table, flip) in flips {
        let mut file = Box::new(*model.file());
        flip(&mut file);
        file.seal();
        let wrong = inference::int8(&bn_core::parse(file.bytes()).expect("still in range"), &images);
        assert!(right != wrong, "a flipped bit in {table} changes nothing");
    }
}
