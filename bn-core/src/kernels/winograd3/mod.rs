//! Convolutions of 3x3 windows one step apart by Winograd's F(4x2, 3x3): 24 products for each 8 results, exact in integers. It gives
//! the bits of the plain convolution, with an accumulator that counts a product as [`UNIT`].
//!
//! Along a row F(4, 3) at the points 0, 1, -1, 2, -2 and infinity, weights times 24; down a column F(2, 3) at 0, 1, -1 and infinity,
//! weights times 2 (S. Winograd, *Arithmetic Complexity of Computations*, 1980; A. Lavin and S. Gray, 2016).
//!
//! | | along a row | down a column |
//! |---|---|---|
//! | weights | `6 g0, -4 (g0 + g1 + g2), -4 (g0 - g1 + g2), g0 + 2 g1 + 4 g2, g0 - 2 g1 + 4 g2, 24 g2` | `2 g0, g0 + g1 + g2, g0 - g1 + g2, 2 g2` |
//! | codes | `4 d0 - 5 d2 + d4, e + o, e - o, p + q, p - q, 4 d1 - 5 d3 + d5` with `e = d4 - 4 d2, o = d3 - 4 d1, p = d4 - d2, q = 2 (d3 - d1)` | `d0 - d2, d1 + d2, d2 - d1, d3 - d1` |
//! | results | `m0 + m1 + m2 + m3 + m4, m1 - m2 + 2 (m3 - m4), m1 + m2 + 4 (m3 + m4), m1 - m2 + 8 (m3 - m4) + m5` | `m0 + m1 + m2, m1 - m2 + m3` |
//!
//! A tile is four columns by four rows of results: two times F(4x2), one above the other. Sums may wrap on the way: the last step is
//! linear, so what [`check`] proves of its result is enough.
//!
//! Stream: range of the results; the code of zero, of bytes one for each channel; for each two channels their start values, then
//! weights `[point along a row][point down a column, in the order 1, -1, 0, infinity][word of four codes][channel][codes 0 and 2, 1
//! and 3]`, two int16 a word, then their multipliers, and where a map is added, that map's.

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
pub const UNIT: i32 = 48;
/// Points along a row and down a column.
const POINTS: [usize; 2] = [6, 4];
const ALL: usize = POINTS[0] * POINTS[1];
/// Where the weights of a point down a column stand: 0, 1, -1, infinity.
const PLACES: [usize; POINTS[1]] = [2, 0, 1, 3];
/// The most words of four channels whose columns stand one behind the other in assembly.
const UNROLLED: usize = 4;
/// Rows and columns of the results of a tile.
const TILE: usize = 4;
/// Rows and columns of codes that a tile reaches over.
const REACH: usize = TILE + 2;
/// Rows and columns of a window, and its weights.
const SIDE: usize = 3;
const TAPS: usize = SIDE * SIDE;

/// Sizes of a convolution of 3x3 windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winograd3 {
    /// What it reads.
    pub window: Window,
    /// Channels that it gives.
    pub channels: usize,
    /// Whether a map of what it gives is added to it.
    pub adds: bool,
}

impl Winograd3 {
    /// The convolution, where this family takes it.
    pub fn of(conv: &Conv) -> Option<Self> {
        let Conv { window, channels, adds, halves, table } = *conv;
        let shape = Self { window, channels, adds };
        (shape.is_sound() && !halves && !table).then_some(shape)
    }

    /// Whether the family takes such windows.
    fn is_sound(&self) -> bool {
        let Window { kernel, stride, before, .. } = self.window;
        let near = before[0] < SIDE && before[1] < SIDE;
        kernel == [SIDE; 2] && stride == [1; 2] && near && self.quads() <= MOST_QUADS
    }

    /// Words of four codes of a position.
    pub const fn quads(&self) -> usize {
        self.tiling().quads()
    }

    /// How its channels stand.
    pub(super) const fn pairs(&self) -> Pairs {
        Pairs { window: self.window, channels: self.channels, points: ALL, adds: self.adds, leads: false }
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.pairs().stream_words(self.channels)
    }

    /// Words of the transformed codes of a tile: of each point two rows of results, codes 0 and 2, 1 and 3.
    pub(super) const fn window_words(&self) -> usize {
        ALL * self.quads() * 4
    }

    /// Its tiles.
    #[inline(always)]
    pub const fn tiling(&self) -> Tiling {
        Tiling::new(self.window, [TILE; 2])
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
        let tiling = self.tiling();
        let [down, across] = tiling.count;
        let quads = self.quads();
        let pair = 10 * ALL * quads + if self.adds { 359 } else { 289 } + if quads > UNROLLED { 29 } else { 0 };
        let tile = self.channels.div_ceil(PAIR) * pair + 502 * quads + 18;
        down * (across * tile + tiling.strip_cost()) + tiling.parts_cost(self.channels)
    }

    /// Likewise on the others.
    const fn plain_cost(&self, core: Core) -> usize {
        let [height, width] = self.window.output;
        let [product, pair, quad, bytes] =
            core.plain([[34, 1321, 3601, 0], [66, 1450, 4822, 1844], [52, 3210, 2863, 1400]]);
        let [result, added] = core.plain([[26, 24], [74, 30], [26, 17]]);
        let pairs = self.channels.div_ceil(PAIR) * (POINTS[0] * POINTS[1] * product * self.quads() + pair);
        let codes = self.quads() * if self.window.bytes { quad + bytes } else { quad };
        let results = self.channels * height * width * if self.adds { result + added } else { result };
        height.div_ceil(TILE) * width.div_ceil(TILE) * (pairs + codes) + results
    }
}

/// A convolution with what stands behind it, of a map with `QUADS` words of four channels, to which another is added or not: the
/// kernel of this core.
#[inline(always)]
pub fn winograd3<const QUADS: usize, const ADDS: bool>(
    shape: &Winograd3,
    stream: &[u32],
    maps: Maps<'_>,
    scratch: &mut [u32],
) {
    #[cfg(bn_lenet_arch = "cortex_m_dsp")]
    cortex_m_dsp::winograd3::<QUADS, ADDS>(shape, stream, maps, scratch);
    #[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
    portable::winograd3(shape, stream, maps, scratch);
}

/// Where a point along a row and down a column stands among all.
const fn place([x, y]: [usize; 2]) -> usize {
    x * POINTS[1] + PLACES[y & 3]
}

/// Three weights at the points of F(4, 3), and of F(2, 3).
const fn along([g0, g1, g2]: [i32; SIDE]) -> [i32; POINTS[0]] {
    let (even, odd) = (g0 + g2, g0 + 4 * g2);
    [6 * g0, -4 * (even + g1), -4 * (even - g1), odd + 2 * g1, odd - 2 * g1, 24 * g2]
}
const fn down([g0, g1, g2]: [i32; SIDE]) -> [i32; POINTS[1]] {
    [2 * g0, g0 + g1 + g2, g0 - g1 + g2, 2 * g2]
}

/// Weights at all points, of those of a window row by row.
fn expand(weights: [i32; TAPS]) -> [i32; ALL] {
    let [a, b, c, d, e, f, g, h, i] = weights;
    let (first, second, third) = (along([a, b, c]), along([d, e, f]), along([g, h, i]));
    let mut all = [0; ALL];
    for (x, ((g0, g1), g2)) in first.into_iter().zip(second).zip(third).enumerate() {
        for (y, point) in down([g0, g1, g2]).into_iter().enumerate() {
            if let Some(to) = all.get_mut(place([x, y])) {
                *to = point;
            }
        }
    }
    all
}

/// The weights that [`expand`] makes these of, if there are any.
fn contract(all: &[i32; ALL]) -> Option<[i32; TAPS]> {
    let at = |x, y| all.get(place([x, y])).copied().unwrap_or(0);
    // Twice the sums along the rows, of all three rows.
    let column = |x| [at(x, 0), at(x, 1) - at(x, 2), at(x, 3)];
    let (first, plus, minus, last) = (column(0), column(3), column(4), column(5));
    let row = |y: usize| [first[y] / 12, (plus[y] - minus[y]) / 8, last[y] / 48];
    let ([a, b, c], [d, e, f], [g, h, i]) = (row(0), row(1), row(2));
    let weights = [a, b, c, d, e, f, g, h, i];
    (expand(weights) == *all).then_some(weights)
}

#[cfg(feature = "build")]
impl Winograd3 {
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
pub fn check(shape: &Winograd3, stream: &[u32]) -> Result<(), Fault> {
    shape.pairs().check(stream, (UNIT, LINEAR_WEIGHT_MAX.into()), contract)
}
