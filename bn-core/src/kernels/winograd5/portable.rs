//! The convolutions in plain Rust: the specification of every faster path.
//!
//! A convolution works on tiles of 4 x 4 outputs. At each point of the transform it slides five taps down a column of eight
//! transformed inputs, for four rows of outputs at a time: what is loaded serves as often as registers allow, and nothing is
//! more than a 32-bit multiplication and addition.
//!
//! Each hands its accumulators to a closure that turns them into activations; the public functions look them up in tables.

use super::{Flat, ImageStream, Maps, MapsStream, Window};
use crate::kernels::{CentredTable, Table};
use crate::lenet::{CONV1_CHANNELS, CONV2_CHANNELS, CONV2_SIDE, IMAGE_SIDE, Image, KERNEL, POOL, POOL2_SIDE};
use crate::ops::winograd::{BIAS_POINT, POINTS, TILE, WINDOW, inverse, transform_data};
use crate::quant::{CONV_SHIFT, POOLED_CENTRE, Quad, conv_index, mean_of_four};

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

/// Convolution of an image (BatchNorm folded), sigmoid, pool.
#[inline(never)]
pub fn image(stream: &ImageStream, table: &Table, image: &Image, window: &mut Window, pooled: &mut Maps) {
    image_with(stream, image, window, pooled, |_, accumulator| table[conv_index(accumulator, CONV_SHIFT[0])]);
}

/// Convolution of six maps (BatchNorm folded), sigmoid, pool.
#[inline(never)]
pub fn maps(stream: &MapsStream, table: &CentredTable, input: &Maps, window: &mut Window, flat: &mut Flat) {
    maps_with(stream, input, window, flat, |_, accumulator| table[conv_index(accumulator, CONV_SHIFT[1])]);
}

/// [`image`] with `activation(channel, accumulator)` in place of the table.
#[inline(always)]
pub fn image_with(
    stream: &ImageStream,
    image: &Image,
    window: &mut Window,
    pooled: &mut Maps,
    activation: impl Fn(usize, i32) -> u8,
) {
    let window: &mut [Columns; TILES1] = bytemuck::must_cast_mut(window);
    for block in 0..IMAGE_SIDE / TILE {
        for tile in 0..TILES1 {
            move_down(image, [TILE * block, TILE * tile], &mut window[tile]);
        }
        let Some(y) = block.checked_sub(1) else { continue };
        for channel in 0..CONV1_CHANNELS {
            for (tile, columns) in window.iter().enumerate() {
                let sums = core::array::from_fn(|p| {
                    // The taps of both output rows of a pooled row are the same.
                    let [[a, b, c], _] = &stream.lanes[channel][p];
                    let start = if p == BIAS_POINT { stream.bias[channel] } else { 0 };
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

/// Moves a tile's window down by four rows: four stay, four are transformed from the image, from `y` and `x` on.
#[inline(always)]
fn move_down(image: &Image, [y, x]: [usize; 2], columns: &mut Columns) {
    for p in 0..POINTS {
        for row in 0..TILE {
            columns[p][row] = columns[p][TILE + row];
        }
    }
    for row in 0..TILE {
        transform(columns, TILE + row, |i| i32::from(image[y + row][x + i]));
    }
}

/// [`maps`] with `activation(channel, accumulator)` in place of the table.
#[inline(always)]
pub fn maps_with(
    stream: &MapsStream,
    input: &Maps,
    window: &mut Window,
    flat: &mut Flat,
    activation: impl Fn(usize, i32) -> i8,
) {
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
            sums[BIAS_POINT] = [stream.bias[channel]; TILE];
            let lanes = &stream.lanes[channel];
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
