//! The integer network for Cortex-M cores without the DSP extension: the bits of [`portable`](super::portable), in assembly.
//! Linked in only where the build script has chosen it: `armv7m` for the M3, `armv6m` for M0 and M0+.
//!
//! Both have the same functions. What one multiplication takes is one word, so the transformed inputs are kept as words, and a
//! tile is 4 rows of 4 columns: eight rows of input, which fill [`Window`] exactly. The `.s` files are plain GNU syntax; they
//! use no floating point and no global state, keep the calling convention, and need LDM and STM at 4-byte aligned addresses
//! only, which the types of the buffers guarantee.
#![allow(unsafe_code)]

use core::arch::global_asm;

use super::{BLOCK, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_QUADS, LOGIT_BLOCKS, Pooled1, Window};
use crate::format::Model;
use crate::lenet::{CONV1_CHANNELS, CONV2_CHANNELS, IMAGE_SIDE, Image, POOL1_SIDE, POOL2_SIDE};
use crate::ops::LinearInt8;
use crate::ops::winograd::TILE;
use crate::quant::{CONV_SHIFT, Pair, Quad, SIGMOID_LEN, table_index};

#[cfg(bn_lenet_arch = "armv7m")]
global_asm!(
    include_str!("cortex_m/armv7m/transform.s"),
    include_str!("cortex_m/armv7m/conv.s"),
    include_str!("cortex_m/armv7m/linear.s"),
    options(raw)
);
#[cfg(bn_lenet_arch = "armv6m")]
global_asm!(
    include_str!("cortex_m/armv6m/transform.s"),
    include_str!("cortex_m/armv6m/conv.s"),
    include_str!("cortex_m/armv6m/linear.s"),
    options(raw)
);

#[cfg(bn_lenet_arch = "armv7m")]
use crate::quant::requantize;
#[cfg(bn_lenet_arch = "armv6m")]
use crate::quant::requantize_by_halves as requantize;

/// Rows of input under a tile.
const ROWS: usize = 8;

// What the assembly has as literals.
const _: () = {
    assert!(CONV_SHIFT[0] == 13 && CONV_SHIFT[1] == 17 && SIGMOID_LEN == 1 << 10);
    assert!(IMAGE_SIDE == 28 && POOL1_SIDE == 12 && POOL2_SIDE == 4 && TILE == 4 && CONV1_CHANNELS == 6);
    assert!(FLAT_QUADS == 64 && LINEAR1_QUADS == 30 && LINEAR2_QUADS == 22);
    assert!(size_of::<Window>() == 1536 && size_of::<Quad>() == 8);
};

#[repr(C)]
struct Channel<T> {
    bias: i32,
    sigmoid: *const T,
    output: *mut i16,
}

unsafe extern "C" {
    fn bn_lenet_transform_row(row: *const u8, window: *mut i32);
    fn bn_lenet_conv1_channel(window: *const i32, lanes: *const i16, rest: &Channel<u8>);
    fn bn_lenet_transform_channels(map: *const Pair, window: *mut i32);
    fn bn_lenet_conv2_channel(window: *const i32, lanes: *const i16, rest: &Channel<i8>);
    fn bn_lenet_linear_blocks(
        input: *const Quad,
        end: *const Quad,
        weights: &[*const Pair; 2],
        sums: &mut [[i32; BLOCK]; 2],
    );
}

/// See [`portable::conv1`](super::portable::conv1).
#[inline(never)]
pub fn conv1(model: &Model<'_>, image: &Image, window: &mut Window, pooled: &mut Pooled1) {
    let layer = model.conv1();
    // [tile][point][row]
    let window: &mut [i32; size_of::<Window>() / 4] = bytemuck::must_cast_mut(window);
    let pooled: *mut i16 = pooled.as_flattened_mut().as_flattened_mut().as_mut_ptr().cast();
    for (four, rows) in image.as_chunks::<{ ROWS / 2 }>().0.iter().enumerate() {
        for column in window.as_chunks_mut::<ROWS>().0 {
            column.copy_within(ROWS / 2.., 0);
        }
        for (slot, row) in (ROWS / 2..).zip(rows) {
            // SAFETY: reads the 28 pixels of `row`; writes one word of each of the 48 columns, from the first one's `slot` on: it is
            // below ROWS.
            unsafe { bn_lenet_transform_row(row.as_ptr(), window.as_mut_ptr().add(slot)) };
        }
        let Some(tile) = four.checked_sub(1) else { continue };
        for channel in 0..CONV1_CHANNELS {
            let halfword = (channel / 2 * POOL1_SIDE + 2 * tile) * 2 * POOL1_SIDE + channel % 2;
            let rest = Channel {
                bias: layer.bias[channel],
                sigmoid: layer.sigmoid.as_ptr(),
                // SAFETY: a half of the first pair of a row of the map that the pointer was taken from.
                output: unsafe { pooled.add(halfword) },
            };
            // SAFETY: reads all of `window`, the lanes of the channel, and the table at indices that were saturated to it; writes
            // that half of the 12 pairs of two rows.
            unsafe { bn_lenet_conv1_channel(window.as_ptr(), layer.lanes[channel].as_ptr().cast(), &rest) };
        }
    }
}

/// See [`portable::conv2`](super::portable::conv2).
#[inline(never)]
pub fn conv2(model: &Model<'_>, input: &Pooled1, window: &mut Window, flat: &mut [Quad; FLAT_QUADS]) {
    let layer = model.conv2();
    // [point][input channel][row]
    let window: &mut [i32; size_of::<Window>() / 4] = bytemuck::must_cast_mut(window);
    let flat: *mut i16 = flat.as_mut_ptr().cast();
    for quarter in 0..4 {
        let (half, tile) = (quarter / 2, quarter % 2);
        for (pair, map) in input.iter().enumerate() {
            let columns: *const Pair = map.as_flattened()[4 * half * POOL1_SIDE + TILE * tile..].as_ptr();
            // SAFETY: reads 8 rows of 8 pairs, 12 pairs apart, which end with the map's last row for half 1; writes 8 words in each
            // of two of the 6 columns of every point, the last of which ends with `window` for pair 2.
            unsafe { bn_lenet_transform_channels(columns, window.as_mut_ptr().add(2 * ROWS * pair)) };
        }
        for channel in 0..CONV2_CHANNELS {
            let rest = Channel {
                bias: layer.bias[channel],
                sigmoid: layer.sigmoid.as_ptr(),
                // SAFETY: the first or second halfword of a quad: of the channel's four, the first or third.
                output: unsafe { flat.add(4 * (POOL2_SIDE * channel + 2 * half) + tile) },
            };
            // SAFETY: reads all of `window`, the lanes of the channel, and the table at indices that were saturated to it; writes
            // the halfwords 0, 2, 4 and 6 from `output` on: of that quad and the next.
            unsafe { bn_lenet_conv2_channel(window.as_ptr(), layer.lanes[channel].as_ptr().cast(), &rest) };
        }
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
    requantized(&model.linear3(), input, |block, values| logits[block] = values);
}

#[inline(always)]
fn hidden<const QUADS: usize, const BLOCKS: usize, const OUT: usize>(
    layer: &LinearInt8<'_, QUADS, BLOCKS>,
    table: &[i8; SIGMOID_LEN],
    input: &[Quad; QUADS],
    output: &mut [Quad; OUT],
) {
    const { assert!(OUT >= BLOCKS, "each block of outputs is a quad of the next layer") }
    requantized(layer, input, |block, values| {
        output[block] = Quad::new(values.map(|value| table[table_index(value)]));
    });
}

/// Two blocks at a time; an odd last block is computed twice.
#[inline(always)]
fn requantized<const QUADS: usize, const BLOCKS: usize>(
    layer: &LinearInt8<'_, QUADS, BLOCKS>,
    input: &[Quad; QUADS],
    mut store: impl FnMut(usize, [i32; BLOCK]),
) {
    let inputs = input.as_ptr_range();
    for first in (0..BLOCKS).step_by(2) {
        let blocks = [first, first + 1].map(|block| block.min(BLOCKS - 1));
        let mut sums = blocks.map(|block| layer.bias[block]);
        let weights = blocks.map(|block| layer.weight[block].as_flattened().as_ptr());
        // SAFETY: reads `input` and as many quads of weights of either block.
        unsafe { bn_lenet_linear_blocks(inputs.start, inputs.end, &weights, &mut sums) };
        for (block, sums) in blocks.into_iter().zip(sums) {
            let multiplier = &layer.multiplier[block];
            store(block, core::array::from_fn(|o| requantize(sums[o], multiplier[o])));
        }
    }
}
