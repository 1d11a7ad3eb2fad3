//! Recipes by name: how a model is trained, as a table of values. A run stores the values, not just the name, so that it can
//! be continued and repeated after the table has changed.

use std::borrow::Cow;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data::augment::Augmentation;
use crate::engine::steps::BETA1;
use crate::engine::{Fixed, MOMENTUM, Optimizer, Steps};
use crate::error::Error;

/// How the learning rate goes over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same for every step.
    Constant,
    /// Half a cosine from the full rate to zero (Loshchilov and Hutter 2017, "SGDR").
    Cosine,
}

/// Which images BatchNorm's exact statistics are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reestimate {
    /// None: the moving statistics stay
    No,
    /// All training images as they are
    Plain,
    /// All training images as the last epoch showed them, mirrored and shifted
    Shown,
}

/// How a model is trained. Batches are shuffled every epoch; a last partial batch is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name in [`RECIPES`].
    pub name: Cow<'static, str>,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Examples a step; at least 2, because BatchNorm has no variance of one value.
    pub batch_size: usize,
    /// Learning rate, the highest of the schedule.
    pub lr: f64,
    /// How the learning rate goes over the run.
    #[serde(default = "seed_schedule")]
    pub schedule: Schedule,
    /// Share of the steps over which the rate first rises from zero, in a straight line.
    #[serde(default)]
    pub warmup: f64,
    /// How a gradient becomes a step.
    #[serde(default = "seed_optimizer")]
    pub optimizer: Optimizer,
    /// Share of the convolutions' and linear layers' weights that a step of rate 1 takes off. Not with plain gradient descent.
    #[serde(default)]
    pub weight_decay: f64,
    /// Share of every label that is spread evenly over all classes.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Whether half of the images are mirrored left to right.
    #[serde(default)]
    pub flip: bool,
    /// Images are shifted by up to so many pixels in either direction.
    #[serde(default)]
    pub shift: u8,
    /// Weight of the newest batch in BatchNorm's moving statistics, as PyTorch means it.
    #[serde(default = "seed_bn_momentum")]
    pub bn_momentum: f64,
    /// What of BatchNorm is not trained.
    #[serde(default)]
    pub bn_fixed: Fixed,
    /// The model is the mean of the weights after each of so many last epochs (Izmailov et al. 2018, "Averaging Weights
    /// Leads to Wider Optima and Better Generalization"), with statistics re-estimated; 0 or 1: the last epoch's own.
    #[serde(default)]
    pub average: usize,
    /// Which exact statistics take the place of the moving ones in the end.
    #[serde(default = "seed_reestimate")]
    pub reestimate: Reestimate,
    /// The test images are classified after every so many epochs, and after the last; 0: after the last alone.
    #[serde(default = "seed_test_every")]
    pub test_every: usize,
}

fn seed_schedule() -> Schedule {
    SEED.schedule
}

fn seed_bn_momentum() -> f64 {
    SEED.bn_momentum
}

fn seed_test_every() -> usize {
    SEED.test_every
}

fn seed_reestimate() -> Reestimate {
    SEED.reestimate
}

fn seed_optimizer() -> Optimizer {
    SEED.optimizer
}

/// d2l's chapter in the edition before 1.0, whose figures docs/chapter.md compares with.
pub const SEED: Recipe = Recipe {
    name: Cow::Borrowed("seed"),
    epochs: 10,
    batch_size: 256,
    lr: 1.0,
    schedule: Schedule::Constant,
    warmup: 0.0,
    optimizer: Optimizer::Sgd,
    weight_decay: 0.0,
    label_smoothing: 0.0,
    flip: false,
    shift: 0,
    bn_momentum: MOMENTUM,
    bn_fixed: Fixed::None,
    average: 0,
    reestimate: Reestimate::No,
    test_every: 1,
};

/// d2l's chapter in edition 1.0: smaller batches, a tenth of the rate. Source: d2l 1.0, section 8.5.4.
pub const D2L_1_0: Recipe = Recipe { name: Cow::Borrowed("d2l-1.0"), batch_size: 128, lr: 0.1, ..SEED };

/// The most accurate that these parameters were seen to reach; its values were chosen on held-out training images.
pub const BEST: Recipe = Recipe {
    name: Cow::Borrowed("best"),
    epochs: 200,
    batch_size: 256,
    lr: 0.01,
    schedule: Schedule::Cosine,
    warmup: 0.05,
    optimizer: Optimizer::Adamw,
    weight_decay: 0.2,
    label_smoothing: 0.0,
    flip: true,
    shift: 1,
    bn_momentum: MOMENTUM,
    bn_fixed: Fixed::None,
    average: 0,
    reestimate: Reestimate::No,
    test_every: 0,
};

/// Fewer steps leave BatchNorm's moving statistics, and often the weights, near where they began.
const FEW_STEPS: usize = 300;

/// Every recipe that `--recipe` knows.
pub const RECIPES: [Recipe; 3] = [SEED, D2L_1_0, BEST];

impl Recipe {
    /// The recipe of that name.
    pub fn named(name: &str) -> Option<Self> {
        RECIPES.into_iter().find(|recipe| recipe.name == name)
    }

    /// What to change where so many training examples make too few steps, in one line.
    pub fn hint(&self, examples: usize) -> Option<String> {
        let steps = examples / self.batch_size * self.epochs;
        (steps < FEW_STEPS).then(|| {
            format!(
                "{examples} training examples in batches of {} make {steps} steps in {} epochs, too few to learn much; take a \
                 smaller --batch-size, such as 32, and more --epochs",
                self.batch_size, self.epochs
            )
        })
    }

    /// What is done to the images.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation { flip: self.flip, shift: self.shift }
    }

    /// Whether more epochs after the last would go on as if they had always been asked for: no schedule has come to its
    /// end, nothing was averaged.
    pub fn is_open_ended(&self) -> bool {
        self.schedule == Schedule::Constant
            && self.warmup == 0.0
            && self.average < 2
            && self.reestimate == Reestimate::No
            && !self.optimizer.has_moments()
    }

    /// Whether the test images are classified after epoch `epoch`, counted from 1.
    pub fn tests_after(&self, epoch: usize) -> bool {
        epoch == self.epochs || (self.test_every > 0 && epoch.is_multiple_of(self.test_every))
    }

    /// Learning rate of the run's step `step`, counted from 0, of `steps`.
    pub fn lr_at(&self, step: usize, steps: usize) -> f64 {
        let warmup = self.warmup * steps as f64;
        // In the middle of the step: the first has a rate above zero, the last too.
        let at = step as f64 + 0.5;
        if at < warmup {
            return self.lr * at / warmup;
        }
        match self.schedule {
            Schedule::Constant => self.lr,
            Schedule::Cosine => {
                let share = (at - warmup) / (steps as f64 - warmup);
                self.lr * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }

    /// The steps of a call, the first after `before` of the run, one for each of `lrs`.
    pub fn steps<'a>(&self, before: usize, lrs: &'a [f64]) -> Steps<'a> {
        Steps {
            batch_size: self.batch_size,
            optimizer: self.optimizer,
            lrs,
            weight_decay: self.weight_decay,
            before: before as u64,
            label_smoothing: self.label_smoothing,
            bn_momentum: self.bn_momentum,
            bn_fixed: self.bn_fixed,
            soft: None,
        }
    }

    /// What no run can be made of: the first such value, in words.
    ///
    /// # Errors
    /// That.
    pub fn check(&self) -> Result<(), String> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        if self.batch_size < 2 || !(self.lr.is_finite() && self.lr > 0.0) {
            return Err(format!("batch size {}, learning rate {}", self.batch_size, self.lr));
        }
        if !(share(self.warmup) && share(self.label_smoothing)) {
            return Err(format!("warm-up {}, label smoothing {}", self.warmup, self.label_smoothing));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay * self.lr < 1.0) {
            return Err(format!("weight decay {} at learning rate {}", self.weight_decay, self.lr));
        }
        if !(self.bn_momentum > 0.0 && self.bn_momentum <= 1.0) {
            return Err(format!("BatchNorm momentum {}", self.bn_momentum));
        }
        if self.shift > crate::data::augment::MAX_SHIFT {
            return Err(format!("shifts by {} pixels", self.shift));
        }
        Ok(())
    }

    /// Whether an engine can do all of the recipe.
    ///
    /// # Errors
    /// [`Error::BadArgument`] with what it cannot.
    pub fn check_engine(&self, engine: &str) -> Result<(), Error> {
        if !engine.starts_with("cuda") || self.steps(0, &[]).trains_batch_norm_as_usual() {
            return Ok(());
        }
        Err(Error::BadArgument {
            problem: format!("engine {engine} trains gamma and beta, and BatchNorm's momentum is {MOMENTUM} there"),
            remedy: "take --engine cpu or --engine reference".into(),
        })
    }

    /// The values on one line, what is switched off left out.
    pub fn describe(&self) -> String {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let mut parts =
            vec![format!("{} epoch{}", self.epochs, plural(self.epochs)), format!("batch size {}", self.batch_size)];
        parts.push(match self.optimizer {
            Optimizer::Sgd => format!("lr {}", self.lr),
            Optimizer::Momentum => format!("momentum {BETA1}, lr {}, weight decay {}", self.lr, self.weight_decay),
            Optimizer::Adamw => format!("AdamW, lr {}, weight decay {}", self.lr, self.weight_decay),
        });
        let mut part = |on: bool, text: String| on.then(|| parts.push(text));
        part(self.warmup > 0.0, format!("warm-up over {} % of the steps", 100.0 * self.warmup));
        part(self.schedule == Schedule::Cosine, "cosine".into());
        part(self.label_smoothing > 0.0, format!("label smoothing {}", self.label_smoothing));
        part(self.flip, "flips".into());
        part(self.shift > 0, format!("shifts by up to {} pixel{}", self.shift, plural(self.shift.into())));
        part(self.bn_momentum != MOMENTUM, format!("BatchNorm momentum {}", self.bn_momentum));
        part(self.bn_fixed != Fixed::None, format!("BatchNorm's {} fixed", self.bn_fixed.described()));
        part(self.average > 1, format!("mean of the last {} epochs", self.average));
        part(self.reestimate == Reestimate::Plain, "statistics of the training images".into());
        part(self.reestimate == Reestimate::Shown, "statistics of the images shown last".into());
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_run_and_has_a_name_of_its_own() {
        for recipe in RECIPES {
            recipe.check().unwrap();
            assert_eq!(Recipe::named(&recipe.name), Some(recipe));
        }
    }

    #[test]
    fn seed_is_the_chapter() {
        assert_eq!(SEED.describe(), "10 epochs, batch size 256, lr 1");
        assert!((0..100).all(|step| SEED.lr_at(step, 100) == 1.0));
        assert_eq!(Augmentation::default(), SEED.augmentation());
        assert_eq!(D2L_1_0.describe(), "10 epochs, batch size 128, lr 0.1");
    }

    #[test]
    fn little_data_gets_a_hint() {
        assert_eq!(SEED.hint(60_000), None);
        let hint = SEED.hint(320).unwrap();
        assert!(
            hint.starts_with("320 training examples in batches of 256 make 10 steps in 10 epochs, too few"),
            "{hint}"
        );
        assert_eq!(Recipe { batch_size: 32, epochs: 30, ..SEED }.hint(320), None);
    }

    #[test]
    fn what_an_engine_cannot_train_is_refused() {
        let unusual = Recipe { bn_momentum: 0.5, ..SEED };
        let refused = unusual.check_engine("cuda-graph").unwrap_err();
        assert!(refused.to_string().ends_with("take --engine cpu or --engine reference"), "{refused}");
        SEED.check_engine("cuda").and(unusual.check_engine("cpu")).unwrap();
    }

    #[test]
    fn batch_norms_own_values_are_said_where_they_are_unusual() {
        let recipe = Recipe { bn_momentum: 0.5, bn_fixed: Fixed::Both, ..SEED };
        assert!(recipe.describe().ends_with("BatchNorm momentum 0.5, BatchNorm's gamma and beta fixed"));
    }

    #[test]
    fn the_rate_rises_to_its_height_and_falls_to_zero() {
        let recipe = Recipe { warmup: 0.1, lr: 0.5, ..BEST };
        let rates: Vec<f64> = (0..1000).map(|step| recipe.lr_at(step, 1000)).collect();
        assert!(rates[..100].is_sorted() && rates[100..].iter().rev().is_sorted());
        assert!((rates[49] - 0.2475).abs() < 1e-12 && (rates[549] - 0.25).abs() < 1e-3);
        assert!(rates[0] > 0.0 && rates[999] > 0.0 && rates[999] < 1e-5 && rates[100] > 0.4999);
    }

    #[test]
    fn a_recipe_of_an_older_checkpoint_is_the_seeds() {
        let old = r#"{"name":"seed","epochs":10,"batch_size":256,"lr":1.0}"#;
        assert_eq!(serde_json::from_str::<Recipe>(old).unwrap(), SEED);
    }

    #[test]
    fn impossible_values_are_named() {
        for (recipe, named) in [
            (Recipe { batch_size: 1, ..SEED }, "batch size 1"),
            (Recipe { lr: f64::NAN, ..SEED }, "learning rate NaN"),
            (Recipe { warmup: 1.0, ..SEED }, "warm-up 1"),
            (Recipe { weight_decay: 100.0, ..BEST }, "weight decay 100"),
            (Recipe { shift: 4, ..BEST }, "shifts by 4"),
            (Recipe { bn_momentum: 0.0, ..SEED }, "BatchNorm momentum 0"),
        ] {
            assert!(recipe.check().unwrap_err().contains(named), "{named}");
        }
    }
}
