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
use super::packed::{Epilogue, LANES, Window, check_multiplier, check_sums};
use super::tiles::Tiling;
use super::{Core, Fault};
use crate::quant::LINEAR_WEIGHT_MAX;

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use cortex_m_dsp::polyphase3;
#[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
pub use portable::polyphase3;

/// What the accumulator counts a product as.
pub const UNIT: i32 = 1;
/// Points along each axis.
const POINTS: usize = 5;
/// Points of both axes.
const ALL: usize = POINTS * POINTS;
/// Rows and columns of a window.
const SIDE: usize = 3;
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
        let Conv { window, channels, adds, words, table } = *conv;
        let shape = Self { window, channels };
        (shape.is_sound() && !adds && !words && !table).then_some(shape)
    }

    /// Whether the family takes such windows.
    fn is_sound(&self) -> bool {
        let Window { kernel, stride, before, .. } = self.window;
        kernel == [SIDE; 2] && stride == [2; 2] && before[0] < SIDE && before[1] < SIDE
    }

    /// Words of four codes of a position.
    pub const fn quads(&self) -> usize {
        self.tiling().quads()
    }

    /// Words of the weights of two channels.
    const fn weight_words(&self) -> usize {
        ALL * self.quads() * 2 * PAIR
    }

    /// Words of two channels.
    pub const fn pair_words(&self) -> usize {
        2 * PAIR + self.weight_words()
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        self.window.preamble_words() + self.channels.div_ceil(PAIR) * self.pair_words()
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
        let pair = 10 * ALL * self.quads() + 155;
        let tile = self.channels.div_ceil(PAIR) * pair + 440 * self.quads() + 45;
        down * (across * tile + self.tiling().strip_cost())
    }

    /// Likewise on the others.
    const fn plain_cost(&self, core: Core) -> usize {
        let [product, pair, quad, bytes] =
            core.plain([[68, 900, 3500, 0], [116, 1800, 4800, 1800], [70, 1500, 2900, 1400]]);
        let pairs = self.channels.div_ceil(PAIR) * (ALL * product * self.quads() + pair);
        let codes = self.quads() * if self.window.bytes { quad + bytes } else { quad };
        let [down, across] = self.tiling().count;
        down * across * (pairs + codes)
    }

    /// Where a weight's point stands among the halfwords of two channels' weights.
    const fn place(&self, point: [usize; 2], input: usize, o: usize) -> usize {
        let word = (place(point) * self.quads() + input / LANES) * 2 * PAIR + 2 * o + input % 2;
        2 * word + input % LANES / 2
    }
}

/// Where a point along a row and down a column stands among all.
const fn place([x, y]: [usize; 2]) -> usize {
    match x {
        0 => y,
        1 | 2 => POINTS + 2 * y + x - 1,
        _ => 3 * POINTS + 2 * y + x - 3,
    }
}

/// Weights by point along a row and point down a column.
type Expanded = [[i32; POINTS]; POINTS];

/// Weights at each point.
fn expand(g: [[i32; SIDE]; SIDE]) -> Expanded {
    let of = |[g0, g1, g2]: [i32; SIDE]| [g0 + g2, g0, g1, g2, g1];
    let along = g.map(of);
    core::array::from_fn(|x| of(along.map(|row| row[x])))
}

/// The weights that [`expand`] makes these of, if there are any.
fn contract(points: &Expanded) -> Option<[[i32; SIDE]; SIDE]> {
    let [_, first, second, third, _] = points;
    let column = |[_, g0, g1, g2, _]: &[i32; POINTS]| [*g0, *g1, *g2];
    let [first, second, third] = [first, second, third].map(column);
    let g = core::array::from_fn(|y| [first[y], second[y], third[y]]);
    (expand(g) == *points).then_some(g)
}

#[cfg(feature = "build")]
impl Polyphase3 {
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
        }
        stream
    }
}

/// Two channels of a stream.
struct Pair<'a> {
    start: [i32; PAIR],
    weights: &'a [u32],
    multiplier: [i32; PAIR],
}

impl<'a> Pair<'a> {
    #[inline(always)]
    fn of(shape: &Polyphase3, words: &'a [u32]) -> Option<Self> {
        let signed = |words: &[u32; PAIR]| words.map(|word| word as i32);
        let (start, rest) = words.split_first_chunk()?;
        let (weights, rest) = rest.split_at_checked(shape.weight_words())?;
        Some(Self { start: signed(start), weights, multiplier: signed(rest.first_chunk()?) })
    }
}

/// Proves a stream: its weights are those of 3x3 windows of int8 at every point, what only pads is zero, every multiplier positive,
/// and no result out of i32, whatever the input.
///
/// # Errors
/// [`Fault`] with the first channel that could go wrong.
pub fn check(shape: &Polyphase3, stream: &[u32]) -> Result<(), Fault> {
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

fn check_channel(shape: &Polyphase3, channel: usize, pair: &Pair<'_>, o: usize) -> Result<(), Fault> {
    let is_there = channel < shape.channels;
    let halves = bytemuck::cast_slice::<u32, i16>(pair.weights);
    let (mut up, mut down) = (0_i64, 0_i64);
    for input in 0..LANES * shape.quads() {
        let mut points = [[0; POINTS]; POINTS];
        for (x, points) in points.iter_mut().enumerate() {
            for (y, to) in points.iter_mut().enumerate() {
                *to = halves.get(shape.place([x, y], input, o)).copied().unwrap_or(0).into();
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
    check_multiplier(channel, is_there, pair.multiplier[o], 0)?;
    let start = i64::from(pair.start[o]);
    check_sums(channel, [start + 255 * down, start + 255 * up])
}
