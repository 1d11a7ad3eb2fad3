//! One inference at a time, counted, with its stack measured on request.

use core::hint::black_box;

use bn_core::Image;
use bn_core::format::LAYERS;
use bn_core::infer::Prediction;

use crate::arch::{stack, watchdog};
use crate::counter::Counter;
use crate::model::{self, Model, Scratch, predict, predict_by_layer};

/// The baked model, the memory it works in, and the counter.
pub struct Classifier {
    model: Model,
    scratch: Scratch,
    counter: Option<Counter>,
}

impl Classifier {
    /// Parses the baked weights, once.
    pub fn new(counter: Option<Counter>) -> Self {
        Self { model: model::baked(), scratch: Scratch::new(), counter }
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
    pub fn classify(&mut self, image: &Image) -> (Prediction, Option<u32>) {
        let Self { model, scratch, counter } = self;
        watchdog::feed();
        match counter {
            Some(counter) => counter.measure(|| infer(model, image, scratch)),
            None => (infer(model, image, scratch), None),
        }
    }

    /// Classifies, and counts each layer. Zeros where nothing can be counted.
    pub fn layers(&mut self, image: &Image) -> [u32; LAYERS] {
        let Self { model, scratch, counter } = self;
        let mut counts = [0; LAYERS];
        predict_by_layer(model, image, scratch, |layer, work| {
            if let Some((_, Some(count))) = counter.as_mut().map(|counter| counter.measure(&mut *work)) {
                counts[layer as usize] = count;
            }
        });
        counts
    }

    /// Bytes of stack that an inference takes.
    pub fn stack_bytes(&mut self, image: &Image) -> u32 {
        let Self { model, scratch, .. } = self;
        stack::measure(|| infer(model, image, scratch)).1
    }
}

/// The one copy of the inference in the program. The boxes keep the compiler from moving work past the counter's readings.
#[inline(never)]
fn infer(model: &Model, image: &Image, scratch: &mut Scratch) -> Prediction {
    black_box(predict(black_box(model), black_box(image), scratch))
}
