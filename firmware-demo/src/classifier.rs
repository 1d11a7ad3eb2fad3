//! One inference at a time, counted, with its stack measured on request.

use core::hint::black_box;

use crate::arch::{stack, watchdog};
use crate::counter::Counter;
use crate::model::{self, Arena, Input, Model, Prediction, STEPS, predict, predict_by_step};

/// The baked model, the memory it works in, and the counter.
pub struct Classifier {
    model: Model,
    arena: Arena,
    counter: Option<Counter>,
}

impl Classifier {
    /// Parses the baked weights, once.
    pub fn new(counter: Option<Counter>) -> Self {
        Self { model: model::baked(), arena: Arena::new(), counter }
    }

    /// The baked model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The counter, if there is one.
    pub fn counter(&self) -> Option<&Counter> {
        self.counter.as_ref()
    }

    /// Classifies, and counts if it can. Feeds the watchdog first: it bites when an inference does not end. One copy: what
    /// surrounds it in a program must not change the count.
    #[inline(never)]
    pub fn classify(&mut self, input: &Input) -> (Prediction, Option<u32>) {
        let Self { model, arena, counter } = self;
        watchdog::feed();
        match counter {
            Some(counter) => counter.measure(|| infer(model, input, arena)),
            None => (infer(model, input, arena), None),
        }
    }

    /// Classifies, and counts each step of the plan. Zeros where nothing can be counted.
    pub fn steps(&mut self, input: &Input) -> [u32; STEPS] {
        let Self { model, arena, counter } = self;
        let mut counts = [0; STEPS];
        predict_by_step(model, input, arena, |step, work| {
            if let Some((_, Some(count))) = counter.as_mut().map(|counter| counter.measure(&mut *work))
                && let Some(slot) = counts.get_mut(step)
            {
                *slot = count;
            }
        });
        counts
    }

    /// Bytes of stack that an inference takes.
    pub fn stack_bytes(&mut self, input: &Input) -> u32 {
        let Self { model, arena, .. } = self;
        stack::measure(|| infer(model, input, arena)).1
    }
}

/// The one copy of the inference in the program. The boxes keep the compiler from moving work past the counter's readings.
#[inline(never)]
fn infer(model: &Model, input: &Input, arena: &mut Arena) -> Prediction {
    black_box(predict(black_box(model), black_box(input), arena))
}
