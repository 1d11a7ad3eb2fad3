//! The specification against its own definition: every output on its own, straight from the matrices of the transform and the
//! unpacked weights, in 64 bits.

use std::boxed::Box;
use std::vec::Vec;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::format::{parse, tests::valid};
use crate::lenet::{CLASSES, CONV1_SIDE, POOL1_SIDE};
use crate::ops::winograd::{DATA, INVERSE};
use crate::quant::{Pair, unpack_weights};
use crate::{Scratch, predict};

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
    layer: &LinearInt8<'_, QUADS, BLOCKS>,
    input: &[i8],
) -> impl Iterator<Item = i32> {
    (0..BLOCKS * BLOCK).map(move |output| {
        let (block, o) = (output / BLOCK, output % BLOCK);
        let weights = layer.weight[block].iter().flat_map(|quad| unpack_weights(quad[o]));
        let sum: i64 = weights.zip(input).map(|(w, &a)| 256 * i64::from(w) * i64::from(a)).sum();
        requantize((i64::from(layer.bias[block][o]) + sum) as i32, layer.multiplier[block][o])
    })
}

fn logits(model: &Model<'_>, image: &Image) -> Vec<i32> {
    let (conv1, conv2) = (model.conv1(), model.conv2());
    // Unpacked first: Miri takes long to read number by number from an allocation as large as a file.
    let halves = |pair: Pair| [pair.low, pair.high];
    let lanes1 = conv1.lanes.map(|points| points.map(|rows| rows[0].map(halves)));
    let lanes2 = conv2.lanes.map(|points| points.map(|pairs| pairs.map(|rows| rows.map(halves))));
    let pixels = [points(IMAGE_SIDE, CONV1_SIDE, |y, x| i32::from(image[y][x]))];
    let pooled1: Vec<_> = (0..CONV1_CHANNELS)
        .map(|channel| {
            let lane = |_, p: usize, row: usize| lanes1[channel][p][row / 2][row % 2];
            pool_all(CONV1_SIDE, |y, x| {
                let accumulator = convolve(&pixels, conv1.bias[channel], [y, x], lane);
                i32::from(conv1.sigmoid[conv_index(accumulator, CONV_SHIFT[0])])
            })
        })
        .collect();
    let pooled1: Vec<_> =
        pooled1.iter().map(|map| points(POOL1_SIDE, CONV2_SIDE, |y, x| map[y][x] - POOLED_CENTRE)).collect();
    let flat: Vec<i8> = (0..CONV2_CHANNELS)
        .flat_map(|channel| {
            let lane = |i: usize, p: usize, row: usize| lanes2[channel][p][i / 2][row][i % 2];
            pool_all(CONV2_SIDE, |y, x| {
                let accumulator = convolve(&pooled1, conv2.bias[channel], [y, x], lane);
                i32::from(conv2.sigmoid[conv_index(accumulator, CONV_SHIFT[1])])
            })
        })
        .flatten()
        .map(mean_of_four)
        .collect();
    let sigmoid = |value: i32| model.sigmoid()[value.clamp(0, SIGMOID_LEN as i32 - 1) as usize];
    let hidden1: Vec<i8> = linear(&model.linear1(), &flat).map(sigmoid).collect();
    let hidden2: Vec<i8> = linear(&model.linear2(), &hidden1).map(sigmoid).collect();
    linear(&model.linear3(), &hidden2).take(CLASSES).collect()
}

#[test]
fn the_network_is_its_definition() {
    let mut file = valid();
    // So that the middle of the table is where the sums are.
    const MULTIPLIER: i32 = 40_000;
    let middle = ((SIGMOID_LEN as i64 / 2) << 32) / i64::from(MULTIPLIER);
    file.linear1_multiplier.as_flattened_mut().fill(MULTIPLIER);
    file.linear2_multiplier.as_flattened_mut().fill(MULTIPLIER);
    file.linear3_multiplier.as_flattened_mut()[..CLASSES].fill(i32::MAX);
    file.linear1_bias.as_flattened_mut().fill(middle as i32);
    file.linear2_bias.as_flattened_mut().fill(middle as i32);
    file.seal();
    let model = parse(file.bytes()).unwrap();
    let (mut rng, mut scratch) = (ChaCha8Rng::seed_from_u64(1), Box::new(Scratch::new()));
    let mut seen = Vec::new();
    for _ in 0..if cfg!(miri) { 2 } else { 4 } {
        let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
        image.as_flattened_mut().fill_with(|| rng.random());
        let prediction = predict(&model, &image, &mut scratch);
        assert_eq!(prediction.logits[..], logits(&model, &image)[..]);
        seen.push(prediction.logits);
    }
    assert!(seen[0] != seen[1], "the images are told apart");
}
