//! Positions as the functions of `pointwise.s` read them, and the rows that they stand in. Every core's assembly shares them.

use super::Pointwise;
use crate::kernels::packed::{Input, LANES, Maps, Output, words_of};

/// Neighbouring positions, some at a time; see `pointwise.s`.
#[repr(C)]
pub(super) struct Positions {
    from: *const u32,
    /// Bytes from a position to the next, and from four channels to the next.
    step: usize,
    plane: usize,
    quads: usize,
    codes: *mut u32,
    stream: *const u32,
    stream_end: *const u32,
    /// How often some.
    turns: usize,
    output: *mut u32,
    /// Bytes from a result to the next, none where all are the same; from four channels to the next.
    lane: usize,
    next: usize,
    /// Bytes from a result to what is added to it.
    added: isize,
}

/// A layer whose slices have the words of its parts.
pub(super) struct Rows<'a> {
    shape: &'a Pointwise,
    channels: &'a [u32],
    maps: Maps<'a>,
    codes: *mut u32,
    added: isize,
    /// Rows of positions, which are one where they stand without a gap, and positions of a row.
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl<'a> Rows<'a> {
    /// `None` where a slice has not the words of its part.
    #[inline(always)]
    pub(super) fn new(shape: &'a Pointwise, stream: &'a [u32], maps: Maps<'a>, scratch: &mut [u32]) -> Option<Self> {
        let window = &shape.window;
        let results = shape.channels.div_ceil(LANES) * window.positions();
        let is_there = stream.len() == shape.stream_words()
            && scratch.len() >= shape.scratch_words()
            && maps.output.len() >= results
            && (!shape.adds || matches!(maps.added(), Input::Packed(words) if words.len() >= results))
            && shape.quads() > 0
            && shape.is_sound()
            && window.reads(maps.input(words_of(window.input)));
        let channels = stream.get(window.preamble_words()..)?;
        let added = match maps.added {
            Some(Input::Packed(words)) => (words.as_ptr() as isize).wrapping_sub(maps.output.as_ptr() as isize),
            _ => 0,
        };
        let [rows, columns] = if window.stride == [1; 2] { [1, window.positions()] } else { window.output };
        is_there.then_some(Self { shape, channels, maps, codes: scratch.as_mut_ptr(), added, rows, columns })
    }

    /// So often some positions of a row, from one on; `apart` is 1, or 0 where all of them are that one.
    #[inline(always)]
    pub(super) fn positions(&mut self, [row, first]: [usize; 2], turns: usize, apart: usize) -> Option<Positions> {
        let (window, channels) = (&self.shape.window, self.channels.as_ptr_range());
        let Input::Packed(map) = self.maps.input(words_of(window.input)) else { return None };
        let from = map.get(row * window.stride[0] * window.input.width + first * window.stride[1]..)?.as_ptr();
        Some(Positions {
            from,
            step: apart * LANES * window.stride[1],
            plane: LANES * window.area(),
            quads: self.shape.quads(),
            codes: self.codes,
            stream: channels.start,
            stream_end: channels.end,
            turns,
            output: self.maps.output.get_mut(row * self.columns + first..)?.as_mut_ptr(),
            lane: apart * LANES,
            next: LANES * window.positions(),
            added: self.added,
        })
    }

    /// Makes the channels that lack to a whole word zero.
    #[inline(always)]
    pub(super) fn clear_rest(self) {
        Output::new(self.maps.output, false).clear_rest(self.shape.channels, self.shape.window.positions());
    }
}
