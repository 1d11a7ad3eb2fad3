//! An engine with a teacher: every sample is shown to both.

use super::cpu::graph::GraphCpu;
use super::distill::Soft;
use super::{Engine, Moments, Steps, Totals};
use crate::data::Split;
use crate::error::Result;
use crate::model::parameters::Parameters;

/// An engine whose training steps learn what a teacher says of the same samples, see [`Soft`]. All else is the engine's.
pub struct Taught {
    /// Trains.
    pub student: Box<dyn Engine>,
    /// Runs in inference mode, on the CPU.
    pub teacher: GraphCpu,
    /// See [`Soft::temperature`].
    pub temperature: f64,
    /// See [`Soft::weight`].
    pub weight: f64,
}

impl Engine for Taught {
    fn name(&self) -> &'static str {
        self.student.name()
    }

    fn device(&self, batch_size: usize) -> String {
        self.student.device(batch_size)
    }

    fn parameters(&self) -> Parameters {
        self.student.parameters()
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        self.student.set_parameters(parameters);
    }

    fn moments(&self) -> Option<Moments<f64>> {
        self.student.moments()
    }

    fn set_moments(&mut self, moments: &Moments<f64>) {
        self.student.set_moments(moments);
    }

    fn train_steps(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Result<Totals> {
        let logits = self.teacher.outputs(split, order)?;
        let soft = Soft { logits: &logits, temperature: self.temperature, weight: self.weight };
        self.student.train_steps(split, order, &Steps { soft: Some(soft), ..*steps })
    }

    fn steps_per_call(&self) -> usize {
        self.student.steps_per_call()
    }

    fn evaluate(&mut self, split: &Split) -> Result<Totals> {
        self.student.evaluate(split)
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> Result<(Vec<f64>, Parameters)> {
        self.student.gradients(split, batch)
    }
}
