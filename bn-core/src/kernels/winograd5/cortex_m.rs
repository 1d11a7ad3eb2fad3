//! The convolutions for Cortex-M cores without the DSP extension: the bits of [`portable`](super::portable), in assembly.
//! Linked in only where the build script has chosen it: `armv7m` for the M3, `armv6m` for M0 and M0+.
//!
//! Both have the same functions. What one multiplication takes is one word, so the transformed inputs are kept as words, and a
//! tile is 4 rows of 4 columns: eight rows of input, which fill [`Window`] exactly.
#![allow(unsafe_code)]

use super::{Flat, ImageStream, Maps, MapsStream, Window};
use crate::kernels::{CentredTable, Table};
use crate::lenet::{CONV1_CHANNELS, CONV2_CHANNELS, IMAGE_SIDE, Image, POOL1_SIDE, POOL2_SIDE};
use crate::ops::winograd::TILE;
use crate::quant::{CONV_SHIFT, Pair, SIGMOID_LEN};

/// Rows of input under a tile.
const ROWS: usize = 8;

// What the assembly has as literals.
const _: () = {
    assert!(CONV_SHIFT[0] == 13 && CONV_SHIFT[1] == 17 && SIGMOID_LEN == 1 << 10);
    assert!(IMAGE_SIDE == 28 && POOL1_SIDE == 12 && POOL2_SIDE == 4 && TILE == 4 && CONV1_CHANNELS == 6);
    assert!(size_of::<Window>() == 1536);
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
}

/// See [`portable::image`](super::portable::image).
#[inline(always)]
pub fn image(stream: &ImageStream, table: &Table, image: &Image, window: &mut Window, pooled: &mut Maps) {
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
                bias: stream.bias[channel],
                sigmoid: table.as_ptr(),
                // SAFETY: a half of the first pair of a row of the map that the pointer was taken from.
                output: unsafe { pooled.add(halfword) },
            };
            // SAFETY: reads all of `window`, the lanes of the channel, and the table at indices that were saturated to it; writes
            // that half of the 12 pairs of two rows.
            unsafe { bn_lenet_conv1_channel(window.as_ptr(), stream.lanes[channel].as_ptr().cast(), &rest) };
        }
    }
}

/// See [`portable::maps`](super::portable::maps).
#[inline(always)]
pub fn maps(stream: &MapsStream, table: &CentredTable, input: &Maps, window: &mut Window, flat: &mut Flat) {
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
                bias: stream.bias[channel],
                sigmoid: table.as_ptr(),
                // SAFETY: the first or second halfword of a quad: of the channel's four, the first or third.
                output: unsafe { flat.add(4 * (POOL2_SIDE * channel + 2 * half) + tile) },
            };
            // SAFETY: reads all of `window`, the lanes of the channel, and the table at indices that were saturated to it; writes
            // the halfwords 0, 2, 4 and 6 from `output` on: of that quad and the next.
            unsafe { bn_lenet_conv2_channel(window.as_ptr(), stream.lanes[channel].as_ptr().cast(), &rest) };
        }
    }
}
