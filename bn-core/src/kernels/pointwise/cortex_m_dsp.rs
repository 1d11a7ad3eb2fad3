//! Convolutions of single positions for Cortex-M cores with the DSP extension: the bits of [`portable`], in assembly. Linked in only
//! where the build script has chosen it.
#![allow(unsafe_code)]

use super::{Pointwise, is_shift, portable};
use crate::kernels::packed::{Input, LANES, Maps, Output, words_of};

/// Positions, two by two; see `pointwise.s`.
#[repr(C)]
struct Positions {
    from: *const u32,
    /// Bytes from a position to the next, and from four channels to the next.
    step: usize,
    plane: usize,
    quads: usize,
    codes: *mut u32,
    stream: *const u32,
    stream_end: *const u32,
    /// How often two.
    twos: usize,
    output: *mut u32,
    /// Bytes of a result, or none where both positions are the same; from four channels to the next.
    lane: usize,
    next: usize,
    /// Bytes from a result to what is added to it.
    added: isize,
}

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

/// See [`portable::pointwise`]; another range than a code's is left to that.
#[inline(never)]
pub(super) fn pointwise<const WIDE: bool, const ADDS: bool>(
    shape: &Pointwise,
    stream: &[u32],
    maps: Maps<'_>,
    scratch: &mut [u32],
) {
    let (window, words) = (&shape.window, words_of(shape.window.input));
    let (count, [height, width]) = (window.positions(), window.output);
    let results = shape.channels.div_ceil(LANES) * count;
    let added = if let (true, Input::Packed(words)) = (shape.adds, maps.added()) { words.len() } else { usize::MAX };
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= results
        && added >= results
        && shape.quads() > 0
        && shape.is_wide() == WIDE
        && shape.adds == ADDS
        && shape.is_sound()
        && window.reads(maps.input(words));
    let (true, &[0, 255, ..]) = (sized, stream) else { return portable::pointwise(shape, stream, maps, scratch) };
    let added = match maps.added {
        Some(Input::Packed(words)) => (words.as_ptr() as isize).wrapping_sub(maps.output.as_ptr() as isize),
        _ => 0,
    };
    let stream = stream.get(window.preamble_words()..).unwrap_or_default();
    let is_shift = is_shift(shape, stream);
    let channels = stream.as_ptr_range();
    // Positions without a gap are one row.
    let is_whole = window.stride == [1; 2];
    let (rows, columns) = if is_whole { (1, count) } else { (height, width) };
    for row in 0..rows {
        for (first, twos, second) in [(0, columns / 2, 1), (columns - 1, columns % 2, 0)] {
            let Input::Packed(map) = maps.input(words) else { return };
            let from = map.get(row * window.stride[0] * window.input.width + first * window.stride[1]..);
            let (Some(from), 1..) = (from.map(<[u32]>::as_ptr), twos) else { continue };
            let Some(output) = maps.output.get_mut(row * columns + first..) else { return };
            let positions = Positions {
                from,
                step: second * LANES * window.stride[1],
                plane: LANES * window.area(),
                quads: shape.quads(),
                codes: scratch.as_mut_ptr(),
                stream: channels.start,
                stream_end: channels.end,
                twos,
                output: output.as_mut_ptr(),
                lane: second * LANES,
                next: LANES * count,
                added,
            };
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
    Output::new(maps.output, false).clear_rest(shape.channels, count);
}
