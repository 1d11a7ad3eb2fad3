//! The reference engine: training from scratch in ndarray, on one core, in f32 or f64.
//!
//! Written to be read beside d2l's chapter on batch normalization, and to be the oracle of every faster engine. Each
//! operation has a file with its forward and its backward pass; [`network`] strings them together.

pub mod adamw;
pub mod avg_pool2d;
pub mod batch_norm;
pub mod conv2d;
pub mod cross_entropy;
#[cfg(test)]
mod gradient_check;
pub mod linear;
pub mod network;
mod real;
pub mod sgd;
pub mod sigmoid;

use bn_core::lenet::IMAGE_SIDE;
use ndarray::Array4;

pub use real::Real;

use self::adamw::adamw_step;
use self::cross_entropy::{cross_entropy_backward, cross_entropy_forward};
use self::network::LeNet;
use self::sgd::sgd_step;
use super::steps::add_step;
use super::{Engine, MOMENTUM, Moments, Optimizer, Steps, Totals, initial_parameters};
use crate::data::Split;
use crate::data::augment;
use crate::error::Result;
use crate::model::parameters::{Parameters, Variance};

/// Examples per inference-mode forward pass: enough to be quick, few enough to stay in the cache.
const EVALUATION_BATCH: usize = 100;

/// The reference engine, in f32 or f64.
pub struct Reference<T> {
    net: LeNet<T>,
    variance: Variance,
    moments: Option<Moments<T>>,
}

impl<T: Real> Reference<T> {
    /// An untrained network: [`initial_parameters`] of that seed.
    pub fn new(seed: u64, variance: Variance) -> Self {
        Self { net: LeNet::from_parameters(&initial_parameters(seed, variance)), variance, moments: None }
    }
}

impl<T: Real> Engine for Reference<T> {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn device(&self, _: usize) -> String {
        format!("CPU, 1 thread, {}", T::NAME)
    }

    fn parameters(&self) -> Parameters {
        self.net.to_parameters(self.variance)
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        self.net = LeNet::from_parameters(parameters);
        self.variance = parameters.variance;
        self.moments = None;
    }

    fn moments(&self) -> Option<Moments<f64>> {
        self.moments.as_ref().map(|moments| moments.map(T::as_f64))
    }

    fn set_moments(&mut self, moments: &Moments<f64>) {
        self.moments = Some(moments.map(T::of));
    }

    fn train_steps(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Result<Totals> {
        steps.check(order);
        let smoothing = T::of(steps.label_smoothing);
        let mut totals = Totals::default();
        for (i, batch) in order.chunks_exact(steps.batch_size).enumerate() {
            let (x, labels) = gather(split, batch.iter().copied());
            let (logits, forward) = self.net.forward_train(x);
            let (step, probabilities) = cross_entropy_forward(logits, &labels, smoothing);
            if !add_step(&mut totals, step) {
                break;
            }
            let gradients = self.net.backward(&forward, &cross_entropy_backward(probabilities, &labels, smoothing));
            self.net.update_statistics(&forward, T::of(MOMENTUM), self.variance);
            let coefficients = steps.coefficients(i);
            match steps.optimizer {
                Optimizer::Sgd => sgd_step(&mut self.net, &gradients, T::of(coefficients.rate)),
                Optimizer::Momentum | Optimizer::Adamw => {
                    let moments = self.moments.get_or_insert_with(Moments::zero);
                    adamw_step(&mut self.net, &gradients, moments, &coefficients);
                }
            }
        }
        Ok(totals)
    }

    fn evaluate(&mut self, split: &Split) -> Result<Totals> {
        let mut totals = Totals::default();
        for start in (0..split.len()).step_by(EVALUATION_BATCH) {
            let (x, labels) = gather(split, start as u32..split.len().min(start + EVALUATION_BATCH) as u32);
            totals += cross_entropy_forward(self.net.infer(&x), &labels, T::zero()).0;
        }
        Ok(totals)
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> Result<(Vec<f64>, Parameters)> {
        let (x, labels) = gather(split, batch.iter().copied());
        let (logits, forward) = self.net.forward_train(x);
        let flat_logits = logits.iter().map(|logit| logit.as_f64()).collect();
        let (_, probabilities) = cross_entropy_forward(logits, &labels, T::zero());
        let gradients = self.net.backward(&forward, &cross_entropy_backward(probabilities, &labels, T::zero()));
        Ok((flat_logits, gradients.to_parameters(self.variance)))
    }
}

/// Images `[n, 1, 28, 28]` with pixels in [0, 1], and their labels.
fn gather<T: Real>(split: &Split, samples: impl ExactSizeIterator<Item = u32>) -> (Array4<T>, Vec<u8>) {
    let mut x = Array4::zeros((samples.len(), 1, IMAGE_SIDE, IMAGE_SIDE));
    let mut labels = Vec::with_capacity(samples.len());
    for (mut image, sample) in x.outer_iter_mut().zip(samples) {
        let example = augment::example(sample);
        let shown = augment::show(&split.images[example], sample);
        for (pixel, &byte) in image.iter_mut().zip(shown.as_flattened()) {
            *pixel = T::of(f64::from(byte)) / T::of(255.0);
        }
        labels.push(split.labels[example]);
    }
    (x, labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parameters::index;

    #[test]
    fn a_step_that_meets_a_nan_leaves_the_statistics() {
        let split = Split { images: (0..8).map(|i| [[i; 28]; 28]).collect(), labels: vec![0; 8] };
        let mut engine = Reference::<f32>::new(0, Variance::Biased);
        let mut parameters = engine.parameters();
        parameters.get_mut("15.bias")[0] = f64::NAN;
        engine.set_parameters(&parameters);
        let totals = engine.train(&split, &[0, 1, 2, 3, 4, 5, 6, 7], 4, 1.0).unwrap();
        assert!(totals.loss.is_nan() && totals.examples == 4);
        let after = engine.parameters();
        for module in ["1", "5", "10", "13"] {
            for tensor in ["running_mean", "running_var"].map(|name| index(&format!("{module}.{name}"))) {
                assert_eq!(parameters.tensors[tensor], after.tensors[tensor]);
            }
        }
    }

    #[test]
    fn pixels_become_shares_of_white() {
        let mut split = Split { images: vec![[[0; 28]; 28]; 2], labels: vec![3, 7] };
        split.images[1][0] = [255; 28];
        split.images[1][1][0] = 51;
        let (x, labels) = gather::<f64>(&split, [1, 0].into_iter());
        assert_eq!(labels, [7, 3]);
        assert_eq!((x[(0, 0, 0, 27)], x[(0, 0, 1, 0)], x[(1, 0, 0, 0)]), (1.0, 0.2, 0.0));
    }
}
