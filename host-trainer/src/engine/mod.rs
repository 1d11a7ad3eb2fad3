//! What trains the network. One trait, one suite of tests for every engine; [`mod@reference`] is the oracle of the others.

pub mod cpu;
pub mod cuda;
pub mod distill;
pub mod init;
pub mod reference;
pub mod select;
pub mod steps;
pub mod taught;

pub use init::initial_parameters;
pub use select::EngineName;
pub use steps::{Fixed, Moments, Optimizer, Steps};

use crate::data::Split;
use crate::error::Result;
use crate::model::parameters::Parameters;
use crate::network::Network;

/// Usual weight of the newest batch in BatchNorm's moving statistics, as PyTorch means it; the 0.9 of d2l before its edition
/// 1.0 is `1 - MOMENTUM`.
pub const MOMENTUM: f64 = 0.1;

/// What a network is trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// To tell classes apart: cross-entropy.
    Classes,
    /// To give its input back, as its first node reads it: mean squared error.
    Reconstruction,
}

impl Task {
    /// That of a network: one without classes and with as many outputs as inputs gives its input back.
    pub fn of(network: &Network) -> Self {
        Self::of_description(&network.view())
    }

    /// As [`of`](Self::of).
    pub fn of_description(network: &bn_core::network::Network<'_>) -> Self {
        let topology = network.topology;
        let is_reconstruction = network.classes.is_empty() && topology.output().len() == topology.input.len();
        if is_reconstruction { Task::Reconstruction } else { Task::Classes }
    }
}

/// Sums over the examples that an engine has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Examples.
    pub examples: usize,
    /// Sum of the examples' losses.
    pub loss: f64,
    /// Examples whose largest logit is at the label (lowest index wins a tie).
    pub correct: usize,
}

impl Totals {
    /// Mean loss an example.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.examples as f64
    }

    /// Share of correct examples.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.examples += other.examples;
        self.loss += other.loss;
        self.correct += other.correct;
    }
}

/// An implementation of training on some device. It holds the model; data stays with the caller and is handed in by
/// reference, so that an engine with memory of its own may upload a split once and keep it.
///
/// Training and inference are two functions, never a mode: [`train`](Engine::train) normalises with batch statistics and
/// updates the moving ones; [`evaluate`](Engine::evaluate) uses the moving ones and changes nothing.
pub trait Engine {
    /// As on the command line, see [`EngineName`].
    fn name(&self) -> &'static str;

    /// What it runs on, and how it trains on batches of that size, for people: `CPU, 1 thread, f32`.
    fn device(&self, batch_size: usize) -> String;

    /// A copy of the model.
    fn parameters(&self) -> Parameters;

    /// Replaces the model. `eps` and the convention of the statistics come with it; the optimiser forgets its [`Moments`].
    fn set_parameters(&mut self, parameters: &Parameters);

    /// What AdamW or momentum remembers, where a step of it was taken.
    fn moments(&self) -> Option<Moments<f64>>;

    /// Replaces what AdamW or momentum remembers.
    fn set_moments(&mut self, moments: &Moments<f64>);

    /// Trains on one batch a step: sample `order[0]` of `split` comes first (see [`crate::data::augment`]; a plain number is that
    /// example as it is). The caller drops a last partial batch.
    ///
    /// Returns the losses and hits of the training-mode forward passes. A non-finite loss ends the call early: the totals
    /// then count up to and with the step that gave it, so their loss is not finite, and the parameters are of no use.
    ///
    /// # Errors
    /// Only what the device refuses.
    ///
    /// # Panics
    /// If the batch size is 0 or 1 (BatchNorm has no variance of one value), the order is not one whole batch a step, or an
    /// index is out of range.
    fn train_steps(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Result<Totals>;

    /// As [`train_steps`](Engine::train_steps), by gradient descent at one rate.
    ///
    /// # Errors
    /// Likewise.
    ///
    /// # Panics
    /// Likewise.
    fn train(&mut self, split: &Split, order: &[u32], batch_size: usize, lr: f64) -> Result<Totals> {
        let lrs = vec![lr; order.len() / batch_size.max(1)];
        self.train_steps(split, order, &Steps::sgd(batch_size, &lrs))
    }

    /// How many steps a caller should ask for at once: few enough for a progress bar and for Ctrl-C, enough to cost nothing.
    fn steps_per_call(&self) -> usize {
        8
    }

    /// Loss and hits of the whole split in inference mode.
    ///
    /// # Errors
    /// Only what the device refuses.
    fn evaluate(&mut self, split: &Split) -> Result<Totals>;

    /// Training-mode logits `[n][10]` and the gradients of the mean loss over one batch, without a step. For tests; the
    /// statistics are not updated, and the gradients' `running_*` are zero.
    ///
    /// # Errors
    /// Only what the device refuses.
    ///
    /// # Panics
    /// If the batch holds fewer than two examples, or an index is out of range.
    fn gradients(&mut self, split: &Split, batch: &[u32]) -> Result<(Vec<f64>, Parameters)>;
}
