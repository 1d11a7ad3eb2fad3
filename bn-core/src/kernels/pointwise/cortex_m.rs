//! Convolutions of single positions for Cortex-M cores without the DSP extension: the bits of [`portable`](super::portable), three
//! positions by two channels at a time, in assembly. Linked in only where the build script has chosen it: `armv7m` for the M3, `armv6m`
//! for M0 and M0+.
#![allow(unsafe_code)]

use super::Pointwise;
use super::positions::{Positions, Rows};
use crate::kernels::packed::Maps;

/// Positions that are computed together.
const TOGETHER: usize = 3;

unsafe extern "C" {
    fn bn_lenet_pointwise(positions: &Positions);
    fn bn_lenet_pointwise_shift(positions: &Positions);
}

/// See [`portable::pointwise`](super::portable::pointwise); nothing is added. Computes nothing where a slice has not the words of its
/// part.
#[inline(never)]
pub(super) fn pointwise(shape: &Pointwise, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let is_shift = super::is_shift(shape, stream);
    let (Some(mut rows), false) = (Rows::new(shape, stream, maps, scratch), shape.adds) else { return };
    for row in 0..rows.rows {
        let mut first = 0;
        while first < rows.columns {
            // The last ones, which are less than three, are computed one by one.
            let threes = (rows.columns - first) / TOGETHER;
            let Some(positions) = rows.positions([row, first], threes.max(1), usize::from(threes > 0)) else { return };
            // SAFETY: reads a word of each plane at each position, and the pairs of channels, whose number is even; writes twelve words
            // of codes for each plane, and a word of each four channels at each position, whose codes it has read.
            unsafe {
                match is_shift {
                    false => bn_lenet_pointwise(&positions),
                    true => bn_lenet_pointwise_shift(&positions),
                }
            }
            first += (TOGETHER * threes).max(1);
        }
    }
    rows.clear_rest();
}
