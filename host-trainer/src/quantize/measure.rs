//! How the integer layers do beside the f32 ones, on the calibration images: what the device's own code leaves behind each
//! layer, compared with the folded network's activations.

use bn_core::file::{Arena, WeightsFile};
use bn_core::infer::{self, ScratchF32};
use bn_core::lenet::{CONV1_CHANNELS, CONV2_CHANNELS, LINEAR1, LINEAR2};
use bn_core::plan::Form;
use bn_core::quant::{ACTIVATION_MAX, ACTIVATION_ONE, POOLED_ONE, Pair, Quad};
use bn_core::{CLASSES, FoldedLeNet, Image, LeNet};
use serde::Serialize;

use super::Layer;

/// LeNet's layers.
const LAYERS: [Layer; 5] = [Layer::Conv1, Layer::Conv2, Layer::Linear1, Layer::Linear2, Layer::Linear3];

/// Channels or outputs of the five layers.
const CHANNELS: [usize; 5] = [CONV1_CHANNELS, CONV2_CHANNELS, LINEAR1, LINEAR2, CLASSES];

/// What a step's outputs are, behind its activation and pool. Errors are the whole network's up to
/// there, not the layer's alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Activations {
    /// Name of the step.
    pub layer: String,
    /// Smallest and largest in f32.
    pub range: [f64; 2],
    /// Share of the integers at either end of what they can be; of the logits none.
    pub saturated: f64,
    /// Signal to noise in dB: the variance of the f32 outputs over the mean square of the integers' errors.
    pub snr_db: f64,
    /// Largest error of an integer, in steps of it.
    pub largest_error_lsb: f64,
    /// Smallest and largest factor that folding BatchNorm put on a channel, `|gamma| / sqrt(var + eps)`; nothing for the last
    /// layer, which has none.
    pub fold_gain: Option<[f64; 2]>,
    /// Channels whose outputs all lie within one step of an activation.
    pub dead_channels: usize,
}

/// Sums over the outputs of a layer.
#[derive(Clone)]
pub(super) struct Sums {
    count: f64,
    sum: f64,
    square: f64,
    error: f64,
    largest_error: f64,
    saturated: usize,
    /// Smallest and largest of each channel.
    ranges: Vec<[f64; 2]>,
}

impl Sums {
    pub(super) fn new(channels: usize) -> Self {
        let ranges = vec![[f64::INFINITY, f64::NEG_INFINITY]; channels];
        Self { count: 0.0, sum: 0.0, square: 0.0, error: 0.0, largest_error: 0.0, saturated: 0, ranges }
    }

    /// One image's outputs, channel after channel: f32, and integers, by channel `(integer - zero) * step`, of which `ends` are the
    /// first and the last.
    pub(super) fn add(&mut self, truth: &[f32], integers: &[i32], meaning: impl Fn(usize) -> [f64; 2], ends: [i32; 2]) {
        let run = truth.len() / self.ranges.len();
        for (i, (&truth, &integer)) in truth.iter().zip(integers).enumerate() {
            let [step, zero] = meaning(i / run);
            let truth = f64::from(truth);
            let error = (f64::from(integer) - zero) * step - truth;
            self.count += 1.0;
            self.sum += truth;
            self.square += truth * truth;
            self.error += error * error;
            self.largest_error = self.largest_error.max(error.abs() / step);
            self.saturated += usize::from(ends.contains(&integer));
            let [low, high] = &mut self.ranges[i / run];
            (*low, *high) = (low.min(truth), high.max(truth));
        }
    }

    /// What they say of a step of that name, an activation of which has steps of that value.
    pub(super) fn activations(&self, layer: String, step: f64, fold_gain: Option<[f64; 2]>) -> Activations {
        let mean = self.sum / self.count;
        let signal = self.square / self.count - mean * mean;
        let noise = (self.error / self.count).max(f64::MIN_POSITIVE);
        let whole = |[low, high]: [f64; 2], other: &[f64; 2]| [low.min(other[0]), high.max(other[1])];
        let dead = |[low, high]: &&[f64; 2]| high - low < step;
        Activations {
            layer,
            range: self.ranges.iter().fold([f64::INFINITY, f64::NEG_INFINITY], whole),
            saturated: self.saturated as f64 / self.count,
            snr_db: 10.0 * (signal / noise).log10(),
            largest_error_lsb: self.largest_error,
            fold_gain,
            dead_channels: self.ranges.iter().filter(dead).count(),
        }
    }
}

/// Runs both networks over `images`, of which there is at least one.
pub fn measure(unfolded: &LeNet, folded: &FoldedLeNet, file: &WeightsFile, images: &[Image]) -> Vec<Activations> {
    let (mut truth, mut arena) = (Box::new(ScratchF32::new()), Arena::default());
    let mut sums = CHANNELS.map(Sums::new);
    let (pooled_one, one) = (i32::from(POOLED_ONE), i32::from(ACTIVATION_ONE));
    let of_form = |form| match form {
        Form::PairSums => (1.0 / f64::from(POOLED_ONE), [0, pooled_one]),
        Form::Quads => (1.0 / f64::from(ACTIVATION_ONE), [0, one]),
        _ => (f64::from(file.output_scale().scale), [i32::MIN, i32::MAX]),
    };
    for image in images {
        let logits = infer::folded(folded, image, &mut truth);
        let [pooled1, pooled2, linear1, linear2] = truth.stages();
        let layers = [pooled1, pooled2, linear1, linear2, &logits];
        file.run(image.as_flattened(), &mut arena, |step, output| {
            let form = file.output_form(step);
            let (unit, ends) = of_form(form);
            sums[step].add(layers[step], &values(form, output)[..layers[step].len()], |_| [unit, 0.0], ends);
        });
    }
    let mut gains = fold_gains(unfolded).into_iter();
    let step = 1.0 / f64::from(ACTIVATION_ONE);
    let steps = sums.iter().zip(LAYERS);
    steps.map(|(sums, layer)| sums.activations(layer.to_string(), step, gains.next())).collect()
}

/// The integers of an output, channel after channel, from 0 on: the device's quads are centred.
fn values(form: Form, output: &[u32]) -> Vec<i32> {
    match form {
        Form::PairSums => {
            let maps = bytemuck::cast_slice::<_, Pair>(output).chunks_exact(output.len() * 2 / CONV1_CHANNELS);
            maps.flat_map(|map| {
                let low = map.iter().map(|pair| i32::from(pair.low));
                low.chain(map.iter().map(|pair| i32::from(pair.high))).collect::<Vec<_>>()
            })
            .collect()
        }
        Form::Quads => {
            let quads = bytemuck::cast_slice::<_, Quad>(output).iter().flat_map(|quad| quad.values());
            quads.map(|a| i32::from(a) + i32::from(ACTIVATION_MAX)).collect()
        }
        _ => bytemuck::cast_slice(output).to_vec(),
    }
}

fn fold_gains(net: &LeNet) -> [[f64; 2]; 4] {
    fn gains(gamma: &[f32], var: &[f32], eps: f32) -> [f64; 2] {
        let gain = |(&gamma, &var)| f64::from(f32::abs(gamma)) / (f64::from(var) + f64::from(eps)).sqrt();
        let gains = gamma.iter().zip(var).map(gain);
        gains.fold([f64::INFINITY, 0.0], |[low, high], gain| [low.min(gain), high.max(gain)])
    }
    let LeNet { bn1, bn2, bn3, bn4, .. } = net;
    [
        gains(&bn1.gamma, &bn1.running_var, bn1.eps),
        gains(&bn2.gamma, &bn2.running_var, bn2.eps),
        gains(&bn3.gamma, &bn3.running_var, bn3.eps),
        gains(&bn4.gamma, &bn4.running_var, bn4.eps),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_by_hand() {
        let mut sums = Sums::new(2);
        // Channel 0 is 0 and 1, channel 1 is dead at one half; steps of a quarter, the integers miss one value by one step.
        sums.add(&[0.0, 1.0, 0.5, 0.5], &[0, 4, 3, 2], |_| [0.25, 0.0], [0, 4]);
        let a = sums.activations("a".into(), 1.0 / 254.0, None);
        assert_eq!((a.range, a.saturated, a.largest_error_lsb, a.dead_channels), ([0.0, 1.0], 0.5, 1.0, 1));
        let expected = 10.0 * (0.125f64 / (0.0625 / 4.0)).log10();
        assert!((a.snr_db - expected).abs() < 1e-12, "{} {expected}", a.snr_db);
    }
}
