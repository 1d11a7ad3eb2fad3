//! Pools over one channel's map.

use std::ops::Range;

use bn_core::network::{Pool, Shape};
use pulp::Simd;

use super::super::lanes::{Lanes, zero};
use super::read::select;

/// Calls `f` with each output's position and the rows and columns of its window that lie in the map.
#[inline(always)]
fn windows(pool: &Pool, from: Shape, to: Shape, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
    let within = |output: usize, axis: usize, pad: usize, size: usize| {
        let start = output * pool.stride[axis];
        start.saturating_sub(pad)..(start + pool.kernel[axis] - pad).min(size)
    };
    for row in 0..to.height {
        for col in 0..to.width {
            let rows = within(row, 0, pool.pads.top, from.height);
            f(row * to.width + col, rows, within(col, 1, pool.pads.left, from.width));
        }
    }
}

/// The larger of two, and whether it is the new one: a NaN wins over any number, the old one over its equal.
#[inline(always)]
fn larger<S: Simd>(simd: S, old: Lanes<S>, new: Lanes<S>) -> S::m32s {
    let (old_is_nan, new_is_nan) = (is_nan(simd, old), is_nan(simd, new));
    let nan_wins = simd.and_m32s(new_is_nan, simd.not_m32s(old_is_nan));
    simd.or_m32s(simd.greater_than_f32s(new, old), nan_wins)
}

#[inline(always)]
fn is_nan<S: Simd>(simd: S, x: Lanes<S>) -> S::m32s {
    simd.not_m32s(simd.equal_f32s(x, x))
}

/// The largest value of each window.
#[inline(always)]
pub(super) fn max<S: Simd>(simd: S, pool: &Pool, [from, to]: [Shape; 2], x: &[Lanes<S>], y: &mut [Lanes<S>]) {
    windows(pool, from, to, |at, rows, cols| {
        let mut best = x[rows.start * from.width + cols.start];
        for row in rows {
            for &x in &x[row * from.width..][cols.clone()] {
                best = select(simd, larger(simd, best, x), x, best);
            }
        }
        y[at] = best;
    });
}

/// Adds each window's gradient to its first largest value's.
#[inline(always)]
pub(super) fn max_backward<S: Simd>(
    simd: S,
    pool: &Pool,
    [from, to]: [Shape; 2],
    [x, d]: [&[Lanes<S>]; 2],
    d_x: &mut [Lanes<S>],
) {
    windows(pool, from, to, |at, rows, cols| {
        let mut best = x[rows.start * from.width + cols.start];
        let mut winner = zero(simd);
        let places = || rows.clone().flat_map(|row| cols.clone().map(move |col| row * from.width + col));
        for (number, place) in places().enumerate() {
            let wins = larger(simd, best, x[place]);
            best = select(simd, wins, x[place], best);
            winner = select(simd, wins, simd.splat_f32s(number as f32), winner);
        }
        for (number, place) in places().enumerate() {
            let won = simd.equal_f32s(winner, simd.splat_f32s(number as f32));
            d_x[place] = simd.add_f32s(d_x[place], select(simd, won, d[at], zero(simd)));
        }
    });
}

/// One over the number of a window's positions that count.
fn share(pool: &Pool, count_pad: bool, rows: &Range<usize>, cols: &Range<usize>) -> f32 {
    let positions = if count_pad { pool.kernel[0] * pool.kernel[1] } else { rows.len() * cols.len() };
    1.0 / positions as f32
}

/// The mean of each window.
#[inline(always)]
pub(super) fn mean<S: Simd>(
    simd: S,
    (pool, count_pad): (&Pool, bool),
    [from, to]: [Shape; 2],
    x: &[Lanes<S>],
    y: &mut [Lanes<S>],
) {
    windows(pool, from, to, |at, rows, cols| {
        let share = simd.splat_f32s(share(pool, count_pad, &rows, &cols));
        let mut sum = zero(simd);
        for row in rows {
            sum = x[row * from.width..][cols.clone()].iter().fold(sum, |sum, &x| simd.add_f32s(sum, x));
        }
        y[at] = simd.mul_f32s(sum, share);
    });
}

/// Adds to each value its share of its windows' gradients.
#[inline(always)]
pub(super) fn mean_backward<S: Simd>(
    simd: S,
    (pool, count_pad): (&Pool, bool),
    [from, to]: [Shape; 2],
    d: &[Lanes<S>],
    d_x: &mut [Lanes<S>],
) {
    windows(pool, from, to, |at, rows, cols| {
        let d = simd.mul_f32s(d[at], simd.splat_f32s(share(pool, count_pad, &rows, &cols)));
        for row in rows {
            d_x[row * from.width..][cols.clone()].iter_mut().for_each(|x| *x = simd.add_f32s(*x, d));
        }
    });
}
