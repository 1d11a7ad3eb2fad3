//! The integer network in plain Rust: the specification of every faster path.
//!
//! Each stage hands its accumulators to a closure that turns them into activations; the public stages look them up in the
//! model's tables.

use super::{Pooled1, Window};
use crate::format::Model;
use crate::lenet::{
    CONV1_CHANNELS, CONV2_CHANNELS, CONV2_SIDE, IMAGE_SIDE, Image, KERNEL, POOL, POOL1_SIDE, POOL2_SIDE,
};
use crate::ops::winograd::{BIAS_POINT, POINTS, TILE, WINDOW, inverse, transform_data};
use crate::ops::{LinearInt8, linear_int8};
use crate::quant::{
    CONV_SHIFT, POOLED_CENTRE, Pair, Quad, SIGMOID_LEN, conv_index, linear_index, mean_of_four, requantize,
};

use super::{BLOCK, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_QUADS, LOGIT_BLOCKS};

/// Tiles across convolution 1's map.
const TILES1: usize = (IMAGE_SIDE - KERNEL + 1) / TILE;
/// Tiles across convolution 2's map.
const TILES2: usize = CONV2_SIDE / TILE;
/// Pairs of input rows under a pooled row of convolution 1.
const ROWS1: usize = KERNEL.div_ceil(POOL);
/// Output rows that convolution 2 computes side by side.
const ROWS2: usize = 4;
/// Input rows that those need.
const WINDOW_ROWS2: usize = ROWS2 + KERNEL - 1;
/// Pairs of convolution 2's input channels.
const PAIRS2: usize = CONV1_CHANNELS / 2;

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
    // [tile][point][pair of rows]: the three pairs of input rows under the current pooled row, transformed.
    let (window, _) = window.as_chunks_mut::<ROWS1>();
    for pair in 0..IMAGE_SIDE / 2 {
        for (tile, points) in window.as_chunks_mut::<POINTS>().0.iter_mut().take(TILES1).enumerate() {
            transform_rows([&image[2 * pair], &image[2 * pair + 1]], TILE * tile, points);
        }
        let Some(y) = pair.checked_sub(ROWS1 - 1) else { continue };
        for channel in 0..CONV1_CHANNELS {
            for (tile, points) in window.as_chunks::<POINTS>().0.iter().take(TILES1).enumerate() {
                let mut sums = [0; TILE / POOL];
                for row in 0..POOL {
                    let mut m = [0_i32; POINTS];
                    m[BIAS_POINT] = layer.bias[channel];
                    for p in 0..POINTS {
                        for r in 0..ROWS1 {
                            m[p] = m[p].wrapping_add(layer.lanes[channel][p][row][r].dot(points[p][r]));
                        }
                    }
                    for (x, accumulator) in inverse(m).into_iter().enumerate() {
                        sums[x / POOL] += i16::from(activation(channel, accumulator));
                    }
                }
                for (x, sum) in sums.into_iter().enumerate() {
                    let pair = &mut pooled[channel / 2][y][tile * (TILE / POOL) + x];
                    *(if channel % 2 == 0 { &mut pair.low } else { &mut pair.high }) = sum;
                }
            }
        }
    }
}

/// Moves a tile's window down by a pair of rows: two pairs stay, the third is transformed from the image.
#[inline(always)]
fn transform_rows(rows: [&[u8; IMAGE_SIDE]; 2], x: usize, points: &mut [[Pair; ROWS1]; POINTS]) {
    let [upper, lower] = rows.map(|row| transform_data(core::array::from_fn(|i| i32::from(row[x + i]))));
    for p in 0..POINTS {
        points[p] = [points[p][1], points[p][2], Pair::new(upper[p] as i16, lower[p] as i16)];
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
    // [half][point][pair of channels][row]: one tile's column, transformed; its halves overlap by four rows.
    let (window, _) = window.as_chunks_mut::<WINDOW_ROWS2>();
    for tile in 0..TILES2 {
        for (pair, map) in input.iter().enumerate() {
            for (y, row) in map.iter().enumerate() {
                let transformed = transform_channels(row, TILE * tile);
                for half in 0..POOL {
                    let Some(slot) = y.checked_sub(ROWS2 * half).filter(|&slot| slot < WINDOW_ROWS2) else { continue };
                    for p in 0..POINTS {
                        window[(half * POINTS + p) * PAIRS2 + pair][slot] = transformed[p];
                    }
                }
            }
        }
        for channel in 0..CONV2_CHANNELS {
            for half in 0..POOL {
                let mut m = [[0_i32; POINTS]; ROWS2];
                for p in 0..POINTS {
                    let mut sums = [if p == BIAS_POINT { layer.bias[channel] } else { 0 }; ROWS2];
                    for pair in 0..PAIRS2 {
                        let column = &window[(half * POINTS + p) * PAIRS2 + pair];
                        slide(&layer.lanes[channel][p][pair], column, &mut sums);
                    }
                    for row in 0..ROWS2 {
                        m[row][p] = sums[row];
                    }
                }
                let rows = m.map(|m| inverse(m).map(|accumulator| i32::from(activation(channel, accumulator))));
                for (y, [upper, lower]) in rows.as_chunks::<POOL>().0.iter().enumerate() {
                    let means = [0, POOL].map(|x| mean_of_four(upper[x] + upper[x + 1] + lower[x] + lower[x + 1]));
                    store_half(&mut flat[channel * POOL2_SIDE + half * (ROWS2 / POOL) + y], tile, means);
                }
            }
        }
    }
}

/// Five taps down a column: each word of it is read once, for all the rows that it belongs to.
#[inline(always)]
fn slide(taps: &[Pair; KERNEL], column: &[Pair; WINDOW_ROWS2], sums: &mut [i32; ROWS2]) {
    for slot in 0..WINDOW_ROWS2 {
        let (low, high) = (i32::from(column[slot].low), i32::from(column[slot].high));
        for row in 0..ROWS2 {
            let Some(tap) = slot.checked_sub(row).and_then(|ky| taps.get(ky)) else { continue };
            let product = (i32::from(tap.low) * low).wrapping_add(i32::from(tap.high) * high);
            sums[row] = sums[row].wrapping_add(product);
        }
    }
}

/// Eight columns of two channels, centred and transformed.
#[inline(always)]
fn transform_channels(row: &[Pair; POOL1_SIDE], x: usize) -> [Pair; POINTS] {
    let columns: [Pair; WINDOW] = core::array::from_fn(|i| row[x + i]);
    let low = transform_data(columns.map(|pair| i32::from(pair.low) - POOLED_CENTRE));
    let high = transform_data(columns.map(|pair| i32::from(pair.high) - POOLED_CENTRE));
    core::array::from_fn(|p| Pair::new(low[p] as i16, high[p] as i16))
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
