//! A network of integers on the CPU engine's passes, and its training: the forward pass is the device's to the bit; going back,
//! rounding counts as the identity (the straight-through estimator; Bengio, Leonard and Courville 2013, "Estimating or Propagating
//! Gradients Through Stochastic Neurons"), and a table has the slope of what it samples. Scales stay; weights and start values move.
//!
//! | file | what it holds |
//! |---|---|
//! | `program` | the network, as plain data |
//! | `layer` | a layer with weights, before rounding and as passes read them |
//! | `tensors` | what steps read and write |
//! | `walk` | a group of examples, forward and backward: steps with weights in `sums`, others in `plain` |
//! | `trainer` | all groups of a batch, and the step |
//!
//! Same seed, same instruction set: same bits, whatever the number of threads.

mod layer;
mod plain;
mod program;
mod sums;
mod tensors;
#[cfg(test)]
mod tests;
mod trainer;
mod walk;

use std::borrow::Cow;

use pulp::{Arch, Simd, WithSimd};

pub(crate) use self::program::{Program, Row, Step, Sums, Work};
use self::trainer::Trainer;
pub(crate) use self::trainer::softmax;
use crate::engine::steps::Coefficients;

/// Codes of an example of the input, by its number.
pub(crate) type Codes<'a> = dyn Fn(usize) -> Cow<'a, [u8]> + Sync + 'a;

/// What outputs are to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Probabilities of classes: the loss is the divergence from them.
    Probabilities,
    /// Numbers: the loss is the squared difference.
    Numbers,
}

/// What a step learns from.
pub(crate) struct Lesson<'a, 'c> {
    /// The inputs.
    pub(crate) codes: &'a Codes<'c>,
    /// Which of them.
    pub(crate) examples: &'a [u32],
    /// What their outputs are to become: `[example of all][output]`.
    pub(crate) wanted: &'a [f32],
    /// What that is.
    pub(crate) aim: Aim,
    /// What an integer of the output means: `(integer - zero) * scale`.
    pub(crate) output: (f32, i32),
}

/// A network of integers that learns.
pub(crate) struct IntegerTrainer(Box<dyn Backend>);

impl IntegerTrainer {
    /// Of a network.
    pub(crate) fn new(program: Program, threads: usize) -> Self {
        Self::on(Arch::new(), program, threads)
    }

    /// One for each instruction set that this machine has, the best first.
    #[cfg(test)]
    pub(crate) fn each(program: &Program, threads: usize) -> Vec<Self> {
        let of = |arch| Self::on(arch, program.clone(), threads);
        super::super::sets().into_iter().map(of).collect()
    }

    fn on(arch: Arch, program: Program, threads: usize) -> Self {
        Self(arch.dispatch(New { program, threads }))
    }

    /// The network as it stands; `None` where a start value has left its range.
    pub(crate) fn program(&self) -> Option<Program> {
        self.0.program()
    }

    /// The integers of the output of some examples, `[example][output]`.
    pub(crate) fn outputs(&mut self, codes: &Codes<'_>, examples: &[u32]) -> Vec<i32> {
        self.0.outputs(codes, examples)
    }

    /// One step of Adam.
    pub(crate) fn step(&mut self, lesson: &Lesson<'_, '_>, coefficients: &Coefficients) {
        let gradient = self.0.gradient(lesson);
        self.0.advance(&gradient, coefficients);
    }
}

/// What the trainer of an instruction set does.
trait Backend: Send {
    fn program(&self) -> Option<Program>;
    fn outputs(&mut self, codes: &Codes<'_>, examples: &[u32]) -> Vec<i32>;

    /// Of the loss by all that is learned, summed over the examples.
    fn gradient(&mut self, lesson: &Lesson<'_, '_>) -> Vec<f32>;

    /// A step against a gradient.
    fn advance(&mut self, gradient: &[f32], coefficients: &Coefficients);
}

struct New {
    program: Program,
    threads: usize,
}

impl WithSimd for New {
    type Output = Box<dyn Backend>;

    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        Box::new(Trainer::new(simd, self.program, self.threads))
    }
}
