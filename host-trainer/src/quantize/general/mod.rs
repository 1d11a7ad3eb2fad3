//! The integers of any network whose plan holds families that take any shape: step by step, each from what the integers before it
//! leave on the calibration inputs.
//!
//! | file | what it holds |
//! |---|---|
//! | `truth` | the network in f32 on those inputs: what every tensor should be |
//! | `tensor` | what codes mean, and the codes themselves |
//! | `range` | the scale of a tensor, and tables of activations |
//! | `affine` | a step's weights and biases, BatchNorm folded, as its input's codes see them |
//! | `weights` | convolutions, linear and depthwise layers |
//! | `rest` | pools, sums, flatten |
//! | `integers` | all of them, channel by channel, and the file of them |
//! | `intervals` | the codes that each channel can have at all |
//! | `dead` | channels that have one alone: taken out of the network |
//! | `agree` | the check that this changes no bit |
//! | `learn` | all of them as fine-tuning takes them |
//!
//! A layer's weights are rounded by what they cost on the codes that they will meet ([`super::rounding`]), and its bias takes back
//! what all roundings so far shift its mean by.

mod affine;
mod agree;
pub mod dead;
mod integers;
mod intervals;
mod learn;
mod range;
mod rest;
mod tensor;
#[cfg(test)]
mod tests;
mod truth;
mod weights;

use std::thread;

use bn_core::file::WeightsFile;
use bn_core::kernels::depthwise::Depthwise;
use bn_core::kernels::depthwise3::Depthwise3;
use bn_core::kernels::packed::{CODES, HALVES, Maps};
use bn_core::network::{Activation, Value};
use bn_core::plan::{Form, Kernel, Layer, NONE, Step};

use self::dead::DeadChannels;
use self::integers::{Integers, Model};
use self::range::Codes;
use self::tensor::Tensor;
use self::truth::Truth;
use super::fine_tune::{FineTuned, FineTuning};
use super::measure::Activations;
use super::{LayerReport, measure};
use crate::cores::cores;
use crate::data::{Inputs, Split};
use crate::error::{Error, Result};
use crate::model::parameters::Parameters;

/// The most values of all tensors of all calibration inputs together; of a large network fewer inputs are taken.
const MOST_VALUES: usize = 1 << 26;

/// What the quantiser made and found.
pub struct General {
    /// The file.
    pub file: WeightsFile,
    /// What became of the weights, by layer that has some.
    pub layers: Vec<LayerReport>,
    /// And of the outputs, by step.
    pub activations: Vec<Activations>,
    /// What fine-tuning did, where it was asked for; `layers` is from before.
    pub fine_tuned: Option<FineTuned>,
    /// Which channels have one value for every input, and how many of them are gone.
    pub dead: DeadChannels,
}

/// A step's integers, and what they give on the calibration inputs.
struct Made {
    integers: Integers,
    table: Option<Vec<u8>>,
    output: Codes,
    /// Of a step with weights.
    learned: Option<Weights>,
}

/// What became of a layer's weights.
struct Weights {
    report: LayerReport,
    wanted: learn::Wanted,
}

/// What a step's results become.
struct Target {
    /// Value of one result before the table.
    unit: f64,
    /// The result that stands for 0; it need not be whole.
    zero: f64,
    /// Smallest and largest result.
    range: [i32; 2],
    table: Option<Vec<u8>>,
    /// What the output's codes mean.
    output: Codes,
}

struct Quantizer<'a> {
    parameters: &'a Parameters,
    steps: &'a [Step],
    truth: Truth,
    input: Tensor,
    /// Output of each step so far, and the node whose output it is.
    outputs: Vec<(usize, Tensor)>,
}

/// What is to be quantised.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The network.
    pub parameters: &'a Parameters,
    /// Its plan.
    pub steps: &'a [Step],
    /// At least one.
    pub inputs: &'a Inputs,
    /// Whether dead channels stay.
    pub keep_dead: bool,
    /// Fine-tuning on some examples.
    pub fine_tuning: Option<(FineTuning, &'a Split)>,
}

/// Quantises a network.
///
/// # Errors
/// [`Error::Refused`] when a number does not fit; [`Error::BadArgument`] for a network that cannot be fine-tuned;
/// [`Error::Disagreement`] if taking out dead channels changed a bit.
pub fn quantize(request: &Request<'_>) -> Result<General> {
    let Request { parameters, steps, inputs, keep_dead, fine_tuning } = *request;
    let mut quantizer = Quantizer::new(parameters, steps, inputs);
    let (mut model, weights) = quantizer.integers()?;
    let fine_tuned = match fine_tuning {
        Some(asked) => {
            let wanted = weights.iter().map(|weights| weights.as_ref().map(|w| w.wanted.clone()).unwrap_or_default());
            let found = learn::fine_tune(&mut model, &wanted.collect::<Vec<_>>(), parameters, asked)?;
            quantizer.run_again(&model)?;
            Some(found)
        }
        None => None,
    };
    let (activations, layers) = (quantizer.measured(), weights.into_iter().flatten().map(|w| w.report).collect());
    let whole = model.file()?;
    // Intervals need proved streams, which those of a file are.
    let intervals = intervals::intervals(&model);
    let reduced = if keep_dead { None } else { dead::reduce(&model, &intervals)? };
    let dead = dead::found(&model, &intervals, reduced.as_ref());
    let Some(reduced) = reduced else { return Ok(General { file: whole, layers, activations, fine_tuned, dead }) };
    let file = reduced.model.file()?;
    agree::check(&whole, &file, &reduced.kept, inputs)?;
    Ok(General { file, layers, activations, fine_tuned, dead })
}

impl<'a> Quantizer<'a> {
    fn new(parameters: &'a Parameters, steps: &'a [Step], inputs: &Inputs) -> Self {
        let network = &parameters.network;
        let values: usize =
            network.nodes().iter().enumerate().map(|(at, _)| network.shape(Value::Node(at)).len()).sum();
        let inputs = inputs.first((MOST_VALUES / values.max(1)).max(1));
        let truth = Truth::new(parameters, steps, &inputs);
        let input = Tensor::of_inputs(network, &inputs);
        Self { parameters, steps, truth, input, outputs: Vec::new() }
    }

    /// The integers of all channels, and what became of the weights, by step.
    fn integers(&mut self) -> Result<(Model, Vec<Option<Weights>>)> {
        let mut scales = vec![self.input.raw];
        let (mut integers, mut tables, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for step in self.steps {
            let layer = self.layer(step);
            let made = self.step(&layer, step)?;
            let output = self.run(&layer, step, &made)?;
            scales.push(made.output.scale());
            integers.push(made.integers);
            tables.push(made.table);
            weights.push(made.learned);
            self.outputs.push((layer.last, output));
        }
        let (network, steps) = (self.parameters.network.clone(), self.steps.to_vec());
        Ok((Model { network, steps, integers, tables, scales }, weights))
    }

    /// What each step gives, of other integers whose codes mean the same.
    fn run_again(&mut self, model: &Model) -> Result<()> {
        for (at, output) in std::mem::take(&mut self.outputs).into_iter().enumerate() {
            let step = &self.steps[at];
            let layer = self.layer(step);
            let (integers, table) = (model.integers[at].clone(), model.tables[at].clone());
            let made = Made { integers, table, output: output.1.codes, learned: None };
            let output = self.run(&layer, step, &made)?;
            self.outputs.push((layer.last, output));
        }
        Ok(())
    }

    /// How all steps' outputs do beside f32.
    fn measured(&self) -> Vec<Activations> {
        let steps = self.steps.iter().zip(&self.outputs);
        steps.map(|(step, (_, output))| self.measure(&self.layer(step), step, output)).collect()
    }
}

impl Quantizer<'_> {
    fn layer(&self, step: &Step) -> Layer {
        let family = bn_core::plan::Family::of_number(step.family).expect("a plan's families are known");
        family.layer(&self.parameters.network.topology(), step.first.into()).expect("the plan's family takes it")
    }

    fn name(&self, step: &Step) -> String {
        self.parameters.network.module(step.first.into()).into_owned()
    }

    /// A value's codes.
    fn tensor(&self, value: Value) -> &Tensor {
        match value {
            Value::Input => &self.input,
            Value::Node(node) => {
                let given = self.outputs.iter().find(|(last, _)| *last == node);
                &given.expect("a step reads what a step before gave").1
            }
        }
    }

    /// The first term of a step.
    fn read(&self, step: &Step) -> &Tensor {
        self.tensor(self.parameters.network.nodes()[usize::from(step.first)].input)
    }

    fn step(&self, layer: &Layer, step: &Step) -> Result<Made> {
        if let Some((window, channels)) = layer.kernel.convolution() {
            return self.conv(layer, step, &window, channels);
        }
        match layer.kernel {
            Kernel::Depthwise3(Depthwise3 { window }) => self.depthwise(layer, step, &window, 1),
            Kernel::Depthwise(Depthwise { window, multiplier, .. }) => self.depthwise(layer, step, &window, multiplier),
            Kernel::MeanPool(shape) => Ok(self.mean(layer, step, &shape)),
            Kernel::Add(_) => self.add(layer, step),
            Kernel::MaxPool(_) => Ok(Made::passing(self.read(step).codes.clone())),
            Kernel::Flatten(shape) => Ok(Made::passing(self.read(step).codes.flat(shape))),
            kernel => unreachable!("{kernel:?} is a convolution"),
        }
    }

    /// What a layer's results become. For the network's output `unit` is as fine as its 16 bits and the multipliers allow: `largest`
    /// is a magnitude that no result exceeds, `finest` the smallest unit of the multipliers.
    fn target(&self, layer: &Layer, [largest, finest]: [f64; 2]) -> Target {
        let pre = self.truth.of(layer);
        let channels = self.parameters.network.shape(Value::Node(layer.last)).channels;
        if bn_core::plan::needs_table(layer.activation) {
            let activation = layer.activation.expect("it needs a table");
            return range::table(activation, pre, channels);
        }
        if layer.forms[1] == Form::Halves {
            let six = layer.activation == Some(Activation::Relu6);
            let unit = range::half_unit(if six { largest.min(6.0) } else { largest }, finest);
            let [least, most] = HALVES;
            let range = match layer.activation {
                None => [least, most],
                Some(Activation::Relu6) => [0, ((6.0 / unit).round() as i32).min(most)],
                Some(_) => [0, most],
            };
            let output = Codes::uniform(unit, 0, channels);
            return Target { unit, zero: 0.0, range, table: None, output };
        }
        let [scale, zero] = range::choose(pre, layer.activation);
        let output = Codes::uniform(scale, zero as i32, channels);
        Target { unit: scale, zero, range: CODES, table: None, output }
    }

    /// The step on all calibration inputs.
    fn run(&self, layer: &Layer, step: &Step, made: &Made) -> Result<Tensor> {
        let first = self.tensor(layer.reads);
        let second = layer.other.map(|other| self.tensor(other));
        let stream = made.integers.stream(&layer.kernel);
        let stream = &stream.ok_or_else(|| integers::too_large_a_bias(&self.name(step)))?[..];
        let table = made.table.as_ref().map(|table| table.first_chunk().expect("a table has 1,024 entries"));
        let (examples, [_, words]) = (first.len(), layer.sizes);
        let run = |example: usize, scratch: &mut [u32], output: &mut [u32]| {
            let (input, added) = (first.example(example), second.map(|second| second.example(example)));
            layer.kernel.run(stream, table, Maps { input: Some(input), added, output }, scratch);
        };
        let [scratch, _] = layer.kernel.words();
        let mut results = vec![0; examples * words];
        let share = examples.div_ceil(cores());
        thread::scope(|scope| {
            for (at, results) in results.chunks_mut(share * words).enumerate() {
                let run = &run;
                scope.spawn(move || {
                    let mut scratch = vec![0; scratch];
                    for (i, output) in results.chunks_exact_mut(words).enumerate() {
                        run(at * share + i, &mut scratch, output);
                    }
                });
            }
        });
        debug_assert!(step.input == NONE || !first.is_bytes());
        Ok(Tensor::of_step(made.output.clone(), results, words))
    }

    /// How a step's output does beside f32.
    fn measure(&self, layer: &Layer, step: &Step, output: &Tensor) -> Activations {
        let shape = self.parameters.network.shape(Value::Node(layer.last));
        let halves = layer.forms[1] == Form::Halves;
        let truth = self.truth.of(layer);
        let mut sums = measure::Sums::new(shape.channels);
        let ends = if halves { HALVES } else { [0, 255] };
        for (example, truth) in truth.chunks_exact(shape.len()).enumerate() {
            let truth: Vec<f32> = truth.iter().map(|&v| range::activate(layer.activation, v.into()) as f32).collect();
            let integers = output.values(example, shape, halves);
            sums.add(&truth, &integers, |c| [output.codes.scale[c], output.codes.zero[c]], ends);
        }
        sums.activations(self.name(step), output.codes.scale[0], self.fold_gain(layer))
    }

    /// Smallest and largest factor that folding BatchNorm put on a channel.
    fn fold_gain(&self, layer: &Layer) -> Option<[f64; 2]> {
        let at = layer.after?;
        let gains = affine::batch_norm(self.parameters, at).0.into_iter().map(f64::abs);
        Some(gains.fold([f64::INFINITY, 0.0], |[low, high], gain| [low.min(gain), high.max(gain)]))
    }

    fn refuse(&self, step: &Step, problem: &str) -> Error {
        Error::Refused {
            problem: format!("{} {problem}", self.name(step)),
            remedy: "train again with a smaller --lr".into(),
        }
    }
}

impl Made {
    /// Codes that keep their meaning.
    fn passing(output: Codes) -> Self {
        Self { integers: Integers::Alike(Vec::new()), table: None, output, learned: None }
    }
}
