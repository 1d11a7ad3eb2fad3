//! Convolutions of one group of examples, from padded copies of their sources: passes, and gradients of weights.

use std::ops::Range;

use bn_core::network::Shape;
use pulp::Simd;

use super::super::lanes::Lanes;
use super::pass::{Pass, Phase};
use super::tile::{self, Rows};

/// What a chunk of a pass works on.
pub(super) struct Chunk<'a, V> {
    /// What to compute.
    pub(super) pass: &'a Pass,
    /// Its weights, see [`Pass::pack`].
    pub(super) packed: &'a [f32],
    /// Added to each output channel, where there is one.
    pub(super) bias: Option<&'a [f32]>,
    /// Padded copy of the source.
    pub(super) copy: &'a [V],
    /// Rows of the phases.
    pub(super) rows: Range<usize>,
    /// Whether the result is added to what is there.
    pub(super) add: bool,
}

/// Computes a chunk of the result, `[channel][row][column]`.
#[inline(always)]
pub(super) fn run<S: Simd>(simd: S, chunk: &Chunk<'_, Lanes<S>>, to: &mut [Lanes<S>]) {
    let pass = chunk.pass;
    let mut packed = chunk.packed;
    for phase in &pass.phases {
        let (weights, rest) = packed.split_at(pass.packed_len(phase));
        packed = rest;
        let rows = chunk.rows.start..chunk.rows.end.min(phase.count[0]);
        if rows.is_empty() || phase.count[1] == 0 {
            continue;
        }
        let cols = if pass.is_flat() { rows.len() * phase.count[1] } else { phase.count[1] };
        let rows = if pass.is_flat() { rows.start..rows.start + 1 } else { rows };
        if pass.is_depthwise() {
            for channel in 0..pass.to.channels {
                for row in rows.clone() {
                    let mut col = 0;
                    while col < cols {
                        let at = Line::of(chunk, phase, [channel, row, col]);
                        col += match cols - col {
                            8.. => one::<S, 8>(simd, chunk, phase, weights, at, to),
                            4.. => one::<S, 4>(simd, chunk, phase, weights, at, to),
                            2.. => one::<S, 2>(simd, chunk, phase, weights, at, to),
                            _ => one::<S, 1>(simd, chunk, phase, weights, at, to),
                        };
                    }
                }
            }
            continue;
        }
        for row in rows {
            let mut col = 0;
            while col < cols {
                let at = Line::of(chunk, phase, [0, row, col]);
                col += match cols - col {
                    2.. => all::<S, 2>(simd, chunk, phase, weights, at, to),
                    _ => all::<S, 1>(simd, chunk, phase, weights, at, to),
                };
            }
        }
    }
}

/// Where a tile begins.
#[derive(Clone, Copy)]
struct Line {
    /// Output channel, where a tile has one of its own.
    channel: usize,
    from: usize,
    to: usize,
}

impl Line {
    #[inline(always)]
    fn of<V>(chunk: &Chunk<'_, V>, phase: &Phase, [channel, row, col]: [usize; 3]) -> Self {
        let pass = chunk.pass;
        Self {
            channel,
            from: (row - chunk.rows.start) * pass.from_step[0] * pass.pitch + col * pass.from_step[1],
            to: (phase.first[0] + row * pass.to_step[0]) * pass.to.width + phase.first[1] + col * pass.to_step[1],
        }
    }
}

/// All output channels at `P` positions.
#[inline(always)]
fn all<S: Simd, const P: usize>(
    simd: S,
    chunk: &Chunk<'_, Lanes<S>>,
    phase: &Phase,
    weights: &[f32],
    at: Line,
    to: &mut [Lanes<S>],
) -> usize {
    let mut weights = weights;
    for &(channel, size) in &chunk.pass.tiles {
        let (own, rest) = weights.split_at(size * phase.taps.len());
        weights = rest;
        let at = Line { channel, ..at };
        if size == 6 {
            some::<S, 6, P>(simd, chunk, phase, own, at, to);
        } else {
            some::<S, 4, P>(simd, chunk, phase, own, at, to);
        }
    }
    P
}

/// `C` output channels from one on, or as many as there are, at `P` positions.
#[inline(always)]
fn some<S: Simd, const C: usize, const P: usize>(
    simd: S,
    chunk: &Chunk<'_, Lanes<S>>,
    phase: &Phase,
    weights: &[f32],
    at: Line,
    to: &mut [Lanes<S>],
) {
    let (pass, copy) = (chunk.pass, &chunk.copy[at.from..]);
    let map = pass.to.height * pass.to.width;
    let sums = tile::forward::<S, C, P>(simd, copy, &phase.taps, weights.as_chunks().0, pass.from_step[1]);
    for (channel, sums) in (at.channel..pass.to.channels).zip(&sums) {
        store(simd, chunk, channel, sums, &mut to[channel * map + at.to..]);
    }
}

/// One output channel at `P` positions.
#[inline(always)]
fn one<S: Simd, const P: usize>(
    simd: S,
    chunk: &Chunk<'_, Lanes<S>>,
    phase: &Phase,
    weights: &[f32],
    at: Line,
    to: &mut [Lanes<S>],
) -> usize {
    let (pass, taps) = (chunk.pass, &phase.taps);
    let channel = at.channel;
    let copy = &chunk.copy[pass.source(channel) * pass.plane + at.from..];
    let weights = &weights.as_chunks::<1>().0[channel * taps.len()..][..taps.len()];
    let [sums] = tile::forward::<S, 1, P>(simd, copy, taps, weights, pass.from_step[1]);
    store(simd, chunk, channel, &sums, &mut to[channel * pass.to.height * pass.to.width + at.to..]);
    P
}

#[inline(always)]
fn store<S: Simd, const P: usize>(
    simd: S,
    chunk: &Chunk<'_, Lanes<S>>,
    channel: usize,
    sums: &[Lanes<S>; P],
    to: &mut [Lanes<S>],
) {
    let step = chunk.pass.to_step[1];
    let bias = simd.splat_f32s(chunk.bias.map_or(0.0, |bias| bias[channel]));
    for (p, &sum) in sums.iter().enumerate() {
        let sum = if chunk.add { simd.add_f32s(sum, to[p * step]) } else { simd.add_f32s(sum, bias) };
        to[p * step] = sum;
    }
}

/// What gradients of weights are summed over.
pub(super) struct Products<'a, V> {
    /// Its forward pass.
    pub(super) pass: &'a Pass,
    /// Padded copy of its input.
    pub(super) copy: &'a [V],
    /// Gradients of a chunk of its output, from the first on.
    pub(super) d: &'a [V],
    /// From row to row of them, and from channel to channel.
    pub(super) d_pitch: [usize; 2],
    /// Rows of the chunk.
    pub(super) rows: usize,
}

/// Adds the gradients of a chunk to those of the weights, `[output channel][tap]`.
#[inline(always)]
pub(super) fn weights<S: Simd>(simd: S, products: &Products<'_, Lanes<S>>, sums: &mut [f32]) {
    let Products { pass, rows, .. } = *products;
    let Shape { channels, width, .. } = pass.to;
    let mut at = Rows {
        rows,
        cols: width,
        d_pitch: products.d_pitch[0],
        x_pitch: pass.pitch * pass.from_step[0],
        x_step: pass.from_step[1],
    };
    if pass.is_flat() {
        (at.rows, at.cols) = (1, rows * width);
    }
    let taps = &pass.phases[0].taps;
    if pass.is_depthwise() {
        for channel in 0..channels {
            let sums = &mut sums[channel * taps.len()..][..taps.len()];
            let mut tap = 0;
            while tap < taps.len() {
                tap += match taps.len() - tap {
                    9.. => block::<S, 1, 9>(simd, products, [channel, tap], at, sums),
                    5.. => block::<S, 1, 5>(simd, products, [channel, tap], at, sums),
                    3.. => block::<S, 1, 3>(simd, products, [channel, tap], at, sums),
                    _ => block::<S, 1, 1>(simd, products, [channel, tap], at, sums),
                };
            }
        }
        return;
    }
    let mut tap = 0;
    while tap < taps.len() {
        let mut channel = 0;
        let many = (taps.len() - tap).min(3);
        while channel < channels {
            let to = &mut sums[channel * taps.len()..];
            channel += match (channels - channel >= 4, many) {
                (true, 3) => block::<S, 4, 3>(simd, products, [channel, tap], at, to),
                (true, 2) => block::<S, 4, 2>(simd, products, [channel, tap], at, to),
                (true, _) => block::<S, 4, 1>(simd, products, [channel, tap], at, to),
                (false, 3) => block::<S, 1, 3>(simd, products, [channel, tap], at, to),
                (false, 2) => block::<S, 1, 2>(simd, products, [channel, tap], at, to),
                (false, _) => block::<S, 1, 1>(simd, products, [channel, tap], at, to),
            };
        }
        tap += many;
    }
}

/// `O` output channels and `T` taps; `sums` begins at the first of those channels. Returns how far the caller's loop gets.
#[inline(always)]
fn block<S: Simd, const O: usize, const T: usize>(
    simd: S,
    products: &Products<'_, Lanes<S>>,
    [channel, tap]: [usize; 2],
    at: Rows,
    sums: &mut [f32],
) -> usize {
    let Products { pass, copy, d_pitch, .. } = *products;
    let taps = &pass.phases[0].taps;
    let mut d: [&[Lanes<S>]; O] = [&[]; O];
    let mut x: [&[Lanes<S>]; T] = [&[]; T];
    for (o, d) in d.iter_mut().enumerate() {
        *d = &products.d[(channel + o) * d_pitch[1]..];
    }
    let source = pass.source(channel) * pass.plane;
    for (x, &tap) in x.iter_mut().zip(&taps[tap..]) {
        *x = &copy[source + tap as usize..];
    }
    let found = tile::backward::<S, O, T>(simd, d, x, at);
    for (o, found) in found.iter().enumerate() {
        for (sum, found) in sums[o * taps.len() + tap..].iter_mut().zip(found) {
            *sum += found;
        }
    }
    if pass.is_depthwise() { T } else { O }
}
