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
use super::packed::{Epilogue, LANES, Window, check_multiplier, check_sums};
use super::tiles::Tiling;
use super::{Core, Fault};
use crate::quant::LINEAR_WEIGHT_MAX;

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use cortex_m_dsp::winograd3;
#[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
pub use portable::winograd3;

/// What the accumulator counts a product as.
pub const UNIT: i32 = 48;
/// Points along a row and down a column.
const POINTS: [usize; 2] = [6, 4];
/// Where the weights of a point down a column stand: 0, 1, -1, infinity.
const PLACES: [usize; POINTS[1]] = [2, 0, 1, 3];
/// Rows and columns of the results of a tile.
const TILE: usize = 4;
/// Rows and columns of codes that a tile reaches over.
const REACH: usize = TILE + 2;
/// Rows and columns of a window.
const SIDE: usize = 3;
/// The most words of four channels.
const MOST_QUADS: usize = 16;

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
        let Conv { window, channels, adds, words, table } = *conv;
        let shape = Self { window, channels, adds };
        (shape.is_sound() && !words && !table).then_some(shape)
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

    /// Words of the weights of two channels.
    const fn weight_words(&self) -> usize {
        POINTS[0] * POINTS[1] * self.quads() * 2 * PAIR
    }

    /// Words of two channels.
    pub const fn pair_words(&self) -> usize {
        PAIR * (2 + self.adds as usize) + self.weight_words()
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.window.preamble_words() + self.channels.div_ceil(PAIR) * self.pair_words()
    }

    /// Words of the transformed codes of a tile: of each point two rows of results, codes 0 and 2, 1 and 3.
    pub(super) const fn window_words(&self) -> usize {
        POINTS[0] * POINTS[1] * self.quads() * 4
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
        let pair = POINTS[0] * POINTS[1] * (10 * self.quads() + 2) + if self.adds { 401 } else { 331 };
        let tile = self.channels.div_ceil(PAIR) * pair + 612 * self.quads() + 45;
        down * (across * tile + tiling.strip_cost())
    }

    /// Likewise on the others.
    const fn plain_cost(&self, core: Core) -> usize {
        let [height, width] = self.window.output;
        let [product, pair, quad, bytes] =
            core.plain([[73, 1397, 3601, 0], [114, 2314, 4822, 1844], [52, 3210, 2863, 1400]]);
        let [result, added] = core.plain([[26, 24], [74, 30], [26, 17]]);
        let pairs = self.channels.div_ceil(PAIR) * (POINTS[0] * POINTS[1] * product * self.quads() + pair);
        let codes = self.quads() * if self.window.bytes { quad + bytes } else { quad };
        let results = self.channels * height * width * if self.adds { result + added } else { result };
        height.div_ceil(TILE) * width.div_ceil(TILE) * (pairs + codes) + results
    }

    /// Where a weight's point stands among the halfwords of two channels' weights.
    const fn place(&self, [x, y]: [usize; 2], input: usize, o: usize) -> usize {
        let word = ((x * POINTS[1] + PLACES[y & 3]) * self.quads() + input / LANES) * 2 * PAIR + 2 * o + input % 2;
        2 * word + input % LANES / 2
    }
}

/// Weights by point along a row and point down a column.
type Expanded = [[i32; POINTS[1]]; POINTS[0]];

/// Weights at each point.
fn expand(g: [[i32; SIDE]; SIDE]) -> Expanded {
    let mut points = [[0; POINTS[1]]; POINTS[0]];
    let along = g.map(|[g0, g1, g2]| {
        let (even, odd) = (g0 + g2, g0 + 4 * g2);
        [6 * g0, -4 * (even + g1), -4 * (even - g1), odd + 2 * g1, odd - 2 * g1, 24 * g2]
    });
    let [first, second, third] = along;
    for (((points, g0), g1), g2) in points.iter_mut().zip(first).zip(second).zip(third) {
        *points = [2 * g0, g0 + g1 + g2, g0 - g1 + g2, 2 * g2];
    }
    points
}

/// The weights that [`expand`] makes these of, if there are any.
fn contract(points: &Expanded) -> Option<[[i32; SIDE]; SIDE]> {
    let down = points.map(|[g0, sum, difference, g2]| [g0, sum - difference, g2]);
    let [first, _, _, plus, minus, last] = down;
    let mut g = [[0; SIDE]; SIDE];
    for (y, g) in g.iter_mut().enumerate() {
        *g = [first[y] / 12, (plus[y] - minus[y]) / 8, last[y] / 48];
    }
    (expand(g) == *points).then_some(g)
}

#[cfg(feature = "build")]
impl Winograd3 {
    /// The stream of these channels: range of the results, the code of zero by input channel.
    pub fn stream(&self, range: [i32; 2], zeros: &[u8], channels: &[super::conv::Channel]) -> std::vec::Vec<u32> {
        let mut stream = self.window.preamble(range, zeros);
        for pair in channels.chunks(PAIR) {
            let mut halves = std::vec![0_u16; 2 * self.weight_words()];
            for (o, channel) in pair.iter().enumerate() {
                for (input, g) in channel.weights.as_chunks::<{ SIDE * SIDE }>().0.iter().enumerate() {
                    let points = expand(core::array::from_fn(|y| core::array::from_fn(|x| g[SIDE * y + x].into())));
                    for (x, points) in points.iter().enumerate() {
                        for (y, &point) in points.iter().enumerate() {
                            halves[self.place([x, y], input, o)] = point as u16;
                        }
                    }
                }
            }
            let of = |value: fn(&super::conv::Channel) -> i32| {
                [0, 1].map(|o| pair.get(o).map_or(0, |channel| value(channel) as u32))
            };
            stream.extend(of(|channel| channel.start));
            stream.extend(halves.as_chunks().0.iter().map(|&[low, high]| u32::from(low) | u32::from(high) << 16));
            stream.extend(of(|channel| channel.multiplier));
            if self.adds {
                stream.extend(of(|channel| channel.adds));
            }
        }
        stream
    }
}

/// Two channels of a stream.
struct Pair<'a> {
    start: [i32; PAIR],
    weights: &'a [u32],
    multiplier: [i32; PAIR],
    adds: [i32; PAIR],
}

impl<'a> Pair<'a> {
    #[inline(always)]
    fn of(shape: &Winograd3, words: &'a [u32]) -> Option<Self> {
        let signed = |words: &[u32; PAIR]| words.map(|word| word as i32);
        let (start, rest) = words.split_first_chunk()?;
        let (weights, rest) = rest.split_at_checked(shape.weight_words())?;
        let (multiplier, rest) = rest.split_first_chunk()?;
        let adds = rest.first_chunk().map_or([0; PAIR], signed);
        Some(Self { start: signed(start), weights, multiplier: signed(multiplier), adds })
    }
}

/// Proves a stream: its weights are those of 3x3 windows of int8 at every point, what only pads is zero, every multiplier positive,
/// and no result out of i32, whatever the input.
///
/// # Errors
/// [`Fault`] with the first channel that could go wrong.
pub fn check(shape: &Winograd3, stream: &[u32]) -> Result<(), Fault> {
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

fn check_channel(shape: &Winograd3, channel: usize, pair: &Pair<'_>, o: usize) -> Result<(), Fault> {
    let is_there = channel < shape.channels;
    let halves = bytemuck::cast_slice::<u32, i16>(pair.weights);
    let (mut up, mut down) = (0_i64, 0_i64);
    for input in 0..LANES * shape.quads() {
        let point = |x, y| i32::from(halves.get(shape.place([x, y], input, o)).copied().unwrap_or(0));
        let mut points = [[0; POINTS[1]]; POINTS[0]];
        for (x, points) in points.iter_mut().enumerate() {
            for (y, to) in points.iter_mut().enumerate() {
                *to = point(x, y);
            }
        }
        let is_used = is_there && input < shape.window.input.channels;
        let g = contract(&points).ok_or(Fault::WeightRange { channel })?;
        for w in g.into_iter().flatten() {
            if w.abs() > if is_used { LINEAR_WEIGHT_MAX.into() } else { 0 } {
                return Err(Fault::WeightRange { channel });
            }
            (up, down) = (up + i64::from(w.max(0)), down + i64::from(w.min(0)));
        }
    }
    let (multiplier, adds) = (pair.multiplier[o], pair.adds[o]);
    check_multiplier(channel, is_there, multiplier, adds)?;
    let (start, unit) = (i64::from(pair.start[o]), i64::from(UNIT));
    check_sums(channel, [start + unit * 255 * down, start + 255 * (unit * up + i64::from(adds))])
}
