//! The specifications against their own definition: every output of LeNet on its own, straight from the matrices of the transform
//! and the unpacked weights, in 64 bits. And one test for each reason to refuse a stream.

use std::boxed::Box;
use std::vec::Vec;

use bytemuck::Zeroable as _;
use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::linear::{BLOCK, Stream};
use super::winograd5::{self, ImageStream, MapsStream};
use super::*;
use crate::lenet::{
    CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, IMAGE_SIDE, Image, KERNEL, LINEAR1, LINEAR2,
    LINEAR2_QUADS, LOGIT_BLOCKS, POOL, POOL1_SIDE, Streams,
};
use crate::ops::winograd::{DATA, INVERSE, POINTS, TILE, WINDOW};
use crate::quant::{
    CONV_SHIFT, POOLED_CENTRE, Pair, Quad, SIGMOID_STEP, conv_index, mean_of_four, pack_weights, requantize,
    sigmoid_table, sigmoid_table_uncentred, unpack_weights,
};

/// Valid random streams. Boxed for the test threads' small stacks.
pub(crate) fn streams() -> Box<Streams> {
    // Drawn once: under Miri that takes longer than what the tests do with it.
    static STREAMS: std::sync::OnceLock<Box<Streams>> = std::sync::OnceLock::new();
    STREAMS.get_or_init(draw).clone()
}

fn draw() -> Box<Streams> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut streams = Box::new(Streams::zeroed());
    let f = &mut *streams;
    for (channel, points) in f.conv1_lanes.iter_mut().enumerate() {
        f.conv1_bias[channel] = rng.random_range(-1_000_000..1_000_000);
        for rows in points {
            *rows = image_rows(core::array::from_fn(|_| rng.random_range(-2047..=2047)));
        }
    }
    for pair in f.conv2_lanes.as_flattened_mut().as_flattened_mut().as_flattened_mut() {
        *pair = Pair::new(rng.random_range(-100..=100), rng.random_range(-100..=100));
    }
    let mut weights = || pack_weights(core::array::from_fn(|_| rng.random_range(-127..=127)));
    f.linear1_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    f.linear2_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    f.linear3_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    for (block, rows) in f.linear3_weight.iter_mut().enumerate() {
        rows[LINEAR2_QUADS - 1].fill(Pair::default());
        for outputs in rows {
            outputs[if block == LOGIT_BLOCKS - 1 { 2 } else { BLOCK }..].fill(Pair::default());
        }
    }
    // So that the middle of the table is where the sums are.
    const MULTIPLIER: i32 = 40_000;
    let middle = ((SIGMOID_LEN as i64 / 2) << 32) / i64::from(MULTIPLIER);
    f.linear1_multiplier.as_flattened_mut().fill(MULTIPLIER);
    f.linear2_multiplier.as_flattened_mut().fill(MULTIPLIER);
    f.linear3_multiplier.as_flattened_mut()[..CLASSES].fill(i32::MAX);
    f.linear1_bias.as_flattened_mut().fill(middle as i32);
    f.linear2_bias.as_flattened_mut().fill(middle as i32);
    f.conv1_sigmoid = sigmoid_table_uncentred(SIGMOID_STEP);
    f.conv2_sigmoid = sigmoid_table(2.0 * SIGMOID_STEP);
    f.linear_sigmoid = sigmoid_table(SIGMOID_STEP);
    streams
}

/// Five taps as the upper and the lower output row see them.
fn image_rows(t: [i16; KERNEL]) -> [[Pair; 3]; POOL] {
    [
        [Pair::new(t[0], t[1]), Pair::new(t[2], t[3]), Pair::new(t[4], 0)],
        [Pair::new(0, t[0]), Pair::new(t[1], t[2]), Pair::new(t[3], t[4])],
    ]
}

fn image_stream(f: &Streams) -> ImageStream {
    ImageStream { bias: f.conv1_bias, lanes: f.conv1_lanes }
}

fn maps_stream(f: &Streams) -> MapsStream {
    MapsStream { bias: f.conv2_bias, lanes: f.conv2_lanes }
}

macro_rules! linear_stream {
    ($f:expr, $weight:ident, $bias:ident, $multiplier:ident) => {
        Stream { weight: &$f.$weight, bias: &$f.$bias, multiplier: &$f.$multiplier }
    };
}

/// The logits of an image by the portable kernels, layer after layer.
pub(crate) fn portable(f: &Streams, image: &Image) -> [i32; CLASSES] {
    use super::linear::portable::{logits, sigmoid};
    let (mut window, mut pooled) = ([Pair::default(); 384], winograd5::Maps::zeroed());
    let (mut flat, mut one, mut two) = ([Quad::default(); 64], [Quad::default(); 30], [Quad::default(); 22]);
    let mut blocks = [[0; BLOCK]; LOGIT_BLOCKS];
    winograd5::portable::image(&image_stream(f), &f.conv1_sigmoid, image, &mut window, &mut pooled);
    winograd5::portable::maps(&maps_stream(f), &f.conv2_sigmoid, &pooled, &mut window, &mut flat);
    let first = linear_stream!(f, linear1_weight, linear1_bias, linear1_multiplier);
    sigmoid(&first, &f.linear_sigmoid, &flat, &mut one);
    let second = linear_stream!(f, linear2_weight, linear2_bias, linear2_multiplier);
    sigmoid(&second, &f.linear_sigmoid, &one, &mut two);
    logits(&linear_stream!(f, linear3_weight, linear3_bias, linear3_multiplier), &two, &mut blocks);
    *blocks.as_flattened().first_chunk().unwrap()
}

/// A map's points: `[row][tile][point]`.
type Points = Vec<Vec<[i64; POINTS]>>;

/// The points of a map of that side, of which `outputs` columns come.
fn points(side: usize, outputs: usize, map: impl Fn(usize, usize) -> i32) -> Points {
    let point = |y, tile: usize, row: [i32; WINDOW]| {
        row.iter().enumerate().map(|(i, data)| i64::from(data * map(y, TILE * tile + i))).sum()
    };
    (0..side).map(|y| (0..outputs / TILE).map(|tile| DATA.map(|row| point(y, tile, row))).collect()).collect()
}

/// One output of those inputs, whose transformed weights are `lane(channel, point, row)`.
fn convolve(inputs: &[Points], bias: i32, [y, x]: [usize; 2], lane: impl Fn(usize, usize, usize) -> i16) -> i32 {
    let mut output = i64::from(bias);
    for (channel, rows) in inputs.iter().enumerate() {
        for row in 0..KERNEL {
            for (p, data) in rows[y + row][x / TILE].iter().enumerate() {
                output += i64::from(INVERSE[p][x % TILE]) * i64::from(lane(channel, p, row)) * data;
            }
        }
    }
    output as i32
}

/// Sums of four neighbours of a map of that side.
fn pool_all(side: usize, map: impl Fn(usize, usize) -> i32) -> Vec<Vec<i32>> {
    let sum = |y, x| map(2 * y, 2 * x) + map(2 * y, 2 * x + 1) + map(2 * y + 1, 2 * x) + map(2 * y + 1, 2 * x + 1);
    (0..side / POOL).map(|y| (0..side / POOL).map(|x| sum(y, x)).collect()).collect()
}

fn linear<const QUADS: usize, const BLOCKS: usize>(
    layer: Stream<'_, QUADS, BLOCKS>,
    input: &[i8],
) -> impl Iterator<Item = i32> {
    (0..BLOCKS * BLOCK).map(move |output| {
        let (block, o) = (output / BLOCK, output % BLOCK);
        let weights = layer.weight[block].iter().flat_map(|quad| unpack_weights(quad[o]));
        let sum: i64 = weights.zip(input).map(|(w, &a)| 256 * i64::from(w) * i64::from(a)).sum();
        requantize((i64::from(layer.bias[block][o]) + sum) as i32, layer.multiplier[block][o])
    })
}

fn defined_logits(f: &Streams, image: &Image) -> Vec<i32> {
    // Unpacked first: Miri takes long to read number by number from an allocation as large as a file.
    let halves = |pair: Pair| [pair.low, pair.high];
    let lanes1 = f.conv1_lanes.map(|points| points.map(|rows| rows[0].map(halves)));
    let lanes2 = f.conv2_lanes.map(|points| points.map(|pairs| pairs.map(|rows| rows.map(halves))));
    let pixels = [points(IMAGE_SIDE, CONV1_SIDE, |y, x| i32::from(image[y][x]))];
    let pooled1: Vec<_> = (0..CONV1_CHANNELS)
        .map(|channel| {
            let lane = |_, p: usize, row: usize| lanes1[channel][p][row / 2][row % 2];
            pool_all(CONV1_SIDE, |y, x| {
                let accumulator = convolve(&pixels, f.conv1_bias[channel], [y, x], lane);
                i32::from(f.conv1_sigmoid[conv_index(accumulator, CONV_SHIFT[0])])
            })
        })
        .collect();
    let pooled1: Vec<_> =
        pooled1.iter().map(|map| points(POOL1_SIDE, CONV2_SIDE, |y, x| map[y][x] - POOLED_CENTRE)).collect();
    let flat: Vec<i8> = (0..CONV2_CHANNELS)
        .flat_map(|channel| {
            let lane = |i: usize, p: usize, row: usize| lanes2[channel][p][i / 2][row][i % 2];
            pool_all(CONV2_SIDE, |y, x| {
                let accumulator = convolve(&pooled1, f.conv2_bias[channel], [y, x], lane);
                i32::from(f.conv2_sigmoid[conv_index(accumulator, CONV_SHIFT[1])])
            })
        })
        .flatten()
        .map(mean_of_four)
        .collect();
    let sigmoid = |value: i32| f.linear_sigmoid[value.clamp(0, SIGMOID_LEN as i32 - 1) as usize];
    let first = linear_stream!(f, linear1_weight, linear1_bias, linear1_multiplier);
    let hidden1: Vec<i8> = linear(first, &flat).map(sigmoid).collect();
    let second = linear_stream!(f, linear2_weight, linear2_bias, linear2_multiplier);
    let hidden2: Vec<i8> = linear(second, &hidden1).map(sigmoid).collect();
    linear(linear_stream!(f, linear3_weight, linear3_bias, linear3_multiplier), &hidden2).take(CLASSES).collect()
}

#[test]
fn the_network_is_its_definition() {
    let (streams, mut rng) = (streams(), ChaCha8Rng::seed_from_u64(1));
    let mut seen = Vec::new();
    for _ in 0..if cfg!(miri) { 2 } else { 4 } {
        let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
        image.as_flattened_mut().fill_with(|| rng.random());
        let logits = portable(&streams, &image);
        assert_eq!(logits[..], defined_logits(&streams, &image)[..]);
        seen.push(logits);
    }
    assert!(seen[0] != seen[1], "the images are told apart");
}

/// What the proofs of all streams say after a change: the step of the first fault.
fn forged(change: impl FnOnce(&mut Streams)) -> Result<(), (usize, Fault)> {
    let mut streams = streams();
    change(&mut streams);
    let f = &*streams;
    let at = |step| move |fault| (step, fault);
    image_stream(f).check(&f.conv1_sigmoid).map_err(at(0))?;
    maps_stream(f).check(&f.conv2_sigmoid).map_err(at(1))?;
    linear_stream!(f, linear1_weight, linear1_bias, linear1_multiplier).check(FLAT, LINEAR1).map_err(at(2))?;
    linear_stream!(f, linear2_weight, linear2_bias, linear2_multiplier).check(LINEAR1, LINEAR2).map_err(at(3))?;
    linear_stream!(f, linear3_weight, linear3_bias, linear3_multiplier).check(LINEAR2, CLASSES).map_err(at(4))?;
    check_centred_table(&f.linear_sigmoid).map_err(at(2))
}

#[test]
fn each_number_is_checked() {
    let range = |step, channel| Err((step, Fault::WeightRange { channel }));
    assert_eq!(forged(|_| ()), Ok(()));
    assert_eq!(forged(|f| f.conv1_lanes[5][7][1][2].high = i16::MIN), range(0, 5));
    assert_eq!(forged(|f| f.conv1_lanes[4][0][0][2].high = 1), range(0, 4));
    assert_eq!(forged(|f| f.conv1_lanes[3][6][1][0].low = 1), range(0, 3));
    assert_eq!(forged(|f| f.conv2_lanes[15][0][2][4].low = i16::MIN), range(1, 15));
    assert_eq!(forged(|f| f.linear1_weight[29][63][3].low = 128), range(2, 119));
    assert_eq!(forged(|f| f.linear2_weight[0][0][0].high = i16::MIN), range(3, 0));
    assert_eq!(forged(|f| f.linear3_weight[2][20][1].low = i16::MAX), range(4, 9));
    assert_eq!(forged(|f| f.linear3_weight[0][21][1].low = 1), range(4, 1));
    assert_eq!(forged(|f| f.linear3_weight[2][0][2].low = 1), range(4, 10));
    assert_eq!(forged(|f| f.conv1_lanes[2][6][1][1].high ^= 2), Err((0, Fault::KernelRows { channel: 2 })));
    let multiplier = |step, channel| Err((step, Fault::Multiplier { channel }));
    assert_eq!(forged(|f| f.linear2_multiplier[0][3] = 0), multiplier(3, 3));
    assert_eq!(forged(|f| f.linear2_multiplier[0][3] = -5), multiplier(3, 3));
    assert_eq!(forged(|f| f.linear3_multiplier[2][3] = 5), multiplier(4, 11));
    let table = |step, index| Err((step, Fault::Table { index }));
    assert_eq!(forged(|f| f.conv1_sigmoid[512] = 1), table(0, 512));
    assert_eq!(forged(|f| f.conv1_sigmoid[1023] = 255), table(0, 1023));
    assert_eq!(forged(|f| f.conv2_sigmoid[0] = -128), table(1, 0));
    assert_eq!(forged(|f| f.linear_sigmoid[1023] = 0), table(2, 1023));
}

#[test]
fn the_accumulator_bounds_are_exact() {
    let overflow = |step, channel| Err((step, Fault::Accumulator { channel }));
    // A linear output of K weights of magnitude w leaves |bias| <= i32::MAX - 256 * 127 * K * w.
    let room = i32::MAX - 256 * 127 * 256 * 127;
    let set = |bias| {
        move |f: &mut Streams| {
            f.linear1_bias[1][2] = bias;
            f.linear1_weight[1].iter_mut().for_each(|outputs| outputs[2] = pack_weights([-127, 127, 127, -127]));
        }
    };
    assert_eq!(forged(set(room)), Ok(()));
    assert_eq!(forged(set(-room)), Ok(()));
    assert_eq!(forged(set(room + 1)), overflow(2, 6));
    assert_eq!(forged(set(-room - 1)), overflow(2, 6));
    assert_eq!(forged(|f| f.linear3_bias[0][0] = i32::MIN), overflow(4, 0));
    assert_eq!(forged(|f| f.linear3_bias[2][3] = 1), overflow(4, 11));
    // Only the point at 0: output 0 is 4 d0 - 21 d2 + 21 d4 - 4 d6 times the lane.
    let set = |bias| {
        move |f: &mut Streams| {
            f.conv1_bias[2] = bias;
            f.conv1_lanes[2] = [[[Pair::default(); 3]; POOL]; POINTS];
            f.conv1_lanes[2][6] = image_rows([32_767, 0, 0, 0, 0]);
        }
    };
    let reach = 25 * 255 * 32_767;
    assert_eq!(forged(set(i32::MAX - reach)), Ok(()));
    assert_eq!(forged(set(i32::MIN + reach)), Ok(()));
    assert_eq!(forged(set(i32::MAX - reach + 1)), overflow(0, 2));
    assert_eq!(forged(set(i32::MIN + reach - 1)), overflow(0, 2));
    let set = |bias| {
        move |f: &mut Streams| {
            f.conv2_bias[9] = bias;
            f.conv2_lanes[9] = [[[Pair::default(); KERNEL]; 3]; POINTS];
            f.conv2_lanes[9][7][2][4].high = -20_000;
        }
    };
    let reach = 50 * 508 * 20_000;
    assert_eq!(forged(set(i32::MAX - reach)), Ok(()));
    assert_eq!(forged(set(i32::MAX - reach + 1)), overflow(1, 9));
    assert_eq!(forged(set(i32::MIN + reach - 1)), overflow(1, 9));
}
