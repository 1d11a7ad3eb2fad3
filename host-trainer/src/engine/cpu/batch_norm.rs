//! BatchNorm in training: the batch's statistics, and the coefficients with which a group normalises its vectors.

use bn_core::batch_norm::BatchNorm;
use pulp::Simd;

use super::lanes::{Kernel, Lanes, fma, zero};
use crate::model::parameters::Variance;

/// Factor between the argument of a sigmoid and that of [`sigmoids`](super::lanes::sigmoids).
pub(super) const MINUS_LOG2_E: f64 = -std::f64::consts::LOG2_E;

/// One layer's mean and biased variance, of a batch in training or moving in inference, and its backward coefficients.
#[derive(Clone, Debug)]
pub(super) struct Statistics<const C: usize> {
    /// Mean of each channel.
    pub(super) mean: [f64; C],
    /// Biased variance of each channel.
    pub(super) var: [f64; C],
    /// `1 / sqrt(var + eps)`.
    pub(super) inverse: [f64; C],
    /// `gamma * inverse`: what a normalised value is multiplied with.
    pub(super) scale: [f64; C],
    /// Forward pass: `t = factor * z + offset` is what [`sigmoids`](super::lanes::sigmoids) wants.
    pub(super) factor: [f32; C],
    /// As above.
    pub(super) offset: [f32; C],
    /// Backward pass: `d_z = scale * g + along * (z - mean) + level`.
    pub(super) along: [f32; C],
    /// As above.
    pub(super) level: [f32; C],
}

impl<const C: usize> Statistics<C> {
    /// Of nothing yet.
    pub(super) const fn zero() -> Self {
        Self {
            mean: [0.0; C],
            var: [0.0; C],
            inverse: [0.0; C],
            scale: [0.0; C],
            factor: [0.0; C],
            offset: [0.0; C],
            along: [0.0; C],
            level: [0.0; C],
        }
    }

    /// Takes the mean and the biased variance of each channel.
    pub(super) fn set(&mut self, bn: &BatchNorm<C>, eps: f64, statistics: impl Fn(usize) -> (f64, f64)) {
        for c in 0..C {
            let (mean, var) = statistics(c);
            let inverse = 1.0 / (var + eps).sqrt();
            let scale = f64::from(bn.gamma[c]) * inverse;
            self.mean[c] = mean;
            self.var[c] = var;
            self.inverse[c] = inverse;
            self.scale[c] = scale;
            self.factor[c] = (MINUS_LOG2_E * scale) as f32;
            self.offset[c] = (MINUS_LOG2_E * (f64::from(bn.beta[c]) - scale * mean)) as f32;
        }
    }

    /// As in inference: the moving statistics.
    pub(super) fn set_moving(&mut self, bn: &BatchNorm<C>, eps: f64) {
        self.set(bn, eps, |c| (f64::from(bn.running_mean[c]), f64::from(bn.running_var[c])));
    }

    /// Takes each channel's sums of `g` and of `g` times the normalised values, over `count` values a channel; they are the
    /// gradients of beta and gamma.
    pub(super) fn set_backward(
        &mut self,
        gradient: &mut BatchNorm<C>,
        count: usize,
        sums: impl Fn(usize) -> (f64, f64),
    ) {
        for c in 0..C {
            let (d_beta, d_gamma) = sums(c);
            gradient.beta[c] = d_beta as f32;
            gradient.gamma[c] = d_gamma as f32;
            self.level[c] = (-self.scale[c] * d_beta / count as f64) as f32;
            self.along[c] = (-self.scale[c] * self.inverse[c] * d_gamma / count as f64) as f32;
        }
    }

    /// Lets a layer's moving statistics follow by `momentum`; `count` values a channel.
    pub(super) fn follow(&self, bn: &mut BatchNorm<C>, count: usize, (momentum, variance): (f64, Variance)) {
        let correction = match variance {
            Variance::Biased => 1.0,
            Variance::Unbiased => count as f64 / (count as f64 - 1.0),
        };
        let follow = |moving: &mut f32, new: f64| {
            *moving = ((1.0 - momentum) * f64::from(*moving) + momentum * new) as f32;
        };
        for c in 0..C {
            follow(&mut bn.running_mean[c], self.mean[c]);
            follow(&mut bn.running_var[c], correction * self.var[c]);
        }
    }

    /// The forward pass's `t` of one channel's vectors.
    #[inline(always)]
    pub(super) fn normalize<S: Simd>(&self, simd: S, c: usize, z: Lanes<S>) -> Lanes<S> {
        fma(simd, simd.splat_f32s(self.factor[c]), z, simd.splat_f32s(self.offset[c]))
    }

    /// Gradient of one channel's `z` from that of the sigmoid's argument.
    #[inline(always)]
    pub(super) fn d_z<S: Simd>(&self, simd: S, c: usize, z: Lanes<S>, g: Lanes<S>) -> Lanes<S> {
        let centred = simd.sub_f32s(z, simd.splat_f32s(self.mean[c] as f32));
        let level = fma(simd, simd.splat_f32s(self.along[c]), centred, simd.splat_f32s(self.level[c]));
        fma(simd, simd.splat_f32s(self.scale[c] as f32), g, level)
    }
}

/// Mean of all values, and the sum of their squared distances from it: of two sets, each with its count. (Chan, Golub and
/// LeVeque 1979: nothing cancels, however far the mean is from zero.)
pub(super) fn combine(a: (f64, f64), count_a: usize, b: (f64, f64), count_b: usize) -> (f64, f64) {
    let (count_a, count_b) = (count_a as f64, count_b as f64);
    let count = count_a + count_b;
    let distance = b.0 - a.0;
    (a.0 + distance * count_b / count, a.1 + b.1 + distance * distance * count_a * count_b / count)
}

/// Mean and sum of squared distances of the values of one channel in a group: two passes over `vectors`, in the lanes of
/// `mask`, `count` of them.
#[inline(always)]
pub(super) fn statistics_of_group<S: Simd>(simd: S, vectors: &[Lanes<S>], mask: Lanes<S>, count: usize) -> (f64, f64) {
    let n = (count * vectors.len()) as f64;
    let mut sum = zero(simd);
    for &z in vectors {
        sum = simd.add_f32s(sum, z);
    }
    let mean = (sum_lanes(simd, simd.mul_f32s(sum, mask)) / n) as f32;
    let (mut first, mut second) = (zero(simd), zero(simd));
    for &z in vectors {
        let distance = simd.sub_f32s(z, simd.splat_f32s(mean));
        first = simd.add_f32s(first, distance);
        second = fma(simd, distance, distance, second);
    }
    // The rounding of the mean is put right by what the distances still sum to.
    let first = sum_lanes(simd, simd.mul_f32s(first, mask));
    let second = sum_lanes(simd, simd.mul_f32s(second, mask));
    (f64::from(mean) + first / n, second - first * first / n)
}

/// The vectors of one layer in every group, and 1 where a lane holds an example.
pub(super) type Groups<'a, V, const C: usize> = &'a [(&'a [V; C], V)];

/// Mean and biased variance of each feature over all examples: two passes.
pub(super) struct FeatureStatistics<'a, V, const C: usize> {
    /// The features.
    pub(super) z: Groups<'a, V, C>,
    /// Number of examples.
    pub(super) count: usize,
}

impl<S: Simd, const C: usize> Kernel<S> for FeatureStatistics<'_, Lanes<S>, C> {
    type Output = [(f64, f64); C];

    #[inline(always)]
    fn run(self, simd: S) -> Self::Output {
        let mut statistics = [(0.0, 0.0); C];
        for c in 0..C {
            let mut sum = zero(simd);
            for (z, mask) in self.z {
                sum = fma(simd, z[c], *mask, sum);
            }
            let mean = sum_lanes(simd, sum) / self.count as f64;
            let centre = simd.splat_f32s(mean as f32);
            let mut squares = zero(simd);
            for (z, mask) in self.z {
                let distance = simd.mul_f32s(simd.sub_f32s(z[c], centre), *mask);
                squares = fma(simd, distance, distance, squares);
            }
            statistics[c] = (mean, sum_lanes(simd, squares) / self.count as f64);
        }
        statistics
    }
}

/// Sums of each feature's gradient `g`, and of its products with the normalised values, over all examples.
pub(super) struct FeatureGradients<'a, V, const C: usize> {
    /// The features.
    pub(super) z: Groups<'a, V, C>,
    /// Gradient of the sigmoid's argument, as many groups.
    pub(super) g: &'a [&'a [V; C]],
    /// The batch's statistics of the features.
    pub(super) statistics: &'a Statistics<C>,
}

impl<S: Simd, const C: usize> Kernel<S> for FeatureGradients<'_, Lanes<S>, C> {
    type Output = [(f64, f64); C];

    #[inline(always)]
    fn run(self, simd: S) -> Self::Output {
        let mut sums = [(0.0, 0.0); C];
        for c in 0..C {
            let mean = simd.splat_f32s(self.statistics.mean[c] as f32);
            let (mut sum, mut along) = (zero(simd), zero(simd));
            for ((z, mask), g) in self.z.iter().zip(self.g) {
                let g = simd.mul_f32s(g[c], *mask);
                sum = simd.add_f32s(sum, g);
                along = fma(simd, g, simd.sub_f32s(z[c], mean), along);
            }
            sums[c] = (sum_lanes(simd, sum), sum_lanes(simd, along) * self.statistics.inverse[c]);
        }
        sums
    }
}

/// Sum of a vector's lanes, as f64.
#[inline(always)]
pub(super) fn sum_lanes<S: Simd>(simd: S, vector: Lanes<S>) -> f64 {
    f64::from(simd.reduce_sum_f32s(vector))
}
