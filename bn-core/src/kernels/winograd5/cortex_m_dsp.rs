//! The convolutions for Cortex-M cores with the DSP extension (M4, M7, M33): the bits of [`portable`](super::portable), in
//! assembly. Linked in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::{Flat, ImageStream, Maps, MapsStream, Window};
use crate::kernels::{CentredTable, Table};
use crate::lenet::{IMAGE_SIDE, Image, POOL1_SIDE, POOL2_SIDE};
use crate::ops::winograd::TILE;
use crate::quant::{CONV_SHIFT, Pair, SIGMOID_LEN};

// What the assembly has as literals.
const _: () = {
    assert!(CONV_SHIFT[0] == 13 && CONV_SHIFT[1] == 17 && SIGMOID_LEN == 1 << 10);
    assert!(IMAGE_SIDE == 28 && POOL1_SIDE == 12 && POOL2_SIDE == 4 && TILE == 4);
    assert!(size_of::<Window>() == 1536);
};

#[repr(C)]
pub(crate) struct Conv1Rows {
    pub(crate) bias: *const i32,
    pub(crate) sigmoid: *const u8,
    pub(crate) pooled: *mut Pair,
}

#[repr(C)]
pub(crate) struct Conv2Tile<Flat> {
    pub(crate) bias: *const i32,
    pub(crate) sigmoid: *const i8,
    pub(crate) flat: *mut Flat,
}

unsafe extern "C" {
    fn bn_lenet_transform_upper(rows: *const u8, window: *mut Pair);
    fn bn_lenet_transform_lower(rows: *const u8, window: *mut Pair);
    fn bn_lenet_conv1_rows(window: *const Pair, lanes: *const Pair, rest: &Conv1Rows);
    fn bn_lenet_transform_channels(map: *const Pair, window: *mut Pair);
    fn bn_lenet_conv2_tile(window: *const Pair, lanes: *const Pair, rest: &Conv2Tile<i16>);
}

/// See [`portable::image`](super::portable::image).
#[inline(always)]
pub fn image(stream: &ImageStream, table: &Table, image: &Image, window: &mut Window, pooled: &mut Maps) {
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
            bias: stream.bias.as_ptr(),
            sigmoid: table.as_ptr(),
            // SAFETY: `y` is below 11, and the map that the pointer was taken from has 12 rows.
            pooled: unsafe { pooled.add(y * POOL1_SIDE) },
        };
        // SAFETY: reads the first 768 bytes of `window`, the lanes and bias of the 6 channels, and the table at indices that
        // were saturated to it; writes two rows of 12 pairs in each of the 3 maps, 576 bytes apart, from row `y` on.
        unsafe { bn_lenet_conv1_rows(window.as_ptr(), stream.lanes.as_ptr().cast(), &rest) };
    }
}

/// See [`portable::maps`](super::portable::maps).
#[inline(always)]
pub fn maps(stream: &MapsStream, table: &CentredTable, input: &Maps, window: &mut Window, flat: &mut Flat) {
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
            bias: stream.bias.as_ptr(),
            sigmoid: table.as_ptr(),
            // SAFETY: one halfword into the first quad at most.
            flat: unsafe { flat.add(tile) },
        };
        // SAFETY: reads `window`, the lanes and bias of the 16 channels, and the table at indices that were saturated to it;
        // writes the halfwords `tile` and `tile + 2` of each of the 64 quads.
        unsafe { bn_lenet_conv2_tile(window.as_ptr(), stream.lanes.as_ptr().cast(), &rest) };
    }
}
