//! From a folded f32 network to the integers of a `weights.bin`. What the integers mean stands in [`bn_core::quant`].
//!
//! Weights get one symmetric scale an output channel, chosen after the fold. The scale is floored where a channel is so
//! small (a dead channel: gamma near 0) that its bias, counted in steps of the accumulator, would leave i32.
//!
//! Rounding a row of weights shifts its output by `sum(error[i] * mean(input[i]))` on average. [`Calibration`] holds those
//! means, and the bias takes the shift back. Source: Nagel et al. 2019, "Data-Free Quantization Through Weight
//! Equalization and Bias Correction", section 4.2.

use bn_core::format::{Layer, WeightsFile};
use bn_core::infer::{self, ScratchF32};
use bn_core::lenet::{CONV1_CHANNELS, FLAT, LINEAR1, LINEAR2};
use bn_core::quant::{
    ACTIVATION_ONE, CONV_WEIGHT_MAX, LINEAR_WEIGHT_MAX, LOGIT_FRACTION_BITS_MAX, POOLED_ONE, SIGMOID_RANGE,
    SIGMOID_STEP, sigmoid_table,
};
use bn_core::{FoldedLeNet, Image};
use serde::Serialize;

use crate::error::{Error, Result};

/// Largest bias in steps of the accumulator. The widest layer's products (150 of 2,047 by 1,020) stay below 2^29, so that
/// both together stay inside i32.
const BIAS_MAX: f64 = (1_u64 << 30) as f64;
/// What a multiplier is counted in: `requantize` divides by 2^32.
const MULTIPLIER_ONE: f64 = (1_u64 << 32) as f64;
/// Smallest multiplier that a channel is given; below, the multiplier's own rounding would be felt.
const MULTIPLIER_MIN: f64 = 256.0;

/// What became of one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// Name of the layer.
    pub layer: String,
    /// Bits of a weight, sign included.
    pub weight_bits: u32,
    /// Largest magnitude of a folded weight.
    pub weight_max: f64,
    /// Smallest and largest scale of a channel: the value of one step of a weight.
    pub scale: [f64; 2],
    /// Signal to quantisation noise of the weights, in dB.
    pub weight_snr_db: f64,
    /// Channels whose scale was floored: dead ones.
    pub floored_channels: usize,
}

/// Mean of every input of the five layers over some training images; a convolution's are means over its map too.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// How many images.
    pub images: usize,
    /// By layer: one mean for each input channel of a convolution or input feature of a linear layer.
    pub input_means: [Vec<f64>; 5],
}

impl Calibration {
    /// Runs the folded network over `images`. No image gives no correction.
    pub fn new(net: &FoldedLeNet, images: &[Image]) -> Self {
        let sizes = [1, CONV1_CHANNELS, FLAT, LINEAR1, LINEAR2];
        let mut input_means = sizes.map(|size| vec![0.0; size]);
        let mut scratch = Box::new(ScratchF32::new());
        for image in images {
            infer::folded(net, image, &mut scratch);
            let [pooled1, pooled2, linear1, linear2] = scratch.stages();
            let pixels = scratch.pixels();
            for (means, inputs) in input_means.iter_mut().zip([pixels, pooled1, pooled2, linear1, linear2]) {
                let run = inputs.len() / means.len();
                for (mean, run_values) in means.iter_mut().zip(inputs.chunks_exact(run)) {
                    *mean += run_values.iter().map(|&v| f64::from(v)).sum::<f64>() / (run * images.len()) as f64;
                }
            }
        }
        Self { images: images.len(), input_means }
    }
}

/// What the accumulators of a layer turn into.
#[derive(Clone, Copy)]
struct Output {
    /// Added to the bias: the distance from the start of the sigmoid's table to 0.
    offset: f64,
    /// Value of one unit after `requantize`.
    step: f64,
}

/// One layer to quantise.
struct Source<'a> {
    layer: Layer,
    /// `[channels][fan_in]`.
    weight: &'a [f32],
    /// `[channels]`.
    bias: &'a [f32],
    /// Largest magnitude of an integer weight.
    weight_max: i32,
    /// What 1.0 is at the layer's input.
    input_one: u16,
    /// `[in_channels]` of a convolution, `[in_features]` of a linear layer.
    input_means: &'a [f64],
    output: Output,
}

/// One layer's integers, and what became of it.
struct Quantized {
    weight: Vec<i32>,
    bias: Vec<i32>,
    multiplier: Vec<i32>,
    report: LayerReport,
}

/// Quantises a folded network. The file is sealed; whether it is any good is for [`export`](crate::export) to prove.
///
/// # Errors
/// [`Error::Refused`] when a value is not finite or a scale does not fit its multiplier.
pub fn quantize(net: &FoldedLeNet, calibration: &Calibration) -> Result<(Box<WeightsFile>, Vec<LayerReport>)> {
    let mut file: Box<WeightsFile> = Box::new(bytemuck::Zeroable::zeroed());
    let f = &mut *file;
    f.sigmoid = sigmoid_table();
    f.logit_fraction_bits = logit_fraction_bits(net)?;

    let sigmoid = Output { offset: SIGMOID_RANGE, step: SIGMOID_STEP };
    let logits = Output { offset: 0.0, step: (-f64::from(f.logit_fraction_bits)).exp2() };
    let (conv, linear) = (i32::from(CONV_WEIGHT_MAX), i32::from(LINEAR_WEIGHT_MAX));
    let (one, pooled) = (u16::from(ACTIVATION_ONE), POOLED_ONE);
    let quantized = |layer, (weight, bias), weight_max, input_one, output| {
        let input_means = &calibration.input_means[layer as usize];
        Source { layer, weight, bias, weight_max, input_one, input_means, output }.quantize()
    };
    let n = net;
    let conv1 = quantized(Layer::Conv1, (n.conv1.flat(), &n.conv1.bias[..]), conv, one, sigmoid)?;
    let conv2 = quantized(Layer::Conv2, (n.conv2.flat(), &n.conv2.bias[..]), conv, pooled, sigmoid)?;
    let linear1 = quantized(Layer::Linear1, (n.linear1.flat(), &n.linear1.bias[..]), linear, pooled, sigmoid)?;
    let linear2 = quantized(Layer::Linear2, (n.linear2.flat(), &n.linear2.bias[..]), linear, one, sigmoid)?;
    let linear3 = quantized(Layer::Linear3, (n.linear3.flat(), &n.linear3.bias[..]), linear, one, logits)?;

    let conv1_weight = f.conv1_weight.as_flattened_mut().as_flattened_mut().as_flattened_mut();
    conv1.store(conv1_weight, &mut f.conv1_bias, &mut f.conv1_multiplier);
    let conv2_weight = f.conv2_weight.as_flattened_mut().as_flattened_mut().as_flattened_mut();
    conv2.store(conv2_weight, &mut f.conv2_bias, &mut f.conv2_multiplier);
    linear1.store(f.linear1_weight.as_flattened_mut(), &mut f.linear1_bias, &mut f.linear1_multiplier);
    linear2.store(f.linear2_weight.as_flattened_mut(), &mut f.linear2_bias, &mut f.linear2_multiplier);
    linear3.store(f.linear3_weight.as_flattened_mut(), &mut f.linear3_bias, &mut f.linear3_multiplier);
    file.seal();
    Ok((file, [conv1, conv2, linear1, linear2, linear3].map(|layer| layer.report).into()))
}

/// The most fraction bits with which every logit's multiplier still fits an i32.
fn logit_fraction_bits(net: &FoldedLeNet) -> Result<u8> {
    let largest = max_magnitude(net.linear3.flat());
    let unit = largest / f64::from(LINEAR_WEIGHT_MAX) / f64::from(ACTIVATION_ONE);
    (0..=LOGIT_FRACTION_BITS_MAX)
        .rev()
        .find(|&bits| unit * f64::from(bits).exp2() * MULTIPLIER_ONE < f64::from(i32::MAX))
        .ok_or_else(|| scale_does_not_fit(Layer::Linear3, largest))
}

impl Source<'_> {
    fn quantize(&self) -> Result<Quantized> {
        if !self.weight.iter().chain(self.bias).all(|v| v.is_finite()) {
            return Err(Error::Refused {
                problem: format!("{} holds a value that is not finite", self.layer),
                remedy: "train again with a smaller --lr".into(),
            });
        }
        let mut result =
            Quantized { weight: Vec::new(), bias: Vec::new(), multiplier: Vec::new(), report: self.report() };
        let (mut signal, mut noise) = (0.0, 0.0);
        for (weight, &bias) in self.weight.chunks_exact(self.weight.len() / self.bias.len()).zip(self.bias) {
            let scale = self.scale(weight, bias, &mut result.report)?;
            let unit = scale / f64::from(self.input_one);
            result.multiplier.push((unit / self.output.step * MULTIPLIER_ONE).round() as i32);
            let mut shift = 0.0;
            let run = weight.len() / self.input_means.len();
            for (&value, index) in weight.iter().zip(0..) {
                let value = f64::from(value);
                let integer = (value / scale).round();
                let error = integer * scale - value;
                signal += value * value;
                noise += error * error;
                shift += error * self.input_means[index / run];
                result.weight.push(integer as i32);
            }
            result.bias.push(((f64::from(bias) - shift + self.output.offset) / unit).round() as i32);
        }
        result.report.weight_snr_db = 10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10();
        Ok(result)
    }

    /// The value of one step of a channel's weights.
    fn scale(&self, weight: &[f32], bias: f32, report: &mut LayerReport) -> Result<f64> {
        let input_one = f64::from(self.input_one);
        let wanted = max_magnitude(weight) / f64::from(self.weight_max);
        let for_bias = (f64::from(bias) + self.output.offset).abs() * input_one / BIAS_MAX;
        let for_multiplier = MULTIPLIER_MIN / MULTIPLIER_ONE * self.output.step * input_one;
        let scale = wanted.max(for_bias).max(for_multiplier);
        if scale / input_one / self.output.step * MULTIPLIER_ONE >= f64::from(i32::MAX) {
            return Err(scale_does_not_fit(self.layer, max_magnitude(weight).max(f64::from(bias).abs())));
        }
        report.floored_channels += usize::from(scale > wanted);
        report.weight_max = report.weight_max.max(max_magnitude(weight));
        report.scale = [report.scale[0].min(scale), report.scale[1].max(scale)];
        Ok(scale)
    }

    fn report(&self) -> LayerReport {
        LayerReport {
            layer: self.layer.to_string(),
            weight_bits: 33 - self.weight_max.leading_zeros(),
            weight_max: 0.0,
            scale: [f64::INFINITY, 0.0],
            weight_snr_db: 0.0,
            floored_channels: 0,
        }
    }
}

impl Quantized {
    fn store<W: TryFrom<i32>>(&self, weight: &mut [W], bias: &mut [i32], multiplier: &mut [i32]) {
        bias.copy_from_slice(&self.bias);
        multiplier.copy_from_slice(&self.multiplier);
        for (to, &from) in weight.iter_mut().zip(&self.weight) {
            *to = W::try_from(from).ok().expect("a scale of at least the largest weight keeps weights in range");
        }
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
mod tests {
    use super::*;
    use bn_core::lenet::LeNet;

    fn net() -> FoldedLeNet {
        let mut net = Box::new(LeNet::zero());
        for (seed, tensor) in net.tensors_mut().into_iter().enumerate() {
            for (i, value) in tensor.iter_mut().enumerate() {
                *value += (((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0) * 0.3;
            }
        }
        net.fold()
    }

    /// Quantises as if every input were 0: no correction.
    fn none() -> Calibration {
        Calibration::new(&net(), &[])
    }

    #[test]
    fn what_is_written_parses() {
        let (file, reports) = quantize(&net(), &none()).unwrap();
        bn_core::parse(file.bytes()).unwrap();
        assert_eq!(reports.len(), 5);
        assert!(reports[0].weight_snr_db > 60.0 && reports[2].weight_snr_db > 35.0, "{reports:?}");
        assert_eq!(reports.iter().map(|r| r.weight_bits).collect::<Vec<_>>(), [12, 12, 8, 8, 8]);
    }

    #[test]
    fn the_largest_weight_of_each_channel_uses_the_whole_range() {
        let (file, _) = quantize(&net(), &none()).unwrap();
        for channel in &file.linear2_weight {
            assert_eq!(channel.iter().map(|w| w.unsigned_abs()).max(), Some(127));
        }
    }

    #[test]
    fn a_dead_channel_is_floored_not_overflowed() {
        let mut net = net();
        net.conv1.weight[2] = [[[1e-30; 5]; 5]];
        net.conv1.bias[2] = 3.0;
        net.linear1.weight[7].fill(0.0);
        net.linear1.bias[7] = 0.0;
        let (file, reports) = quantize(&net, &none()).unwrap();
        bn_core::parse(file.bytes()).unwrap();
        assert_eq!((reports[0].floored_channels, reports[2].floored_channels), (1, 1));
        // Its output is still the sigmoid of its bias.
        let index = bn_core::quant::sigmoid_index(file.conv1_bias[2], file.conv1_multiplier[2]);
        assert!((index as f64 * SIGMOID_STEP - SIGMOID_RANGE - 3.0).abs() <= SIGMOID_STEP);
    }

    #[test]
    fn what_cannot_be_scaled_is_refused() {
        for (value, words) in [(1e9, "too large"), (f32::NAN, "not finite"), (f32::INFINITY, "not finite")] {
            let mut net = net();
            net.linear2.weight[3][5] = value;
            let error = quantize(&net, &none()).unwrap_err();
            assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains(words), "{error}");
        }
    }
}
