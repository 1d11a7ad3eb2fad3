//! Quantisation-aware fine-tuning (`--qat`): some epochs of training in which the forward pass is the device's integers.
//!
//! BatchNorm is folded and stays as it is, and so do the convolutions, whose lanes of 16 bits lose nothing. The linear layers'
//! weights of 8 bits and their biases move; scales stay. What is asked of them is not the labels but the f32 network's own
//! probabilities: its answers are what rounding changed and what is to be got back. The loss is the Kullback-Leibler
//! divergence from these to the integers' (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network").
//!
//! The start is a whole quantised model, and the result is the best that was met, that start among them, on training images
//! that the fine-tuning does not see. The best is the one of the smallest mean divergence: how many images change class is the
//! luck of the few that lie on an edge, and is reported beside it.

mod layers;

use bn_core::file::WeightsFile;
use bn_core::infer::argmax;
use bn_core::kernels::CentredTable;
use bn_core::lenet::{FLAT, LINEAR1, LINEAR2, Streams};
use bn_core::quant::SIGMOID_STEP;
use bn_core::{CLASSES, FoldedLeNet};
use ndarray::Array2;
use serde::Serialize;

use self::layers::{Layer, Pass, times};
use super::Quantized;
use super::linear::Integers;
use crate::data::Split;
use crate::engine::Optimizer;
use crate::engine::steps::Coefficients;
use crate::model::inference;
use crate::network::Network;
use crate::train::epoch_order;
use crate::train::recipe::{Recipe, SEED, Schedule};

/// Epochs unless the user says otherwise.
pub const DEFAULT_EPOCHS: u64 = 10;
/// How the linear layers learn: AdamW without decay. The rate is in steps of a weight: a weight moves by up to so much at a time.
const RECIPE: Recipe =
    Recipe { batch_size: 256, lr: 0.001, schedule: Schedule::Cosine, warmup: 0.1, optimizer: Optimizer::Adamw, ..SEED };
/// The last of so many training images are held out: 10,000 of Fashion-MNIST's.
const HELD_OUT_SHARE: usize = 6;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FineTuning {
    /// Passes over the training images that are not held out.
    pub epochs: usize,
    /// Of the order of the images.
    pub seed: u64,
}

/// How integers do on the held-out images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Share classified differently from f32.
    pub disagree: f64,
    /// Mean divergence of the probabilities from the f32 network's, in nats.
    pub divergence: f64,
    /// Share correct.
    pub accuracy: f64,
}

/// What fine-tuning found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FineTuned {
    /// Epochs that were trained.
    pub epochs: usize,
    /// After which of them the integers are that were kept; 0: those of before.
    pub kept: usize,
    /// Training images that were held out to tell.
    pub held_out: usize,
    /// How the integers did before, and after each epoch.
    pub agreement: Vec<Agreement>,
    /// Weights that changed of those in each linear layer.
    pub weights_changed: [usize; 3],
    /// Weights of each linear layer.
    pub weights: [usize; 3],
}

/// Fine-tunes the linear layers of integers that a device would take, which stand for `net`, on at least two images.
pub fn fine_tune(start: &Quantized, net: &FoldedLeNet, train: &Split, request: FineTuning) -> (Quantized, FineTuned) {
    // Names and preprocessing change no integer.
    let network = Network::lenet();
    let (seen, held_out) = train.split_last((train.len() / HELD_OUT_SHARE).max(1));
    let judge = Judge::new(net, &held_out);
    let file = start.write(&network).expect("the caller has written it");
    let mut layers = Layers::new(start, net);
    let lessons = Lessons::new(&file, net, &seen);
    let mut agreement = vec![judge.judge(&file)];
    let (mut best, mut kept) = (start.clone(), 0);
    for epoch in 1..=request.epochs {
        layers.epoch(&lessons, epoch, request);
        let quantized = layers.quantized(start);
        // A bias that left its range is no model.
        let Ok(file) = quantized.write(&network) else { break };
        let now = judge.judge(&file);
        if now.divergence < agreement[kept].divergence {
            (best, kept) = (quantized, epoch);
        }
        agreement.push(now);
    }
    let (start, end) = (stored(&start.streams), stored(&best.streams));
    let changed = |at: usize| start[at].weight.iter().zip(&end[at].weight).filter(|(a, b)| a != b).count();
    let found = FineTuned {
        epochs: agreement.len() - 1,
        kept,
        held_out: held_out.len(),
        agreement,
        weights_changed: [0, 1, 2].map(changed),
        weights: [0, 1, 2].map(|at| start[at].weight.len()),
    };
    (best, found)
}

/// The linear layers' integers.
fn stored(f: &Streams) -> [Integers; 3] {
    [
        Integers::load(&f.linear1_weight, &f.linear1_bias, &f.linear1_multiplier, [FLAT, LINEAR1]),
        Integers::load(&f.linear2_weight, &f.linear2_bias, &f.linear2_multiplier, [LINEAR1, LINEAR2]),
        Integers::load(&f.linear3_weight, &f.linear3_bias, &f.linear3_multiplier, [LINEAR2, CLASSES]),
    ]
}

/// The held-out images, and what f32 says of them.
struct Judge<'a> {
    split: &'a Split,
    probabilities: Vec<[f32; CLASSES]>,
    classes: Vec<usize>,
}

impl<'a> Judge<'a> {
    fn new(net: &FoldedLeNet, split: &'a Split) -> Self {
        let logits = inference::folded(net, split.images());
        Self { split, classes: inference::classes(&logits), probabilities: logits.iter().map(softmax).collect() }
    }

    fn judge(&self, file: &WeightsFile) -> Agreement {
        let unit = file.output_scale().scale;
        let predictions = inference::int8(file, &self.split.inputs);
        let classes: Vec<usize> = predictions.iter().map(|p| p.class).collect();
        let divergences = predictions.iter().zip(&self.probabilities).map(|(p, wanted)| {
            let given = softmax(&std::array::from_fn(|class| p.logits[class] as f32 * unit));
            let terms = wanted.iter().zip(given).filter(|(p, _)| **p > 0.0);
            terms.map(|(&p, q)| f64::from(p) * f64::from(p / q.max(f32::MIN_POSITIVE)).ln()).sum::<f64>()
        });
        Agreement {
            disagree: inference::disagreement(&classes, &self.classes),
            divergence: divergences.sum::<f64>() / classes.len() as f64,
            accuracy: inference::accuracy(&classes, &self.split.labels),
        }
    }
}

/// What is learned from: of each image what reaches the first linear layer, and what f32 says.
struct Lessons {
    /// Centred integers.
    flat: Vec<[i8; FLAT]>,
    probabilities: Vec<[f32; CLASSES]>,
}

impl Lessons {
    fn new(file: &WeightsFile, net: &FoldedLeNet, split: &Split) -> Self {
        let flat = inference::flat(file, split.images());
        Self { flat, probabilities: inference::folded(net, split.images()).iter().map(softmax).collect() }
    }
}

/// The linear layers in training.
struct Layers {
    layers: [Layer; 3],
    table: CentredTable,
    logit_unit: f64,
}

/// A batch on its way through.
struct Forward {
    /// `[images][CLASSES]`.
    logits: Array2<i32>,
    passes: [Pass; 3],
}

impl Layers {
    fn new(start: &Quantized, net: &FoldedLeNet) -> Self {
        let logit_unit = start.logit_unit();
        let [one, two, three] = stored(&start.streams);
        let layers = [
            Layer::new(&one, net.linear1.flat(), SIGMOID_STEP),
            Layer::new(&two, net.linear2.flat(), SIGMOID_STEP),
            Layer::new(&three, net.linear3.flat(), logit_unit),
        ];
        Self { layers, table: start.streams.linear_sigmoid, logit_unit }
    }

    /// A pass over the images, in an order of its own.
    fn epoch(&mut self, lessons: &Lessons, epoch: usize, request: FineTuning) {
        let order = epoch_order(request.seed, epoch, lessons.flat.len());
        let batches = order.chunks(RECIPE.batch_size);
        let before = (epoch - 1) * batches.len();
        let lr_at = |step| RECIPE.lr_at(step, request.epochs * batches.len());
        let lrs: Vec<f64> = (before..before + batches.len()).map(lr_at).collect();
        let steps = RECIPE.steps(before, &lrs);
        for (i, batch) in batches.enumerate() {
            let flat = batch.iter().flat_map(|&image| lessons.flat[image as usize].map(f32::from)).collect();
            let wanted = batch.iter().flat_map(|&image| lessons.probabilities[image as usize]).collect();
            let shaped = |values, columns| Array2::from_shape_vec((batch.len(), columns), values).expect("whole rows");
            self.step(shaped(flat, FLAT), &shaped(wanted, CLASSES), &steps.coefficients(i));
        }
    }

    /// What reaches the first layer, `[images][FLAT]` centred integers, to logits.
    fn forward(&self, flat: Array2<f32>) -> Forward {
        let ([one, two, three], table) = (&self.layers, &self.table);
        let first = one.forward(flat);
        let second = two.forward(one.activations(&first, table));
        let third = three.forward(two.activations(&second, table));
        Forward { logits: three.logits(&third), passes: [first, second, third] }
    }

    /// A step on one batch: `flat` as above, `wanted` probabilities `[images][CLASSES]`.
    fn step(&mut self, flat: Array2<f32>, wanted: &Array2<f32>, coefficients: &Coefficients) {
        let Forward { logits, passes: [first, second, third] } = self.forward(flat);
        let mut d_logits = logits.mapv(|logit| logit as f32 * self.logit_unit as f32);
        // Of the divergence by a logit: the probability given less the one wanted.
        for (mut logits, wanted) in d_logits.outer_iter_mut().zip(wanted.outer_iter()) {
            let given = softmax(&std::array::from_fn(|class| logits[class]));
            logits.iter_mut().zip(given).zip(wanted).for_each(|((d, given), wanted)| *d = given - wanted);
        }
        let [one, two, three] = &mut self.layers;
        let (d_three, d_second) = third.backward(&times(d_logits, &three.logit_slopes(&third, self.logit_unit)));
        let (d_two, d_first) = second.backward(&times(d_second, &two.sigmoid_slopes(&second)));
        let (d_one, _) = first.backward(&times(d_first, &one.sigmoid_slopes(&first)));
        three.step(&d_three, coefficients);
        two.step(&d_two, coefficients);
        one.step(&d_one, coefficients);
    }

    /// The integers as they stand, the rest as it was at the start.
    fn quantized(&self, start: &Quantized) -> Quantized {
        let mut quantized = start.clone();
        let f = &mut *quantized.streams;
        let [one, two, three] = self.layers.each_ref().map(Layer::integers);
        one.store(&mut f.linear1_weight, &mut f.linear1_bias, &mut f.linear1_multiplier);
        two.store(&mut f.linear2_weight, &mut f.linear2_bias, &mut f.linear2_multiplier);
        three.store(&mut f.linear3_weight, &mut f.linear3_bias, &mut f.linear3_multiplier);
        quantized
    }
}

/// Probabilities of logits.
fn softmax(logits: &[f32; CLASSES]) -> [f32; CLASSES] {
    let largest = logits[argmax(logits)];
    let exps = logits.map(|logit| (logit - largest).exp());
    let sum: f32 = exps.iter().sum();
    exps.map(|exp| exp / sum)
}

#[cfg(test)]
mod tests;
