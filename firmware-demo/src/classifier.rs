//! One inference at a time, counted, with its stack measured and its steps looked at on request.

use core::hint::black_box;

use crate::arch::{memory, stack, watchdog};
use crate::counter::Counter;
use crate::model::{self, Arena, Input, Model, Prediction, STEPS, predict, predict_by_step, step_output};

/// The baked model, the memory it works in, and the counter.
pub struct Classifier {
    model: Model,
    arena: &'static mut Arena,
    counter: Option<Counter>,
}

impl Classifier {
    /// Parses the baked weights. There is one, with the program's one arena.
    pub fn new(counter: Option<Counter>) -> Self {
        Self { model: model::baked(), arena: memory::arena(), counter }
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
    pub fn classify(&mut self, input: &Input) -> (Prediction<'_>, Option<u32>) {
        let Self { model, arena, counter } = self;
        watchdog::feed();
        match counter {
            Some(counter) => {
                let (prediction, count) = counter.measure(|| infer(model, input, arena));
                (prediction, Some(count))
            }
            None => (infer(model, input, arena), None),
        }
    }

    /// Classifies step by step: counts each, zeros where nothing can be counted, and hands what it gave to `see`.
    pub fn classify_by_step(
        &mut self,
        input: &Input,
        mut see: impl FnMut(usize, &[u32]),
    ) -> (Prediction<'_>, [u32; STEPS]) {
        let Self { model, arena, counter } = self;
        let mut counts = [0; STEPS];
        let prediction = predict_by_step(model, input, arena, |step, arena, work| {
            watchdog::feed();
            let count = match counter {
                Some(counter) => counter.measure(|| work(arena)).1,
                None => {
                    work(arena);
                    0
                }
            };
            if let Some(slot) = counts.get_mut(step) {
                *slot = count;
            }
            see(step, step_output(arena, step));
        });
        (prediction, counts)
    }

    /// Bytes of stack that an inference takes.
    pub fn stack_bytes(&mut self, input: &Input) -> u32 {
        let Self { model, arena, .. } = self;
        stack::measure(|| infer(model, input, arena)).1
    }
}

/// The one copy of the inference in the program. The boxes keep the compiler from moving work past the counter's readings.
#[inline(never)]
fn infer<'a>(model: &Model, input: &Input, arena: &'a mut Arena) -> Prediction<'a> {
    black_box(predict(black_box(model), black_box(input), arena))
}
