//! The CPU engine for any network: threads over groups of examples, vectors over the examples of a group.
//!
//! A group has as many examples as a vector has lanes, and a vector is one value of all of them: `[value][lane]`. So depthwise
//! layers, few channels, odd maps, pads and strides are all plain vector arithmetic. What is stored are the outputs of
//! convolutions, linear layers, pools and sums; BatchNorm and activation are worked out while those are read, in both
//! directions, so that a training step passes over each of them as few times as it can.
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | from nodes to units: what is stored, what is worked out on reading |
//! | `pass` | a convolution, or the gradient of its input, as sums of taps |
//! | `tile` | the two innermost loops |
//! | `conv`, `pool` | passes over a chunk of rows and gradients of weights; pools over a map |
//! | `read`, `copy` | BatchNorm and activation of a run of values, both ways; padded copies of them |
//! | `moments` | statistics of a run, and what follows from a batch's |
//! | `state` | parameters, and the tensors of every unit |
//! | `forward`, `backward`, `ends` | one unit of one group; input and loss |
//! | `integers` | the same passes over a network's integers: fine-tuning |
//! | `trainer`, `batch` | the step over a whole batch; what stands between its phases |
//!
//! Same seed, same instruction set: same bits, whatever the number of threads.

mod backward;
mod batch;
mod conv;
mod copy;
mod ends;
mod forward;
pub(crate) mod integers;
mod moments;
mod pass;
mod plan;
mod pool;
mod read;
mod state;
mod tile;
mod trainer;

use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};

use self::trainer::Trainer;
use super::{check_indices, describe};
use crate::cores::cores;
use crate::data::Split;
use crate::engine::{Engine, Moments, Steps, Totals};
use crate::error::Result;
use crate::model::input::check;
use crate::model::parameters::Parameters;
use crate::network::Network;

/// The CPU engine for any network.
pub struct GraphCpu {
    backend: Box<dyn Backend>,
    network: Arc<Network>,
    arch: Arch,
}

impl GraphCpu {
    /// An engine with that model. `threads` is by default every core that the process may use.
    ///
    /// # Panics
    /// If `threads` is 0.
    pub fn of(parameters: &Parameters, threads: Option<usize>) -> Self {
        Self::on(Arch::new(), parameters, threads)
    }

    /// One engine for each instruction set that this machine has, the best first. For tests.
    pub fn each(parameters: &Parameters, threads: Option<usize>) -> Vec<Self> {
        super::sets().into_iter().map(|arch| Self::on(arch, parameters, threads)).collect()
    }

    /// Inference-mode outputs of some samples (see [`crate::data::augment`]), one row a sample.
    ///
    /// # Errors
    /// What [`check`] says of the split.
    ///
    /// # Panics
    /// If a sample is out of range.
    pub fn outputs(&mut self, split: &Split, samples: &[u32]) -> Result<Vec<f32>> {
        check(&self.network, split)?;
        check_indices(split.len(), samples);
        Ok(self.backend.outputs(split, samples))
    }

    fn on(arch: Arch, parameters: &Parameters, threads: Option<usize>) -> Self {
        let threads = threads.unwrap_or_else(cores);
        assert!(threads > 0, "no thread to train with; use one or more");
        let network = parameters.network.clone();
        Self { backend: arch.dispatch(NewBackend { threads, parameters }), network, arch }
    }
}

/// Makes the trainer of the instruction set it is called for.
struct NewBackend<'a> {
    threads: usize,
    parameters: &'a Parameters,
}

impl WithSimd for NewBackend<'_> {
    type Output = Box<dyn Backend>;

    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        Box::new(Trainer::new(simd, self.threads, self.parameters))
    }
}

/// What the engine asks of a trainer, whatever its instruction set.
trait Backend: Send {
    /// Lanes of a vector, and so examples of a group.
    fn lanes(&self) -> usize;

    /// Threads that it works with.
    fn threads(&self) -> usize;

    /// A copy of the model.
    fn parameters(&self) -> Parameters;

    /// Replaces the model, which may be another network's; the optimiser forgets.
    fn set_parameters(&mut self, parameters: &Parameters);

    /// What the optimiser remembers, once it has taken a step.
    fn moments(&self) -> Option<Moments<f64>>;

    /// Replaces it.
    fn set_moments(&mut self, moments: &Moments<f64>);

    /// As [`Engine::train_steps`], arguments checked.
    fn train(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Totals;

    /// As [`Engine::evaluate`].
    fn evaluate(&mut self, split: &Split) -> Totals;

    /// Inference-mode outputs of some samples, one row a sample.
    fn outputs(&mut self, split: &Split, samples: &[u32]) -> Vec<f32>;

    /// As [`Engine::gradients`], arguments checked.
    fn gradients(&mut self, split: &Split, batch: &[u32]) -> (Vec<f64>, Parameters);
}

impl<S: Simd> Backend for Trainer<S> {
    fn lanes(&self) -> usize {
        S::F32_LANES
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn parameters(&self) -> Parameters {
        self.copy(|parameter| &parameter.value)
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        *self = Self::new(self.simd, self.threads, parameters);
    }

    fn moments(&self) -> Option<Moments<f64>> {
        self.copy_moments()
    }

    fn set_moments(&mut self, moments: &Moments<f64>) {
        self.replace_moments(moments);
    }

    fn train(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Totals {
        self.train_on(split, order, steps)
    }

    fn evaluate(&mut self, split: &Split) -> Totals {
        self.infer_all(split, &(0..split.len() as u32).collect::<Vec<_>>()).0
    }

    fn outputs(&mut self, split: &Split, samples: &[u32]) -> Vec<f32> {
        self.infer_all(split, samples).1
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> (Vec<f64>, Parameters) {
        let outputs = self.gradients_of(split, batch);
        (outputs, self.copy(|parameter| &parameter.gradient))
    }
}

impl Engine for GraphCpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self, _: usize) -> String {
        describe(self.backend.threads(), self.arch, self.backend.lanes())
    }

    fn parameters(&self) -> Parameters {
        self.backend.parameters()
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        self.network = parameters.network.clone();
        self.backend.set_parameters(parameters);
    }

    fn moments(&self) -> Option<Moments<f64>> {
        self.backend.moments()
    }

    fn set_moments(&mut self, moments: &Moments<f64>) {
        self.backend.set_moments(moments);
    }

    fn train_steps(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Result<Totals> {
        steps.check(order);
        check(&self.network, split)?;
        check_indices(split.len(), order);
        Ok(self.backend.train(split, order, steps))
    }

    fn evaluate(&mut self, split: &Split) -> Result<Totals> {
        check(&self.network, split)?;
        Ok(self.backend.evaluate(split))
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> Result<(Vec<f64>, Parameters)> {
        assert!(batch.len() > 1, "BatchNorm cannot train on a batch of {}; use two examples or more", batch.len());
        check(&self.network, split)?;
        check_indices(split.len(), batch);
        Ok(self.backend.gradients(split, batch))
    }
}
