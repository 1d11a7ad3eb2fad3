//! The integer network in plain Rust: the specification of every faster path.
//!
//! A convolution works on tiles of 4 x 4 outputs. At each point of the transform it slides five taps down a column of eight
//! transformed inputs, for four rows of outputs at a time: what is loaded serves as often as registers allow, and nothing is
//! more than a 32-bit multiplication and addition.
//!
//! Each stage hands its accumulators to a closure that turns them into activations; the public stages look them up in the
//! model's tables.

use super::{BLOCK, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_QUADS, LOGIT_BLOCKS, Pooled1, Window};
use crate::format::Model;
use crate::lenet::{CONV1_CHANNELS, CONV2_CHANNELS, CONV2_SIDE, IMAGE_SIDE, Image, KERNEL, POOL, POOL2_SIDE};
use crate::ops::winograd::{BIAS_POINT, POINTS, TILE, WINDOW, inverse, transform_data};
use crate::ops::{LinearInt8, linear_int8};
use crate::quant::{CONV_SHIFT, POOLED_CENTRE, Quad, SIGMOID_LEN, conv_index, linear_index, mean_of_four, requantize};

/// Tiles across convolution 1's map.
const TILES1: usize = (IMAGE_SIDE - KERNEL + 1) / TILE;
/// Tiles across convolution 2's map.
const TILES2: usize = CONV2_SIDE / TILE;
/// Pooled outputs across a tile.
const POOLED: usize = TILE / POOL;

/// The eight rows of input under a tile, transformed: `[point][row]`.
type Columns = [[i32; WINDOW]; POINTS];
/// One point of a tile's four rows of outputs.
type Sums = [i32; TILE];

/// Convolution 1 (BatchNorm folded), sigmoid, pool.
#[inline(never)]
pub fn conv1(model: &Model<'_>, image: &Image, window: &mut Window, pooled: &mut Pooled1) {
    let table = model.conv1().sigmoid;
    conv1_with(model, image, window, pooled, |_, accumulator| table[conv_index(accumulator, CONV_SHIFT[0])]);
}

/// Convolution 2 (BatchNorm folded), sigmoid, pool.
#[inline(never)]
pub fn conv2(model: &Model<'_>, input: &Pooled1, window: &mut Window, flat: &mut [Quad; FLAT_QUADS]) {
    let table = model.conv2().sigmoid;
    conv2_with(model, input, window, flat, |_, accumulator| table[conv_index(accumulator, CONV_SHIFT[1])]);
}

/// Linear 1 (BatchNorm folded) and sigmoid.
#[inline(never)]
pub fn linear1(model: &Model<'_>, input: &[Quad; FLAT_QUADS], output: &mut [Quad; LINEAR1_QUADS]) {
    hidden(&model.linear1(), model.sigmoid(), input, output);
}

/// Linear 2 (BatchNorm folded) and sigmoid. The last quad of `output` pads it and is zero.
#[inline(never)]
pub fn linear2(model: &Model<'_>, input: &[Quad; LINEAR1_QUADS], output: &mut [Quad; LINEAR2_QUADS]) {
    hidden(&model.linear2(), model.sigmoid(), input, output);
    output[LINEAR2_QUADS - 1] = Quad::new([0; 4]);
}

/// Linear 3: the logits, and two zeros after them.
#[inline(never)]
pub fn linear3(model: &Model<'_>, input: &[Quad; LINEAR2_QUADS], logits: &mut [[i32; BLOCK]; LOGIT_BLOCKS]) {
    let layer = model.linear3();
    linear_int8(input, &layer, |block, accumulators| {
        for o in 0..BLOCK {
            logits[block][o] = requantize(accumulators[o], layer.multiplier[block][o]);
        }
    });
}

/// Convolution 1 with `activation(channel, accumulator)` in place of the table.
#[inline(always)]
pub fn conv1_with(
    model: &Model<'_>,
    image: &Image,
    window: &mut Window,
    pooled: &mut Pooled1,
    activation: impl Fn(usize, i32) -> u8,
) {
    let layer = model.conv1();
    let window: &mut [Columns; TILES1] = bytemuck::must_cast_mut(window);
    for (block, rows) in image.as_chunks::<TILE>().0.iter().enumerate() {
        for (tile, columns) in window.iter_mut().enumerate() {
            move_down(rows, TILE * tile, columns);
        }
        let Some(y) = block.checked_sub(1) else { continue };
        for channel in 0..CONV1_CHANNELS {
            for (tile, columns) in window.iter().enumerate() {
                let sums = core::array::from_fn(|p| {
                    // The taps of both output rows of a pooled row are the same.
                    let [[a, b, c], _] = &layer.lanes[channel][p];
                    let start = if p == BIAS_POINT { layer.bias[channel] } else { 0 };
                    let mut sums = [start; TILE];
                    slide([a.low, a.high, b.low, b.high, c.low], &columns[p], &mut sums);
                    sums
                });
                let four = pool(&sums, |accumulator| i32::from(activation(channel, accumulator)));
                for row in 0..POOLED {
                    for x in 0..POOLED {
                        let pair = &mut pooled[channel / 2][POOLED * y + row][POOLED * tile + x];
                        *(if channel % 2 == 0 { &mut pair.low } else { &mut pair.high }) = four[row][x] as i16;
                    }
                }
            }
        }
    }
}

/// Moves a tile's window down by four rows: four stay, four are transformed from the image.
#[inline(always)]
fn move_down(rows: &[[u8; IMAGE_SIDE]; TILE], x: usize, columns: &mut Columns) {
    for p in 0..POINTS {
        for row in 0..TILE {
            columns[p][row] = columns[p][TILE + row];
        }
    }
    for row in 0..TILE {
        transform(columns, TILE + row, |i| i32::from(rows[row][x + i]));
    }
}

/// Convolution 2 with `activation(channel, accumulator)` in place of the table.
#[inline(always)]
pub fn conv2_with(
    model: &Model<'_>,
    input: &Pooled1,
    window: &mut Window,
    flat: &mut [Quad; FLAT_QUADS],
    activation: impl Fn(usize, i32) -> i8,
) {
    let layer = model.conv2();
    let window: &mut [[Columns; 2]; CONV1_CHANNELS / 2] = bytemuck::must_cast_mut(window);
    for tile in 0..TILES2 * TILES2 {
        let (y, x) = (tile / TILES2, tile % TILES2);
        for (map, [low, high]) in input.iter().zip(window.iter_mut()) {
            for row in 0..WINDOW {
                let pairs = &map[TILE * y + row];
                transform(low, row, |i| i32::from(pairs[TILE * x + i].low) - POOLED_CENTRE);
                transform(high, row, |i| i32::from(pairs[TILE * x + i].high) - POOLED_CENTRE);
            }
        }
        for channel in 0..CONV2_CHANNELS {
            let mut sums = [[0; TILE]; POINTS];
            sums[BIAS_POINT] = [layer.bias[channel]; TILE];
            let lanes = &layer.lanes[channel];
            for (pair, [low, high]) in window.iter().enumerate() {
                for p in 0..POINTS {
                    slide(lanes[p][pair].map(|taps| taps.low), &low[p], &mut sums[p]);
                }
                for p in 0..POINTS {
                    slide(lanes[p][pair].map(|taps| taps.high), &high[p], &mut sums[p]);
                }
            }
            let four = pool(&sums, |accumulator| i32::from(activation(channel, accumulator)));
            for row in 0..POOLED {
                let quad = &mut flat[channel * POOL2_SIDE + POOLED * y + row];
                store_half(quad, x, four[row].map(mean_of_four));
            }
        }
    }
}

/// Transforms eight neighbours of an input row into a row of the columns.
#[inline(always)]
fn transform(columns: &mut Columns, row: usize, input: impl Fn(usize) -> i32) {
    let points = transform_data(core::array::from_fn(input));
    for p in 0..POINTS {
        columns[p][row] = points[p];
    }
}

/// Five taps down a column, for four rows of outputs.
#[inline(always)]
fn slide(taps: [i16; KERNEL], column: &[i32; WINDOW], sums: &mut Sums) {
    for ky in 0..KERNEL {
        for row in 0..TILE {
            sums[row] = sums[row].wrapping_add(i32::from(taps[ky]).wrapping_mul(column[row + ky]));
        }
    }
}

/// From the sums of a tile to its outputs, their activations, and the sums of four of these.
#[inline(always)]
fn pool(sums: &[Sums; POINTS], activation: impl Fn(i32) -> i32) -> [[i32; POOLED]; POOLED] {
    let mut pooled = [[0; POOLED]; POOLED];
    for row in 0..TILE {
        let outputs = inverse(core::array::from_fn(|p| sums[p][row]));
        for x in 0..TILE {
            pooled[row / POOL][x / POOL] += activation(outputs[x]);
        }
    }
    pooled
}

/// Puts two activations into the left (`half` 0) or right half of a quad.
#[inline(always)]
fn store_half(quad: &mut Quad, half: usize, [a0, a1]: [i8; 2]) {
    let Quad { odd, even } = Quad::new([a0, a1, 0, 0]);
    if half == 0 {
        (quad.odd.low, quad.even.low) = (odd.low, even.low);
    } else {
        (quad.odd.high, quad.even.high) = (odd.low, even.low);
    }
}

#[inline(always)]
fn hidden<const QUADS: usize, const BLOCKS: usize, const OUT: usize>(
    layer: &LinearInt8<'_, QUADS, BLOCKS>,
    table: &[i8; SIGMOID_LEN],
    input: &[Quad; QUADS],
    output: &mut [Quad; OUT],
) {
    const { assert!(OUT >= BLOCKS, "each block of outputs is a quad of the next layer") }
    linear_int8(input, layer, |block, accumulators| {
        let multiplier = &layer.multiplier[block];
        output[block] = Quad::new(core::array::from_fn(|o| table[linear_index(accumulators[o], multiplier[o])]));
    });
}

#[cfg(all(test, target_endian = "little"))]
mod tests;
