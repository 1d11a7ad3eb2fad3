//! The reference engine: training from scratch in ndarray, on one core, in f32 or f64.
//!
//! Written to be read beside d2l's chapter on batch normalization, and to be the oracle of every faster engine. Each
//! operation has a file with its forward and its backward pass; [`network`] strings them together.

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

use self::cross_entropy::{cross_entropy_backward, cross_entropy_forward};
use self::network::LeNet;
use self::sgd::sgd_step;
use super::{Engine, MOMENTUM, Totals, initial_parameters};
use crate::data::Split;
use crate::error::Result;
use crate::parameters::{Parameters, Variance};

/// Examples per inference-mode forward pass: enough to be quick, few enough to stay in the cache.
const EVALUATION_BATCH: usize = 100;

/// The reference engine, in f32 or f64.
pub struct Reference<T> {
    net: LeNet<T>,
    variance: Variance,
}

impl<T: Real> Reference<T> {
    /// An untrained network: [`initial_parameters`] of that seed.
    pub fn new(seed: u64, variance: Variance) -> Self {
        Self { net: LeNet::from_parameters(&initial_parameters(seed, variance)), variance }
    }
}

impl<T: Real> Engine for Reference<T> {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn device(&self) -> String {
        format!("CPU, 1 thread, {}", T::NAME)
    }

    fn parameters(&self) -> Parameters {
        self.net.to_parameters(self.variance)
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        self.net = LeNet::from_parameters(parameters);
        self.variance = parameters.variance;
    }

    fn train(&mut self, split: &Split, order: &[u32], batch_size: usize, lr: f64) -> Result<Totals> {
        assert!(batch_size > 1, "BatchNorm cannot train on batches of {batch_size}; use two examples or more");
        assert_eq!(order.len() % batch_size, 0, "the order is not a whole number of batches of {batch_size}");
        let mut totals = Totals::default();
        for batch in order.chunks_exact(batch_size) {
            let (x, labels) = gather(split, batch.iter().map(|&i| i as usize));
            let (logits, forward) = self.net.forward_train(x);
            let (step, probabilities) = cross_entropy_forward(logits, &labels);
            totals += step;
            if !step.loss.is_finite() {
                break;
            }
            let gradients = self.net.backward(&forward, &cross_entropy_backward(probabilities, &labels));
            self.net.update_statistics(&forward, T::of(MOMENTUM), self.variance);
            sgd_step(&mut self.net, &gradients, T::of(lr));
        }
        Ok(totals)
    }

    fn evaluate(&mut self, split: &Split) -> Result<Totals> {
        let mut totals = Totals::default();
        for start in (0..split.len()).step_by(EVALUATION_BATCH) {
            let (x, labels) = gather(split, start..split.len().min(start + EVALUATION_BATCH));
            totals += cross_entropy_forward(self.net.infer(&x), &labels).0;
        }
        Ok(totals)
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> Result<(Vec<f64>, Parameters)> {
        let (x, labels) = gather(split, batch.iter().map(|&i| i as usize));
        let (logits, forward) = self.net.forward_train(x);
        let flat_logits = logits.iter().map(|logit| logit.as_f64()).collect();
        let (_, probabilities) = cross_entropy_forward(logits, &labels);
        let gradients = self.net.backward(&forward, &cross_entropy_backward(probabilities, &labels));
        Ok((flat_logits, gradients.to_parameters(self.variance)))
    }
}

/// Images `[n, 1, 28, 28]` with pixels in [0, 1], and their labels.
fn gather<T: Real>(split: &Split, indices: impl ExactSizeIterator<Item = usize>) -> (Array4<T>, Vec<u8>) {
    let mut x = Array4::zeros((indices.len(), 1, IMAGE_SIDE, IMAGE_SIDE));
    let mut labels = Vec::with_capacity(indices.len());
    for (mut image, index) in x.outer_iter_mut().zip(indices) {
        for (pixel, &byte) in image.iter_mut().zip(split.pixels(index)) {
            *pixel = T::of(f64::from(byte)) / T::of(255.0);
        }
        labels.push(split.labels[index]);
    }
    (x, labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::index;

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
