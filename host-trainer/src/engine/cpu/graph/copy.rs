//! Padded copies of a group's values or gradients, as passes read them.

use std::ops::Range;

use bn_core::network::Shape;
use pulp::Simd;

use super::super::lanes::{Lanes, zero};
use super::pass::Pass;
use super::read::{Coefficients, Curve, gradient, see};
use super::state::plane;

/// Where a run of values of one channel comes from.
pub(super) trait Source<S: Simd> {
    /// Makes a run of a channel: values `at` of its map.
    fn run(&self, simd: S, channel: usize, at: Range<usize>, to: &mut [Lanes<S>]);
}

/// What the readers of a unit see.
pub(super) struct Seen<'a, V> {
    /// The unit's activation.
    pub(super) curve: Curve,
    /// Of each channel.
    pub(super) channels: &'a [Coefficients],
    /// The unit's tensor.
    pub(super) z: &'a [V],
    /// Values of a channel.
    pub(super) plane: usize,
}

impl<S: Simd> Source<S> for Seen<'_, Lanes<S>> {
    #[inline(always)]
    fn run(&self, simd: S, channel: usize, at: Range<usize>, to: &mut [Lanes<S>]) {
        let z = &self.z[channel * self.plane..][at];
        see(simd, self.curve, &self.channels[channel], z, to);
    }
}

/// The gradient of a unit's tensor.
pub(super) struct Gradient<'a, V> {
    /// Of each channel.
    pub(super) channels: &'a [Coefficients],
    /// 1 where a lane holds an example.
    pub(super) mask: V,
    /// Gradient of the BatchNorm's output, and the unit's tensor.
    pub(super) gz: [&'a [V]; 2],
    /// Values of a channel.
    pub(super) plane: usize,
}

impl<S: Simd> Source<S> for Gradient<'_, Lanes<S>> {
    #[inline(always)]
    fn run(&self, simd: S, channel: usize, at: Range<usize>, to: &mut [Lanes<S>]) {
        let [g, z] = self.gz;
        let (g, z) = (&g[channel * self.plane..][at.clone()], &z[channel * self.plane..][at]);
        gradient(simd, &self.channels[channel], self.mask, [g, z], to);
    }
}

/// The padded copy of what some rows of a pass's phases read.
#[inline(always)]
pub(super) fn padded<S: Simd>(
    simd: S,
    pass: &Pass,
    source: &impl Source<S>,
    rows: &Range<usize>,
    to: &mut Vec<Lanes<S>>,
) {
    let Shape { channels, height, width } = pass.from;
    let first_row = pass.first_row(rows.start);
    let copy_rows = pass.copy_rows(rows.len());
    to.resize(to.len().max(channels * pass.plane), zero(simd));
    // Columns of the copy that lie in the map.
    let left = (-pass.start[1]).clamp(0, pass.pitch as isize) as usize;
    let right = (width as isize - pass.start[1]).clamp(left as isize, pass.pitch as isize) as usize;
    let first_col = (left as isize + pass.start[1]).max(0) as usize;
    let is_whole = left == 0 && right == pass.pitch && width == pass.pitch;
    for channel in 0..channels {
        let to = &mut to[channel * pass.plane..][..pass.plane];
        if is_whole && first_row >= 0 && first_row as usize + copy_rows <= height {
            let from = first_row as usize * width;
            source.run(simd, channel, from..from + copy_rows * width, &mut to[..copy_rows * width]);
            continue;
        }
        for (row, to) in to.chunks_exact_mut(pass.pitch).take(copy_rows).enumerate() {
            let row = first_row + row as isize;
            if !(0..height as isize).contains(&row) || left >= right {
                to.fill(zero(simd));
                continue;
            }
            to[..left].fill(zero(simd));
            let from = row as usize * width + first_col;
            source.run(simd, channel, from..from + right - left, &mut to[left..right]);
            to[right..].fill(zero(simd));
        }
    }
}

/// Some rows of every channel, `[channel][row][column]`.
#[inline(always)]
pub(super) fn rows<S: Simd>(
    simd: S,
    shape: Shape,
    source: &impl Source<S>,
    rows: &Range<usize>,
    to: &mut Vec<Lanes<S>>,
) {
    let run = rows.len() * shape.width;
    to.resize(to.len().max(shape.channels * run), zero(simd));
    for channel in 0..shape.channels {
        let at = rows.start * shape.width..rows.end * shape.width;
        source.run(simd, channel, at, &mut to[channel * run..][..run]);
    }
}

/// All values of a unit.
#[inline(always)]
pub(super) fn whole<S: Simd>(simd: S, shape: Shape, source: &impl Source<S>, to: &mut Vec<Lanes<S>>) {
    let map = plane(shape);
    to.resize(to.len().max(shape.len()), zero(simd));
    for channel in 0..shape.channels {
        source.run(simd, channel, 0..map, &mut to[channel * map..][..map]);
    }
}
