//! Every path, on every core, against the portable one that the host runs: models at the edges of what the parser's proofs
//! allow, on noise, constants and real images, thousands of inferences a run; and models with one bit flipped, which must be
//! told apart. Needs QEMU for Arm and RISC-V, Node.js, and the targets.

use bn_core::file::WeightsFile;
use bn_core::lenet::{CLASSES, KERNEL, STREAM_FIELDS, Streams};
use bn_core::ops::winograd::POINTS;
use bn_core::quant::{Pair, SIGMOID_STEP, pack_weights, sigmoid_table, sigmoid_table_uncentred};
use bn_core::{Image, small};
use bytemuck::Zeroable;
use chacha20::ChaCha8Rng;
use host_trainer::data::{Split, garments};
use host_trainer::device::emulate::{EmulateReport, EmulateRequest, Machine, emulate_built};
use host_trainer::device::firmware::{self, Build, Firmware, Inputs, Program};
use host_trainer::network::Network;
use host_trainer::quantize::Quantized;
use rand::{RngExt, SeedableRng};

use crate::emulator::{prepare, random_images, random_weights};

/// What runs, and how many models of each kind it is tried on: the Arm cores share their assembly, but not its encoding; the
/// last two run the portable path.
const MACHINES: [(Machine, Build, u64); 9] = [
    (Machine::Netduinoplus2, Build::Default, 12),
    (Machine::Netduinoplus2, Build::Small, 12),
    (Machine::Mps2An500, Build::Default, 1),
    (Machine::Mps2An505, Build::Default, 4),
    (Machine::Mps2An505, Build::Small, 1),
    (Machine::Mps2An385, Build::Default, 6),
    (Machine::Microbit, Build::Default, 6),
    (Machine::Riscv32, Build::Default, 2),
    (Machine::Wasm32, Build::Default, 2),
];
/// Layers with a stream.
const LAYERS: usize = 5;
/// Real images in [`images`].
const REAL: usize = 24;

/// The program for a machine, built once: the weights in it are replaced.
struct Device {
    machine: Machine,
    build: Build,
    firmware: Firmware,
}

impl Device {
    fn new(machine: Machine, build: Build) -> Self {
        let inputs = Inputs { machine, build, ..Inputs::default() };
        Self { machine, build, firmware: firmware::build_programs(&inputs, &[machine.program()]).expect("it builds") }
    }

    /// What a device with the weights `flashed` says, against a host with the weights `expected`.
    fn compare(&self, flashed: &WeightsFile, expected: &WeightsFile, images: &Split) -> EmulateReport {
        let elf = self.firmware.elf(self.machine.program());
        // A module is handed its weights as a file.
        if self.machine.program() == Program::Evaluate {
            firmware::replace_weights(&elf, self.build, flashed).expect("a program with weights");
        }
        let request = EmulateRequest { weights: expected, machine: self.machine, images, build: self.build };
        emulate_built(&elf, &request).expect("the emulator runs")
    }
}

/// What the numbers of a model are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Weights of random signs, all as large as the parser allows.
    Saturated,
    /// Weights of one sign, all as large as the parser allows: sums grow without cancelling.
    OneSided,
    /// Random weights of a range as wide as the parser allows.
    Random,
    /// No weight at all: only biases, as large as the parser allows.
    Dead,
    /// A quantised random network: BatchNorm with negative and zero gammas.
    Quantised,
}

const KINDS: [Kind; 5] = [Kind::Saturated, Kind::OneSided, Kind::Random, Kind::Dead, Kind::Quantised];

fn model(kind: Kind, seed: u64) -> WeightsFile {
    match kind {
        Kind::Quantised => random_weights(seed),
        _ => extreme(kind, seed),
    }
}

/// A model whose layers are each scaled up until the parser's proofs would fail.
fn extreme(kind: Kind, seed: u64) -> WeightsFile {
    /// What a scale is counted in.
    const ONE: u32 = 1 << 20;
    let file = |scales: [u32; LAYERS]| {
        let mut streams: Box<Streams> = Box::new(Streams::zeroed());
        fill(
            &mut streams,
            kind,
            scales.map(|scale| f64::from(scale) / f64::from(ONE)),
            &mut ChaCha8Rng::seed_from_u64(seed),
        );
        Quantized { streams, logit_fraction_bits: 10 }.write(&Network::lenet())
    };
    let mut scales = [0; LAYERS];
    for layer in 0..LAYERS {
        // The largest that is accepted; 0 is, ONE may not be.
        let (mut low, mut high) = (0, ONE + 1);
        while high - low > 1 {
            scales[layer] = low.midpoint(high);
            let accepted = file(scales).is_ok();
            *(if accepted { &mut low } else { &mut high }) = scales[layer];
        }
        scales[layer] = low;
    }
    file(scales).expect("it was accepted")
}

/// Fills in every table; `scales` is by layer, between 0 and 1 of the largest value of its type.
fn fill(f: &mut Streams, kind: Kind, scales: [f64; LAYERS], rng: &mut ChaCha8Rng) {
    let mut draw = |largest: i32, scale: f64| {
        let random: f64 = rng.random_range(-1.0..=1.0);
        let unit = match kind {
            Kind::Saturated => random.signum(),
            Kind::OneSided => 1.0,
            _ => random,
        };
        (unit * scale * f64::from(largest)) as i32
    };
    let (lane, weight) = if matches!(kind, Kind::Dead) { (0, 0) } else { (32_767, 127) };
    for points in &mut f.conv1_lanes {
        for rows in points {
            let w: [i16; KERNEL] = std::array::from_fn(|_| draw(lane, scales[0]) as i16);
            *rows = [
                [Pair::new(w[0], w[1]), Pair::new(w[2], w[3]), Pair::new(w[4], 0)],
                [Pair::new(0, w[0]), Pair::new(w[1], w[2]), Pair::new(w[3], w[4])],
            ];
        }
    }
    for pair in f.conv2_lanes.as_flattened_mut().as_flattened_mut().as_flattened_mut() {
        *pair = Pair::new(draw(lane, scales[1]) as i16, draw(lane, scales[1]) as i16);
    }
    f.conv1_bias.fill_with(|| draw(i32::MAX, scales[0]));
    f.conv2_bias.fill_with(|| draw(i32::MAX, scales[1]));
    // A linear weight of the largest magnitude is always accepted; the bias is what reaches the bound.
    let mut weights = || pack_weights(std::array::from_fn(|_| draw(weight, 1.0) as i8));
    f.linear1_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    f.linear2_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    for (block, quads) in f.linear3_weight.iter_mut().enumerate() {
        let outputs = CLASSES.min(4 * (block + 1)) - 4 * block;
        quads[..21].iter_mut().for_each(|quad| quad[..outputs].fill_with(&mut weights));
    }
    f.linear1_bias.as_flattened_mut().fill_with(|| draw(i32::MAX, scales[2]));
    f.linear2_bias.as_flattened_mut().fill_with(|| draw(i32::MAX, scales[3]));
    f.linear3_bias.as_flattened_mut()[..CLASSES].fill_with(|| draw(i32::MAX, scales[4]));
    // Any positive multiplier is accepted: from a table that hardly moves to one that is always at an end.
    let mut multiplier = |largest: u32| 1 + (rng.random::<u32>() >> rng.random_range(1..16)).min(largest) as i32;
    f.linear1_multiplier.as_flattened_mut().fill_with(|| multiplier(1 << 20));
    f.linear2_multiplier.as_flattened_mut().fill_with(|| multiplier(1 << 20));
    f.linear3_multiplier.as_flattened_mut()[..CLASSES].fill_with(|| multiplier(i32::MAX as u32 - 1));
    f.conv1_sigmoid = sigmoid_table_uncentred(SIGMOID_STEP);
    f.conv2_sigmoid = sigmoid_table(SIGMOID_STEP);
    f.linear_sigmoid = sigmoid_table(SIGMOID_STEP);
}

/// Noise, blocks, constants, drawings, and where the data set is there, real images.
fn images(seed: u64) -> Split {
    let noise = random_images(&mut ChaCha8Rng::seed_from_u64(seed), 24);
    let mut images = noise.images().to_vec();
    let mut add = |image: Image| images.push(image);
    [0, 1, 127, 128, 254, 255].into_iter().for_each(|pixel| add([[pixel; 28]; 28]));
    (0..CLASSES).for_each(|class| add(garments::draw(seed, class)));
    if cfg!(fashion_mnist) {
        let dataset = tests::fashion_mnist();
        let start = seed as usize * REAL % (dataset.test.len() - REAL);
        dataset.test.images()[start..start + REAL].iter().for_each(|image| add(*image));
    }
    let labels = vec![0; images.len()];
    Split::of_images(images, labels)
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn every_path_is_the_hosts_at_the_edges_of_the_proofs() {
    let mut inferences = 0;
    for (machine, build, models) in MACHINES {
        prepare(machine);
        let device = Device::new(machine, build);
        for (kind, seed) in KINDS.into_iter().flat_map(|kind| (0..models).map(move |seed| (kind, seed))) {
            let model = model(kind, seed);
            let images = images(seed);
            let report = device.compare(&model, &model, &images);
            report.verdict().unwrap_or_else(|error| panic!("{machine} {build:?} {kind:?} {seed}: {error}"));
            inferences += images.len();
        }
    }
    println!("{inferences} inferences, every output of every layer the same");
}

/// The bit below the highest that is set: a change of a quarter at least, which keeps the sign.
fn second_bit(number: &mut i32) {
    *number ^= 1 << (30 - number.unsigned_abs().leading_zeros());
}

/// The lowest bit of the entry nearest to the middle that may change without making the table fall.
fn middle_entry<T: Copy + PartialOrd + bytemuck::Pod>(table: &mut [T]) {
    let middle = table.len() / 2;
    for index in
        (1..table.len() - 1).map(|offset| if offset % 2 == 0 { middle + offset / 2 } else { middle - offset / 2 - 1 })
    {
        let before = table[index];
        bytemuck::bytes_of_mut(&mut table[index])[0] ^= 1;
        if table[index - 1] <= table[index] && table[index] <= table[index + 1] {
            return;
        }
        table[index] = before;
    }
    panic!("no entry of the table may change")
}

/// A table, and what flips one bit of it.
type Flip = (&'static str, fn(&mut Streams));

const FLIPS: [Flip; 16] = [
    // A weight of kernel row 2 stands there for both output rows.
    ("conv1_lanes", |f| {
        let [upper, lower] = &mut f.conv1_lanes[2][POINTS - 2];
        upper[1].low ^= 1 << 6;
        lower[1].high ^= 1 << 6;
    }),
    ("conv2_lanes", |f| f.conv2_lanes[7][0][2][4].low ^= 1 << 6),
    ("conv1_bias", |f| second_bit(&mut f.conv1_bias[5])),
    ("conv2_bias", |f| second_bit(&mut f.conv2_bias[15])),
    ("linear1_weight", |f| f.linear1_weight[29][63][3].high ^= 1 << 13),
    ("linear2_weight", |f| f.linear2_weight[20][29][0].low ^= 1 << 5),
    ("linear3_weight", |f| f.linear3_weight[2][20][1].low ^= 1 << 5),
    ("linear1_bias", |f| second_bit(&mut f.linear1_bias[29][3])),
    ("linear2_bias", |f| second_bit(&mut f.linear2_bias[0][0])),
    ("linear3_bias", |f| second_bit(&mut f.linear3_bias[2][1])),
    ("linear1_multiplier", |f| second_bit(&mut f.linear1_multiplier[17][2])),
    ("linear2_multiplier", |f| second_bit(&mut f.linear2_multiplier[20][3])),
    ("linear3_multiplier", |f| second_bit(&mut f.linear3_multiplier[2][1])),
    ("conv1_sigmoid", |f| middle_entry(&mut f.conv1_sigmoid)),
    ("conv2_sigmoid", |f| middle_entry(&mut f.conv2_sigmoid)),
    ("linear_sigmoid", |f| middle_entry(&mut f.linear_sigmoid)),
];

/// The step that reads a table first.
fn step_of(table: &str) -> usize {
    let begins = ["conv1", "conv2", "linear1", "linear2", "linear3"];
    begins.iter().position(|begin| table.starts_with(begin)).unwrap_or(2)
}

/// A comparison that a wrong weight passes would prove nothing: a device with one bit flipped in any table must disagree,
/// first in the layer that reads it.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_flipped_bit_of_each_table_is_seen() {
    prepare(Machine::default());
    let model = tests::shipped();
    let good = Streams::of(&model).expect("LeNet's weights");
    let images = images(5);
    for build in [Build::Default, Build::Small] {
        let device = Device::new(Machine::default(), build);
        device.compare(&model, &model, &images).verdict().expect("the same bits");
        for (table, flip) in FLIPS {
            let mut streams = Box::new(*good);
            flip(&mut streams);
            let wrong =
                Quantized { streams, logit_fraction_bits: 10 }.write(&Network::lenet()).expect("still in range");
            if build == Build::Small && table.ends_with("sigmoid") {
                // The table is no longer its own mirror image.
                let streams = Streams::of(&wrong).expect("LeNet's weights");
                assert!(small::Weights::of(streams, wrong.checksum()).is_err(), "{table} is not seen");
                continue;
            }
            let report = device.compare(&wrong, &model, &images);
            assert!(report.logits_differing > 0, "{build:?}: a flipped bit in {table} changes nothing");
            let first = report.first_difference.expect("a difference");
            assert_eq!(first.layer, model.step_name(step_of(table)), "{build:?} {table}: {first}");
            assert!(first.place.is_some_and(|place| place.device != place.host), "{build:?} {table}: {first}");
        }
    }
}

/// No table is left out of [`FLIPS`].
#[test]
fn every_table_of_the_file_is_flipped() {
    let missing: Vec<_> =
        STREAM_FIELDS.iter().filter(|(name, ..)| FLIPS.iter().all(|(flipped, _)| flipped != name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
