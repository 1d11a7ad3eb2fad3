//! Products of points for Cortex-M cores without the DSP extension: the bits of [`super::chain`] in plain Rust, in assembly. Linked in
//! only where the build script has chosen it.
#![allow(unsafe_code)]

use super::{PAIR, Places};

/// What goes on; see `products_armv7m.s`.
#[repr(C)]
struct Chain {
    /// Words of four codes of a point.
    blocks: usize,
    points: usize,
    first: *mut Places,
    second: *mut Places,
    start: [Places; PAIR],
}

unsafe extern "C" {
    fn bn_lenet_chain(codes: *const u32, weights: *const u32, chain: &Chain);
}

/// See [`super::chain`]: there are points, each of so many blocks of four words of codes and of weights, and sums of each.
#[inline(always)]
pub(super) fn chain(
    start: [Places; PAIR],
    [codes, weights]: [&[u32]; 2],
    blocks: usize,
    [first, second]: [&mut [Places]; PAIR],
) {
    let points = first.len();
    let chain = Chain { blocks, points, first: first.as_mut_ptr(), second: second.as_mut_ptr(), start };
    // SAFETY: reads four words of codes and of weights for each block of each point, and writes two sums of each channel for each
    // point: `super::chain` has made sure that there are as many.
    unsafe { bn_lenet_chain(codes.as_ptr(), weights.as_ptr(), &chain) }
}
