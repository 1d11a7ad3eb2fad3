//! A comparison: the same training of networks that differ in a few things, with several seeds each. It is what `compare`
//! writes as `comparison.json`, and what pictures, tables and reports are made of.
//!
//! | file | what it holds |
//! |---|---|
//! | `grid` | the variants, from lists of what may differ |
//! | `train` | trains what is missing, as many runs at a time as there are cores |
//! | `picture` | the curves as a picture |

pub mod grid;
pub mod picture;
pub mod train;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files;
use crate::train::metrics::EpochMetrics;
use crate::train::recipe::Recipe;

/// All that is compared. The keys of `compare --json`, and of `comparison.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Name of the data set.
    pub dataset: String,
    /// Its digest.
    pub dataset_digest: String,
    /// What differs between the variants.
    pub differ: Vec<String>,
    /// Seeds of each variant's runs.
    pub seeds: Vec<u64>,
    /// What is compared.
    pub variants: Vec<Variant>,
}

/// One way of training one network, with its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// In a few words: the values of what differs.
    pub label: String,
    /// Those values.
    pub values: Map<String, Value>,
    /// The network as text.
    pub network: String,
    /// How it is trained.
    pub recipe: Recipe,
    /// One a seed, in their order.
    pub runs: Vec<Run>,
    /// After the last epoch, over the seeds; null of what a run lacks because it diverged, or of accuracies without classes.
    pub last: Last,
}

/// The training of a variant with one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Of everything random.
    pub seed: u64,
    /// What trained.
    pub engine: String,
    /// The figures of its epochs.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch, counted from 1, in which the loss was no longer finite.
    pub diverged: Option<usize>,
}

/// Figures after the last epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// Mean loss of the epoch's training steps.
    pub train_loss: Option<Spread>,
    /// Accuracy of the epoch's training steps.
    pub train_accuracy: Option<Spread>,
    /// Loss on the test images.
    pub test_loss: Option<Spread>,
    /// Accuracy on the test images.
    pub test_accuracy: Option<Spread>,
}

/// A figure over the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

/// A figure of an epoch.
pub type Figure = fn(&EpochMetrics) -> Option<f64>;

impl Variant {
    /// A figure after each epoch of the recipe over the seeds; `None` where a run has none.
    pub fn curve(&self, figure: Figure) -> Vec<Option<Spread>> {
        (0..self.recipe.epochs).map(|epoch| self.spread(epoch, figure)).collect()
    }

    fn spread(&self, epoch: usize, figure: Figure) -> Option<Spread> {
        let values: Option<Vec<f64>> =
            self.runs.iter().map(|run| run.epochs.get(epoch).and_then(figure).filter(|v| v.is_finite())).collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(Spread {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// Runs that diverged.
    pub fn diverged(&self) -> usize {
        self.runs.iter().filter(|run| run.diverged.is_some()).count()
    }

    /// [`Self::last`], worked out.
    fn after_the_last(&self) -> Last {
        let of = |figure| self.recipe.epochs.checked_sub(1).and_then(|epoch| self.spread(epoch, figure));
        Last {
            train_loss: of(|m| Some(m.train_loss)),
            train_accuracy: of(|m| m.train_accuracy),
            test_loss: of(|m| m.test_loss),
            test_accuracy: of(|m| m.test_accuracy),
        }
    }
}

/// Where a comparison lies in its directory.
pub fn path(directory: &Path) -> PathBuf {
    directory.join("comparison.json")
}

/// Where its picture lies.
pub fn picture_path(directory: &Path) -> PathBuf {
    directory.join("comparison.svg")
}

/// The comparison in a directory; `None` where there is none.
///
/// # Errors
/// [`Error::BadFile`] if it is none, [`Error::Io`].
pub fn read(directory: &Path) -> Result<Option<Comparison>> {
    let path = path(directory);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(&path, &files::COMPARISON)?;
    let comparison = serde_json::from_slice(&bytes).map_err(|error| {
        Error::bad_file(
            &path,
            format!("it is no comparison: {error}"),
            "compare again, into another --out or with --force",
        )
    })?;
    Ok(Some(comparison))
}

/// Writes a comparison into a directory, and its picture.
///
/// # Errors
/// [`Error::Io`].
pub fn write(directory: &Path, comparison: &Comparison) -> Result<()> {
    let text = serde_json::to_string(comparison).expect("plain data is JSON") + "\n";
    files::write(&path(directory), text.as_bytes())?;
    files::write(&picture_path(directory), picture::svg(comparison).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::SEED;

    fn epoch(epoch: usize, train_loss: f64) -> EpochMetrics {
        EpochMetrics {
            epoch,
            train_loss,
            train_accuracy: Some(0.5),
            test_loss: Some(1.0),
            test_accuracy: Some(0.25 * epoch as f64),
            examples_per_second: None,
        }
    }

    fn variant() -> Variant {
        let run = |seed, losses: &[f64], diverged| Run {
            seed,
            engine: "cpu".into(),
            epochs: losses.iter().enumerate().map(|(i, &loss)| epoch(i + 1, loss)).collect(),
            diverged,
        };
        Variant {
            label: "lr 1".into(),
            values: Map::new(),
            network: String::new(),
            recipe: Recipe { epochs: 2, ..SEED },
            runs: vec![run(0, &[1.0, 0.5], None), run(1, &[3.0], Some(2))],
            last: Last::default(),
        }
    }

    #[test]
    fn a_band_ends_where_a_run_diverged() {
        let mut variant = variant();
        let curve = variant.curve(|m| Some(m.train_loss));
        assert_eq!(curve, [Some(Spread { mean: 2.0, least: 1.0, most: 3.0 }), None]);
        assert_eq!((variant.diverged(), variant.after_the_last()), (1, Last::default()));
        variant.runs.pop();
        assert_eq!(variant.after_the_last().test_accuracy.map(|spread| spread.mean), Some(0.5));
    }

    #[test]
    fn a_comparison_comes_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        let comparison = Comparison {
            dataset: "garments".into(),
            dataset_digest: "0".into(),
            differ: vec!["lr".into()],
            seeds: vec![0, 1],
            variants: vec![variant()],
        };
        write(directory.path(), &comparison).unwrap();
        assert_eq!(read(directory.path()).unwrap().as_ref(), Some(&comparison));
        std::fs::write(path(directory.path()), "{}").unwrap();
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("it is no comparison: missing field"), "{error}");
    }
}
