//! Convolutions of 3x3 windows two steps apart by polyphase Winograd: 25 products for each 4 results, exact in integers. It gives the
//! bits of the plain convolution.
//!
//! Along each axis two results `r0 = g0 d0 + g1 d1 + g2 d2` and `r1 = g0 d2 + g1 d3 + g2 d4` part into phases: what meets `g1` is
//! multiplied as it is, the others are F(2, 2) (A. Lavin and S. Gray, 2016). Five products give `r0 = c + b + o` and `r1 = c + e + p`:
//!
//! | point | weight | code |
//! |---|---|---|
//! | c | `g0 + g2` | `d2` |
//! | b | `g0` | `d0 - d2` |
//! | o | `g1` | `d1` |
//! | e | `g2` | `d4 - d2` |
//! | p | `g1` | `d3` |
//!
//! A tile is two columns by four rows of results: two times two by two, one above the other. Sums may wrap on the way: the last step
//! is linear, so what [`check`] proves of its result is enough.
//!
//! Stream: range of the results; the code of zero, of bytes one for each channel; for each two channels their start values, then
//! weights in the order of [`SEQUENCES`], `[point][word of four codes][channel][codes 0 and 2, 1 and 3]`, two int16 a word, then their
//! multipliers.

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
mod cortex_m_dsp;
pub mod portable;

use super::conv::{Conv, PAIR};
use super::packed::{Maps, Window};
use super::pairs::Pairs;
use super::tiles::{MOST_QUADS, Tiling};
use super::{Core, Fault};
use crate::quant::LINEAR_WEIGHT_MAX;

/// What the accumulator counts a product as.
pub const UNIT: i32 = 1;
/// Points along each axis.
const POINTS: usize = 5;
/// Points of both axes.
const ALL: usize = POINTS * POINTS;
/// Rows and columns of a window, and its weights.
const SIDE: usize = 3;
const TAPS: usize = SIDE * SIDE;
/// Rows and columns of the results of a tile.
const TILE: [usize; 2] = [4, 2];
/// Rows and columns of codes that a tile reaches over.
const REACH: [usize; 2] = [9, 5];
/// The sums of a tile, in whose order weights and codes stand: at the points c, then b and o, then e and p of a row, at each at c, then
/// b and o, then e and p of a column. So many points each.
pub const SEQUENCES: [usize; 9] = [1, 2, 2, 2, 4, 4, 2, 4, 4];

/// Sizes of a convolution of 3x3 windows two steps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polyphase3 {
    /// What it reads.
    pub window: Window,
    /// Channels that it gives.
    pub channels: usize,
}

impl Polyphase3 {
    /// The convolution, where this family takes it.
    pub fn of(conv: &Conv) -> Option<Self> {
        let Conv { window, channels, adds, halves, table } = *conv;
        let shape = Self { window, channels };
        (shape.is_sound() && !adds && !halves && !table).then_some(shape)
    }

    /// Whether the family takes such windows.
    fn is_sound(&self) -> bool {
        let Window { kernel, stride, before, .. } = self.window;
        let near = before[0] < SIDE && before[1] < SIDE;
        kernel == [SIDE; 2] && stride == [2; 2] && near && self.quads() <= MOST_QUADS
    }

    /// Words of four codes of a position.
    pub const fn quads(&self) -> usize {
        self.tiling().quads()
    }

    /// How its channels stand.
    pub(super) const fn pairs(&self) -> Pairs {
        Pairs { window: self.window, channels: self.channels, points: ALL, adds: false, leads: false }
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.pairs().stream_words(self.channels)
    }

    /// Words of the transformed codes of a tile: of each point two rows of tiles, codes 0 and 2, 1 and 3.
    pub(super) const fn window_words(&self) -> usize {
        ALL * self.quads() * 4
    }

    /// Its tiles.
    #[inline(always)]
    pub const fn tiling(&self) -> Tiling {
        Tiling::new(self.window, TILE)
    }

    /// Words that it works in: transformed codes, the codes of a row of tiles, and results of a tile that lacks some.
    pub const fn scratch_words(&self) -> usize {
        let tiling = self.tiling();
        let part = if tiling.has_parts() { tiling.part_words(self.channels) } else { 0 };
        self.window_words() + part + tiling.strip_words()
    }

    /// About how many instructions it takes on a core.
    pub const fn cost(&self, core: Core) -> usize {
        if !core.has_dsp() {
            return self.plain_cost(core);
        }
        let [down, across] = self.tiling().count;
        let pair = 10 * ALL * self.quads() + 116;
        let tile = self.channels.div_ceil(PAIR) * pair + 331 * self.quads() + 18;
        down * (across * tile + self.tiling().strip_cost()) + self.tiling().parts_cost(self.channels)
    }

    /// Likewise on the others.
    const fn plain_cost(&self, core: Core) -> usize {
        let [product, pair, quad, bytes] =
            core.plain([[34, 2100, 3500, 0], [66, 4200, 4800, 1800], [70, 2400, 2900, 1400]]);
        let pairs = self.channels.div_ceil(PAIR) * (ALL * product * self.quads() + pair);
        let codes = self.quads() * if self.window.bytes { quad + bytes } else { quad };
        let [down, across] = self.tiling().count;
        down * across * (pairs + codes)
    }
}

/// A convolution with what stands behind it, of a map with `QUADS` words of four channels: the kernel of this core.
#[inline(always)]
pub fn polyphase3<const QUADS: usize>(shape: &Polyphase3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    #[cfg(bn_lenet_arch = "cortex_m_dsp")]
    cortex_m_dsp::polyphase3::<QUADS>(shape, stream, maps, scratch);
    #[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
    portable::polyphase3(shape, stream, maps, scratch);
}

/// Where a point along a row and down a column stands among all.
const fn place([x, y]: [usize; 2]) -> usize {
    match x {
        0 => y,
        1 | 2 => POINTS + 2 * y + x - 1,
        _ => 3 * POINTS + 2 * y + x - 3,
    }
}

/// Three weights at the five points.
const fn points([g0, g1, g2]: [i32; SIDE]) -> [i32; POINTS] {
    [g0 + g2, g0, g1, g2, g1]
}

/// Weights at all points, of those of a window row by row.
fn expand(weights: [i32; TAPS]) -> [i32; ALL] {
    let [a, b, c, d, e, f, g, h, i] = weights;
    let (first, second, third) = (points([a, b, c]), points([d, e, f]), points([g, h, i]));
    let mut all = [0; ALL];
    for (x, ((g0, g1), g2)) in first.into_iter().zip(second).zip(third).enumerate() {
        for (y, point) in points([g0, g1, g2]).into_iter().enumerate() {
            if let Some(to) = all.get_mut(place([x, y])) {
                *to = point;
            }
        }
    }
    all
}

/// The weights that [`expand`] makes these of, if there are any.
fn contract(all: &[i32; ALL]) -> Option<[i32; TAPS]> {
    // At b, o and e they stand alone.
    let alone = |x, y| all.get(place([x, y])).copied().unwrap_or(0);
    let row = |y| [alone(1, y), alone(2, y), alone(3, y)];
    let ([a, b, c], [d, e, f], [g, h, i]) = (row(1), row(2), row(3));
    let weights = [a, b, c, d, e, f, g, h, i];
    (expand(weights) == *all).then_some(weights)
}

#[cfg(feature = "build")]
impl Polyphase3 {
    /// The stream of these channels: range of the results, the code of zero by input channel.
    pub fn stream(&self, range: [i32; 2], zeros: &[u8], channels: &[super::conv::Channel]) -> std::vec::Vec<u32> {
        self.pairs().stream((range, zeros), channels, expand)
    }
}

/// Proves a stream: its weights are those of 3x3 windows of int8 at every point, what only pads is zero, every multiplier positive,
/// and no result out of i32, whatever the input.
///
/// # Errors
/// [`Fault`] with the first channel that could go wrong.
pub fn check(shape: &Polyphase3, stream: &[u32]) -> Result<(), Fault> {
    shape.pairs().check(stream, (UNIT, LINEAR_WEIGHT_MAX.into()), contract)
}
