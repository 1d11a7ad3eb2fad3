//! The two loops that do nearly all the arithmetic, in registers.
//!
//! A tensor is `[value][lane]`: one vector a value, one example a lane. So a weight is the same for all lanes, windows move by
//! whole vectors, and neither needs a shuffle.

use pulp::Simd;

use super::super::lanes::{Lanes, fma, zero};

/// `O` output channels at `P` positions: of each the sum over taps of weight times value. Position `p` reads `taps[k] + p * step`.
#[inline(always)]
pub(super) fn forward<S: Simd, const O: usize, const P: usize>(
    simd: S,
    x: &[Lanes<S>],
    taps: &[u32],
    weights: &[[f32; O]],
    step: usize,
) -> [[Lanes<S>; P]; O] {
    let mut sums = [[zero(simd); P]; O];
    for (&tap, weights) in taps.iter().zip(weights) {
        let x = &x[tap as usize..];
        let mut values = [zero(simd); P];
        for (p, value) in values.iter_mut().enumerate() {
            *value = x[p * step];
        }
        for (sums, &weight) in sums.iter_mut().zip(weights) {
            let weight = simd.splat_f32s(weight);
            for (sum, &x) in sums.iter_mut().zip(&values) {
                *sum = fma(simd, weight, x, *sum);
            }
        }
    }
    sums
}

/// Positions of the products of [`backward`]: rows that both operands have, each at its own distance.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// Rows.
    pub(super) rows: usize,
    /// Positions of a row.
    pub(super) cols: usize,
    /// From row to row in the gradient.
    pub(super) d_pitch: usize,
    /// From row to row in the input.
    pub(super) x_pitch: usize,
    /// From position to position in the input.
    pub(super) x_step: usize,
}

/// Gradients of `O` output channels' weights at `T` taps: of each the sum over positions and lanes of gradient times value.
#[inline(always)]
pub(super) fn backward<S: Simd, const O: usize, const T: usize>(
    simd: S,
    d: [&[Lanes<S>]; O],
    x: [&[Lanes<S>]; T],
    at: Rows,
) -> [[f32; T]; O] {
    let mut sums = [[zero(simd); T]; O];
    for row in 0..at.rows {
        let (mut x_at, d_at) = (row * at.x_pitch, row * at.d_pitch);
        for d_at in d_at..d_at + at.cols {
            let mut values = [zero(simd); T];
            for (value, x) in values.iter_mut().zip(&x) {
                *value = x[x_at];
            }
            for (sums, d) in sums.iter_mut().zip(&d) {
                let d = d[d_at];
                for (sum, &x) in sums.iter_mut().zip(&values) {
                    *sum = fma(simd, d, x, *sum);
                }
            }
            x_at += at.x_step;
        }
    }
    let mut found = [[0.0; T]; O];
    for (found, sums) in found.iter_mut().zip(&sums) {
        for (found, &sum) in found.iter_mut().zip(sums) {
            *found = simd.reduce_sum_f32s(sum);
        }
    }
    found
}
