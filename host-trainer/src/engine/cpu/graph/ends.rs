//! Both ends of a network: what a group of examples looks like, and what its outputs are worth.

use bn_core::infer::argmax;
use pulp::Simd;

use super::super::lanes::{Lanes, values};
use super::backward::complete;
use super::copy::Source;
use super::forward::{observe, seen};
use super::state::{Tensor, plane};
use super::trainer::{Lesson, Outcome, Trainer};
use crate::data::{Raw, Split, augment};
use crate::engine::{Task, Totals};

impl<S: Simd> Trainer<S> {
    /// Fills the input of a group; lanes without an example are zero.
    #[inline(always)]
    pub(super) fn load(&self, simd: S, split: &Split, samples: &[u32], group: usize, trains: bool) {
        let stage = &self.stages[0];
        let shape = stage.unit.shape;
        let mut to = stage.z_mut(group);
        let Tensor { values, sums } = &mut *to;
        let lanes: &mut [f32] = bytemuck::cast_slice_mut(values);
        lanes.fill(0.0);
        let mut count = 0;
        for (lane, &sample) in samples.chunks(S::F32_LANES).nth(group).into_iter().flatten().enumerate() {
            count += 1;
            self.load_example(split, sample, lane, lanes);
        }
        if trains && stage.unit.batch_norm.is_some() {
            observe(simd, shape, values, 0..plane(shape), count, sums);
        }
    }

    /// As [`crate::model::input::gather`] in f32.
    fn load_example(&self, split: &Split, sample: u32, lane: usize, to: &mut [f32]) {
        let preprocessing = self.network.preprocessing();
        let shape = self.stages[0].unit.shape;
        let (map, size) = (plane(shape), [shape.height, shape.width]);
        let example = augment::example(sample);
        let is_moved = sample as usize != example;
        for channel in 0..shape.channels {
            let (mean, std) = preprocessing.mean_and_std(channel);
            let prepared = |raw: f32| (raw * preprocessing.multiply / preprocessing.divide - mean) / std;
            let to = to[channel * map * S::F32_LANES + lane..].iter_mut().step_by(S::F32_LANES).take(map);
            let place = |at: usize| match is_moved {
                false => Some(at),
                true => augment::source(sample, size, [at / shape.width, at % shape.width])
                    .map(|[row, col]| row * shape.width + col),
            };
            match split.inputs.raw(example) {
                Raw::U8(raw) => {
                    let raw = &raw[channel * map..][..map];
                    let table: [f32; 256] = std::array::from_fn(|value| prepared(value as f32));
                    let value = |at| table[place(at).map_or(0, |at| usize::from(raw[at]))];
                    to.enumerate().for_each(|(at, to)| *to = value(at));
                }
                Raw::F32(raw) => {
                    let raw = &raw[channel * map..][..map];
                    let value = |at| prepared(place(at).map_or(0.0, |at| raw[at]));
                    to.enumerate().for_each(|(at, to)| *to = value(at));
                }
            }
        }
    }

    /// Loss and hits of a group, and with a lesson the gradient of the batch's mean loss by its outputs.
    #[inline(always)]
    pub(super) fn loss(&self, simd: S, split: &Split, samples: &[u32], group: usize, lesson: Option<Lesson<'_>>) {
        let stage = self.stages.last().expect("a network has an input");
        let (shape, derived, z) = (stage.unit.shape, stage.derived(), stage.z(group));
        let mut outputs = z.values.clone();
        let map = plane(shape);
        for (channel, to) in outputs.chunks_exact_mut(map).enumerate() {
            seen(stage, &derived, &z).run(simd, channel, 0..map, to);
        }
        let examples = samples.chunks(S::F32_LANES).nth(group).unwrap_or_default();
        let mut d = vec![0.0; shape.len() * S::F32_LANES];
        let mut outcome = self.outcomes[group].lock().expect("no thread has panicked");
        self.judge(split, examples, group, (&outputs, samples.len(), lesson), &mut d, &mut outcome);
        if lesson.is_none() || !stage.unit.wants_gradient {
            return;
        }
        let mut g = stage.g_mut(group);
        let Tensor { values, sums } = &mut *g;
        bytemuck::cast_slice_mut(values).copy_from_slice(&d);
        complete(simd, stage, &derived, (&z.values, values), 0..map, sums);
    }

    /// One example after the other: losses, hits, and gradients in `d`, laid out like the outputs.
    fn judge(
        &self,
        split: &Split,
        examples: &[u32],
        group: usize,
        (outputs, count, lesson): (&[Lanes<S>], usize, Option<Lesson<'_>>),
        d: &mut [f32],
        outcome: &mut Outcome,
    ) {
        *outcome = Outcome { totals: Totals { examples: examples.len(), ..Totals::default() }, outputs: Vec::new() };
        let input = self.stages[0].z(group);
        for (lane, &sample) in examples.iter().enumerate() {
            let row: Vec<f32> = outputs.iter().map(|output| values::<S>(output)[lane]).collect();
            let mut d_row = vec![0.0; row.len()];
            let totals = &mut outcome.totals;
            match self.task {
                Task::Classes => {
                    let label = usize::from(split.labels[augment::example(sample)]);
                    totals.correct += usize::from(argmax(&row) == label);
                    let lesson = lesson.unwrap_or_default();
                    let mut loss = cross_entropy(&row, label, lesson.label_smoothing, &mut d_row);
                    if let Some(soft) = lesson.soft {
                        let logits: Vec<f64> = row.iter().map(|&logit| logit.into()).collect();
                        let teacher = soft.row(group * S::F32_LANES + lane, row.len());
                        loss = soft.add(&logits, teacher, loss, &mut d_row);
                    }
                    totals.loss += loss;
                }
                Task::Reconstruction => {
                    let target = input.values.iter().map(|value| f64::from(values::<S>(value)[lane]));
                    totals.loss += squared_error(&row, target, &mut d_row);
                }
            }
            for (d, new) in d[lane..].iter_mut().step_by(S::F32_LANES).zip(d_row) {
                *d = (new / count as f64) as f32;
            }
            outcome.outputs.extend_from_slice(&row);
        }
    }
}

/// Loss of one example, and its gradient by the logits. See [`crate::engine::reference::cross_entropy`].
fn cross_entropy(logits: &[f32], label: usize, smoothing: f64, d: &mut [f64]) -> f64 {
    let largest = f64::from(logits[argmax(logits)]);
    let share = smoothing / logits.len() as f64;
    let mut sum = 0.0;
    let mut expected = 0.0;
    for (at, (&logit, d)) in logits.iter().zip(&mut *d).enumerate() {
        let logit = f64::from(logit) - largest;
        let target = if at == label { 1.0 - smoothing + share } else { share };
        expected += target * logit;
        *d = logit.exp();
        sum += *d;
    }
    for (at, d) in d.iter_mut().enumerate() {
        let target = if at == label { 1.0 - smoothing + share } else { share };
        *d = *d / sum - target;
    }
    sum.ln() - expected
}

/// Mean squared error of one example, and its gradient by the outputs.
fn squared_error(outputs: &[f32], target: impl Iterator<Item = f64>, d: &mut [f64]) -> f64 {
    let n = outputs.len() as f64;
    let mut sum = 0.0;
    for ((&output, target), d) in outputs.iter().zip(target).zip(d) {
        let off = f64::from(output) - target;
        *d = 2.0 * off / n;
        sum += off * off;
    }
    sum / n
}
