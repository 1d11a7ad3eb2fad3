//! The layers of the small build: what [`winograd5`](crate::kernels::winograd5) and [`linear`](crate::kernels::linear) give, in less
//! flash and RAM. Their names are those of generated code.
#![allow(unsafe_code)]

use super::{Flat, Weights, Window};
use crate::kernels::linear::cortex_m_dsp::{Arguments, arguments};
use crate::kernels::linear::{BLOCK, Stream};
use crate::kernels::winograd5::Maps as Pooled1;
use crate::kernels::winograd5::cortex_m_dsp::{Conv1Rows, Conv2Tile};
use crate::lenet::{FLAT_QUADS, IMAGE_SIDE, Image, LINEAR1_QUADS, LINEAR2_QUADS, LOGIT_BLOCKS, POOL1_SIDE, POOL2_SIDE};
use crate::ops::winograd::TILE;
use crate::quant::{Pair, Quad};

const _: () = {
    assert!(IMAGE_SIDE == 28 && POOL1_SIDE == 12 && POOL2_SIDE == 4 && TILE == 4);
    assert!(size_of::<Window>() == 768 && size_of::<Flat>() == 256);
};

unsafe extern "C" {
    fn bn_lenet_transform_rows(rows: *const u8, window: *mut Pair);
    fn bn_lenet_small_conv1_row(window: *const Pair, lanes: *const Pair, rest: &Conv1Rows);
    fn bn_lenet_small_transform_channels(map: *const Pair, window: *mut Pair);
    fn bn_lenet_small_conv2(window: *const Pair, lanes: *const Pair, rest: &Conv2Tile<i8>);
    fn bn_lenet_small_linear(rest: &Arguments);
}

/// See [`winograd5::image`](crate::kernels::winograd5::image).
#[inline(never)]
pub(crate) fn step_0(weights: &Weights, image: &Image, window: &mut Window, pooled: &mut Pooled1) {
    let pooled: *mut Pair = pooled.as_flattened_mut().as_flattened_mut().as_mut_ptr();
    for (pair, rows) in image.as_chunks::<2>().0.iter().enumerate() {
        // SAFETY: reads the 56 pixels of `rows`; reads and writes the first 576 bytes of `window`.
        unsafe { bn_lenet_transform_rows(rows.as_flattened().as_ptr(), window.as_mut_ptr()) };
        let Some(y) = pair.checked_sub(2) else { continue };
        let rest = Conv1Rows {
            bias: weights.conv1_bias.as_ptr(),
            sigmoid: weights.conv1_sigmoid.as_ptr(),
            // SAFETY: `y` is below 12, the rows of the map that the pointer was taken from.
            pooled: unsafe { pooled.add(y * POOL1_SIDE) },
        };
        // SAFETY: reads the first 576 bytes of `window`, the lanes and bias of the 6 channels, and the half table at indices
        // that were saturated to the table and mirrored into the half; writes one row of 12 pairs in each of the 3 maps, 576
        // bytes apart, from row `y` on.
        unsafe { bn_lenet_small_conv1_row(window.as_ptr(), weights.conv1_lanes.as_ptr().cast(), &rest) };
    }
}

/// See [`winograd5::maps`](crate::kernels::winograd5::maps): the activations, not yet made into quads.
#[inline(never)]
pub(crate) fn step_1(weights: &Weights, input: &Pooled1, window: &mut Window, flat: &mut Flat) {
    let maps: *const Pair = input.as_flattened().as_flattened().as_ptr();
    let flat: *mut i8 = flat.as_flattened_mut().as_mut_ptr();
    for part in 0..4 {
        // The half in rows of outputs, the tile in columns.
        let (half, tile) = (part / 2, part % 2);
        for pair in 0..input.len() {
            // SAFETY: 8 rows from row 0 or 4 and 8 columns from column 0 or 4 on are inside a map of 12 by 12; 8 slots of each
            // of the 8 columns of this pair of channels, 96 bytes apart, end with `window` for pair 2. The function reads the
            // former and writes the latter.
            unsafe {
                let columns = maps.add((pair * POOL1_SIDE + TILE * half) * POOL1_SIDE + TILE * tile);
                bn_lenet_small_transform_channels(columns, window.as_mut_ptr().add(8 * pair));
            }
        }
        let rest = Conv2Tile {
            bias: weights.conv2_bias.as_ptr(),
            sigmoid: weights.conv2_sigmoid.as_ptr().cast(),
            // SAFETY: 10 bytes into the first channel's 16 at most.
            flat: unsafe { flat.add(2 * POOL2_SIDE * half + 2 * tile) },
        };
        // SAFETY: reads `window`, the lanes and bias of the 16 channels, and the half table as convolution 1 does; writes two
        // bytes in each of two rows, 4 bytes apart, of each of the 16 channels, 16 bytes apart.
        unsafe { bn_lenet_small_conv2(window.as_ptr(), weights.conv2_lanes.as_ptr().cast(), &rest) };
    }
}

/// See [`linear::sigmoid`](crate::kernels::linear::sigmoid).
#[inline(never)]
pub(crate) fn step_2(weights: &Weights, input: &[Quad; FLAT_QUADS], output: &mut [Quad; LINEAR1_QUADS]) {
    linear(&weights.linear1(), weights.linear_sigmoid.as_ptr(), input, output.as_mut_ptr().cast());
}

/// See [`linear::sigmoid`](crate::kernels::linear::sigmoid).
#[inline(never)]
pub(crate) fn step_3(weights: &Weights, input: &[Quad; LINEAR1_QUADS], output: &mut [Quad; LINEAR2_QUADS]) {
    linear(&weights.linear2(), weights.linear_sigmoid.as_ptr(), input, output.as_mut_ptr().cast());
    output[LINEAR2_QUADS - 1] = Quad::new([0; 4]);
}

/// See [`linear::logits`](crate::kernels::linear::logits).
#[inline(never)]
pub(crate) fn step_4(weights: &Weights, input: &[Quad; LINEAR2_QUADS], logits: &mut [[i32; BLOCK]; LOGIT_BLOCKS]) {
    linear(&weights.linear3(), core::ptr::null(), input, logits.as_mut_ptr().cast());
}

/// `output` has a quad, or a block of logits, for each of the layer's blocks.
#[inline(always)]
fn linear<const QUADS: usize, const BLOCKS: usize>(
    layer: &Stream<'_, QUADS, BLOCKS>,
    sigmoid: *const u8,
    input: &[Quad; QUADS],
    output: *mut u32,
) {
    const { assert!(QUADS.is_multiple_of(2), "the loop takes two quads") }
    let rest = arguments(layer, sigmoid.cast(), input, output);
    // SAFETY: reads the layer, its input, and the half table as the convolutions do; writes a quad, or a block of logits, for
    // each of the layer's blocks, of which each of the three callers' outputs has as many.
    unsafe { bn_lenet_small_linear(&rest) };
}
