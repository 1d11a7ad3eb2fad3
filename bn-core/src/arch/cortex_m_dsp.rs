//! The integer network for Cortex-M cores with the DSP extension (M4, M7, M33): the bits of [`portable`](super::portable), in
//! assembly. Linked in only where the build script has chosen it.
//!
//! The `.s` files are plain GNU syntax with named registers and a diagram of each tile. They use no floating point and no
//! global state, keep the calling convention, and need LDM and STM at 4-byte aligned addresses only, which the types of the
//! buffers guarantee.
#![allow(unsafe_code)]

pub(crate) mod small;

use core::arch::global_asm;

use super::{BLOCK, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_QUADS, LOGIT_BLOCKS, Pooled1, Window};
use crate::format::Model;
use crate::lenet::{IMAGE_SIDE, Image, POOL1_SIDE, POOL2_SIDE};
use crate::ops::LinearInt8;
use crate::ops::winograd::TILE;
use crate::quant::{CONV_SHIFT, Pair, Quad, SIGMOID_LEN};

// The name of an Armv8-M target does not include the extension; this is for the assembler alone.
#[cfg(bn_lenet_armv8m)]
global_asm!(".cpu cortex-m33");

global_asm!(
    include_str!("cortex_m_dsp/transform.s"),
    include_str!("cortex_m_dsp/inverse.s"),
    include_str!("cortex_m_dsp/conv1.s"),
    include_str!("cortex_m_dsp/conv2.s"),
    include_str!("cortex_m_dsp/linear.s"),
    include_str!("cortex_m_dsp/small_conv1.s"),
    include_str!("cortex_m_dsp/small.s"),
    options(raw)
);

// What the assembly has as literals.
const _: () = {
    assert!(CONV_SHIFT[0] == 13 && CONV_SHIFT[1] == 17 && SIGMOID_LEN == 1 << 10);
    assert!(IMAGE_SIDE == 28 && POOL1_SIDE == 12 && POOL2_SIDE == 4 && TILE == 4);
    assert!(FLAT_QUADS == 64 && LINEAR1_QUADS == 30 && LINEAR2_QUADS == 22);
    assert!(size_of::<Window>() == 1536 && size_of::<Quad>() == 8);
};

#[repr(C)]
struct Conv1Rows {
    bias: *const i32,
    sigmoid: *const u8,
    pooled: *mut Pair,
}

#[repr(C)]
struct Conv2Tile<Flat> {
    bias: *const i32,
    sigmoid: *const i8,
    flat: *mut Flat,
}

#[repr(C)]
struct Linear {
    input: *const Quad,
    weight: *const Pair,
    bias: *const i32,
    multiplier: *const i32,
    /// Null: the output is logits.
    sigmoid: *const i8,
    /// Of quads, or of blocks of logits.
    output: *mut u32,
    blocks: usize,
    quads: usize,
}

unsafe extern "C" {
    fn bn_lenet_transform_upper(rows: *const u8, window: *mut Pair);
    fn bn_lenet_transform_lower(rows: *const u8, window: *mut Pair);
    fn bn_lenet_conv1_rows(window: *const Pair, lanes: *const Pair, rest: &Conv1Rows);
    fn bn_lenet_transform_channels(map: *const Pair, window: *mut Pair);
    fn bn_lenet_conv2_tile(window: *const Pair, lanes: *const Pair, rest: &Conv2Tile<i16>);
    fn bn_lenet_linear(rest: &Linear);
}

/// See [`portable::conv1`](super::portable::conv1).
#[inline(never)]
pub fn conv1(model: &Model<'_>, image: &Image, window: &mut Window, pooled: &mut Pooled1) {
    let layer = model.conv1();
    let pooled: *mut Pair = pooled.as_flattened_mut().as_flattened_mut().as_mut_ptr();
    for (step, rows) in image.as_chunks::<4>().0.iter().enumerate() {
        let [upper, lower] = [0, 2].map(|row| rows[row..].as_flattened().as_ptr());
        // SAFETY: each reads the 56 pixels of two rows; reads and writes the first 768 bytes of `window`.
        unsafe {
            bn_lenet_transform_upper(upper, window.as_mut_ptr());
            bn_lenet_transform_lower(lower, window.as_mut_ptr());
        }
        // The window holds eight rows, enough for two pooled ones.
        let Some(y) = (2 * step).checked_sub(2) else { continue };
        let rest = Conv1Rows {
            bias: layer.bias.as_ptr(),
            sigmoid: layer.sigmoid.as_ptr(),
            // SAFETY: `y` is below 11, and the map that the pointer was taken from has 12 rows.
            pooled: unsafe { pooled.add(y * POOL1_SIDE) },
        };
        // SAFETY: reads the first 768 bytes of `window`, the lanes and bias of the 6 channels, and the table at indices that
        // were saturated to it; writes two rows of 12 pairs in each of the 3 maps, 576 bytes apart, from row `y` on.
        unsafe { bn_lenet_conv1_rows(window.as_ptr(), layer.lanes.as_ptr().cast(), &rest) };
    }
}

/// See [`portable::conv2`](super::portable::conv2).
#[inline(never)]
pub fn conv2(model: &Model<'_>, input: &Pooled1, window: &mut Window, flat: &mut [Quad; FLAT_QUADS]) {
    let layer = model.conv2();
    let flat: *mut i16 = flat.as_mut_ptr().cast();
    for tile in 0..2 {
        for (pair, map) in input.iter().enumerate() {
            let columns: *const Pair = map.as_flattened()[TILE * tile..].as_ptr();
            let slots: *mut Pair = window[8 * pair..].as_mut_ptr();
            // SAFETY: reads 12 rows of 8 pairs, 12 pairs apart, which end with the map's last row; writes 8 slots of each of
            // the 16 columns of this pair of channels, 96 bytes apart, the last of which ends with `window` for pair 2.
            unsafe { bn_lenet_transform_channels(columns, slots) };
        }
        let rest = Conv2Tile {
            bias: layer.bias.as_ptr(),
            sigmoid: layer.sigmoid.as_ptr(),
            // SAFETY: one halfword into the first quad at most.
            flat: unsafe { flat.add(tile) },
        };
        // SAFETY: reads `window`, the lanes and bias of the 16 channels, and the table at indices that were saturated to it;
        // writes the halfwords `tile` and `tile + 2` of each of the 64 quads.
        unsafe { bn_lenet_conv2_tile(window.as_ptr(), layer.lanes.as_ptr().cast(), &rest) };
    }
}

/// See [`portable::linear1`](super::portable::linear1).
#[inline(never)]
pub fn linear1(model: &Model<'_>, input: &[Quad; FLAT_QUADS], output: &mut [Quad; LINEAR1_QUADS]) {
    hidden(&model.linear1(), model.sigmoid(), input, output);
}

/// See [`portable::linear2`](super::portable::linear2).
#[inline(never)]
pub fn linear2(model: &Model<'_>, input: &[Quad; LINEAR1_QUADS], output: &mut [Quad; LINEAR2_QUADS]) {
    hidden(&model.linear2(), model.sigmoid(), input, output);
    output[LINEAR2_QUADS - 1] = Quad::new([0; 4]);
}

/// See [`portable::linear3`](super::portable::linear3).
#[inline(never)]
pub fn linear3(model: &Model<'_>, input: &[Quad; LINEAR2_QUADS], logits: &mut [[i32; BLOCK]; LOGIT_BLOCKS]) {
    let output = logits.as_mut_ptr().cast();
    let rest = arguments(&model.linear3(), core::ptr::null(), input, output);
    // SAFETY: reads the layer and its input, writes a block of logits for each of the layer's blocks.
    unsafe { bn_lenet_linear(&rest) };
}

fn hidden<const QUADS: usize, const BLOCKS: usize, const OUT: usize>(
    layer: &LinearInt8<'_, QUADS, BLOCKS>,
    table: &[i8; SIGMOID_LEN],
    input: &[Quad; QUADS],
    output: &mut [Quad; OUT],
) {
    const { assert!(OUT >= BLOCKS, "each block of outputs is a quad of the next layer") }
    let rest = arguments(layer, table.as_ptr(), input, output.as_mut_ptr().cast());
    // SAFETY: reads the layer, its input, and the table at indices that were saturated to it; writes a quad for each of the
    // layer's blocks, of which the output has at least as many.
    unsafe { bn_lenet_linear(&rest) };
}

fn arguments<const QUADS: usize, const BLOCKS: usize>(
    layer: &LinearInt8<'_, QUADS, BLOCKS>,
    sigmoid: *const i8,
    input: &[Quad; QUADS],
    output: *mut u32,
) -> Linear {
    const { assert!(QUADS == FLAT_QUADS || QUADS == LINEAR1_QUADS || QUADS == LINEAR2_QUADS, "linear.s has three entries") }
    Linear {
        input: input.as_ptr(),
        weight: layer.weight.as_ptr().cast(),
        bias: layer.bias.as_ptr().cast(),
        multiplier: layer.multiplier.as_ptr().cast(),
        sigmoid,
        output,
        blocks: BLOCKS,
        quads: QUADS,
    }
}
