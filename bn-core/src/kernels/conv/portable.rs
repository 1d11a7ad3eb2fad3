//! Convolutions in plain Rust, two positions by two channels at a time: the specification of every faster path.

use super::{Conv, Group, MOST_GROUP, PAIR, gather, next};
use crate::kernels::Table;
use crate::kernels::packed::{Epilogue, LANES, Maps, Output, words_of};
use crate::quant;

/// A layer: convolution or linear, BatchNorm folded, with what stands behind it. Its input may lie in its output where its windows
/// are the positions of a packed map.
#[inline(always)]
pub fn conv(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    match (shape.window.positions() == 1, shape.gives_codes()) {
        (true, true) => one::<true>(shape, stream, table, maps, scratch),
        (true, false) => one::<false>(shape, stream, table, maps, scratch),
        (false, true) => many::<true>(shape, stream, table, maps, scratch),
        (false, false) => many::<false>(shape, stream, table, maps, scratch),
    }
}

/// Of one position.
#[inline(never)]
fn one<const CODES: bool>(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    let mut run = Run::<MOST_GROUP, CODES>::new(shape, stream, table, maps);
    run.tile::<1, 2>(0, [0; 2], scratch);
    run.clear_rest();
}

/// Of several.
#[inline(never)]
fn many<const CODES: bool>(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    let (mut run, positions) = (Run::<PAIR, CODES>::new(shape, stream, table, maps), shape.window.positions());
    let mut from = [0; 2];
    for position in (0..positions - positions % 2).step_by(2) {
        from = run.tile::<2, 4>(position, from, scratch);
    }
    if positions % 2 == 1 {
        run.tile::<1, 2>(positions - 1, from, scratch);
    }
    run.clear_rest();
}

/// A layer being computed, so many channels side by side; `CODES`: see [`Conv::gives_codes`].
pub(super) struct Run<'a, const GROUP: usize, const CODES: bool> {
    pub(super) shape: &'a Conv,
    pub(super) zeros: &'a [u32],
    pub(super) channels: &'a [u32],
    pub(super) epilogue: Epilogue<'a>,
    pub(super) maps: Maps<'a>,
}

impl<'a, const GROUP: usize, const CODES: bool> Run<'a, GROUP, CODES> {
    pub(super) fn new(shape: &'a Conv, stream: &'a [u32], table: Option<&'a Table>, maps: Maps<'a>) -> Self {
        let range = stream.first_chunk().copied().unwrap_or([0; 2]);
        let (preamble, channels) = stream.split_at_checked(shape.window.preamble_words()).unwrap_or_default();
        let zeros = preamble.get(2..).unwrap_or_default();
        Self { shape, zeros, channels, epilogue: Epilogue::new(range[0], range[1], table), maps }
    }

    /// Channels that lack to a whole word become zero.
    pub(super) fn clear_rest(&mut self) {
        Output::new(self.maps.output, self.shape.halves).clear_rest(self.shape.channels, self.shape.window.positions());
    }

    /// So many neighbouring positions, from a row and column on; a word of a patch has twice as many slots. Returns the row and column
    /// of the next one.
    #[inline(always)]
    fn tile<const TILE: usize, const SLOTS: usize>(
        &mut self,
        position: usize,
        mut from: [usize; 2],
        scratch: &mut [u32],
    ) -> [usize; 2] {
        let (window, words) = (&self.shape.window, words_of(self.shape.window.input));
        let patch = scratch.as_chunks_mut::<SLOTS>().0;
        let patch = patch.get_mut(..self.shape.quads()).unwrap_or_default();
        for lane in 0..TILE {
            gather(window, self.maps.input(words), self.zeros, from, patch, lane);
            from = next(window, from);
        }
        for (at, group) in self.channels.chunks_exact(self.shape.group_words().max(1)).enumerate() {
            let Some(group) = Group::of(self.shape, group) else { return from };
            let sums = products::<TILE, SLOTS, GROUP>(group.start, group.weights, patch);
            for (o, sums) in sums.into_iter().enumerate() {
                self.put_of([GROUP * at + o, position], &sums, group.multiplier[o], group.adds[o]);
            }
        }
        from
    }

    /// What stands behind the sums of a channel at neighbouring positions.
    #[inline(always)]
    pub(super) fn put_of(&mut self, at: [usize; 2], sums: &[i32], multiplier: u32, adds: u32) {
        if CODES {
            self.put_codes(at, sums, multiplier);
        } else {
            self.put(at, sums, multiplier, adds);
        }
    }

    /// The same, where something is added or results are values.
    #[inline(never)]
    pub(super) fn put(&mut self, [channel, position]: [usize; 2], sums: &[i32], multiplier: u32, adds: u32) {
        let positions = self.shape.window.positions();
        if channel >= self.shape.channels {
            return;
        }
        for (p, &sum) in sums.iter().enumerate() {
            let sum = self.maps.add(sum, adds as i32, [channel, position + p], positions);
            let value = self.epilogue.of(sum, multiplier as i32);
            Output::new(self.maps.output, self.shape.halves).put(channel, positions, position + p, value);
        }
    }

    /// The same, where nothing is added and results are codes.
    #[inline(always)]
    fn put_codes(&mut self, [channel, position]: [usize; 2], sums: &[i32], multiplier: u32) {
        let word = channel / LANES * self.shape.window.positions() + position;
        let to = bytemuck::cast_slice_mut::<u32, [u8; LANES]>(self.maps.output).get_mut(word..).unwrap_or_default();
        // Lanes that lack to a whole word of channels have weights of zero, and are zero in the end.
        for (to, &sum) in to.iter_mut().zip(sums) {
            to[channel % LANES] = self.epilogue.of(sum, multiplier as i32) as u8;
        }
    }
}

/// Sums of a group of channels at the positions of a tile. Halves and bytes are read from memory one by one: unpacked from words,
/// they would not fit a core's registers.
#[inline(always)]
fn products<const TILE: usize, const SLOTS: usize, const GROUP: usize>(
    start: &[u32; GROUP],
    weights: &[u32],
    patch: &[[u32; SLOTS]],
) -> [[i32; TILE]; GROUP] {
    let mut sums = start.map(|start| [start as i32; TILE]);
    let halves = bytemuck::cast_slice::<u32, quant::Pair>(weights).as_chunks::<GROUP>().0;
    let bytes = bytemuck::cast_slice::<u32, [i8; 4]>(weights).as_chunks::<GROUP>().0;
    let slots = bytemuck::cast_slice::<u32, quant::Pair>(patch.as_flattened()).as_chunks::<SLOTS>().0;
    for ((v, w), data) in halves.iter().zip(bytes).zip(slots) {
        let (Some(u), Some(y)) = (data.first_chunk::<TILE>(), data.last_chunk::<TILE>()) else { return sums };
        add(&mut sums, v.map(|v| v.low.into()), u.map(|u| u.low));
        add(&mut sums, v.map(|v| v.high.into()), u.map(|u| u.high));
        add(&mut sums, w.map(|w| w[0].into()), y.map(|y| y.low));
        add(&mut sums, w.map(|w| w[2].into()), y.map(|y| y.high));
    }
    sums
}

/// Adds one product to each sum.
#[inline(always)]
fn add<const TILE: usize, const GROUP: usize>(
    sums: &mut [[i32; TILE]; GROUP],
    weights: [i32; GROUP],
    codes: [i16; TILE],
) {
    for (sums, weight) in sums.iter_mut().zip(weights) {
        for (sum, code) in sums.iter_mut().zip(codes) {
            *sum = sum.wrapping_add(weight * i32::from(code));
        }
    }
}
