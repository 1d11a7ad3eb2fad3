//! Convolution 1 of the [`fast`](crate::fast) build.
#![allow(unsafe_code)]

use crate::arch::Pooled1;
use crate::fast::{Channel, FIELD, Packed, SHIFT, TABLE_LEN, Weights};
use crate::lenet::{CONV1_CHANNELS, IMAGE_SIDE, Image, KERNEL, POOL1_SIDE};
use crate::quant::Pair;

// What the assembly has as literals.
const _: () = {
    assert!(IMAGE_SIDE == 28 && POOL1_SIDE == 12 && KERNEL == 5 && CONV1_CHANNELS == 6);
    assert!(FIELD == 22 && SHIFT == 9 && TABLE_LEN == 1 << 11);
    assert!(size_of::<Packed>() == 1568 + 4 * IMAGE_SIDE && size_of::<Channel>() == 20 + 60 + 8);
};

#[repr(C)]
struct Rest {
    tables: *const u8,
    pooled: *mut Pair,
}

unsafe extern "C" {
    fn bn_lenet_pack_image(image: *const u8, packed: *mut Pair);
    fn bn_lenet_fast_conv1(packed: *const Pair, channels: *const Channel, rest: &Rest);
}

/// What the host's function of this name in [`fast`](crate::fast) says.
#[inline(never)]
pub(crate) fn conv1(weights: &Weights, image: &Image, packed: &mut Packed, pooled: &mut Pooled1) {
    let rest = Rest {
        tables: weights.tables.as_flattened().as_ptr(),
        pooled: pooled.as_flattened_mut().as_flattened_mut().as_mut_ptr(),
    };
    // SAFETY: the first reads the image and writes all of `packed`. The second reads that, the six channels, and their tables at
    // indices of 11 bits; it writes every pair of the three maps, 576 bytes apart.
    unsafe {
        bn_lenet_pack_image(image.as_flattened().as_ptr(), packed.as_mut_ptr());
        bn_lenet_fast_conv1(packed.as_ptr(), weights.channels.as_ptr(), &rest);
    }
}
