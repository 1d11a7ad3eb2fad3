//! The integers of a network as a trainer takes them, and back.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bn_core::kernels::packed::Window;
use bn_core::kernels::pool::Pool;
use bn_core::kernels::{conv, depthwise};
use bn_core::network::{Shape, Value};
use bn_core::plan::Kernel;
use bn_core::quant::Scale;
use bn_core::quant::quantize_input;

use super::integers::{Head, Integers, Model};
use crate::data::{Raw, Split};
use crate::engine::cpu::graph::integers::{Program, Row, Step, Sums, Work};
use crate::error::Result;
use crate::model::parameters::Parameters;
use crate::quantize::fine_tune::lessons::Lessons;
use crate::quantize::fine_tune::{FineTuned, FineTuning, Pupil};

/// What weights are to be; of a step without weights nothing.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    /// The largest integer.
    pub(super) most: i32,
    /// By channel, what the integers would be if they need not be whole.
    pub(super) rows: Vec<Vec<f32>>,
}

/// Fine-tunes a model in place.
///
/// # Errors
/// As [`Pupil::fine_tune`]; [`crate::error::Error::Refused`] for a model that no device could trust before.
pub(super) fn fine_tune(
    model: &mut Model,
    wanted: &[Wanted],
    parameters: &Parameters,
    (request, train): (FineTuning, &Split),
) -> Result<FineTuned> {
    model.file()?;
    let raw = model.scales[0];
    let codes = |example: usize| match train.inputs.raw(example) {
        Raw::U8(codes) => Cow::Borrowed(codes),
        Raw::F32(values) => values.iter().map(|&value| quantize_input(value, raw)).collect(),
    };
    let Scale { scale, zero_point } = model.scales[model.steps.len()];
    let names = (0..model.steps.len()).map(|step| model.name(step)).collect();
    let pupil = Pupil { program: program(model, wanted), names, codes: &codes, output: (scale, zero_point) };
    let is_sound = |program: &Program| with(model, program).file().is_ok();
    let (best, found) = pupil.fine_tune(&Lessons::new(parameters, train)?, request, is_sound)?;
    *model = with(model, &best);
    Ok(found)
}

/// The steps of a model.
pub(super) fn program(model: &Model, wanted: &[Wanted]) -> Program {
    let steps = (0..model.steps.len()).map(|at| step(model, at, &wanted[at]));
    Program { input: model.network.input(), steps: steps.collect() }
}

fn step(model: &Model, at: usize, wanted: &Wanted) -> Step {
    let layer = model.layer(at);
    let (reads, other) = (model.tensor(layer.reads), layer.other.map(|other| model.tensor(other)));
    let no_range = [i32::MIN, i32::MAX];
    let sums = |head: &Head, is_depthwise, rows| {
        let window = layer.kernel.window().expect("a kernel with weights has windows");
        let zeros = (0..window.input.channels).map(|channel| head.zero(&window, channel) as u8).collect();
        let (unit, most) = (layer.kernel.unit(), wanted.most);
        (head.range, Work::Sums(Sums { window, is_depthwise, zeros, other, unit, most, rows }))
    };
    let (range, work) = match (&model.integers[at], layer.kernel) {
        (Integers::Conv(head, channels), _) => {
            let row = |(channel, wanted): (&conv::Channel, &Vec<f32>)| Row {
                weights: channel.weights.iter().map(|&w| w.into()).collect(),
                wanted: wanted.clone(),
                start: channel.start,
                multiplier: channel.multiplier,
                adds: channel.adds,
            };
            sums(head, false, channels.iter().zip(&wanted.rows).map(row).collect())
        }
        (Integers::Depthwise(head, channels), _) => {
            let row = |(channel, wanted): (&depthwise::Channel, &Vec<f32>)| Row {
                weights: channel.weights.iter().map(|&w| w.into()).collect(),
                wanted: wanted.clone(),
                start: channel.start,
                multiplier: channel.multiplier,
                adds: 0,
            };
            sums(head, true, channels.iter().zip(&wanted.rows).map(row).collect())
        }
        (Integers::Alike(stream), kernel) => match (kernel, &stream[..]) {
            (Kernel::MeanPool(pool), &[low, high, zero, shift, ref multipliers @ ..]) => {
                let multipliers = multipliers.iter().map(|&m| m as i32).collect();
                let work = Work::Mean { pool, zero: zero as i32, shift: shift as i32, multipliers };
                ([low as i32, high as i32], work)
            }
            (Kernel::Add(_), &[low, high, a, b, start, shift]) => {
                let other = other.expect("a sum has two terms");
                let work = Work::Add { other, multipliers: [a as i32, b as i32], start: start as i32, shift };
                ([low as i32, high as i32], work)
            }
            (Kernel::MaxPool(pool), _) => (no_range, Work::Max(pool.window)),
            _ => (no_range, Work::Flat),
        },
    };
    // Of the output the map before it is flattened.
    let shape = match &work {
        Work::Sums(Sums { window, rows, .. }) => shape(rows.len(), window),
        Work::Mean { pool: Pool { window, .. }, .. } | Work::Max(window) => shape(window.input.channels, window),
        Work::Add { .. } | Work::Flat => model.network.shape(Value::Node(model.steps[at].last.into())),
    };
    Step { reads, shape, work, range, table: model.tables[at].clone() }
}

fn shape(channels: usize, window: &Window) -> Shape {
    Shape::new(channels, window.output[0], window.output[1])
}

/// The model with the weights and start values of a program.
fn with(model: &Model, program: &Program) -> Model {
    let mut model = model.clone();
    for (integers, step) in model.integers.iter_mut().zip(&program.steps) {
        let Work::Sums(Sums { rows, .. }) = &step.work else { continue };
        match integers {
            Integers::Conv(_, channels) => {
                for (channel, row) in channels.iter_mut().zip(rows) {
                    channel.start = row.start;
                    channel.weights = row.weights.iter().map(|&w| w as i16).collect();
                }
            }
            Integers::Depthwise(_, channels) => {
                for (channel, row) in channels.iter_mut().zip(rows) {
                    channel.start = row.start;
                    channel.weights = row.weights.iter().map(|&w| w as i16).collect();
                }
            }
            Integers::Alike(_) => {}
        }
    }
    model
}
