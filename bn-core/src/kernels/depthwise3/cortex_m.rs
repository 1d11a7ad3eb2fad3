//! Depthwise layers of 3x3 windows for Cortex-M cores without the DSP extension: the bits of [`portable`](super::portable), two results at a time, in
//! assembly. Linked in only where the build script has chosen it: `armv7m` for the M3, `armv6m` for M0 and M0+.
#![allow(unsafe_code)]

use super::{CHANNEL, Depthwise3, PREAMBLE, SHIFT_MULTIPLIER, SIDE};
use crate::kernels::packed::{Input, LANES, Maps, Output, words_of};

/// Rows of codes that are kept: all of `scratch`.
const SLOTS: usize = 2 * LANES;

/// Four channels of some rows; see `depthwise3.s`.
#[repr(C)]
struct Rows {
    codes: *const u32,
    output: *mut u32,
    stream: *const u32,
    rows: usize,
    /// Bytes from the codes of a row's first window to those of its last but one.
    span: usize,
    /// Bytes of a row of results.
    pitch: usize,
    /// Bytes of a row of codes.
    line: usize,
}

unsafe extern "C" {
    fn bn_lenet_depthwise3(rows: &Rows);
    fn bn_lenet_depthwise3_stride2(rows: &Rows);
    fn bn_lenet_depthwise3_shift(rows: &Rows);
    fn bn_lenet_depthwise3_stride2_shift(rows: &Rows);
}

/// See [`portable::depthwise3`](super::portable::depthwise3). Computes nothing where a slice has not the words of its part.
#[inline(never)]
pub fn depthwise3(shape: &Depthwise3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let window = &shape.window;
    let ([planes, ..], words) = (window.parts(), words_of(window.input));
    let ([rows, width], stride) = (window.output, window.stride[0]);
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= planes * rows * width
        && matches!(maps.input(words), Input::Packed(map) if map.len() == words)
        && shape.is_sound();
    let channels = stream.get(PREAMBLE..).unwrap_or_default();
    let mut there = channels.as_chunks::<CHANNEL>().0.iter().take(shape.channels());
    let is_shift = there.all(|channel| channel[CHANNEL - 1] == SHIFT_MULTIPLIER as u32);
    let (true, &[_, _, zero, ..]) = (sized, stream) else { return };
    let columns = shape.columns();
    let mut strip = Strip { words: scratch.get_mut(..SLOTS * columns).unwrap_or_default(), columns };
    strip.words.iter_mut().for_each(|to| *to = zero);
    // Rows of results that the slots are enough for, and rows of codes that the next ones reach too.
    let (most, kept) = if stride == 1 { (SLOTS - SIDE + 1, SIDE - 1) } else { ((SLOTS - SIDE) / 2 + 1, SIDE - 2) };
    for (at, quad) in channels.chunks_exact(LANES * CHANNEL).enumerate() {
        for first in (0..rows).step_by(most) {
            let count = most.min(rows - first);
            let known = if first == 0 { 0 } else { kept };
            (0..known).for_each(|slot| strip.keep(most * stride + slot, slot));
            for slot in known..(count - 1) * stride + SIDE {
                let Some(plane) = maps.input(words).plane(at, window.area()) else { return };
                // Above the map this wraps to more than any height.
                let row = (first * stride + slot).wrapping_sub(window.before[0]);
                let row = plane.chunks_exact(window.input.width.max(1)).nth(row);
                strip.put(slot, window.before[1], row.ok_or((window.input.width, zero)));
            }
            let Some(output) = maps.output.get_mut((at * rows + first) * width..) else { return };
            let rows = Rows {
                codes: strip.words.as_ptr(),
                output: output.as_mut_ptr(),
                stream: quad.as_ptr(),
                rows: count,
                span: (width - 2) * stride * LANES * STEP,
                pitch: LANES * width,
                line: LANES * columns,
            };
            // SAFETY: reads the words of four channels, and codes of the strip, of which the windows of these rows have as many slots and
            // columns; writes a byte of each word of the results in these rows, before which all rows of the map were read that lie there.
            unsafe {
                match (stride, is_shift) {
                    (1, false) => bn_lenet_depthwise3(&rows),
                    (_, false) => bn_lenet_depthwise3_stride2(&rows),
                    (1, _) => bn_lenet_depthwise3_shift(&rows),
                    _ => bn_lenet_depthwise3_stride2_shift(&rows),
                }
            }
        }
    }
    Output::new(maps.output, false).clear_rest(shape.channels(), window.positions());
}

/// Words from a column of the strip to the next.
const STEP: usize = if cfg!(bn_lenet_arch = "armv7m") { SLOTS } else { 1 };

/// Rows of codes with their padding, `[column][slot]` on an M3, where one pointer reaches a window, `[slot][column]` on an M0.
struct Strip<'a> {
    words: &'a mut [u32],
    columns: usize,
}

impl Strip<'_> {
    /// The words of a slot from a column on.
    #[inline(always)]
    fn slot(&mut self, slot: usize, column: usize) -> impl Iterator<Item = &mut u32> {
        let from = if STEP == 1 { slot * self.columns + column } else { STEP * column + slot };
        let to = if STEP == 1 { (slot + 1) * self.columns } else { self.words.len() };
        self.words.get_mut(from..to).unwrap_or_default().iter_mut().step_by(STEP)
    }

    /// Puts a row of the map, or so many words of zero, from a column on.
    #[inline(always)]
    fn put(&mut self, slot: usize, column: usize, row: Result<&[u32], (usize, u32)>) {
        let to = self.slot(slot, column);
        match row {
            Ok(row) => to.zip(row).for_each(|(to, &word)| *to = word),
            Err((width, zero)) => to.take(width).for_each(|to| *to = zero),
        }
    }

    /// Copies a slot to another.
    #[inline(always)]
    fn keep(&mut self, from: usize, to: usize) {
        for column in 0..self.columns {
            let at = |slot: usize| if STEP == 1 { slot * self.columns + column } else { STEP * column + slot };
            let (from, to) = (at(from), at(to));
            let word = self.words.get(from).copied().unwrap_or(0);
            if let Some(to) = self.words.get_mut(to) {
                *to = word;
            }
        }
    }
}
