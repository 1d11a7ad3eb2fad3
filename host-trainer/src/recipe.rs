//! Training schedules by name. A run stores the values, not just the name, so that it can be continued and repeated after
//! the table has changed.

use serde::{Deserialize, Serialize};

/// How a model is trained: plain SGD at a constant rate over shuffled batches, a last partial batch dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name in [`RECIPES`].
    pub name: String,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Examples a step; at least 2, because BatchNorm has no variance of one value.
    pub batch_size: usize,
    /// Learning rate.
    pub lr: f64,
}

/// A line of the table of recipes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamedRecipe {
    /// What `--recipe` takes.
    pub name: &'static str,
    /// Where it comes from.
    pub about: &'static str,
    epochs: usize,
    batch_size: usize,
    lr: f64,
}

/// Every recipe that `--recipe` knows.
pub const RECIPES: [NamedRecipe; 1] = [NamedRecipe {
    name: "seed",
    about: "d2l's chapter: SGD, lr 1.0 constant, batch 256, 10 epochs, shuffled, last partial batch dropped",
    epochs: 10,
    batch_size: 256,
    lr: 1.0,
}];

impl NamedRecipe {
    /// Its values, to be changed or stored.
    pub fn recipe(&self) -> Recipe {
        Recipe { name: self.name.into(), epochs: self.epochs, batch_size: self.batch_size, lr: self.lr }
    }
}
