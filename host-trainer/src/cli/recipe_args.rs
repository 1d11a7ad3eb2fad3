//! The flags of a recipe: which one, and what of it is to be another value. The texts here are `--help`.

use std::path::PathBuf;

use clap::Args;

use super::shared_args::positive;
use crate::data::augment::MAX_SHIFT;
use crate::engine::{Fixed, Optimizer};
use crate::error::Result;
use crate::train::recipe::{RECIPES, Recipe, Reestimate, SEED, Schedule};
use crate::train::teacher::Teacher;

/// The recipe.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// Recipe by name: seed is d2l's chapter before edition 1.0, SGD at a constant rate of 1.0 in batches of 256 for 10 epochs;
    /// d2l-1.0 is edition 1.0's, at 0.1 in batches of 128; best is the most accurate, AdamW with a cosine, flips and shifts
    #[arg(long, value_name = "NAME", default_value = &*SEED.name, conflicts_with = "resume",
          value_parser = named)]
    pub recipe: Recipe,
    /// Passes over the training examples [default: the recipe's, as with all flags below]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub epochs: Option<u64>,
    /// Examples a step
    #[arg(long, value_name = "N", conflicts_with = "resume", value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    pub batch_size: Option<u64>,
    /// Learning rate, the highest of the schedule
    #[arg(long, value_name = "RATE", conflicts_with = "resume", value_parser = positive)]
    pub lr: Option<f64>,
    /// How the learning rate goes over the run
    #[arg(long, value_enum, conflicts_with = "resume")]
    pub schedule: Option<Schedule>,
    /// Share of the steps over which the rate first rises from zero
    #[arg(long, value_name = "SHARE", conflicts_with = "resume", value_parser = share)]
    pub warmup: Option<f64>,
    /// How a gradient becomes a step
    #[arg(long, value_enum, conflicts_with = "resume")]
    pub optimizer: Option<Optimizer>,
    /// Share of the convolutions' and linear layers' weights that a step of AdamW or momentum takes off, times the learning rate
    #[arg(long, value_name = "SHARE", conflicts_with = "resume", value_parser = share)]
    pub weight_decay: Option<f64>,
    /// Share of every label that is spread evenly over all classes
    #[arg(long, value_name = "SHARE", conflicts_with = "resume", value_parser = share)]
    pub label_smoothing: Option<f64>,
    /// Whether half of the images are mirrored left to right
    #[arg(long, value_name = "BOOL", conflicts_with = "resume")]
    pub flip: Option<bool>,
    /// Shift images by up to so many pixels in either direction
    #[arg(long, value_name = "PIXELS", conflicts_with = "resume", value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_SHIFT)))]
    pub shift: Option<u8>,
    /// Weight of the newest batch in BatchNorm's moving statistics, as PyTorch means it
    #[arg(long, value_name = "SHARE", conflicts_with = "resume", value_parser = up_to_1)]
    pub bn_momentum: Option<f64>,
    /// Leave these of BatchNorm's parameters as they are: gamma at 1, beta at 0
    #[arg(long, value_enum, value_name = "WHICH", conflicts_with = "resume")]
    pub bn_fixed: Option<Fixed>,
    /// Make the model the mean of the weights after each of the last N epochs, with statistics re-estimated; 0: do not
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub average: Option<usize>,
    /// Replace BatchNorm's moving statistics by exact ones in the end; without a value by those of the plain training images
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "plain", conflicts_with = "resume")]
    pub reestimate: Option<Reestimate>,
    /// Classify the test images after every N epochs, and after the last; 0: after the last alone
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub test_every: Option<usize>,
}

/// The teacher.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Teacher")]
pub struct TeachingArgs {
    /// Learn also from this checkpoint's outputs for the same examples (Hinton et al. 2015); with --resume, where the run's
    /// teacher lies now
    #[arg(long, value_name = "CHECKPOINT")]
    pub teacher: Option<PathBuf>,
    /// Temperature that softens both networks' outputs
    #[arg(long, value_name = "T", default_value_t = 4.0, conflicts_with = "resume", value_parser = positive)]
    pub temperature: f64,
    /// Weight of the teacher; the labels have the rest
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, conflicts_with = "resume", value_parser = whole_share)]
    pub teacher_weight: f64,
}

impl TeachingArgs {
    /// The teacher, where one is named.
    ///
    /// # Errors
    /// What [`Teacher::open`] gives.
    pub(super) fn open(&self) -> Result<Option<Teacher>> {
        self.teacher.as_ref().map(|path| Teacher::open(path, self.temperature, self.teacher_weight)).transpose()
    }
}

impl RecipeArgs {
    /// The named recipe with what was overridden.
    pub fn recipe(&self) -> Recipe {
        let named = self.recipe.clone();
        Recipe {
            epochs: self.epochs.map_or(named.epochs, |n| n as usize),
            batch_size: self.batch_size.map_or(named.batch_size, |n| n as usize),
            lr: self.lr.unwrap_or(named.lr),
            schedule: self.schedule.unwrap_or(named.schedule),
            warmup: self.warmup.unwrap_or(named.warmup),
            optimizer: self.optimizer.unwrap_or(named.optimizer),
            weight_decay: self.weight_decay.unwrap_or(named.weight_decay),
            label_smoothing: self.label_smoothing.unwrap_or(named.label_smoothing),
            flip: self.flip.unwrap_or(named.flip),
            shift: self.shift.unwrap_or(named.shift),
            bn_momentum: self.bn_momentum.unwrap_or(named.bn_momentum),
            bn_fixed: self.bn_fixed.unwrap_or(named.bn_fixed),
            average: self.average.unwrap_or(named.average),
            reestimate: self.reestimate.unwrap_or(named.reestimate),
            test_every: self.test_every.unwrap_or(named.test_every),
            name: named.name,
        }
    }
}

pub(super) fn named(name: &str) -> std::result::Result<Recipe, String> {
    let names = || RECIPES.map(|recipe| recipe.name.into_owned()).join(", ");
    Recipe::named(name).ok_or_else(|| format!("the recipes are {}", names()))
}

/// A number above 0, at most 1.
pub(super) fn up_to_1(text: &str) -> std::result::Result<f64, String> {
    match positive(text) {
        Ok(value) if value <= 1.0 => Ok(value),
        _ => Err("it must be a number above 0 and at most 1".into()),
    }
}

/// A number from 0 to 1.
fn whole_share(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".into()),
    }
}

/// A number from 0 to below 1.
fn share(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to below 1".into()),
    }
}
