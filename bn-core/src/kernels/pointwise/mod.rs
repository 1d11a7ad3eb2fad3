//! Convolutions of single positions with int16 weights, some positions by two channels at a time. Results may take the place of the map.
//!
//! Weights of 16 bits cost a core with the DSP extension nothing: it multiplies pairs of them, as it does the pairs that int8 weights
//! would be unpacked to. So they need no unpacking, are more exact, and have room for a scale that all channels share. Where all
//! multipliers are [`SHIFT_MULTIPLIER`] the last step is a shift, and start values hold what rounds it.
//!
//! Stream: range of the results; the code of zero in all lanes; for each two channels their start values, their multipliers, weights
//! `[word of four codes][channel][codes 0 and 2, 1 and 3]`, two int16 a word, and where a map is added, that map's factors. Channels
//! fill up words of four.

#[cfg(any(bn_lenet_arch = "armv7m", bn_lenet_arch = "armv6m"))]
mod cortex_m;
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
mod cortex_m_dsp;
pub mod portable;
#[cfg(not(bn_lenet_arch = "portable"))]
mod positions;

use super::conv::{Conv, PAIR};
use super::packed::{LANES, Maps, Window};
use super::pairs::Pairs;
use super::{Core, Fault};

pub use super::depthwise3::SHIFT_MULTIPLIER;

/// What the accumulator counts a product as.
pub const UNIT: i32 = 1;
/// Bits of a shift, and what rounds it.
const SHIFT: u32 = 12;
#[cfg(feature = "build")]
const HALF: i32 = 1 << (SHIFT - 1);

/// The most words of four channels of a map that is not wide.
const MOST_NARROW: usize = 17;

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
        let Conv { window, channels, adds, halves, table } = *conv;
        let shape = Self { window, channels, adds };
        (shape.is_sound() && !halves && !table).then_some(shape)
    }

    /// Whether the family takes such windows.
    const fn is_sound(&self) -> bool {
        self.window.is_pointwise() && !self.window.bytes
    }

    /// Words of four codes of a position.
    pub const fn quads(&self) -> usize {
        self.window.input.channels.div_ceil(LANES)
    }

    /// Whether a map has many channels.
    pub const fn is_wide(&self) -> bool {
        self.quads() > MOST_NARROW
    }

    /// How its channels stand.
    pub(super) const fn pairs(&self) -> Pairs {
        Pairs { window: self.window, channels: self.channels, points: 1, adds: self.adds, leads: true }
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.pairs().stream_words(self.channels.next_multiple_of(LANES))
    }

    /// Words that it works in: the codes of three positions, a word each, or of two, two in a word.
    pub const fn scratch_words(&self) -> usize {
        12 * self.quads()
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
        let pair =
            10 * quads + if self.is_wide() { 1 + 4 * ((quads - 1) / 32) } else { 0 } + if self.adds { 27 } else { 13 };
        two * (self.channels.div_ceil(LANES) * (2 * pair + 1) + 10 * quads + 11) + 100 * rows
    }

    /// Likewise on the others.
    const fn plain_cost(&self, core: Core) -> usize {
        let (quads, pairs) = (self.quads(), self.channels.div_ceil(LANES) * 2);
        let count = self.window.positions();
        if self.adds || matches!(core, Core::Riscv | Core::Wasm) {
            let [product, pair, added, quad] = core.plain([[34, 220, 100, 60], [66, 380, 150, 100], [70, 200, 60, 60]]);
            let pair = product * quads + pair + if self.adds { added } else { 0 };
            return count.div_ceil(2) * (pairs * pair + quad * quads);
        }
        // Three positions by two channels, of four codes; what stands behind them; what unpacks them.
        let [products, pair, quad] = core.plain([[73, 22, 20], [160, 60, 33], [0; 3]]);
        let rows = if self.in_place() { 1 } else { self.window.output[0] };
        let columns = count / rows;
        let tile = pairs * (products * quads / 2 + pair) + quad * quads + 17;
        rows * ((columns / 3 + columns % 3) * tile + 100)
    }

    /// Whether results may take the place of the map: each position is read once, with all of its channels.
    pub const fn in_place(&self) -> bool {
        self.window.stride[0] == 1 && self.window.stride[1] == 1 && !self.adds
    }
}

/// A convolution with what stands behind it, of a map that is wide or not, to which another is added or not: the kernel of this
/// core.
#[inline(always)]
pub fn pointwise<const WIDE: bool, const ADDS: bool>(
    shape: &Pointwise,
    stream: &[u32],
    maps: Maps<'_>,
    scratch: &mut [u32],
) {
    #[cfg(bn_lenet_arch = "cortex_m_dsp")]
    cortex_m_dsp::pointwise::<WIDE, ADDS>(shape, stream, maps, scratch);
    #[cfg(any(bn_lenet_arch = "armv7m", bn_lenet_arch = "armv6m"))]
    if !ADDS {
        return cortex_m::pointwise(shape, stream, maps, scratch);
    }
    #[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
    portable::pointwise(shape, stream, maps, scratch);
}

#[cfg(feature = "build")]
impl Pointwise {
    /// The stream of these channels: range of the results, the code of zero by input channel.
    pub fn stream(&self, range: [i32; 2], zeros: &[u8], channels: &[super::conv::Channel]) -> std::vec::Vec<u32> {
        let is_shift = channels.iter().all(|channel| channel.multiplier == SHIFT_MULTIPLIER);
        let mut channels = channels.to_vec();
        if is_shift {
            channels.iter_mut().for_each(|channel| channel.start = channel.start.saturating_add(HALF));
        }
        let mut stream = self.pairs().stream((range, zeros), &channels, |weight: [i32; 1]| weight);
        stream.resize(self.stream_words(), 0);
        stream
    }
}

/// Whether the last step is a shift.
fn is_shift(shape: &Pointwise, stream: &[u32]) -> bool {
    let channels = stream.get(shape.window.preamble_words()..).unwrap_or_default();
    let mut pairs = channels.chunks_exact(shape.pairs().words().max(1));
    let is_shift = |multiplier: u32| multiplier == SHIFT_MULTIPLIER as u32;
    let mut whole = pairs.by_ref().take(shape.channels / PAIR);
    let all = whole.all(|pair| matches!(*pair, [_, _, one, other, ..] if is_shift(one) && is_shift(other)));
    // The last pair of an odd number is one channel.
    all && (shape.channels.is_multiple_of(PAIR) || matches!(pairs.next(), Some(&[_, _, one, ..]) if is_shift(one)))
}

/// Proves a stream: what only pads is zero, every multiplier positive, and no accumulator out of i32, whatever the input.
///
/// # Errors
/// [`Fault`] with the first channel that could go wrong.
pub fn check(shape: &Pointwise, stream: &[u32]) -> Result<(), Fault> {
    shape.pairs().check(stream, (UNIT, 1 << 15), |&[weight]| Some([weight]))
}
