//! A convolution of any kernel, or a linear layer, whose kernel is the whole map, with int8 weights, over gathered patches.
//!
//! Two weights travel in one halfword: `v = 256 * w0 - w1`, whose low byte is `-w1`. Of the codes `u0` and `u1` that they meet a
//! patch holds `u0` and `y = 255 - u0 + 256 * (127 - u1)`, the bits of both turned over but the highest. Then
//! `v * u0 - w1 * y = 256 * (w0 * u0 + w1 * u1) - 32,767 * w1`, and the start value takes the last term back. All 256 codes are
//! allowed, nothing is unpacked but one byte, and cores with the DSP extension multiply both halves of a word at once.
//!
//! Weights of a channel stand in the order of a patch, an even number of words of four: of packed channels word, window row, column,
//! channel of the word; of bytes channel, row, column. Two channels stand together: their start values, their weights by turns,
//! their multipliers.

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
mod cortex_m_dsp;
pub mod portable;

use super::Fault;
use super::packed::{Epilogue, Input, LANES, Window};
use crate::quant::LINEAR_WEIGHT_MAX;

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use cortex_m_dsp::conv;
#[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
pub use portable::conv;

/// Channels that are computed side by side.
pub const PAIR: usize = 2;
/// The most positions that a path computes side by side, by which its memory is counted.
const MOST_POSITIONS: usize = 3;
/// What a start value takes back for each odd weight.
pub const ODD: i32 = (1 << 15) - 1;

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// What it reads.
    pub window: Window,
    /// Channels that it gives.
    pub channels: usize,
    /// Whether its results are the network's.
    pub words: bool,
    /// Whether a table stands behind it.
    pub table: bool,
}

impl Conv {
    /// Products of a result.
    pub const fn fan_in(&self) -> usize {
        self.window.taps() * self.window.input.channels
    }

    /// Words of four weights of a channel.
    pub const fn quads(&self) -> usize {
        let Window { input, bytes, .. } = self.window;
        let quads =
            if bytes { self.fan_in().div_ceil(LANES) } else { self.window.taps() * input.channels.div_ceil(LANES) };
        quads.next_multiple_of(2)
    }

    /// Words before the first channel: range of the results, then the code of zero, for bytes one for each channel.
    pub const fn preamble(&self) -> usize {
        2 + if self.window.bytes { self.window.input.channels } else { 1 }
    }

    /// Words of two channels.
    pub const fn pair_words(&self) -> usize {
        PAIR * (2 + self.quads())
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.preamble() + self.channels.div_ceil(PAIR) * self.pair_words()
    }

    /// Words that it works in.
    pub const fn scratch_words(&self) -> usize {
        2 * MOST_POSITIONS * self.quads()
    }

    /// Where weight `k` of a channel, as PyTorch counts them (channel, row, column), stands among the weights of its stream.
    pub const fn place(&self, k: usize) -> usize {
        if self.window.bytes {
            return k;
        }
        let taps = self.window.taps();
        let (channel, tap) = (k / taps, k % taps);
        LANES * (channel / LANES * taps + tap) + channel % LANES
    }
}

/// Four weights in [-127, 127] as two halfwords.
pub const fn pack(w: [i8; LANES]) -> u32 {
    const fn half(even: i8, odd: i8) -> u32 {
        (256 * even as i32 - odd as i32) as u16 as u32
    }
    half(w[0], w[1]) | half(w[2], w[3]) << 16
}

/// The four weights of [`pack`], with room for what a forger put there.
pub const fn unpack(word: u32) -> [i16; LANES] {
    const fn two(half: i16) -> [i16; 2] {
        let odd = -(half as i8 as i16);
        [((half as i32 + odd as i32) >> 8) as i16, odd]
    }
    let ([w0, w1], [w2, w3]) = (two(word as i16), two((word >> 16) as i16));
    [w0, w1, w2, w3]
}

/// One channel's integers, as a quantiser makes them. The sum is `start + 256 * sum of weight * code`.
#[cfg(feature = "build")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// What the sum begins with.
    pub start: i32,
    /// Factor of the sum, times 2^32; positive.
    pub multiplier: i32,
    /// Weights in [-127, 127], in PyTorch's order: channel, row, column.
    pub weights: std::vec::Vec<i8>,
}

#[cfg(feature = "build")]
impl Conv {
    /// The stream of these channels: range of the results, the code of zero by input channel. `None` for a start value that the
    /// packing of the weights drives out of i32.
    pub fn stream(&self, range: [i32; 2], zeros: &[u8], channels: &[Channel]) -> Option<std::vec::Vec<u32>> {
        let mut stream = std::vec::Vec::from(range.map(|end| end as u32));
        if self.window.bytes {
            stream.extend(zeros.iter().map(|&zero| u32::from(zero)));
        } else {
            stream.push(u32::from_ne_bytes([zeros.first().copied().unwrap_or(0); LANES]));
        }
        for pair in channels.chunks(PAIR) {
            let mut words = std::vec![0; self.pair_words()];
            let multipliers = words.len() - PAIR;
            for (o, channel) in pair.iter().enumerate() {
                let mut weights = std::vec![0; LANES * self.quads()];
                for (k, &weight) in channel.weights.iter().enumerate() {
                    weights[self.place(k)] = weight;
                }
                let odd: i32 = weights.iter().skip(1).step_by(2).map(|&w| i32::from(w)).sum();
                words[o] = channel.start.checked_add(ODD.checked_mul(odd)?)? as u32;
                words[multipliers + o] = channel.multiplier as u32;
                for (quad, &four) in weights.as_chunks::<LANES>().0.iter().enumerate() {
                    words[PAIR + PAIR * quad + o] = pack(four);
                }
            }
            stream.extend(words);
        }
        Some(stream)
    }
}

/// Proves a stream: every weight in its symmetric range, what only pads zero, every multiplier positive, and no accumulator out of
/// i32, whatever the input. Accumulators may wrap on the way, the last value does not.
///
/// # Errors
/// [`Fault`] with the first channel that could go wrong.
pub fn check(shape: &Conv, stream: &[u32]) -> Result<(), Fault> {
    let [low, high, ..] = *stream else { return Err(Fault::Range) };
    Epilogue::check(low, high, shape.table, shape.words)?;
    let pairs = stream.get(shape.preamble()..).unwrap_or_default().chunks_exact(shape.pair_words().max(1));
    for (at, pair) in pairs.enumerate() {
        for o in 0..PAIR {
            check_channel(shape, PAIR * at + o, pair, o)?;
        }
    }
    Ok(())
}

fn check_channel(shape: &Conv, channel: usize, pair: &[u32], o: usize) -> Result<(), Fault> {
    let Some(Pair { start, weights, multiplier }) = Pair::of(pair) else { return Err(Fault::WeightRange { channel }) };
    let (start, multiplier) = (start[o], multiplier[o]);
    let is_there = channel < shape.channels;
    // By sign, the products' sums at their largest; and what the packing adds.
    let (mut up, mut down, mut odd) = (0_i64, 0_i64, 0_i64);
    for word in weights.iter().skip(o).step_by(PAIR) {
        let w = unpack(*word);
        if w.iter().any(|w| w.abs() > LINEAR_WEIGHT_MAX.into() || (!is_there && *w != 0)) {
            return Err(Fault::WeightRange { channel });
        }
        for (lane, &w) in w.iter().enumerate() {
            let w = i64::from(w);
            (up, down) = (up + w.max(0), down + w.min(0));
            odd += if lane % 2 == 1 { w } else { 0 };
        }
    }
    if is_there != (multiplier > 0) || (!is_there && multiplier != 0) {
        return Err(Fault::Multiplier { channel });
    }
    let base = i64::from(start) - i64::from(ODD) * odd;
    let range = [base + 256 * 255 * down, base + 256 * 255 * up];
    if range.iter().any(|&end| i32::try_from(end).is_err()) {
        return Err(Fault::Accumulator { channel });
    }
    Ok(())
}

/// Two channels of a stream.
struct Pair<'a> {
    start: [i32; PAIR],
    /// Of both by turns.
    weights: &'a [u32],
    multiplier: [i32; PAIR],
}

impl<'a> Pair<'a> {
    #[inline(always)]
    fn of(words: &'a [u32]) -> Option<Self> {
        let (start, rest) = words.split_first_chunk()?;
        let (weights, multiplier) = rest.split_last_chunk()?;
        let of = |words: &[u32; PAIR]| [words[0] as i32, words[1] as i32];
        Some(Self { start: of(start), weights, multiplier: of(multiplier) })
    }
}

/// Unpacks one window into its lane of a patch: `SLOTS` is twice the positions of a patch, first `u` of all, then `y`.
#[inline(always)]
fn gather<const SLOTS: usize>(
    window: &Window,
    input: Input<'_>,
    zeros: &[u32],
    [row, column]: [usize; 2],
    patch: &mut [[u32; SLOTS]],
    lane: usize,
) {
    let mut slots = patch.iter_mut();
    let mut put = |word: u32| {
        if let Some(slot) = slots.next()
            && lane < SLOTS / 2
        {
            (slot[lane], slot[SLOTS / 2 + lane]) = unpacked(word);
        }
    };
    match input {
        Input::Packed(words) => {
            let zero = zeros.first().copied().unwrap_or(0);
            for plane in words.chunks_exact(window.area().max(1)) {
                window.each(row, column, |tap| put(tap.map_or(zero, |at| plane.get(at).copied().unwrap_or(0))));
            }
        }
        Input::Bytes(bytes) => {
            let (mut word, mut filled) = (0_u32, 0);
            for (plane, zero) in bytes.chunks_exact(window.area().max(1)).zip(zeros) {
                window.each(row, column, |tap| {
                    let code = tap.map_or(*zero, |at| plane.get(at).copied().unwrap_or(0).into());
                    word |= (code & 0xFF) << (8 * filled);
                    filled += 1;
                    if filled == LANES {
                        put(word);
                        (word, filled) = (0, 0);
                    }
                });
            }
            if filled > 0 {
                put(word);
            }
        }
    }
    // At most one word only pads, and meets weights of zero.
    put(0);
}

/// Codes 0 and 2 of a word, and all four turned over.
#[inline(always)]
const fn unpacked(word: u32) -> (u32, u32) {
    (word & 0x00FF_00FF, word ^ 0x7FFF_7FFF)
}

/// The window behind that one.
#[inline(always)]
const fn next(window: &Window, [row, column]: [usize; 2]) -> [usize; 2] {
    if column + 1 < window.output[1] { [row, column + 1] } else { [row + 1, 0] }
}
