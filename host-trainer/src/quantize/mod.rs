//! From a folded f32 network to the integers of a `weights.bin`. What the integers mean stands in [`bn_core::quant`].
//!
//! | file | what it holds |
//! |---|---|
//! | `calibration` | what training images say of each layer's inputs |
//! | `linear` | linear layers: a scale an output, integers chosen by what they cost |
//! | `rounding` | that choice |
//! | `general` | the integers of any network but LeNet |
//! | `fine_tune` | quantisation-aware fine-tuning |
//! | `measure` | how the integer layers do beside the f32 ones |
//!
//! A convolution's weights are transformed first (see [`bn_core::ops::winograd`]) and get one scale for the layer: an entry
//! of its sigmoid table is `2^shift` of it. Weights too large for that get a table of larger steps.
//!
//! Rounding a row of weights shifts its output by `sum(error[i] * mean(input[i]))` on average. [`Calibration`] holds those
//! means, and the bias takes the shift back. Source: Nagel et al. 2019, "Data-Free Quantization Through Weight
//! Equalization and Bias Correction", section 4.2.

mod calibration;
pub mod fine_tune;
pub mod general;
mod linear;
pub mod measure;
pub mod rounding;

use bn_core::FoldedLeNet;
use bn_core::file::{Contents, WeightsFile};
use bn_core::format::FormatError;
use bn_core::lenet::{CONV1_CHANNELS, KERNEL, Streams};
use bn_core::ops::winograd::{POINTS, TILE, effective_taps, transform_weights};
use bn_core::plan::{Goal, plan};
use bn_core::quant::Scale;
use bn_core::quant::{
    ACTIVATION_MAX, ACTIVATION_ONE, CONV_LANE_MAX, CONV_SHIFT, LINEAR_UNIT, LINEAR_WEIGHT_MAX, LOGIT_FRACTION_BITS_MAX,
    PIXEL_ONE, POOLED_ONE, Pair, SIGMOID_LEN, SIGMOID_RANGE, SIGMOID_STEP, sigmoid_table, sigmoid_table_uncentred,
};
use serde::Serialize;

pub use self::calibration::Calibration;
use self::linear::Output;
use self::rounding::Covariance;
use crate::error::{Error, Result};
use crate::network::Network;

/// What a multiplier is counted in: `requantize` divides by 2^32.
const MULTIPLIER_ONE: f64 = (1_u64 << 32) as f64;
/// Largest step of a convolution's table; above, hardly an entry lies where a sigmoid rises.
const STEP_MAX: f64 = 64.0 * SIGMOID_STEP;
/// Share of i32 that a convolution's accumulators may fill before rounding.
const REACH: f64 = 0.98;

/// A layer with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Conv1,
    Conv2,
    Linear1,
    Linear2,
    Linear3,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Layer::Conv1 => "convolution 1",
            Layer::Conv2 => "convolution 2",
            Layer::Linear1 => "linear 1",
            Layer::Linear2 => "linear 2",
            Layer::Linear3 => "linear 3",
        })
    }
}

/// LeNet's integers before they are a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// Each layer's stream, and the tables.
    pub streams: Box<Streams>,
    /// A logit is its integer times 2 to the minus this.
    pub logit_fraction_bits: u8,
}

impl Quantized {
    /// Value of 1 in an integer logit.
    pub fn logit_unit(&self) -> f64 {
        (-f64::from(self.logit_fraction_bits)).exp2()
    }

    /// The file of a network with LeNet's topology.
    ///
    /// # Errors
    /// [`FormatError`] for integers that no device could trust.
    pub fn write(&self, network: &Network) -> std::result::Result<WeightsFile, FormatError> {
        let view = network.view();
        let steps = plan(&view, &Goal::default()).map_err(|_| FormatError::Description)?;
        let of = |scale: f64, zero_point| Scale { scale: scale as f32, zero_point };
        let activation = of(1.0 / f64::from(ACTIVATION_ONE), -i32::from(ACTIVATION_MAX));
        let sums = of(1.0 / f64::from(POOLED_ONE), 0);
        let scales = [of(1.0, 0), sums, activation, activation, activation, of(self.logit_unit(), 0)];
        let streams = bytemuck::cast_slice(bytemuck::bytes_of(&*self.streams));
        Contents { network: view, texts: &network.texts(), steps: &steps, scales: &scales, streams }.write()
    }
}

/// What became of one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// Name of the layer.
    pub layer: String,
    /// Bits of a weight, sign included.
    pub weight_bits: u32,
    /// Largest magnitude of a folded weight.
    pub weight_max: f64,
    /// Smallest and largest scale of a channel: the value of one step of a weight, or of a lane at infinity.
    pub scale: [f64; 2],
    /// Signal to quantisation noise of the weights, in dB.
    pub weight_snr_db: f64,
    /// Channels whose scale was floored: dead ones.
    pub floored_channels: usize,
    /// Outputs of a linear layer whose largest weights are clipped because that costs less.
    pub clipped_outputs: usize,
    /// What choosing scales and integers by their cost left of the outputs' error variance on the calibration images; 1 is
    /// the largest weight's scale and the nearest integers. Linear layers only.
    pub cost_left: Option<f64>,
}

/// What a layer's input is, to a layer that sees integers.
#[derive(Clone, Copy)]
struct Input<'a> {
    /// Steps from 0.0 to 1.0.
    one: u16,
    /// Whether the integers are centred: 0 stands for one half.
    centred: bool,
    /// `[in_channels]` of a convolution, `[in_features]` of a linear layer.
    means: &'a [f64],
    /// Of a linear layer.
    covariance: Option<&'a Covariance>,
}

impl Input<'_> {
    /// The value of integer 0.
    fn centre(&self) -> f64 {
        if self.centred { 0.5 } else { 0.0 }
    }
}

/// One layer to quantise.
struct Source<'a> {
    layer: Layer,
    /// `[channels][fan_in]`.
    weight: &'a [f32],
    /// `[channels]`.
    bias: &'a [f32],
    input: Input<'a>,
}

/// A convolution's integers, and what became of it.
struct Conv {
    /// `[out_channels][in_channels][kernel]` rows of lanes.
    lanes: Vec<[i16; POINTS]>,
    bias: Vec<i32>,
    /// Distance between the entries of its sigmoid table.
    step: f64,
    report: LayerReport,
}

/// Quantises a folded network. Whether it is any good is for [`export`](crate::export) to prove.
///
/// # Errors
/// [`Error::Refused`] when a value is not finite or a scale does not fit.
pub fn quantize(net: &FoldedLeNet, calibration: &Calibration) -> Result<(Quantized, Vec<LayerReport>)> {
    let mut streams: Box<Streams> = Box::new(bytemuck::Zeroable::zeroed());
    let f = &mut *streams;
    let source = |layer, weight, bias, one, centred| {
        let means = &calibration.input_means[layer as usize];
        let input = Input { one, centred, means, covariance: calibration.covariance(layer) };
        Source { layer, weight, bias, input }
    };
    let (pixel, pooled, activation) = (u16::from(PIXEL_ONE), POOLED_ONE, u16::from(ACTIVATION_ONE));
    let n = net;
    let conv1 = source(Layer::Conv1, n.conv1.flat(), &n.conv1.bias, pixel, false).conv(CONV_SHIFT[0])?;
    let conv2 = source(Layer::Conv2, n.conv2.flat(), &n.conv2.bias, pooled, true).conv(CONV_SHIFT[1])?;
    let logit_fraction_bits = logit_fraction_bits(net)?;
    let sigmoid = Output { offset: SIGMOID_RANGE - SIGMOID_STEP / 2.0, step: SIGMOID_STEP };
    let logits = Output { offset: 0.0, step: (-f64::from(logit_fraction_bits)).exp2() };
    let (linear1, linear1_report) =
        source(Layer::Linear1, n.linear1.flat(), &n.linear1.bias, activation, true).linear(sigmoid)?;
    let (linear2, linear2_report) =
        source(Layer::Linear2, n.linear2.flat(), &n.linear2.bias, activation, true).linear(sigmoid)?;
    let (linear3, linear3_report) =
        source(Layer::Linear3, n.linear3.flat(), &n.linear3.bias, activation, true).linear(logits)?;

    f.conv1_sigmoid = sigmoid_table_uncentred(conv1.step);
    f.conv2_sigmoid = sigmoid_table(conv2.step);
    f.linear_sigmoid = sigmoid_table(SIGMOID_STEP);
    f.conv1_bias.copy_from_slice(&conv1.bias);
    f.conv2_bias.copy_from_slice(&conv2.bias);
    store_conv1(&conv1.lanes, f);
    store_conv2(&conv2.lanes, f);
    linear1.store(&mut f.linear1_weight, &mut f.linear1_bias, &mut f.linear1_multiplier);
    linear2.store(&mut f.linear2_weight, &mut f.linear2_bias, &mut f.linear2_multiplier);
    linear3.store(&mut f.linear3_weight, &mut f.linear3_bias, &mut f.linear3_multiplier);
    let quantized = Quantized { streams, logit_fraction_bits };
    Ok((quantized, [conv1.report, conv2.report, linear1_report, linear2_report, linear3_report].into()))
}

/// The most fraction bits with which every logit's multiplier still fits an i32.
fn logit_fraction_bits(net: &FoldedLeNet) -> Result<u8> {
    let largest = max_magnitude(net.linear3.flat());
    let unit = largest / f64::from(LINEAR_WEIGHT_MAX) / f64::from(ACTIVATION_ONE) / f64::from(LINEAR_UNIT);
    (0..=LOGIT_FRACTION_BITS_MAX)
        .rev()
        .find(|&bits| unit * f64::from(bits).exp2() * MULTIPLIER_ONE < f64::from(i32::MAX))
        .ok_or_else(|| scale_does_not_fit(Layer::Linear3, largest))
}

/// The two output rows of a pool see the same six input rows, one row apart.
fn store_conv1(lanes: &[[i16; POINTS]], file: &mut Streams) {
    for (points, rows) in file.conv1_lanes.iter_mut().zip(lanes.as_chunks::<KERNEL>().0) {
        for (p, outputs) in points.iter_mut().enumerate() {
            for (output_row, pairs) in outputs.iter_mut().enumerate() {
                let tap = |row: usize| row.checked_sub(output_row).and_then(|ky| rows.get(ky)).map_or(0, |r| r[p]);
                *pairs = std::array::from_fn(|pair| Pair::new(tap(2 * pair), tap(2 * pair + 1)));
            }
        }
    }
}

/// Input channels go in pairs.
fn store_conv2(lanes: &[[i16; POINTS]], file: &mut Streams) {
    for (points, rows) in file.conv2_lanes.iter_mut().zip(lanes.chunks_exact(CONV1_CHANNELS * KERNEL)) {
        for (p, pairs) in points.iter_mut().enumerate() {
            for (pair, rows) in pairs.iter_mut().zip(rows.chunks_exact(2 * KERNEL)) {
                *pair = std::array::from_fn(|ky| Pair::new(rows[ky][p], rows[KERNEL + ky][p]));
            }
        }
    }
}

impl Source<'_> {
    fn channels(&self) -> impl Iterator<Item = (&[f32], f64)> {
        let fan_in = self.weight.len() / self.bias.len();
        self.weight.chunks_exact(fan_in).zip(self.bias).map(|(weight, &bias)| (weight, f64::from(bias)))
    }

    fn check_finite(&self) -> Result<()> {
        if self.weight.iter().chain(self.bias).all(|v| v.is_finite()) {
            return Ok(());
        }
        Err(Error::Refused {
            problem: format!("{} holds a value that is not finite", self.layer),
            remedy: "train again with a smaller --lr".into(),
        })
    }

    fn conv(&self, shift: u32) -> Result<Conv> {
        self.check_finite()?;
        let step = self.step(shift)?;
        let one = f64::from(self.input.one);
        // Of an accumulator and of a lane: an accumulator's unit times the input's.
        let unit = step / f64::from(shift).exp2();
        let scale = unit * one;
        let mut conv = Conv { lanes: vec![], bias: vec![], step, report: self.report() };
        let mut error = Noise::default();
        for (weight, bias) in self.channels() {
            let mut correction = 0.0;
            for (row, weights) in weight.as_chunks::<KERNEL>().0.iter().enumerate() {
                let weights = weights.map(f64::from);
                let lanes = transform_weights(weights).map(|lane| (lane / scale).round() as i16);
                let shift: f64 = error.of_row(&weights, lanes, scale);
                correction += shift * (self.input.means[row / KERNEL] - self.input.centre());
                conv.lanes.push(lanes);
            }
            let centre: f64 = weight.iter().map(|&w| f64::from(w)).sum::<f64>() * self.input.centre();
            let table_start = step * (SIGMOID_LEN / 2) as f64;
            conv.bias.push(((bias + centre - correction + table_start) / unit).round() as i32);
        }
        let largest = conv.lanes.as_flattened().iter().map(|lane| lane.unsigned_abs()).max().unwrap_or(0);
        conv.report.weight_bits = 17 - largest.leading_zeros();
        conv.report.scale = [scale; 2];
        conv.report.weight_snr_db = error.snr_db();
        Ok(conv)
    }

    /// The smallest step of the table with which every lane fits 16 bits and every accumulator 32.
    fn step(&self, shift: u32) -> Result<f64> {
        let units = f64::from(shift).exp2();
        let mut step = SIGMOID_STEP;
        for (weight, bias) in self.channels() {
            let weight = || weight.iter().map(|&w| f64::from(w));
            let centre: f64 = weight().sum::<f64>() * self.input.centre();
            let reach: f64 = weight().map(f64::abs).sum::<f64>() * (1.0 - self.input.centre());
            let room = REACH * f64::from(i32::MAX) / units - (SIGMOID_LEN / 2) as f64;
            step = step.max((reach + (bias + centre).abs()) / room);
        }
        let lanes = self.weight.as_chunks::<KERNEL>().0.iter().flat_map(|row| transform_weights(row.map(f64::from)));
        let lane = lanes.fold(0.0, |max, lane| f64::max(max, lane.abs()));
        step = step.max(lane / f64::from(CONV_LANE_MAX) * units / f64::from(self.input.one));
        if step > STEP_MAX {
            return Err(scale_does_not_fit(self.layer, max_magnitude(self.weight)));
        }
        Ok(step)
    }

    fn report(&self) -> LayerReport {
        LayerReport {
            layer: self.layer.to_string(),
            weight_bits: 8,
            weight_max: max_magnitude(self.weight),
            scale: [f64::INFINITY, 0.0],
            weight_snr_db: 0.0,
            floored_channels: 0,
            clipped_outputs: 0,
            cost_left: None,
        }
    }
}

/// Power of weights and of what rounding did to them.
#[derive(Default)]
struct Noise {
    signal: f64,
    noise: f64,
}

impl Noise {
    fn add(&mut self, signal: f64, error: f64) {
        self.signal += signal * signal;
        self.noise += error * error;
    }

    /// A convolution's row as its rounded lanes act. Returns the mean of the outputs' errors for an input of one.
    fn of_row(&mut self, weights: &[f64; KERNEL], lanes: [i16; POINTS], scale: f64) -> f64 {
        let mut sum = 0.0;
        for (input, taps) in effective_taps(lanes).into_iter().enumerate() {
            for (output, tap) in taps.into_iter().enumerate() {
                let truth = input.checked_sub(output).and_then(|k| weights.get(k)).copied().unwrap_or(0.0);
                let error = f64::from(tap) * scale - truth;
                self.add(truth, error);
                sum += error;
            }
        }
        sum / TILE as f64
    }

    fn snr_db(&self) -> f64 {
        10.0 * (self.signal / self.noise.max(f64::MIN_POSITIVE)).log10()
    }
}

fn max_magnitude(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |max, &v| f64::max(max, f64::from(v).abs()))
}

fn scale_does_not_fit(layer: Layer, largest: f64) -> Error {
    Error::Refused {
        problem: format!("{layer} reaches {largest:.3e}, too large for its integer scale"),
        remedy: "train again with a smaller --lr".into(),
    }
}

#[cfg(test)]
mod tests;
