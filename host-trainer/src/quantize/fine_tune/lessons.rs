//! What fine-tuning asks of integers: the f32 network's own outputs. And how far from them integers are.

use bn_core::infer::argmax;

use super::Agreement;
use crate::data::Split;
use crate::engine::Task;
use crate::engine::cpu::graph::GraphCpu;
use crate::engine::cpu::graph::integers::{Aim, softmax};
use crate::error::Result;
use crate::model::inference::{accuracy, disagreement};
use crate::model::parameters::Parameters;

/// What f32 says of some examples.
pub(in crate::quantize) struct Lessons<'a> {
    /// How many.
    pub(super) examples: usize,
    /// Probabilities or numbers, `[example][output]`.
    pub(super) wanted: Vec<f32>,
    /// Which of them.
    pub(super) aim: Aim,
    /// One an example, or none.
    labels: &'a [u8],
}

impl<'a> Lessons<'a> {
    /// Runs the network in f32.
    ///
    /// # Errors
    /// [`crate::error::Error::BadArgument`] for examples that it does not read.
    pub(in crate::quantize) fn new(parameters: &Parameters, split: &'a Split) -> Result<Self> {
        let (outputs, examples) = (parameters.network.output().len(), split.len());
        let is_classified = Task::of(&parameters.network) == Task::Classes && outputs > 1;
        // Outputs ask for no labels, the engine does.
        let labelled = Split { inputs: split.inputs.clone(), labels: vec![0; examples] };
        let mut engine = GraphCpu::of(parameters, None);
        let mut wanted = engine.outputs(&labelled, &(0..examples as u32).collect::<Vec<_>>())?;
        if is_classified {
            wanted.chunks_exact_mut(outputs).for_each(softmax);
        }
        let aim = if is_classified { Aim::Probabilities } else { Aim::Numbers };
        Ok(Self { examples, wanted, aim, labels: &split.labels })
    }

    /// How the integers of the examples from `first` on do; `output` says what they mean.
    pub(super) fn judge(&self, integers: &[i32], first: usize, (scale, zero): (f32, i32)) -> Agreement {
        let examples = self.examples - first;
        let outputs = integers.len() / examples;
        let wanted = &self.wanted[first * outputs..];
        let mut given: Vec<f32> = integers.iter().map(|&word| word.wrapping_sub(zero) as f32 * scale).collect();
        if self.aim == Aim::Numbers {
            let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
            let error = square(&mut given.iter().zip(wanted).map(|(a, b)| a - b));
            let divergence = error / square(&mut wanted.iter().copied()).max(f64::MIN_POSITIVE);
            return Agreement { disagree: None, divergence, accuracy: None };
        }
        let classes: Vec<usize> = integers.chunks_exact(outputs).map(argmax).collect();
        let wanted_classes: Vec<usize> = wanted.chunks_exact(outputs).map(argmax).collect();
        given.chunks_exact_mut(outputs).for_each(softmax);
        let terms = wanted.iter().zip(&given).filter(|(p, _)| **p > 0.0);
        let divergence = terms.map(|(&p, &q)| f64::from(p) * f64::from(p / q.max(f32::MIN_POSITIVE)).ln()).sum::<f64>();
        Agreement {
            disagree: Some(disagreement(&classes, &wanted_classes)),
            divergence: divergence / examples as f64,
            accuracy: self.labels.get(first..).filter(|l| !l.is_empty()).map(|labels| accuracy(&classes, labels)),
        }
    }
}
