//! The reference engine: training of any network from scratch in ndarray, on one core, in f32 or f64.
//!
//! Written to be read beside d2l's chapter on batch normalization, and to be the oracle of every faster engine. Each
//! operation has a file with its forward and its backward pass; [`network`] walks a description's nodes.

pub mod activation;
pub mod adamw;
pub mod add;
pub mod avg_pool2d;
pub mod batch;
pub mod batch_norm;
pub mod conv2d;
pub mod cross_entropy;
pub mod depthwise;
pub mod flatten;
#[cfg(test)]
mod gradient_check;
pub mod layer;
pub mod linear;
pub mod max_pool2d;
pub mod mse;
pub mod network;
pub mod sgd;
mod values;
mod window;

pub use crate::model::real::Real;

use ndarray::Array2;

use self::adamw::adamw_step;
use self::batch::Batch;
use self::network::Net;
use self::sgd::sgd_step;
use super::distill::Soft;
use super::steps::{Treatment, add_step, treatments};
use super::{Engine, Moments, Optimizer, Steps, Totals, initial_parameters};
use crate::data::Split;
use crate::error::Result;
use crate::model::input::check;
use crate::model::parameters::{Parameters, Variance};
use crate::network::Network;

/// The most examples per inference-mode forward pass: enough to be quick, few enough to stay in the cache.
const EVALUATION_BATCH: usize = 100;
/// The most values of one activation of that pass, where a network has large ones.
const EVALUATION_VALUES: usize = 1 << 24;

/// The reference engine, in f32 or f64.
pub struct Reference<T> {
    net: Net<T>,
    treatments: Vec<Treatment>,
    variance: Variance,
    moments: Option<Moments<T>>,
}

impl<T: Real> Reference<T> {
    /// An untrained LeNet: [`initial_parameters`] of that seed.
    pub fn new(seed: u64, variance: Variance) -> Self {
        Self::of(&initial_parameters(&Network::lenet(), seed, variance))
    }

    /// A network with those parameters.
    pub fn of(parameters: &Parameters) -> Self {
        Self {
            net: Net::from_parameters(parameters),
            treatments: treatments(&parameters.network),
            variance: parameters.variance,
            moments: None,
        }
    }

    fn step(&mut self, gradients: &[Vec<T>], steps: &Steps<'_>, i: usize) {
        let Self { net, treatments, moments, .. } = self;
        let (network, tensors) = (net.network().clone(), &mut net.tensors);
        let coefficients = steps.coefficients(i);
        match steps.optimizer {
            Optimizer::Sgd => sgd_step(&network, tensors, gradients, T::of(coefficients.rate)),
            Optimizer::Momentum | Optimizer::Adamw => {
                let moments = moments.get_or_insert_with(|| Moments::zero(&network));
                adamw_step(treatments, tensors, gradients, moments, &coefficients);
            }
        }
    }
}

/// A batch's loss with a teacher, from the one with its labels, and in place of that one's gradient the whole gradient.
fn soften<T: Real>(soft: &Soft<'_>, logits: &Array2<T>, loss: f64, d_y: &mut Array2<T>) -> f64 {
    let (n, outputs) = logits.dim();
    let mut sum = (1.0 - soft.weight) * loss;
    for (example, (logits, mut d_y)) in logits.outer_iter().zip(d_y.outer_iter_mut()).enumerate() {
        let logits: Vec<f64> = logits.iter().map(|logit| logit.as_f64()).collect();
        let mut d: Vec<f64> = d_y.iter().map(|d| d.as_f64() * n as f64).collect();
        sum += soft.add(&logits, soft.row(example, outputs), 0.0, &mut d);
        d_y.iter_mut().zip(d).for_each(|(d_y, d)| *d_y = T::of(d / n as f64));
    }
    sum
}

/// How many examples of a network are inferred at once.
pub fn examples_at_once(network: &Network) -> usize {
    let nodes = (0..network.nodes().len()).map(bn_core::network::Value::Node);
    let largest = nodes.map(|value| network.shape(value).len()).fold(network.input().len(), usize::max);
    (EVALUATION_VALUES / largest).clamp(1, EVALUATION_BATCH)
}

impl<T: Real> Engine for Reference<T> {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn device(&self, _: usize) -> String {
        format!("CPU, 1 thread, {}", T::NAME)
    }

    fn parameters(&self) -> Parameters {
        self.net.to_parameters(&self.net.tensors, self.variance)
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        *self = Self::of(parameters);
    }

    fn moments(&self) -> Option<Moments<f64>> {
        self.moments.as_ref().map(|moments| moments.map(T::as_f64))
    }

    fn set_moments(&mut self, moments: &Moments<f64>) {
        self.moments = Some(moments.map(T::of));
    }

    fn train_steps(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Result<Totals> {
        steps.check(order);
        check(self.net.network(), split)?;
        let mut totals = Totals::default();
        for (i, samples) in order.chunks_exact(steps.batch_size).enumerate() {
            let Batch { x, target } = Batch::gather(self.net.network(), split, samples.iter().copied());
            let (y, forward) = self.net.forward_train(x);
            let logits = steps.soft.is_some().then(|| y.clone());
            let (mut step, mut d_y) = target.loss(y, T::of(steps.label_smoothing));
            if let (Some(logits), Some(soft)) = (logits, steps.soft(i, d_y.ncols())) {
                step.loss = soften(&soft, &logits, step.loss, &mut d_y);
            }
            if !add_step(&mut totals, step) {
                break;
            }
            let mut gradients = self.net.backward(&forward, d_y);
            self.net.update_statistics(&forward, T::of(steps.bn_momentum), self.variance);
            for (spec, gradient) in self.net.network().parameters().iter().zip(&mut gradients) {
                steps.bn_fixed.hold(spec.role, gradient);
            }
            self.step(&gradients, steps, i);
        }
        Ok(totals)
    }

    fn evaluate(&mut self, split: &Split) -> Result<Totals> {
        check(self.net.network(), split)?;
        let mut totals = Totals::default();
        let at_once = examples_at_once(self.net.network());
        for start in (0..split.len()).step_by(at_once) {
            let samples = start as u32..split.len().min(start + at_once) as u32;
            let Batch { x, target } = Batch::gather(self.net.network(), split, samples);
            totals += target.loss(self.net.infer(x), T::zero()).0;
        }
        Ok(totals)
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> Result<(Vec<f64>, Parameters)> {
        check(self.net.network(), split)?;
        let Batch { x, target } = Batch::gather(self.net.network(), split, batch.iter().copied());
        let (y, forward) = self.net.forward_train(x);
        let outputs = y.iter().map(|value| value.as_f64()).collect();
        let gradients = self.net.backward(&forward, target.loss(y, T::zero()).1);
        Ok((outputs, self.net.to_parameters(&gradients, self.variance)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Inputs, Values};
    use crate::network::shipped;

    #[test]
    fn a_step_that_meets_a_nan_leaves_the_statistics() {
        let split = Split::of_images((0..8).map(|i| [[i; 28]; 28]).collect(), vec![0; 8]);
        let mut engine = Reference::<f32>::new(0, Variance::Biased);
        let mut parameters = engine.parameters();
        parameters.get_mut("15.bias")[0] = f64::NAN;
        engine.set_parameters(&parameters);
        let totals = engine.train(&split, &[0, 1, 2, 3, 4, 5, 6, 7], 4, 1.0).unwrap();
        assert!(totals.loss.is_nan() && totals.examples == 4);
        let after = engine.parameters();
        for module in ["1", "5", "10", "13"] {
            for tensor in ["running_mean", "running_var"].map(|name| parameters.index(&format!("{module}.{name}"))) {
                assert_eq!(parameters.tensors[tensor], after.tensors[tensor]);
            }
        }
    }

    /// Inputs of any kind for a network, labels in turn.
    fn noise(network: &Network) -> Split {
        let values = gradient_check::random(1, 8 * network.input().len()).iter().map(|&v| v as f32).collect();
        let labels = (0..8).map(|i| i % network.output().len() as u8).collect();
        Split { inputs: Inputs::new(network.input(), Values::F32(values)), labels }
    }

    #[test]
    fn every_shipped_network_learns_a_batch_by_heart() {
        for network in shipped::all() {
            let split = noise(network);
            let mut engine = Reference::<f32>::of(&initial_parameters(network, 0, Variance::Biased));
            let steps = Steps { optimizer: Optimizer::Adamw, ..Steps::sgd(8, &[3e-3; 5]) };
            let order: Vec<u32> = (0..5).flat_map(|_| 0..8).collect();
            let first = engine.train_steps(&split, &order[..8], &Steps { lrs: &[3e-3], ..steps }).unwrap().mean_loss();
            engine.train_steps(&split, &order, &steps).unwrap();
            let last = engine.train_steps(&split, &order[..8], &Steps { lrs: &[3e-3], ..steps }).unwrap().mean_loss();
            assert!(last < 0.95 * first, "{}: {first} {last}", network.name());
            assert_eq!(engine.evaluate(&split).unwrap().examples, 8);
        }
    }

    #[test]
    fn data_that_does_not_fit_is_refused() {
        let mut engine = Reference::<f32>::new(0, Variance::Biased);
        let split = noise(&shipped::get("resnet8").unwrap());
        for refused in [engine.evaluate(&split), engine.train(&split, &[0, 1], 2, 0.1)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.starts_with("lenet reads 1x28x28, the data has examples 3x32x32; "), "{error}");
        }
    }
}
