//! Convolutions of single positions for Cortex-M cores without the DSP extension: the bits of [`portable`], three positions by two
//! channels at a time, in assembly. Linked in only where the build script has chosen it: `armv7m` for the M3, `armv6m` for M0 and M0+.
#![allow(unsafe_code)]

use super::{Pointwise, is_shift, portable};
use crate::kernels::packed::{Input, LANES, Maps, Output, words_of};

/// Positions that are computed together.
const TOGETHER: usize = 3;

/// Positions, three by three; see `pointwise.s`.
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
    /// How often three.
    threes: usize,
    output: *mut u32,
    /// Bytes from a result to the next, none where all three are the same; from four channels to the next.
    lane: usize,
    next: usize,
}

unsafe extern "C" {
    #[cfg(bn_lenet_arch = "armv7m")]
    fn bn_lenet_pointwise(positions: &Positions);
    fn bn_lenet_pointwise_shift(positions: &Positions);
}

/// See [`portable::pointwise`]; another range than a code's, and what is added to a map, are left to that.
#[inline(never)]
pub(super) fn pointwise(shape: &Pointwise, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let (window, words) = (&shape.window, words_of(shape.window.input));
    let (count, [height, width]) = (window.positions(), window.output);
    let channels = stream.get(window.preamble_words()..).unwrap_or_default();
    let is_shift = is_shift(shape, channels);
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= shape.channels.div_ceil(LANES) * count
        && shape.quads() > 0
        && shape.is_sound()
        && window.reads(maps.input(words));
    let is_taken = sized && !shape.adds && (is_shift || cfg!(bn_lenet_arch = "armv7m"));
    let (true, &[0, 255, ..]) = (is_taken, stream) else { return portable::pointwise(shape, stream, maps, scratch) };
    let channels = channels.as_ptr_range();
    // Positions without a gap are one row.
    let (rows, columns) = if window.stride == [1; 2] { (1, count) } else { (height, width) };
    for row in 0..rows {
        let mut first = 0;
        while first < columns {
            // The last ones, which are less than three, are computed one by one.
            let threes = (columns - first) / TOGETHER;
            let second = usize::from(threes > 0);
            let Input::Packed(map) = maps.input(words) else { return };
            let from = map.get(row * window.stride[0] * window.input.width + first * window.stride[1]..);
            let (Some(from), Some(output)) = (from.map(<[u32]>::as_ptr), maps.output.get_mut(row * columns + first..))
            else {
                return;
            };
            let positions = Positions {
                from,
                step: second * LANES * window.stride[1],
                plane: LANES * window.area(),
                quads: shape.quads(),
                codes: scratch.as_mut_ptr(),
                stream: channels.start,
                stream_end: channels.end,
                threes: threes.max(1),
                output: output.as_mut_ptr(),
                lane: second * LANES,
                next: LANES * count,
            };
            // SAFETY: reads a word of each plane at each position, and the pairs of channels, whose number is even; writes twelve words
            // of codes for each plane, and a word of each four channels at each position, whose codes it has read.
            unsafe {
                match is_shift {
                    #[cfg(bn_lenet_arch = "armv7m")]
                    false => bn_lenet_pointwise(&positions),
                    _ => bn_lenet_pointwise_shift(&positions),
                }
            }
            first += (TOGETHER * threes).max(1);
        }
    }
    Output::new(maps.output, false).clear_rest(shape.channels, count);
}
