//! The figures of an epoch, as a run keeps and shows them.

use serde::{Deserialize, Serialize};

use crate::engine::{Task, Totals};
use crate::train::checkpoint::EpochTotals;

/// One line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss of the epoch's training steps.
    pub train_loss: f64,
    /// Share of the epoch's training examples that were right when they were trained on; null of a network without classes.
    pub train_accuracy: Option<f64>,
    /// Mean loss on the test split after the epoch; null where the recipe did not ask for it.
    pub test_loss: Option<f64>,
    /// Accuracy on the test split after the epoch; null likewise.
    pub test_accuracy: Option<f64>,
    /// Training examples a second, evaluation left out; null where that was not measured in one go.
    pub examples_per_second: Option<f64>,
}

impl EpochMetrics {
    /// Of an epoch, counted from 1.
    pub fn new(epoch: usize, totals: &EpochTotals, task: Task, examples_per_second: Option<f64>) -> Self {
        let accuracy = |totals: Totals| (task == Task::Classes).then(|| totals.accuracy());
        Self {
            epoch,
            train_loss: totals.train.mean_loss(),
            train_accuracy: accuracy(totals.train),
            test_loss: totals.test.map(|test| test.mean_loss()),
            test_accuracy: totals.test.and_then(accuracy),
            examples_per_second,
        }
    }
}
