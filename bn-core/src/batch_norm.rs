//! Batch normalization in inference mode, and folding it into the layer before it.
//!
//! ```text
//! y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta
//! ```
//!
//! Each channel is an affine map, so a convolution or linear layer in front of it can absorb it: [`fold`].
//! Sources: Ioffe and Szegedy 2015, section 3.1; d2l 8.5.

/// PyTorch's default, inside the square root. A model may carry another.
pub const DEFAULT_EPS: f32 = 1e-5;

/// One BatchNorm layer of `C` channels: what it learned, what it tracked, and its `eps`.
#[derive(Clone, Debug, PartialEq)]
#[repr(C)]
pub struct BatchNorm<const C: usize> {
    /// Learned scale. May be negative.
    pub gamma: [f32; C],
    /// Learned shift.
    pub beta: [f32; C],
    /// Moving mean of the training batches.
    pub running_mean: [f32; C],
    /// Moving variance of the training batches; biased or unbiased, as the checkpoint says. Never negative.
    pub running_var: [f32; C],
    /// Added to the variance, inside the square root.
    pub eps: f32,
}

impl<const C: usize> BatchNorm<C> {
    /// As before training: gamma 1, beta 0, mean 0, variance 1.
    pub const fn identity() -> Self {
        Self { gamma: [1.0; C], beta: [0.0; C], running_mean: [0.0; C], running_var: [1.0; C], eps: DEFAULT_EPS }
    }

    /// Normalises `C` equal runs of values in place: `[C][H][W]` flattened, or `[C]`. The statistics are not touched.
    ///
    /// Computed as it is written above, one rounding a step, which is what PyTorch's eval mode approximates to f32.
    pub fn infer(&self, values: &mut [f32]) {
        let run = values.len() / C;
        debug_assert_eq!(run * C, values.len(), "one run of equal length a channel");
        for (channel, run) in values.chunks_exact_mut(run.max(1)).enumerate().take(C) {
            let deviation = libm::sqrtf(self.running_var[channel] + self.eps);
            for value in run {
                let normalised = (*value - self.running_mean[channel]) / deviation;
                *value = self.gamma[channel] * normalised + self.beta[channel];
            }
        }
    }

    /// The affine map of one channel, in f64: `(scale, shift)` with `y = scale * x + shift`.
    pub fn affine(&self, channel: usize) -> (f64, f64) {
        let deviation = libm::sqrt(f64::from(self.running_var[channel]) + f64::from(self.eps));
        let scale = f64::from(self.gamma[channel]) / deviation;
        (scale, f64::from(self.beta[channel]) - scale * f64::from(self.running_mean[channel]))
    }
}

/// Folds a BatchNorm into the weights and bias of the layer before it.
///
/// `weight` holds `C` equal runs (one output channel after another); a layer without a bias passes zeros. The arithmetic is
/// f64 and every result is rounded to f32 once. Valid only where nothing, no activation and no pool, stands between the
/// layer and its BatchNorm.
pub fn fold<const C: usize>(bn: &BatchNorm<C>, (weight, bias): (&mut [f32], &mut [f32; C])) {
    let run = weight.len() / C;
    debug_assert_eq!(run * C, weight.len(), "one run of equal length a channel");
    for (channel, run) in weight.chunks_exact_mut(run.max(1)).enumerate().take(C) {
        let (scale, shift) = bn.affine(channel);
        for value in run {
            *value = (f64::from(*value) * scale) as f32;
        }
        bias[channel] = (f64::from(bias[channel]) * scale + shift) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infer_is_the_formula() {
        let bn = BatchNorm {
            gamma: [2.0, -1.0],
            beta: [0.5, 0.0],
            running_mean: [1.0, -2.0],
            running_var: [3.0, 0.0],
            eps: 1.0,
        };
        let mut values = [1.0, 3.0, -2.0, 1.0];
        bn.infer(&mut values);
        assert_eq!(values, [0.5, 2.5, 0.0, -3.0]);
    }

    #[test]
    fn eps_is_inside_the_square_root() {
        // At variance 1e-6 an eps of 1e-5 outside the root, or one of 1e-3, would change the result severalfold.
        let bn = BatchNorm { gamma: [1.0], beta: [0.0], running_mean: [0.0], running_var: [1e-6], eps: 1e-5 };
        let mut values = [1.0];
        bn.infer(&mut values);
        assert!((f64::from(values[0]) - 1.0 / libm::sqrt(1.1e-5)).abs() < 1e-3);
    }

    #[test]
    fn folding_equals_unfolded_for_negative_zero_and_tiny_gamma() {
        for gamma in [2.5, -0.7, 0.0, 1e-30] {
            let bn = BatchNorm { gamma: [gamma], beta: [0.3], running_mean: [0.9], running_var: [0.04], eps: 1e-5 };
            let (mut weight, mut bias) = ([0.25, -1.5, 3.0], [0.125]);
            let input = [0.1, 0.7, -0.4];
            let dot = |w: &[f32; 3], b: f32| w.iter().zip(input).map(|(w, x)| w * x).sum::<f32>() + b;
            let mut unfolded = [dot(&weight, bias[0])];
            bn.infer(&mut unfolded);
            fold(&bn, (&mut weight, &mut bias));
            let folded = dot(&weight, bias[0]);
            assert!(
                (folded - unfolded[0]).abs() <= 1e-5 * unfolded[0].abs().max(1.0),
                "{gamma}: {folded} {unfolded:?}"
            );
        }
    }
}
