//! Depthwise layers of 3x3 windows for Cortex-M cores with the DSP extension: the bits of [`portable`](super::portable), two by two results at a time,
//! in assembly. Linked in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::{CHANNEL, Depthwise3, PREAMBLE, SHIFT_MULTIPLIER};
use crate::kernels::packed::{Input, LANES, Maps, Output, words_of};

/// Four channels; see `depthwise3.s`.
#[repr(C)]
struct Quad {
    /// Their plane of the map.
    input: *const u32,
    height: usize,
    /// Bytes of a row of it.
    pitch: usize,
    /// A row beyond it.
    beyond: *const u32,
    /// The first row that windows reach, which may lie above the map.
    row: isize,
    /// Where the pairs of the map's first column go.
    pairs: *mut u32,
    /// How many columns of the map windows reach.
    columns: usize,
    /// Columns of results.
    width: usize,
    stream: *const u32,
    output: *mut u32,
    /// Rows of results.
    rows: usize,
    /// Where the pairs of the first column go that windows reach.
    first: *const u32,
}

unsafe extern "C" {
    fn bn_lenet_depthwise3(quad: &Quad);
    fn bn_lenet_depthwise3_stride2(quad: &Quad);
    fn bn_lenet_depthwise3_shift(quad: &Quad);
    fn bn_lenet_depthwise3_stride2_shift(quad: &Quad);
}

/// See [`portable::depthwise3`](super::portable::depthwise3). Computes nothing where a slice has not the words of its part.
#[inline(never)]
pub fn depthwise3(shape: &Depthwise3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let window = &shape.window;
    let ([planes, ..], words) = (window.parts(), words_of(window.input));
    let [rows, width] = window.output;
    let is_read = matches!(maps.input(words), Input::Packed(map) if map.len() == words);
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= planes * rows * width
        && is_read
        && shape.is_sound();
    let (true, &[_, _, zero, ..]) = (sized, stream) else { return };
    let Some((pairs, beyond)) = scratch.split_at_mut_checked(2 * LANES * shape.columns()) else { return };
    // All lanes are the same.
    pairs.fill(zero & 0x00FF_00FF);
    beyond.fill(zero);
    let channels = stream.get(PREAMBLE..).unwrap_or_default();
    let mut there = channels.as_chunks::<CHANNEL>().0.iter().take(shape.channels());
    let is_shift = there.all(|channel| channel[CHANNEL - 1] == SHIFT_MULTIPLIER as u32);
    let left = window.before[1].min(shape.columns());
    for (at, quad) in channels.chunks_exact(LANES * CHANNEL).enumerate() {
        let input = match maps.input(words).plane(at, window.area()) {
            Some(plane) => plane.as_ptr(),
            None => return,
        };
        let Some(output) = maps.output.get_mut(at * rows * width..) else { return };
        let Some(inside) = pairs.get_mut(2 * LANES * left..) else { return };
        let quad = Quad {
            input,
            height: window.input.height,
            pitch: LANES * window.input.width,
            beyond: beyond.as_ptr(),
            row: -(window.before[0] as isize),
            columns: window.input.width.min(inside.len() / (2 * LANES)),
            pairs: inside.as_mut_ptr(),
            first: pairs.as_ptr(),
            stream: quad.as_ptr(),
            output: output.as_mut_ptr(),
            rows,
            width,
        };
        // SAFETY: reads rows of the plane and the row beyond it, the words of four channels, and pairs that it has written or that
        // were filled; writes the pairs of `columns` columns, two words for each of four channels, and one word for each result,
        // of whose plane no row is written before the rows that lie there were read, if any of the map do.
        unsafe {
            match (window.stride[0], is_shift) {
                (1, false) => bn_lenet_depthwise3(&quad),
                (1, true) => bn_lenet_depthwise3_shift(&quad),
                (_, false) => bn_lenet_depthwise3_stride2(&quad),
                (_, true) => bn_lenet_depthwise3_stride2_shift(&quad),
            }
        }
    }
    Output::new(maps.output, false).clear_rest(shape.channels(), window.positions());
}
