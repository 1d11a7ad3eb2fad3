//! The CPU engine for LeNet: threads over groups of examples, vectors over the examples of a group, every shape known at compile
//! time. Every other network is [`graph`]'s.
//!
//! A group has as many examples as a vector has lanes (16 with AVX-512, 8 with AVX2, 4 with NEON), and a vector is one pixel,
//! or one feature, of all of them. So every operation of the network is plain vector arithmetic with one weight for all
//! lanes, and numbers of different examples meet only in sums over a batch.
//!
//! | file | what it holds |
//! |---|---|
//! | `lanes` | vector operations, exponential and sigmoid; how code is compiled for an instruction set |
//! | `moments` | the patches' mean and covariance, from which BatchNorm 1 follows before convolution 1 is computed |
//! | `conv`, `dense` | convolutions and linear layers, forward and backward |
//! | `batch_norm` | statistics and coefficients of BatchNorm |
//! | `kernels` | what a group does between two meetings |
//! | `team` | the threads and their meetings |
//! | `trainer`, `meetings`, `finish` | the step over a whole batch |
//! | [`graph`] | the engine for any network |
//!
//! The instruction set is chosen when the engine is made. Same seed, same instruction set: same bits, whatever the number of
//! threads. Between instruction sets results differ by rounding, for vectors of another length sum in another order.

mod batch_norm;
mod conv;
mod dense;
mod finish;
pub mod graph;
mod kernels;
mod lanes;
mod meetings;
mod moments;
mod state;
mod team;
mod trainer;

use bn_core::LeNet;
use pulp::{Arch, Simd, WithSimd};

use self::trainer::{Backend, Trainer};
use super::{Engine, Moments, Steps, Totals, initial_parameters};
use crate::cores::cores;
use crate::data::Split;
use crate::data::augment;
use crate::error::Result;
use crate::model::lenet::{from_lenet, to_lenet};
use crate::model::parameters::{Parameters, Variance};
use crate::network::Network;

/// The CPU engine for LeNet.
pub struct Cpu {
    backend: Box<dyn Backend>,
    network: std::sync::Arc<Network>,
    arch: Arch,
}

impl Cpu {
    /// An untrained network: [`initial_parameters`] of that seed. `threads` is by default every core that the process may
    /// use.
    ///
    /// # Panics
    /// If `threads` is 0.
    pub fn new(seed: u64, variance: Variance, threads: Option<usize>) -> Self {
        Self::on(Arch::new(), seed, variance, threads)
    }

    /// One engine for each instruction set that this machine has, the best first. For tests.
    pub fn each(seed: u64, variance: Variance, threads: Option<usize>) -> Vec<Self> {
        sets().into_iter().map(|arch| Self::on(arch, seed, variance, threads)).collect()
    }

    fn on(arch: Arch, seed: u64, variance: Variance, threads: Option<usize>) -> Self {
        let threads = threads.unwrap_or_else(cores);
        assert!(threads > 0, "no thread to train with; use one or more");
        let network = Network::lenet();
        let backend = arch.dispatch(NewBackend { threads, parameters: initial_parameters(&network, seed, variance) });
        Self { backend, network, arch }
    }
}

/// The instruction sets of this machine, the best first.
fn sets() -> Vec<Arch> {
    let mut sets = vec![Arch::new()];
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let (Arch::V4(_), Some(v3)) = (sets[0], pulp::x86::V3::try_new()) {
        sets.push(Arch::V3(v3));
    }
    if instructions(sets[0]) != PLAIN {
        sets.push(Arch::Scalar);
    }
    sets
}

/// An engine's device, for people.
fn describe(threads: usize, arch: Arch, lanes: usize) -> String {
    let plural = if threads == 1 { "" } else { "s" };
    format!("CPU, {threads} thread{plural}, f32, {} ({lanes} examples a vector)", instructions(arch))
}

/// None of those.
const PLAIN: &str = "plain";

/// Name of an instruction set, for people.
fn instructions(arch: Arch) -> &'static str {
    match arch {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V4(_) => "AVX-512",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V3(_) => "AVX2",
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => "NEON",
        _ => PLAIN,
    }
}

/// Makes the trainer of the instruction set it is called for.
struct NewBackend {
    threads: usize,
    parameters: Parameters,
}

impl WithSimd for NewBackend {
    type Output = Box<dyn Backend>;

    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let (net, eps) = model(&self.parameters);
        Box::new(Trainer::new(simd, self.threads, *net, eps, self.parameters.variance))
    }
}

impl Engine for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self, _: usize) -> String {
        describe(self.backend.threads(), self.arch, self.backend.lanes())
    }

    fn parameters(&self) -> Parameters {
        let (net, _, variance) = self.backend.model();
        from_lenet(&net, &self.network, variance)
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        let (net, eps) = model(parameters);
        self.network = parameters.network.clone();
        self.backend.set_model(*net, eps, parameters.variance);
    }

    fn moments(&self) -> Option<Moments<f64>> {
        self.backend.moments().map(|moments| moments.map(f64::from))
    }

    fn set_moments(&mut self, moments: &Moments<f64>) {
        self.backend.set_moments(moments.map(|value| value as f32));
    }

    fn train_steps(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Result<Totals> {
        steps.check(order);
        check_indices(split.inputs.len().min(split.labels.len()), order);
        Ok(self.backend.train(split, order, steps))
    }

    fn evaluate(&mut self, split: &Split) -> Result<Totals> {
        Ok(self.backend.evaluate(split))
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> Result<(Vec<f64>, Parameters)> {
        assert!(batch.len() > 1, "BatchNorm cannot train on a batch of {}; use two examples or more", batch.len());
        check_indices(split.inputs.len().min(split.labels.len()), batch);
        let (logits, gradient) = self.backend.gradients(split, batch);
        let mut parameters = self.parameters();
        for ((spec, to), from) in self.network.parameters().iter().zip(&mut parameters.tensors).zip(gradient.tensors())
        {
            for (to, &from) in to.iter_mut().zip(from) {
                *to = if spec.role.is_trained() { f64::from(from) } else { 0.0 };
            }
        }
        Ok((logits, parameters))
    }
}

/// The network in f32 and its one eps, of parameters that [`crate::engine::select::create`] has found to be this engine's.
fn model(parameters: &Parameters) -> (Box<LeNet>, f64) {
    let eps = parameters.network.common_eps().expect("one eps for all layers");
    (to_lenet(parameters).expect("the network is LeNet"), f64::from(eps))
}

/// An index out of range is found before any thread starts.
fn check_indices(examples: usize, order: &[u32]) {
    assert!(
        order.iter().all(|&i| augment::example(i) < examples),
        "an index is beyond the split's {examples} examples"
    );
}
