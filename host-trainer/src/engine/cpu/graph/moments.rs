//! BatchNorm's statistics, two passes over what lies in the cache and Chan's way to join them, and what follows from them.

use pulp::Simd;

use super::super::lanes::{Lanes, fma, zero};
use super::read::Coefficients;

/// Mean and squared distances from it of a run of `values`, of as many as `mask` and the number of `lanes` say.
#[inline(always)]
pub(super) fn of_run<S: Simd>(simd: S, values: &[Lanes<S>], mask: Lanes<S>, lanes: usize) -> [f64; 2] {
    let n = (values.len() * lanes) as f64;
    let sum = values.iter().fold(zero(simd), |sum, &z| fma(simd, z, mask, sum));
    let near = (f64::from(simd.reduce_sum_f32s(sum)) / n) as f32;
    let (mut rest, mut squares) = (zero(simd), zero(simd));
    for &z in values {
        let d = simd.mul_f32s(simd.sub_f32s(z, simd.splat_f32s(near)), mask);
        rest = simd.add_f32s(rest, d);
        squares = fma(simd, d, d, squares);
    }
    let rest = f64::from(simd.reduce_sum_f32s(rest)) / n;
    [f64::from(near) + rest, f64::from(simd.reduce_sum_f32s(squares)) - n * rest * rest]
}

/// Joins the moments of `n` values with those of `m` others.
pub(super) fn join([mean, squares]: [f64; 2], n: usize, [other_mean, other_squares]: [f64; 2], m: usize) -> [f64; 2] {
    let (n, m) = (n as f64, m as f64);
    let d = other_mean - mean;
    [mean + d * m / (n + m), squares + other_squares + d * d * n * m / (n + m)]
}

/// The coefficients of a channel of that mean and variance.
pub(super) fn coefficients([mean, var]: [f64; 2], gamma: f32, beta: f32, eps: f64) -> Coefficients {
    let scale = f64::from(gamma) / (var + eps).sqrt();
    let shift = f64::from(beta) - mean * scale;
    Coefficients { scale: scale as f32, shift: shift as f32, mean: mean as f32, d: [0.0; 3] }
}

/// The gradient of a channel's tensor from the two sums over `n` values, and the gradients of gamma and beta.
///
/// ```text
/// d_z = gamma / deviation * (g - mean(g) - x_hat * mean(g * x_hat))
/// ```
pub(super) fn backward(
    [mean, var]: [f64; 2],
    gamma: f32,
    eps: f64,
    [sum, along]: [f64; 2],
    n: f64,
) -> ([f32; 3], [f32; 2]) {
    let per_deviation = 1.0 / (var + eps).sqrt();
    let a = f64::from(gamma) * per_deviation;
    // `along` is about the mean as f32 has it.
    let along = (along + (f64::from(mean as f32) - mean) * sum) * per_deviation;
    let b = -a * per_deviation * along / n;
    let c = -a * sum / n - b * mean;
    ([a as f32, b as f32, c as f32], [along as f32, sum as f32])
}
