//! Convolutions of single positions for Cortex-M cores with the DSP extension: the bits of [`portable`](super::portable), two positions
//! by two channels at a time, in assembly. Linked in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::Pointwise;
use super::positions::{Positions, Rows};
use crate::kernels::packed::Maps;

unsafe extern "C" {
    fn bn_lenet_pointwise(positions: &Positions);
    fn bn_lenet_pointwise_shift(positions: &Positions);
    fn bn_lenet_pointwise_add(positions: &Positions);
    fn bn_lenet_pointwise_shift_add(positions: &Positions);
    fn bn_lenet_pointwise_wide(positions: &Positions);
    fn bn_lenet_pointwise_wide_shift(positions: &Positions);
    fn bn_lenet_pointwise_wide_add(positions: &Positions);
    fn bn_lenet_pointwise_wide_shift_add(positions: &Positions);
}

/// See [`portable::pointwise`](super::portable::pointwise). Computes nothing where a slice has not the words of its part.
#[inline(never)]
pub(super) fn pointwise<const WIDE: bool, const ADDS: bool>(
    shape: &Pointwise,
    stream: &[u32],
    maps: Maps<'_>,
    scratch: &mut [u32],
) {
    let is_this = shape.is_wide() == WIDE && shape.adds == ADDS;
    let (Some(mut rows), true) = (Rows::new(shape, stream, maps, scratch), is_this) else { return };
    let (is_shift, columns) = (super::is_shift(shape, stream), rows.columns);
    for row in 0..rows.rows {
        for (first, twos, apart) in [(0, columns / 2, 1), (columns - 1, columns % 2, 0)] {
            if twos == 0 {
                continue;
            }
            let Some(positions) = rows.positions([row, first], twos, apart) else { return };
            // SAFETY: reads a word of each plane at each position, and the pairs of channels, whose number is even; writes four words
            // of codes for each plane, and a word of each four channels at each position, whose codes it has read; reads the words
            // that are added, of which there are as many.
            unsafe {
                match (WIDE, is_shift, ADDS) {
                    (false, false, false) => bn_lenet_pointwise(&positions),
                    (false, true, false) => bn_lenet_pointwise_shift(&positions),
                    (false, false, true) => bn_lenet_pointwise_add(&positions),
                    (false, true, true) => bn_lenet_pointwise_shift_add(&positions),
                    (true, false, false) => bn_lenet_pointwise_wide(&positions),
                    (true, true, false) => bn_lenet_pointwise_wide_shift(&positions),
                    (true, false, true) => bn_lenet_pointwise_wide_add(&positions),
                    (true, true, true) => bn_lenet_pointwise_wide_shift_add(&positions),
                }
            }
        }
    }
    rows.clear_rest();
}
