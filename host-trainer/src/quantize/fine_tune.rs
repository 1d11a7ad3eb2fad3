//! Quantisation-aware fine-tuning (`--qat`): some epochs of training in which the forward pass is the device's integers.
//!
//! | file | what it holds |
//! |---|---|
//! | `lessons` | what is asked of the integers, and how they do |
//! | `lenet` | LeNet's linear layers as a network of integers |
//!
//! BatchNorm is folded and stays as it is. Weights and biases move; scales stay. Of LeNet, whose convolutions' lanes of 16 bits lose
//! nothing, the linear layers move. What is asked of integers is not the labels but the f32 network's own probabilities: its answers
//! are what rounding changed and what is to be got back. The loss is the Kullback-Leibler divergence from these to the integers'
//! (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"); of a network without classes the squared
//! difference of the outputs. The training itself is `IntegerTrainer`'s.
//!
//! The start is a whole quantised model, and the result is the best that was met, that start among them, on training examples
//! that the fine-tuning does not see. The best is the one of the smallest mean divergence: how many examples change class is the
//! luck of the few that lie on an edge, and is reported beside it.

pub mod lenet;
pub(super) mod lessons;
#[cfg(test)]
pub(super) mod tests;

use serde::Serialize;

use self::lessons::Lessons;
use crate::cores::cores;
use crate::engine::Optimizer;
use crate::engine::cpu::graph::integers::{Codes, IntegerTrainer, Lesson, Program, Step, Sums, Work};
use crate::error::{Error, Result};
use crate::train::epoch_order;
use crate::train::recipe::{Recipe, SEED, Schedule};

/// Epochs unless the user says otherwise.
pub const DEFAULT_EPOCHS: u64 = 10;
/// How layers learn: AdamW without decay. The rate is in steps of a weight: a weight moves by up to so much at a time.
const RECIPE: Recipe =
    Recipe { batch_size: 256, lr: 0.001, schedule: Schedule::Cosine, warmup: 0.1, optimizer: Optimizer::Adamw, ..SEED };
/// The last of so many training examples are held out: 10,000 of Fashion-MNIST's.
const HELD_OUT_SHARE: usize = 6;

/// The most codes whose sum f32 holds: 65,536 times 255 stay below 2^24.
const MOST_POOLED: usize = 1 << 16;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FineTuning {
    /// Passes over the training examples that are not held out.
    pub epochs: usize,
    /// Of the order of the examples.
    pub seed: u64,
}

/// How integers do on the held-out examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Share classified differently from f32, of a network with classes.
    pub disagree: Option<f64>,
    /// Mean divergence of the probabilities from the f32 network's, in nats; of a network without classes the squared error as a share
    /// of the outputs' squares.
    pub divergence: f64,
    /// Share correct, where there are labels.
    pub accuracy: Option<f64>,
}

/// What fine-tuning found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FineTuned {
    /// Epochs that were trained.
    pub epochs: usize,
    /// After which of them the integers are that were kept; 0: those of before.
    pub kept: usize,
    /// Training examples that were held out to tell.
    pub held_out: usize,
    /// How the integers did before, and after each epoch.
    pub agreement: Vec<Agreement>,
    /// Layers with weights.
    pub layers: Vec<TunedLayer>,
}

/// How much of a layer changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunedLayer {
    /// Name of the layer.
    pub layer: String,
    /// Its weights.
    pub weights: usize,
    /// Those whose integers changed.
    pub changed: usize,
}

/// Integers that learn.
pub(super) struct Pupil<'a> {
    /// As they are before.
    pub(super) program: Program,
    /// Names of its steps.
    pub(super) names: Vec<String>,
    /// What it reads.
    pub(super) codes: &'a Codes<'a>,
    /// What an integer of its output means: `(integer - zero) * scale`.
    pub(super) output: (f32, i32),
}

impl Pupil<'_> {
    /// Fine-tunes on at least two examples. `is_sound` tells what a device would take.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for a mean of more than [`MOST_POOLED`] values, or too few examples.
    pub(super) fn fine_tune(
        self,
        lessons: &Lessons<'_>,
        request: FineTuning,
        is_sound: impl Fn(&Program) -> bool,
    ) -> Result<(Program, FineTuned)> {
        let Self { program, names, codes, output } = self;
        if lessons.examples < 2 {
            return Err(refused("--qat learns from two examples or more, and the data has fewer".into()));
        }
        if let Some(step) = program.steps.iter().position(is_too_wide) {
            return Err(refused(format!(
                "--qat takes means of at most {MOST_POOLED} values, and {} has more",
                names[step]
            )));
        }
        let mut trainer = IntegerTrainer::new(program.clone(), cores());
        let held_out = (lessons.examples / HELD_OUT_SHARE).max(1);
        let seen = lessons.examples - held_out;
        let judged: Vec<u32> = (seen as u32..lessons.examples as u32).collect();
        let judge = |trainer: &mut IntegerTrainer| lessons.judge(&trainer.outputs(codes, &judged), seen, output);
        let mut agreement = vec![judge(&mut trainer)];
        let (mut best, mut kept) = (program.clone(), 0);
        for epoch in 1..=request.epochs {
            let order = epoch_order(request.seed, epoch, seen);
            let batches = order.chunks(RECIPE.batch_size);
            let before = (epoch - 1) * batches.len();
            let lr_at = |step| RECIPE.lr_at(step, request.epochs * batches.len());
            let lrs: Vec<f64> = (before..before + batches.len()).map(lr_at).collect();
            let steps = RECIPE.steps(before, &lrs);
            for (i, examples) in batches.enumerate() {
                let lesson = Lesson { codes, examples, wanted: &lessons.wanted, aim: lessons.aim, output };
                trainer.step(&lesson, &steps.coefficients(i));
            }
            // A start value that left its range is no model.
            let Some(program) = trainer.program().filter(&is_sound) else { break };
            let now = judge(&mut trainer);
            if now.divergence < agreement[kept].divergence {
                (best, kept) = (program, epoch);
            }
            agreement.push(now);
        }
        let layers = tuned_layers(&names, [&program, &best]);
        Ok((best, FineTuned { epochs: agreement.len() - 1, kept, held_out, agreement, layers }))
    }
}

fn tuned_layers(names: &[String], programs: [&Program; 2]) -> Vec<TunedLayer> {
    let [before, after] = programs.map(|program| program.steps.iter().map(|step| &step.work));
    let layer = |(name, works): (&String, [&Work; 2])| {
        let [Work::Sums(before), Work::Sums(after)] = works else { return None };
        let weights = |sums: &Sums| sums.rows.iter().flat_map(|row| row.weights.clone()).collect::<Vec<_>>();
        let [before, after] = [before, after].map(weights);
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        Some(TunedLayer { layer: name.clone(), weights: before.len(), changed })
    };
    names.iter().zip(before.zip(after).map(|(a, b)| [a, b])).filter_map(layer).collect()
}

fn is_too_wide(step: &Step) -> bool {
    matches!(&step.work, Work::Mean { pool, .. } if pool.window.taps() > MOST_POOLED)
}

fn refused(problem: String) -> Error {
    Error::BadArgument { problem, remedy: "leave --qat away".into() }
}
