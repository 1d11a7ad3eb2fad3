//! Convolutions of single positions with int16 weights, two positions by two channels at a time. Results may take the place of the map.
//!
//! Weights of 16 bits cost a core with the DSP extension nothing: it multiplies pairs of them, as it does the pairs that int8 weights
//! would be unpacked to. So they need no unpacking, are more exact, and have room for a scale that all channels share. Where all
//! multipliers are [`SHIFT_MULTIPLIER`] the last step is a shift, and start values hold what rounds it.
//!
//! Stream: range of the results; the code of zero in all lanes; for each two channels their start values, their multipliers, weights
//! `[word of four codes][channel][codes 0 and 2, 1 and 3]`, two int16 a word, and where a map is added, that map's factors. Channels
//! fill up words of four.

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
mod cortex_m_dsp;
pub mod portable;

use super::conv::{Conv, PAIR};
use super::packed::{Epilogue, LANES, Window, check_multiplier, check_sums};
use super::{Core, Fault};

pub use super::depthwise3::SHIFT_MULTIPLIER;
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use cortex_m_dsp::pointwise;
#[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
pub use portable::pointwise;

/// What the accumulator counts a product as.
pub const UNIT: i32 = 1;
/// Bits of a shift, and what rounds it.
const SHIFT: u32 = 12;
#[cfg(feature = "build")]
const HALF: i32 = 1 << (SHIFT - 1);

/// Sizes of a convolution of single positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointwise {
    /// What it reads.
    pub window: Window,
    /// Channels that it gives.
    pub channels: usize,
    /// Whether a map of what it gives is added to it.
    pub adds: bool,
}

impl Pointwise {
    /// The convolution, where this family takes it.
    pub fn of(conv: &Conv) -> Option<Self> {
        let Conv { window, channels, adds, words, table } = *conv;
        let shape = Self { window, channels, adds };
        (shape.is_sound() && !words && !table).then_some(shape)
    }

    /// Whether the family takes such windows.
    const fn is_sound(&self) -> bool {
        self.window.is_pointwise() && !self.window.bytes
    }

    /// Words of four codes of a position.
    pub const fn quads(&self) -> usize {
        self.window.input.channels.div_ceil(LANES)
    }

    /// Words of the weights of two channels.
    const fn weight_words(&self) -> usize {
        self.quads() * 2 * PAIR
    }

    /// Words of two channels.
    pub const fn pair_words(&self) -> usize {
        PAIR * (2 + self.adds as usize) + self.weight_words()
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.window.preamble_words() + self.channels.next_multiple_of(LANES) / PAIR * self.pair_words()
    }

    /// Words that it works in: the codes of two positions, 0 and 2, 1 and 3.
    pub const fn scratch_words(&self) -> usize {
        4 * self.quads()
    }

    /// About how many instructions it takes on a core.
    pub const fn cost(&self, core: Core) -> usize {
        if !core.has_dsp() {
            return self.plain_cost(core);
        }
        let quads = self.quads();
        let [height, width] = self.window.output;
        let rows = if self.window.stride[0] == 1 && self.window.stride[1] == 1 { 1 } else { height };
        let two = rows * (height * width / rows).div_ceil(2);
        let pair = 10 * quads + 3 * quads.div_ceil(16) + if self.adds { 28 } else { 14 };
        two * (self.channels.div_ceil(LANES) * 2 * pair + 10 * quads + 20) + 100 * rows
    }

    /// Likewise on the others.
    const fn plain_cost(&self, core: Core) -> usize {
        let [product, pair, added, quad] = core.plain([[68, 160, 60, 60], [116, 300, 120, 100], [70, 200, 60, 60]]);
        let pair = product * self.quads() + pair + if self.adds { added } else { 0 };
        self.window.positions().div_ceil(2) * (self.channels.div_ceil(LANES) * 2 * pair + quad * self.quads())
    }

    /// Whether results may take the place of the map: each position is read once, with all of its channels.
    pub const fn in_place(&self) -> bool {
        self.window.stride[0] == 1 && self.window.stride[1] == 1 && !self.adds
    }

    /// Where a weight stands among the halfwords of two channels' weights.
    const fn place(input: usize, o: usize) -> usize {
        2 * (input / LANES * 2 * PAIR + 2 * o + input % 2) + input % LANES / 2
    }
}

#[cfg(feature = "build")]
impl Pointwise {
    /// The stream of these channels: range of the results, the code of zero by input channel.
    pub fn stream(&self, range: [i32; 2], zeros: &[u8], channels: &[super::conv::Channel]) -> std::vec::Vec<u32> {
        let mut stream = self.window.preamble(range, zeros);
        let is_shift = channels.iter().all(|channel| channel.multiplier == SHIFT_MULTIPLIER);
        for pair in channels.chunks(PAIR) {
            let of = |value: fn(&super::conv::Channel) -> i32| {
                [0, 1].map(|o| pair.get(o).map_or(0, |channel| value(channel) as u32))
            };
            let half = if is_shift { HALF } else { 0 };
            stream.extend(of(|channel| channel.start).map(|start| (start as i32).saturating_add(half) as u32));
            stream.extend(of(|channel| channel.multiplier));
            let mut halves = std::vec![0_u16; 2 * self.weight_words()];
            for (o, channel) in pair.iter().enumerate() {
                for (input, &weight) in channel.weights.iter().enumerate() {
                    halves[Self::place(input, o)] = weight as u16;
                }
            }
            stream.extend(halves.as_chunks().0.iter().map(|&[low, high]| u32::from(low) | u32::from(high) << 16));
            if self.adds {
                stream.extend(of(|channel| channel.adds));
            }
        }
        stream.resize(self.stream_words(), 0);
        stream
    }
}

/// Whether the last step is a shift, given what follows the preamble.
fn is_shift(shape: &Pointwise, channels: &[u32]) -> bool {
    let mut pairs = channels.chunks_exact(shape.pair_words().max(1)).take(shape.channels.div_ceil(PAIR)).enumerate();
    pairs.all(|(at, pair)| {
        let there = PAIR.min(shape.channels - PAIR * at);
        pair.get(PAIR..PAIR + there).is_some_and(|all| all.iter().all(|&one| one == SHIFT_MULTIPLIER as u32))
    })
}

/// Two channels of a stream.
struct Pair<'a> {
    start: [i32; PAIR],
    multiplier: [i32; PAIR],
    weights: &'a [u32],
    adds: [i32; PAIR],
}

impl<'a> Pair<'a> {
    #[inline(always)]
    fn of(shape: &Pointwise, words: &'a [u32]) -> Option<Self> {
        let signed = |words: &[u32; PAIR]| words.map(|word| word as i32);
        let (start, rest) = words.split_first_chunk()?;
        let (multiplier, rest) = rest.split_first_chunk()?;
        let (weights, rest) = rest.split_at_checked(shape.weight_words())?;
        let adds = rest.first_chunk().map_or([0; PAIR], signed);
        Some(Self { start: signed(start), multiplier: signed(multiplier), weights, adds })
    }
}

/// Proves a stream: what only pads is zero, every multiplier positive, and no accumulator out of i32, whatever the input.
///
/// # Errors
/// [`Fault`] with the first channel that could go wrong.
pub fn check(shape: &Pointwise, stream: &[u32]) -> Result<(), Fault> {
    let [low, high, ..] = *stream else { return Err(Fault::Range) };
    Epilogue::check(low, high, false, false)?;
    let pairs = stream.get(shape.window.preamble_words()..).unwrap_or_default().chunks_exact(shape.pair_words().max(1));
    for (at, pair) in pairs.enumerate() {
        let Some(pair) = Pair::of(shape, pair) else { return Err(Fault::Range) };
        for o in 0..PAIR {
            check_channel(shape, PAIR * at + o, &pair, o)?;
        }
    }
    Ok(())
}

fn check_channel(shape: &Pointwise, channel: usize, pair: &Pair<'_>, o: usize) -> Result<(), Fault> {
    let is_there = channel < shape.channels;
    let halves = bytemuck::cast_slice::<u32, i16>(pair.weights);
    let (mut up, mut down) = (0_i64, 0_i64);
    for input in 0..LANES * shape.quads() {
        let w = i64::from(halves.get(Pointwise::place(input, o)).copied().unwrap_or(0));
        let is_used = is_there && input < shape.window.input.channels;
        if w != 0 && !is_used {
            return Err(Fault::WeightRange { channel });
        }
        (up, down) = (up + w.max(0), down + w.min(0));
    }
    check_multiplier(channel, is_there, pair.multiplier[o], pair.adds[o])?;
    let start = i64::from(pair.start[o]);
    check_sums(channel, [start + 255 * down, start + 255 * (up + i64::from(pair.adds[o]))])
}
