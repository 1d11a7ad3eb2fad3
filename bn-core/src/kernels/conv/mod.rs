//! A convolution of any kernel, or a linear layer, whose kernel is the whole map, with int8 weights, over gathered patches.
//!
//! Two weights travel in one halfword: `v = 256 * w0 - w1`, whose low byte is `-w1`. Of the codes `u0` and `u1` that they meet a
//! patch holds `u0` and `y = 255 - u0 + 256 * (127 - u1)`, the bits of both turned over but the highest. Then
//! `v * u0 - w1 * y = 256 * (w0 * u0 + w1 * u1) - 32,767 * w1`, and the start value takes the last term back. All 256 codes are
//! allowed, nothing is unpacked but one byte, and cores with the DSP extension multiply both halves of a word at once.
//!
//! Weights of a channel stand in the order of a patch, in words of four: of packed channels word, window row, column, channel of
//! the word; of bytes channel, window row, column, each row filled up to whole words. A group of channels stands together: their
//! start values, their weights by turns, their multipliers, and where a map is added, that map's multipliers.
//!
//! The map that is added stands before the one rounding: `sum = start + 256 * sum of weight * code + factor * added code`.

#[cfg(bn_lenet_arch = "armv6m")]
mod armv6m;
#[cfg(any(bn_lenet_arch = "cortex_m_dsp", bn_lenet_arch = "armv7m"))]
mod cortex_m;
pub mod portable;

use super::packed::{Epilogue, Input, LANES, Window, check_multiplier, check_sums, half_words};
use super::{Core, Fault};
use crate::quant::LINEAR_WEIGHT_MAX;

#[cfg(bn_lenet_arch = "armv6m")]
pub use armv6m::conv;
#[cfg(any(bn_lenet_arch = "cortex_m_dsp", bn_lenet_arch = "armv7m"))]
pub use cortex_m::conv;
#[cfg(bn_lenet_arch = "portable")]
pub use portable::conv;

/// Channels that are computed side by side, and stand by turns, where a layer has several positions; where it has one, twice as many.
pub const PAIR: usize = 2;
/// The most channels of a group.
pub const MOST_GROUP: usize = 2 * PAIR;
/// The most positions that a path computes side by side, by which its memory is counted.
pub(super) const MOST_POSITIONS: usize = 3;
/// The most words of a map that is copied with its padding as a whole.
const MOST_COPIED: usize = 256;
/// What an accumulator counts a product as.
pub const UNIT: i32 = 256;
/// What a start value takes back for each odd weight.
pub const ODD: i32 = (1 << 15) - 1;

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// What it reads.
    pub window: Window,
    /// Channels that it gives.
    pub channels: usize,
    /// Whether a map of what it gives is added to it.
    pub adds: bool,
    /// Whether its results are the network's.
    pub halves: bool,
    /// Whether a table stands behind it.
    pub table: bool,
}

/// Windows that are copied with their padding.
#[derive(Clone, Copy)]
enum Copied {
    /// None: no window reaches beyond the map.
    None,
    /// All at once: that is little.
    All,
    /// So many at once as are computed side by side, where they reach beyond the map.
    Some,
}

impl Conv {
    /// Products of a result.
    pub const fn fan_in(&self) -> usize {
        self.window.taps() * self.window.input.channels
    }

    /// Channels that stand by turns.
    pub const fn group(&self) -> usize {
        if self.window.positions() == 1 { MOST_GROUP } else { PAIR }
    }

    /// Words of four weights of a channel. Of one position they are unpacked two by two.
    pub const fn quads(&self) -> usize {
        let quads = self.window.words();
        if self.window.positions() == 1 { quads.next_multiple_of(2) } else { quads }
    }

    /// Words of a group of channels.
    pub const fn group_words(&self) -> usize {
        self.group() * (2 + self.quads() + self.adds as usize)
    }

    /// Groups of channels: as many as fill words of four results.
    pub const fn groups(&self) -> usize {
        self.channels.next_multiple_of(LANES) / self.group()
    }

    /// Whether its results are codes to which nothing was added.
    #[inline(always)]
    const fn gives_codes(&self) -> bool {
        !self.adds && !self.halves
    }

    /// Words of its results.
    pub const fn output_words(&self) -> usize {
        let positions = self.window.positions();
        if self.halves { half_words(self.channels * positions) } else { self.channels.div_ceil(LANES) * positions }
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.window.preamble_words() + self.groups() * self.group_words()
    }

    /// Words that a patch takes: for each word of four codes two halves of the unpacked codes at each position.
    pub(super) const fn patch_words(&self) -> usize {
        let positions = self.window.positions();
        2 * self.quads() * if positions < MOST_POSITIONS { positions } else { MOST_POSITIONS }
    }

    /// Which windows are copied with their padding.
    #[inline(always)]
    const fn copied(&self) -> Copied {
        let window = &self.window;
        if window.is_whole() || (!window.is_padded() && !window.bytes) {
            Copied::None
        } else if window.is_padded() && window.copy_words(window.output) <= MOST_COPIED {
            Copied::All
        } else {
            Copied::Some
        }
    }

    /// Words that it works in: a patch, and a copy of windows with their padding.
    #[inline(always)]
    pub const fn scratch_words(&self) -> usize {
        self.patch_words()
            + match self.copied() {
                Copied::None => 0,
                Copied::All => self.window.copy_words(self.window.output),
                Copied::Some => self.window.copy_words([1, MOST_POSITIONS]),
            }
    }

    /// About how many instructions it takes on a core.
    pub const fn cost(&self, core: Core) -> usize {
        if !core.has_dsp() {
            return self.plain_cost(core);
        }
        let (groups, quads) = (self.groups(), self.quads());
        if self.window.positions() == 1 {
            return groups * (quads * 27 / 2 + 34) + 8 * quads;
        }
        let tile = groups * (quads * 17 + 28 + if self.adds { 16 } else { 0 }) + 13 * quads + 150;
        self.window.positions().div_ceil(MOST_POSITIONS) * tile
    }

    /// Likewise on the others.
    const fn plain_cost(&self, core: Core) -> usize {
        let (groups, quads, is_alone) = (self.groups(), self.quads(), !self.halves && !self.table);
        if self.window.positions() == 1 {
            let [quad, group, behind, gathered] =
                core.plain([[36, 40, 310, 20], [60, 330, 440, 16], [71, 153, 100, 38]]);
            // An M3 stores whole groups of results as they are.
            let is_alone =
                is_alone || matches!(core, Core::M3) && !self.table && self.channels.is_multiple_of(MOST_GROUP);
            return groups * (quads * quad + group + if is_alone { 0 } else { behind }) + gathered * quads;
        }
        let [positions, quad, group, added, behind] =
            core.plain([[3, 41, 64, 31, 285], [2, 95, 250, 214, 60], [2, 65, 229, 209, 17]]);
        let [gathered, point, byte, tile] = core.plain([[74, 0, 0, 0], [115, 115, 60, 647], [58, 58, 32, 0]]);
        let groups =
            groups * (quads * quad + group + if self.adds { added } else { 0 } + if is_alone { 0 } else { behind });
        let patch = quads * if self.window.is_pointwise() { point } else { gathered }
            + if self.window.bytes { self.fan_in() * byte } else { 0 };
        self.window.positions().div_ceil(positions) * (groups + patch + tile)
    }

    /// Whether results may take the place of the map: each position is read once, with all of its channels.
    pub const fn in_place(&self) -> bool {
        let Window { stride, bytes, .. } = self.window;
        self.window.is_pointwise() && stride[0] == 1 && stride[1] == 1 && !bytes && !self.halves && !self.adds
    }

    /// How many lanes of each word of a channel's weights stand for weights; the others only fill up.
    pub fn lanes(&self) -> impl Iterator<Item = usize> + use<> {
        let ([planes, rows, columns], words, window) = (self.window.parts(), self.window.row_words(), self.window);
        (0..planes).flat_map(move |plane| {
            (0..rows).flat_map(move |_| {
                (0..words).map(move |word| {
                    let (all, before) = if window.bytes { (columns, word) } else { (window.input.channels, plane) };
                    LANES.min(all - LANES * before)
                })
            })
        })
    }

    /// Where weight `k` of a channel, as PyTorch counts them (channel, row, column), stands among the weights of its stream.
    pub const fn place(&self, k: usize) -> usize {
        let window = &self.window;
        let (channel, tap) = (k / window.taps(), k % window.taps());
        if window.bytes {
            let [.., columns] = window.parts();
            return LANES * window.row_words() * (k / columns) + k % columns;
        }
        LANES * (channel / LANES * window.taps() + tap) + channel % LANES
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

/// One channel's integers, as a quantiser makes them. The sum is `start + `[`UNIT`]` * sum of weight * code`.
#[cfg(feature = "build")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// What the sum begins with.
    pub start: i32,
    /// Factor of the sum, times 2^32; positive.
    pub multiplier: i32,
    /// What a code of the map that is added counts in the sum; 0 where none is.
    pub adds: i32,
    /// Weights in PyTorch's order: channel, row, column; in [-127, 127], of [`pointwise`](super::pointwise) any.
    pub weights: std::vec::Vec<i16>,
}

#[cfg(feature = "build")]
impl Conv {
    /// The stream of these channels: range of the results, the code of zero by input channel. `None` for a start value that the
    /// packing of the weights drives out of i32.
    pub fn stream(&self, range: [i32; 2], zeros: &[u8], channels: &[Channel]) -> Option<std::vec::Vec<u32>> {
        let mut stream = self.window.preamble(range, zeros);
        let (group, quads) = (self.group(), self.quads());
        for at in 0..self.groups() {
            let channels = channels.get(group * at..).unwrap_or_default();
            let channels = channels.get(..group).unwrap_or(channels);
            let mut words = std::vec![0; self.group_words()];
            for (o, channel) in channels.iter().enumerate() {
                let mut weights = std::vec![0; LANES * quads];
                for (k, &weight) in channel.weights.iter().enumerate() {
                    weights[self.place(k)] = weight as i8;
                }
                let odd: i32 = weights.iter().skip(1).step_by(2).map(|&w| i32::from(w)).sum();
                words[o] = channel.start.checked_add(ODD.checked_mul(odd)?)? as u32;
                words[group * (1 + quads) + o] = channel.multiplier as u32;
                if self.adds {
                    words[group * (2 + quads) + o] = channel.adds as u32;
                }
                for (quad, &four) in weights.as_chunks::<LANES>().0.iter().enumerate() {
                    words[group * (1 + quad) + o] = pack(four);
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
    Epilogue::check(low, high, shape.table, shape.halves)?;
    let groups =
        stream.get(shape.window.preamble_words()..).unwrap_or_default().chunks_exact(shape.group_words().max(1));
    for (at, words) in groups.enumerate() {
        for o in 0..shape.group() {
            check_channel(shape, shape.group() * at + o, words, o)?;
        }
    }
    Ok(())
}

fn check_channel(shape: &Conv, channel: usize, group: &[u32], o: usize) -> Result<(), Fault> {
    // Start value, weights, multiplier, what is added.
    let mut words = group.iter().skip(o).step_by(shape.group()).map(|&word| word as i32);
    let is_there = channel < shape.channels;
    let start = words.next().unwrap_or(0);
    // By sign, the products' sums at their largest; and what the packing adds.
    let (mut up, mut down, mut odd) = (0_i64, 0_i64, 0_i64);
    let mut lanes = shape.lanes();
    for word in words.by_ref().take(shape.quads()) {
        let used = lanes.next().filter(|_| is_there).unwrap_or(0);
        for (lane, w) in unpack(word as u32).into_iter().enumerate() {
            let may = if lane < used { LINEAR_WEIGHT_MAX.into() } else { 0 };
            if w.abs() > may {
                return Err(Fault::WeightRange { channel });
            }
            let w = i64::from(w);
            (up, down) = (up + w.max(0), down + w.min(0));
            odd += if lane % 2 == 1 { w } else { 0 };
        }
    }
    let (multiplier, adds) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
    check_multiplier(channel, is_there, multiplier, adds)?;
    let base = i64::from(start) - i64::from(ODD) * odd;
    let most = i64::from(UNIT) * 255;
    check_sums(channel, [base + most * down, base + most * up + 255 * i64::from(adds)])
}

/// A group of channels of a stream.
struct Group<'a, const N: usize> {
    start: &'a [u32; N],
    /// Of all by turns.
    weights: &'a [u32],
    multiplier: &'a [u32; N],
    adds: &'a [u32; N],
}

impl<'a, const N: usize> Group<'a, N> {
    #[inline(always)]
    fn of(shape: &Conv, words: &'a [u32]) -> Option<Self> {
        let (start, rest) = words.split_first_chunk()?;
        let (weights, rest) = rest.split_at_checked(N * shape.quads())?;
        let (multiplier, rest) = rest.split_first_chunk()?;
        Some(Self { start, weights, multiplier, adds: rest.first_chunk().unwrap_or(&[0; N]) })
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
            let [.., columns] = window.parts();
            let (mut word, mut filled, mut left) = (0_u32, 0, columns);
            for (plane, zero) in bytes.chunks_exact(window.area().max(1)).zip(zeros) {
                window.each(row, column, |tap| {
                    let code = tap.map_or(*zero, |at| plane.get(at).copied().unwrap_or(0).into());
                    word |= (code & 0xFF) << (8 * filled);
                    (filled, left) = (filled + 1, left - 1);
                    if filled == LANES || left == 0 {
                        put(word);
                        (word, filled) = (0, 0);
                    }
                    if left == 0 {
                        left = columns;
                    }
                });
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
