//! What a network reads of a batch, and the loss of what it gives.

use ndarray::{Array2, Array4};

use super::cross_entropy::{cross_entropy_backward, cross_entropy_forward};
use super::mse::{mse_backward, mse_forward};
use super::network::rows;
use crate::data::{Split, augment};
use crate::engine::{Task, Totals};
use crate::model::input;
use crate::model::real::Real;
use crate::network::Network;

/// Some examples, as the network reads them, and what it should make of them.
pub struct Batch<T> {
    /// Preprocessed inputs, `[n, channels, height, width]`.
    pub x: Array4<T>,
    /// What its outputs should be.
    pub target: Target<T>,
}

/// What a network should give.
pub enum Target<T> {
    /// Scores whose largest is at the label, one label an example, with [`Task::Classes`]: cross-entropy.
    Labels(Vec<u8>),
    /// Its own input, with [`Task::Reconstruction`]: mean squared error.
    Inputs(Array4<T>),
}

impl<T: Real> Batch<T> {
    /// The samples of a split that [`input::check`] takes; see [`augment`].
    ///
    /// # Panics
    /// If a sample's example is out of range.
    pub fn gather(network: &Network, split: &Split, samples: impl ExactSizeIterator<Item = u32> + Clone) -> Self {
        let x = input::gather(network, &split.inputs, samples.clone());
        let target = match Task::of(network) {
            Task::Classes => Target::Labels(samples.map(|sample| split.labels[augment::example(sample)]).collect()),
            Task::Reconstruction => Target::Inputs(x.clone()),
        };
        Self { x, target }
    }
}

impl<T: Real> Target<T> {
    /// Loss and hits of a batch's outputs `[n, outputs]`, and the gradient of the mean loss by them.
    pub fn loss(&self, y: Array2<T>, smoothing: T) -> (Totals, Array2<T>) {
        match self {
            Target::Labels(labels) => {
                let (totals, probabilities) = cross_entropy_forward(y, labels, smoothing);
                (totals, cross_entropy_backward(probabilities, labels, smoothing))
            }
            Target::Inputs(x) => (mse_forward(y.view(), rows(x)), mse_backward(y.view(), rows(x))),
        }
    }
}
