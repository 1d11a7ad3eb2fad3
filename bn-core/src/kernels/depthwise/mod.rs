//! A function of each channel alone: a depthwise convolution of any kernel, or, with a kernel of one, a BatchNorm that could not be
//! folded or an activation on its own. Weights are int16.
//!
//! Stream: range of the results, code of zero for each input channel (of packed maps one for all), then for each four channels
//! their start values, multipliers, and weights `[tap][channel]`, two a word.

pub mod portable;

use super::packed::{Epilogue, Input, LANES, Window, check_multiplier, check_sums};
use super::{Core, Fault};

pub use portable::depthwise;

/// Words before the weights of four channels.
pub const HEAD: usize = 2 * LANES;
/// Words of the weights of one tap.
pub const TAP: usize = 2;

/// Sizes of a depthwise layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise {
    /// What it reads.
    pub window: Window,
    /// Channels that it gives for each that it reads.
    pub multiplier: usize,
    /// Whether its results are the network's.
    pub halves: bool,
    /// Whether a table stands behind it.
    pub table: bool,
}

impl Depthwise {
    /// Channels that it gives.
    pub const fn channels(&self) -> usize {
        self.window.input.channels * self.multiplier
    }

    /// Words of four channels.
    pub const fn quad_words(&self) -> usize {
        HEAD + TAP * self.window.taps()
    }

    /// Words that it works in: a copy of four channels with their padding, where they do not lie so in the map.
    pub const fn scratch_words(&self) -> usize {
        let [height, width] = self.window.reach(self.window.output);
        if self.window.bytes || self.multiplier != 1 || self.window.is_padded() { height * width } else { 0 }
    }

    /// About how many instructions it takes on a core.
    pub const fn cost(&self, core: Core) -> usize {
        let [tap, result, row, copied] = core.of([[16, 30, 4, 10], [14, 62, 7, 7], [16, 251, 39, 8], [19, 69, 8, 4]]);
        let result = if self.table { core.of([88, 95, 162, 77]) } else { result };
        let window = tap * self.window.taps() + row * self.window.kernel[0] + result;
        self.channels().div_ceil(LANES) * (self.window.positions() * window + copied * self.scratch_words())
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.window.preamble_words() + self.channels().div_ceil(LANES) * self.quad_words()
    }
}

/// One channel's integers, as a quantiser makes them. The sum is `start + sum of weight * code`.
#[cfg(feature = "build")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// What the sum begins with.
    pub start: i32,
    /// Factor of the sum, times 2^32; positive.
    pub multiplier: i32,
    /// Weights, row, column.
    pub weights: std::vec::Vec<i16>,
}

#[cfg(feature = "build")]
impl Depthwise {
    /// The stream of these channels: range of the results, the code of zero by input channel.
    pub fn stream(&self, range: [i32; 2], zeros: &[u8], channels: &[Channel]) -> std::vec::Vec<u32> {
        let mut stream = self.window.preamble(range, zeros);
        for four in channels.chunks(LANES) {
            let mut words = std::vec![0; self.quad_words()];
            for (lane, channel) in four.iter().enumerate() {
                (words[lane], words[LANES + lane]) = (channel.start as u32, channel.multiplier as u32);
                for (tap, &weight) in channel.weights.iter().enumerate() {
                    words[HEAD + TAP * tap + lane / 2] |= u32::from(weight as u16) << (16 * (lane % 2));
                }
            }
            stream.extend(words);
        }
        stream
    }
}

/// The weight of a lane in the two words of a tap.
#[inline(always)]
const fn weight(tap: &[u32; TAP], lane: usize) -> i32 {
    (tap[lane / 2] >> (16 * (lane % 2))) as i16 as i32
}

/// Proves a stream: every multiplier positive, what only pads zero, and no accumulator out of i32, whatever the input.
///
/// # Errors
/// [`Fault`] with the first channel that could go wrong.
pub fn check(shape: &Depthwise, stream: &[u32]) -> Result<(), Fault> {
    let [low, high, ..] = *stream else { return Err(Fault::Range) };
    Epilogue::check(low, high, shape.table, shape.halves)?;
    let quads = stream.get(shape.window.preamble_words()..).unwrap_or_default().chunks_exact(shape.quad_words().max(1));
    for (at, quad) in quads.enumerate() {
        let Some((head, weights)) = quad.split_first_chunk::<HEAD>() else { return Err(Fault::Range) };
        for lane in 0..LANES {
            let channel = LANES * at + lane;
            let (start, multiplier) = (i64::from(head[lane] as i32), head[LANES + lane] as i32);
            let taps = weights.as_chunks::<TAP>().0.iter().map(|tap| i64::from(weight(tap, lane)));
            let (up, down) = taps.fold((0, 0), |(up, down), w| (up + w.max(0), down + w.min(0)));
            let is_there = channel < shape.channels();
            if !is_there && (up, down) != (0, 0) {
                return Err(Fault::WeightRange { channel });
            }
            check_multiplier(channel, is_there, multiplier, 0)?;
            check_sums(channel, [start + 255 * down, start + 255 * up])?;
        }
    }
    Ok(())
}

/// The rows that windows of four channels slide over, and the words from a row to the next: those of the map where no window reaches
/// beyond it, else a copy with its padding.
#[inline(always)]
fn plane<'a>(
    shape: &Depthwise,
    zeros: &[u32],
    input: Input<'a>,
    quad: usize,
    scratch: &'a mut [u32],
) -> Option<(&'a [u32], usize)> {
    let window = &shape.window;
    if shape.scratch_words() == 0 {
        return Some((input.plane(quad, window.area())?, window.input.width));
    }
    let [height, width] = window.reach(window.output);
    let copy = scratch.get_mut(..height * width)?;
    let zero = zero_of(shape, zeros, quad);
    let (area, step) = (window.area(), shape.multiplier.max(1));
    let map = input.plane(quad, area).filter(|_| step == 1);
    for (y, row) in copy.chunks_exact_mut(width.max(1)).enumerate() {
        row.fill(zero);
        let from = y.wrapping_sub(window.before[0]);
        if from >= window.input.height {
            continue;
        }
        let start = from * window.input.width;
        let inside = row.get_mut(window.before[1]..).unwrap_or_default();
        match map.and_then(|map| map.get(start..)?.get(..window.input.width)) {
            Some(words) => inside.iter_mut().zip(words).for_each(|(to, &word)| *to = word),
            None => {
                let code = |lane: usize, at| input.code((LANES * quad + lane) / step, area, at);
                for (x, to) in inside.iter_mut().take(window.input.width).enumerate() {
                    *to = u32::from_le_bytes(core::array::from_fn(|lane| code(lane, start + x)));
                }
            }
        }
    }
    Some((copy, width))
}

/// Codes of zero of four channels.
#[inline(always)]
fn zero_of(shape: &Depthwise, zeros: &[u32], quad: usize) -> u32 {
    if !shape.window.bytes {
        return zeros.first().copied().unwrap_or(0);
    }
    let of = |lane: usize| zeros.get((LANES * quad + lane) / shape.multiplier.max(1)).copied().unwrap_or(0) as u8;
    u32::from_le_bytes(core::array::from_fn(of))
}
