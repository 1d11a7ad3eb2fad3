//! Batch normalization: training mode, its backward pass, the moving statistics, and inference mode.
//!
//! ```text
//! x_hat = (x - mean) / sqrt(var + eps)        y = gamma * x_hat + beta
//! ```
//!
//! In training `mean` and `var` are those of the batch, in inference the moving ones. Two functions, never a mode. Both take
//! the output of a linear layer, `[n, c]`, or of a convolution, `[n, c, h, w]`: a channel's statistics run over all axes
//! but axis 1. Sources: Ioffe and Szegedy 2015, algorithm 1 and section 3; d2l 8.5.

use ndarray::{Array, Array1, ArrayView1, ArrayView3, ArrayViewMut3, Dimension, Zip};

use super::layer::BatchNorm;
use crate::model::parameters::Variance;
use crate::model::real::Real;

/// What training mode found in a batch: for the moving statistics and for the backward pass.
#[derive(Clone, Debug)]
pub struct Normalized<T, D: Dimension> {
    /// The normalised input, in the input's shape.
    pub x_hat: Array<T, D>,
    /// Mean of the batch, `[c]`.
    pub mean: Array1<T>,
    /// Variance of the batch, biased, `[c]`.
    pub var: Array1<T>,
    /// `sqrt(var + eps)`, `[c]`.
    deviation: Array1<T>,
    /// Values per channel: n, or n * h * w.
    count: usize,
}

/// Training mode: normalises with the mean and the biased variance of this batch. The moving statistics take no part;
/// [`Statistics::follow`] lets them follow.
///
/// The variance is computed in two passes, as the mean of `(x - mean)²`: `E[x²] - E[x]²` cancels when the mean is large.
///
/// # Panics
/// If the batch gives one value per channel: its variance would be 0 and its output `beta`, whatever the input.
pub fn batch_norm_train<T: Real, D: Dimension>(
    x: Array<T, D>,
    bn: BatchNorm<'_, T>,
) -> (Array<T, D>, Normalized<T, D>) {
    let count = values_per_channel(&x);
    assert!(count > 1, "BatchNorm cannot train on one value per channel; use a batch of two or more");
    let n = T::of(count as f64);

    let mean = channel_sums(&x) / n;
    let centred = map_channels(x, |c, x| x - mean[c]);
    let var = channel_dots(&centred, &centred) / n;
    let deviation = var.mapv(|var| (var + bn.eps).sqrt());
    let x_hat = map_channels(centred, |c, x| x / deviation[c]);
    let y = map_channels(x_hat.clone(), |c, x_hat| bn.gamma[c] * x_hat + bn.beta[c]);

    (y, Normalized { x_hat, mean, var, deviation, count })
}

/// Backward of [`batch_norm_train`]: from `d_y` the gradients `(d_x, d_gamma, d_beta)`.
///
/// The mean and the variance depend on every input of the channel, hence the two terms that take away from `d_y` its mean
/// and its component along `x_hat`:
///
/// ```text
/// d_x = gamma / sqrt(var + eps) * (d_y - mean(d_y) - x_hat * mean(d_y * x_hat))
/// ```
pub fn batch_norm_backward<T: Real, D: Dimension>(
    d_y: Array<T, D>,
    batch: &Normalized<T, D>,
    gamma: &[T],
) -> (Array<T, D>, Array1<T>, Array1<T>) {
    let n = T::of(batch.count as f64);
    let d_beta = channel_sums(&d_y);
    let d_gamma = channel_dots(&d_y, &batch.x_hat);

    let scale = &ArrayView1::from(gamma) / &batch.deviation;
    let (mean_d_y, mean_d_y_x_hat) = (&d_beta / n, &d_gamma / n);
    let mut d_x = d_y;
    for (mut d_x, x_hat) in by_channel_mut(&mut d_x).outer_iter_mut().zip(by_channel(&batch.x_hat).outer_iter()) {
        for (c, (d_x, x_hat)) in d_x.outer_iter_mut().zip(x_hat.outer_iter()).enumerate() {
            let (scale, mean, along) = (scale[c], mean_d_y[c], mean_d_y_x_hat[c]);
            Zip::from(d_x).and(x_hat).for_each(|d, &x_hat| *d = scale * (*d - mean - x_hat * along));
        }
    }
    (d_x, d_gamma, d_beta)
}

/// The moving statistics of one layer, `[c]` each, to be changed.
pub struct Statistics<'a, T> {
    /// Moving mean.
    pub mean: &'a mut [T],
    /// Moving variance.
    pub var: &'a mut [T],
    /// Whether the variance divides by n (d2l from scratch) or by n - 1 (PyTorch's layers).
    pub variance: Variance,
}

impl<T: Real> Statistics<'_, T> {
    /// Lets them follow a batch: `moving = (1 - momentum) * moving + momentum * batch`.
    ///
    /// `momentum` is the weight of the new batch, as PyTorch means it; d2l's 0.9 is `1 - momentum`.
    pub fn follow<D: Dimension>(&mut self, batch: &Normalized<T, D>, momentum: T) {
        let correction = match self.variance {
            Variance::Biased => T::one(),
            Variance::Unbiased => T::of(batch.count as f64 / (batch.count as f64 - 1.0)),
        };
        let follow = |moving: &mut T, new: T| *moving = (T::one() - momentum) * *moving + momentum * new;
        self.mean.iter_mut().zip(&batch.mean).for_each(|(moving, &mean)| follow(moving, mean));
        self.var.iter_mut().zip(&batch.var).for_each(|(moving, &var)| follow(moving, correction * var));
    }
}

/// Inference mode: normalises with the moving statistics, and changes nothing.
pub fn batch_norm_infer<T: Real, D: Dimension>(x: Array<T, D>, bn: BatchNorm<'_, T>) -> Array<T, D> {
    let deviation: Vec<T> = bn.running_var.iter().map(|&var| (var + bn.eps).sqrt()).collect();
    map_channels(x, |c, x| {
        let x_hat = (x - bn.running_mean[c]) / deviation[c];
        bn.gamma[c] * x_hat + bn.beta[c]
    })
}

/// n of `[n, c]`, n * h * w of `[n, c, h, w]`.
fn values_per_channel<T, D: Dimension>(x: &Array<T, D>) -> usize {
    x.len() / x.shape()[1]
}

/// `[n, c]` as `[n, c, 1]`, `[n, c, h, w]` as `[n, c, h * w]`: what belongs to one channel of one example lies together.
fn by_channel<T, D: Dimension>(x: &Array<T, D>) -> ArrayView3<'_, T> {
    let (n, c) = (x.shape()[0], x.shape()[1]);
    x.view().into_shape_with_order((n, c, x.len() / (n * c))).expect("activations are row-major")
}

/// [`by_channel`], to be changed.
fn by_channel_mut<T, D: Dimension>(x: &mut Array<T, D>) -> ArrayViewMut3<'_, T> {
    let (n, c) = (x.shape()[0], x.shape()[1]);
    let run = x.len() / (n * c);
    x.view_mut().into_shape_with_order((n, c, run)).expect("activations are row-major")
}

/// `f(channel, value)` in place of every value.
fn map_channels<T: Real, D: Dimension>(mut x: Array<T, D>, f: impl Fn(usize, T) -> T) -> Array<T, D> {
    for mut example in by_channel_mut(&mut x).outer_iter_mut() {
        for (c, mut run) in example.outer_iter_mut().enumerate() {
            run.mapv_inplace(|value| f(c, value));
        }
    }
    x
}

/// Sum of each channel's values, `[c]`. Examples are added up in f64: thousands of f32 terms would cost the mean its last
/// digits, and the variance their square.
fn channel_sums<T: Real, D: Dimension>(x: &Array<T, D>) -> Array1<T> {
    let mut sums = vec![0.0; x.shape()[1]];
    for example in by_channel(x).outer_iter() {
        for (sum, run) in sums.iter_mut().zip(example.outer_iter()) {
            *sum += run.sum().as_f64();
        }
    }
    sums.into_iter().map(T::of).collect()
}

/// Sum of each channel's products `a * b`, `[c]`; examples in f64, as in [`channel_sums`].
fn channel_dots<T: Real, D: Dimension>(a: &Array<T, D>, b: &Array<T, D>) -> Array1<T> {
    let mut sums = vec![0.0; a.shape()[1]];
    for (a, b) in by_channel(a).outer_iter().zip(by_channel(b).outer_iter()) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.outer_iter().zip(b.outer_iter())) {
            *sum += a.dot(&b).as_f64();
        }
    }
    sums.into_iter().map(T::of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;
    use ndarray::{Array2, Array4, Ix2, array};

    const EPS: f64 = 1e-5;

    /// A layer of up to eight channels that was never trained.
    fn untouched<T: Real>(eps: f64) -> BatchNorm<'static, T> {
        let values = |value: f64| &*Vec::leak(vec![T::of(value); 8]);
        let (zero, one) = (values(0.0), values(1.0));
        BatchNorm { gamma: one, beta: zero, running_mean: zero, running_var: one, eps: T::of(eps) }
    }

    /// What the moving statistics 0 and 1 become.
    fn followed<D: Dimension>(batches: &[Normalized<f64, D>], momentum: f64, variance: Variance) -> (f64, f64) {
        let (mut mean, mut var) = ([0.0], [1.0]);
        for batch in batches {
            Statistics { mean: &mut mean, var: &mut var, variance }.follow(batch, momentum);
        }
        (mean[0], var[0])
    }

    fn check_gradients<D: Dimension>(x: &Array<f64, D>) {
        let channels = x.shape()[1];
        let (gamma, beta) = (random(2, channels) + 1.5, random(3, channels));
        let d_y = random(4, x.raw_dim());
        let train = |x: &Array<f64, D>, gamma: &Array1<f64>, beta: &Array1<f64>| {
            let (gamma, beta) = (gamma.as_slice().unwrap(), beta.as_slice().unwrap());
            batch_norm_train(x.clone(), BatchNorm { gamma, beta, ..untouched(EPS) })
        };
        let loss = |x: &_, gamma: &_, beta: &_| weighted_sum(&train(x, gamma, beta).0, &d_y);

        let (_, batch) = train(x, &gamma, &beta);
        let (d_x, d_gamma, d_beta) = batch_norm_backward(d_y.clone(), &batch, gamma.as_slice().unwrap());
        check("d_x", &d_x, x, |x| loss(&x, &gamma, &beta));
        check("d_gamma", &d_gamma, &gamma, |gamma| loss(x, &gamma, &beta));
        check("d_beta", &d_beta, &beta, |beta| loss(x, &gamma, &beta));
    }

    #[test]
    fn gradients_after_a_linear_layer() {
        check_gradients(&random(1, (7, 3)));
    }

    #[test]
    fn gradients_after_a_convolution() {
        check_gradients(&random(1, (3, 2, 4, 5)));
    }

    #[test]
    fn a_batch_leaves_with_mean_beta_and_deviation_gamma() {
        let bn = BatchNorm { gamma: &[2.0, -0.5], beta: &[1.0, 3.0], ..untouched(0.0) };
        let (y, _) = batch_norm_train(random(5, (8, 2, 3, 3)) * 10.0 + 4.0, bn);
        let n = values_per_channel(&y) as f64;
        let mean = channel_sums(&y) / n;
        let centred = map_channels(y, |c, y| y - mean[c]);
        let var = channel_dots(&centred, &centred) / n;
        for c in 0..2 {
            assert!((mean[c] - bn.beta[c]).abs() < 1e-12, "{mean}");
            assert!((var[c] - bn.gamma[c].powi(2)).abs() < 1e-12, "{var}");
        }
    }

    #[test]
    fn both_ranks_agree() {
        // A convolution's channel is a linear feature with more examples.
        let image: Array4<f64> = random(6, (3, 2, 4, 5));
        let rows: Array2<f64> = Array2::from_shape_fn((60, 2), |(i, c)| image[(i / 20, c, i % 20 / 5, i % 5)]);
        let ((y4, batch4), (y2, batch2)) =
            (batch_norm_train(image, untouched(EPS)), batch_norm_train(rows, untouched(EPS)));
        assert!((&batch4.mean - &batch2.mean).iter().all(|d| d.abs() < 1e-15));
        assert!((&batch4.var - &batch2.var).iter().all(|d| d.abs() < 1e-15));
        assert!(y4.indexed_iter().all(|((n, c, h, w), y)| (y - y2[(n * 20 + h * 5 + w, c)]).abs() < 1e-13));
    }

    #[test]
    fn two_passes_survive_a_mean_of_3000_deviations() {
        // Both layouts of a batch of 256, in f32, against the same numbers in f64.
        for shape in [[256, 1, 8, 8], [8192, 1, 1, 1]] {
            let exact = random(7, shape) * 3.0f64.sqrt() + 3000.0;
            let single = exact.mapv(|x| x as f32);
            let exact = single.mapv(f64::from);
            let (_, truth) = batch_norm_train(exact, untouched(EPS));
            let (_, batch) = batch_norm_train(single.clone(), untouched(EPS));
            let relative = (f64::from(batch.var[0]) / truth.var[0] - 1.0).abs();
            assert!(relative < 1e-5, "{relative}");

            // What E[x²] - E[x]² would have made of it: not one digit is left.
            let n = single.len() as f32;
            let mean = single.sum() / n;
            let cancelled = single.mapv(|x| x * x).sum() / n - mean * mean;
            assert!((f64::from(cancelled) / truth.var[0] - 1.0).abs() > 0.1, "{cancelled}");
        }
    }

    #[test]
    fn momentum_is_the_weight_of_the_new_batch() {
        // Means 2 and -4, variances 1 and 9.
        let batches = [array![[1.0], [3.0]], array![[-7.0], [-1.0]]].map(|x| batch_norm_train(x, untouched(EPS)).1);
        let (mean, var) = followed(&batches, 0.1, Variance::Biased);
        assert!((mean - (0.9 * (0.9 * 0.0 + 0.1 * 2.0) + 0.1 * -4.0)).abs() < 1e-15);
        assert!((var - (0.9 * (0.9 * 1.0 + 0.1 * 1.0) + 0.1 * 9.0)).abs() < 1e-15);
    }

    #[test]
    fn unbiased_is_biased_times_n_over_n_minus_1() {
        fn ratio<D: Dimension>(x: Array<f64, D>) -> f64 {
            let batch = [batch_norm_train(x, untouched(EPS)).1];
            followed(&batch, 1.0, Variance::Unbiased).1 / followed(&batch, 1.0, Variance::Biased).1
        }
        assert!((ratio(random::<_>(8, (256, 1))) - 256.0 / 255.0).abs() < 1e-12);
        assert!((ratio(random::<_>(8, (4, 1, 5, 5))) - 100.0 / 99.0).abs() < 1e-12);
    }

    #[test]
    fn eps_is_inside_the_root_in_both_modes() {
        // Deviation 1e-3: outside the root, or as 1e-3, an eps of 1e-5 would change the result severalfold.
        let x = array![[-1e-3], [1e-3]];
        let expected = 1e-3 / (1e-6f64 + 1e-5).sqrt();
        let (y, batch) = batch_norm_train(x.clone(), untouched(EPS));
        assert!((y[(1, 0)] - expected).abs() < 1e-12, "{y}");
        let (mean, var) = followed(&[batch], 1.0, Variance::Biased);
        let y = batch_norm_infer(x, BatchNorm { running_mean: &[mean], running_var: &[var], ..untouched(EPS) });
        assert!((y[(1, 0)] - expected).abs() < 1e-12, "{y}");
    }

    #[test]
    fn inference_is_the_formula() {
        let bn = BatchNorm {
            gamma: &[2.0, -1.0],
            beta: &[0.5, 0.0],
            running_mean: &[1.0, -2.0],
            running_var: &[3.0, 0.0],
            eps: 1.0,
        };
        let y: Array<f64, Ix2> = batch_norm_infer(array![[1.0, -2.0], [3.0, 1.0]], bn);
        assert_eq!(y, array![[0.5, 0.0], [2.5, -3.0]]);
    }

    #[test]
    #[should_panic = "one value per channel"]
    fn one_value_per_channel_is_refused() {
        batch_norm_train(random(9, (1, 4)), untouched(EPS));
    }

    #[test]
    fn one_image_has_many_values_per_channel() {
        batch_norm_train(random(9, (1, 4, 2, 2)), untouched(EPS));
    }

    #[test]
    fn a_nan_stays_in_its_channel() {
        let mut x = random(10, (4, 2));
        x[(1, 0)] = f64::NAN;
        let (y, batch) = batch_norm_train(x, untouched(EPS));
        assert!(y.column(0).iter().all(|y| y.is_nan()) && batch.var[0].is_nan());
        assert!(y.column(1).iter().all(|y| y.is_finite()) && batch.var[1].is_finite());
    }
}
