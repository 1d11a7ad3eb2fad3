//! Convolutions, linear and depthwise layers: a scale a channel and integers by what they cost on the codes that the layer meets.

use bn_core::kernels::depthwise3::SHIFT_MULTIPLIER;
use bn_core::kernels::packed::Window;
use bn_core::kernels::{conv, depthwise};
use bn_core::plan::{Kernel, Layer, Step};
use bn_core::quant::LINEAR_WEIGHT_MAX;

use super::affine::Affine;
use super::integers::{Head, Integers};
use super::learn::Wanted;
use super::tensor::Tensor;
use super::{Made, Quantizer, Target, Weights};
use crate::cores::each;
use crate::error::Result;
use crate::quantize::rounding::{Covariance, Rounded, by_cost, by_pairs, nearest};
use crate::quantize::{LayerReport, MULTIPLIER_ONE, Noise};

/// Windows that a layer is looked at through, all calibration inputs together.
const WINDOWS: usize = 4096;
/// The largest fan-in whose integers are chosen by their covariance; above, they are the nearest.
const MOST_FAN_IN: usize = 1024;
/// Shares of the largest weight that may become the largest integer.
const CLIPS: [f64; 9] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7, 0.6];
/// Smallest multiplier that a channel is given; below, the multiplier's own rounding would be felt.
const MULTIPLIER_MIN: f64 = 1024.0;
/// The multiplier of a channel whose weights are all zero.
const MULTIPLIER_OF_NONE: f64 = SHIFT_MULTIPLIER as f64;
/// The largest integer of a weight of 16 bits.
const WIDE_MAX: i32 = 32_767;

/// What a layer meets: by channel group its windows.
struct Seen {
    /// Of each weight's code less its zero the mean.
    means: Vec<f64>,
    /// Of the codes, where the fan-in allows.
    covariance: Option<Covariance>,
}

/// One channel's integers.
struct Row {
    weights: Vec<i32>,
    start: i32,
    multiplier: i32,
    adds: i32,
    scale: f64,
    clip: f64,
    cost: f64,
    plain: f64,
}

/// A map that is added to a channel's results.
#[derive(Clone, Copy)]
struct Added {
    /// Mean of its codes less their zero.
    mean: f64,
    /// What codes mean.
    scale: f64,
    zero: f64,
}

/// What a row is fitted to.
struct Fit<'a> {
    /// Units of the accumulator a product counts as.
    unit: f64,
    /// Largest magnitude of an integer.
    max: i32,
    target: &'a Target,
    /// The code that stands for 0, by weight.
    zeros: &'a [f64],
    /// A scale that all channels of the layer share.
    shared: Option<f64>,
}

impl Quantizer<'_> {
    /// A convolution or linear layer that gives so many channels.
    pub(super) fn conv(&self, layer: &Layer, step: &Step, window: &Window, channels: usize) -> Result<Made> {
        let input = self.read(step);
        let map = window.input;
        let (run, fan_in) = (window.taps(), window.taps() * map.channels);
        let mut affine = Affine::of(self.parameters, layer, map.channels);
        affine.take_codes(&input.codes, |_, k| k / run);
        let zeros: Vec<f64> = (0..fan_in).map(|k| input.codes.zero[k / run]).collect();
        // Weights of 16 bits have nothing to gain from a choice.
        let (max, is_wide) = match layer.kernel {
            Kernel::Pointwise(_) => (WIDE_MAX, true),
            _ => (LINEAR_WEIGHT_MAX.into(), false),
        };
        let seen = self.see(input, window, None, !is_wide);
        let samples = self.sampled_means(layer, window.positions(), input.len());
        let unit: f64 = layer.kernel.unit().into();
        let added = self.added(layer, step, window.positions())?;
        let largest = affine.largest(|_| &zeros) + layer.other.map_or(0.0, |other| self.tensor(other).codes.largest());
        let target = self.target(layer, [largest, finest(&affine, unit, max)]);
        let shared = if is_wide { shared(&affine, &target) } else { None };
        let fit = Fit { unit, max, target: &target, zeros: &zeros, shared };
        let channels: Vec<usize> = (0..channels).collect();
        let rows = each(&channels, |&c| {
            let added = added.as_ref().map(|added| Added { mean: added.0[c], ..added.1 });
            fit.row(&affine.weight[c], affine.bias[c], samples[c], &seen, added)
        });
        let rows = rows.into_iter().collect::<Option<Vec<Row>>>();
        let rows = rows.ok_or_else(|| self.refuse(step, "has weights too large for an integer scale"))?;
        let learned = Some(learned(self.name(step), max, &affine, &rows));
        let made = rows.into_iter().map(|row| conv::Channel {
            start: row.start,
            multiplier: row.multiplier,
            adds: row.adds,
            weights: row.weights.iter().map(|&w| w as i16).collect(),
        });
        let head = Head { range: target.range, zeros: input.codes.zeros() };
        Ok(Made { integers: Integers::Conv(head, made.collect()), table: target.table, output: target.output, learned })
    }

    /// What is added to a convolution's results: the mean by channel of codes less their zero, over the windows that
    /// [`see`](Self::see) looks through, and what codes mean.
    fn added(&self, layer: &Layer, step: &Step, positions: usize) -> Result<Option<(Vec<f64>, Added)>> {
        let Some(other) = layer.other else { return Ok(None) };
        let tensor = self.tensor(other);
        if !tensor.codes.is_uniform() {
            return Err(self.refuse(step, "adds a map whose channels have scales of their own"));
        }
        let (scale, zero) = (tensor.codes.scale[0], tensor.codes.zero[0]);
        let windows: Vec<_> = sampled(positions, tensor.len()).collect();
        let mean = |c: usize| {
            let codes = windows.iter().map(|&(example, at)| f64::from(tensor.example(example).code(c, positions, at)));
            codes.sum::<f64>() / windows.len() as f64 - zero
        };
        let means = (0..self.parameters.network.shape(other).channels).map(mean).collect();
        Ok(Some((means, Added { mean: 0.0, scale, zero })))
    }

    /// A depthwise layer that gives so many channels for each that it reads, or a function of each channel.
    pub(super) fn depthwise(&self, layer: &Layer, step: &Step, window: &Window, multiplier: usize) -> Result<Made> {
        let input = self.read(step);
        let given = window.input.channels * multiplier;
        let mut affine = Affine::of(self.parameters, layer, given);
        let of = |c: usize| c / multiplier;
        affine.take_codes(&input.codes, |c, _| of(c));
        let samples = self.sampled_means(layer, window.positions(), input.len());
        let unit: f64 = layer.kernel.unit().into();
        let zeros = |c: usize| vec![input.codes.zero[of(c)]; window.taps()];
        let target = self.target(layer, [affine.largest(zeros), finest(&affine, unit, WIDE_MAX)]);
        let channels: Vec<usize> = (0..given).collect();
        let may_shift = matches!(layer.kernel, Kernel::Depthwise3(_));
        let shared = if may_shift { shared(&affine, &target) } else { None };
        let rows = each(&channels, |&c| {
            let zeros = zeros(c);
            let fit = Fit { unit, max: WIDE_MAX, target: &target, zeros: &zeros, shared };
            let seen = self.see(input, window, Some(of(c)), false);
            fit.row(&affine.weight[c], affine.bias[c], samples[c], &seen, None)
        });
        let rows = rows.into_iter().collect::<Option<Vec<Row>>>();
        let rows = rows.ok_or_else(|| self.refuse(step, "has weights too large for an integer scale"))?;
        let learned = Some(learned(self.name(step), WIDE_MAX, &affine, &rows));
        let made = rows.into_iter().map(|row| depthwise::Channel {
            start: row.start,
            multiplier: row.multiplier,
            weights: row.weights.iter().map(|&w| w as i16).collect(),
        });
        let head = Head { range: target.range, zeros: input.codes.zeros() };
        Ok(Made {
            integers: Integers::Depthwise(head, made.collect()),
            table: target.table,
            output: target.output,
            learned,
        })
    }

    /// What windows show, of all channels or of one; how codes move together only where integers are chosen by it.
    fn see(&self, input: &Tensor, window: &Window, channel: Option<usize>, chooses: bool) -> Seen {
        let channels = channel.map_or(0..window.input.channels, |c| c..c + 1);
        let fan_in = channels.len() * window.taps();
        let mut rows = Vec::new();
        for (example, position) in sampled(window.positions(), input.len()) {
            let (from, area) = (input.example(example), window.area());
            let [row, column] = [position / window.output[1], position % window.output[1]];
            for c in channels.clone() {
                let zero = input.codes.zero[c];
                let padding = zero.round().clamp(0.0, 255.0);
                window.each(row, column, |at| {
                    rows.push((at.map_or(padding, |at| f64::from(from.code(c, area, at))) - zero) as f32);
                });
            }
        }
        let count = rows.len() / fan_in;
        let mut means = vec![0.0; fan_in];
        for row in rows.chunks_exact(fan_in) {
            means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / count as f64);
        }
        // The fewer windows, the less is known of how inputs move together.
        let own = fan_in as f64 / (fan_in + count) as f64;
        let is_worth = chooses && fan_in <= MOST_FAN_IN;
        let covariance = is_worth.then(|| Covariance::of(&rows, fan_in).towards_its_diagonal(own));
        Seen { means, covariance }
    }

    /// Mean of what each channel should give, over the windows that [`see`](Self::see) looks through.
    fn sampled_means(&self, layer: &Layer, positions: usize, examples: usize) -> Vec<f64> {
        let truth = self.truth.of(layer);
        let size = truth.len() / examples;
        let channels = size / positions;
        let mut means = vec![0.0; channels];
        let windows: Vec<_> = sampled(positions, examples).collect();
        for &(example, position) in &windows {
            for (c, mean) in means.iter_mut().enumerate() {
                *mean += f64::from(truth[example * size + c * positions + position]) / windows.len() as f64;
            }
        }
        means
    }
}

/// Windows by example and position, spread over all.
fn sampled(positions: usize, examples: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = positions * examples;
    // Odd, so that it meets every column and row of the even sizes that maps have.
    let stride = (all / WINDOWS).max(1) | 1;
    (0..all).step_by(stride).map(move |at| (at / positions, at % positions))
}

/// The scale of weights of 16 bits with which the multiplier of every channel is a shift, where there is room for it.
fn shared(affine: &Affine, target: &Target) -> Option<f64> {
    let shift = f64::from(SHIFT_MULTIPLIER) / MULTIPLIER_ONE * target.unit;
    let largest = affine.weight.iter().flatten().fold(0.0, |max, w| f64::max(max, w.abs()));
    (largest <= shift * f64::from(WIDE_MAX)).then_some(shift)
}

/// The smallest unit of an output with which every multiplier fits i32, were the largest weight the largest integer.
fn finest(affine: &Affine, unit: f64, max: i32) -> f64 {
    let largest = affine.weight.iter().flatten().fold(0.0, |max, w| f64::max(max, w.abs()));
    // A row's scale may grow behind this for its bias; twice is room enough.
    largest / f64::from(max) / unit * MULTIPLIER_ONE / f64::from(1 << 30)
}

impl Fit<'_> {
    /// Integers of one channel; `None` where none fit.
    fn row(&self, weight: &[f64], bias: f64, mean: f64, seen: &Seen, added: Option<Added>) -> Option<Row> {
        let reach: f64 = weight.iter().map(|w| w.abs()).sum::<f64>() * 255.0;
        if self.target.table.is_none() && reach < self.target.unit / 2.0 && added.is_none() {
            return self.constant(weight.len(), bias);
        }
        let largest = weight.iter().fold(0.0, |max, w| f64::max(max, w.abs()));
        let wanted = self.shared.unwrap_or(largest / f64::from(self.max));
        let floor = MULTIPLIER_MIN / MULTIPLIER_ONE * self.target.unit * self.unit;
        let mut scale = wanted.max(floor);
        // Where an accumulator could overflow, coarser weights make room.
        for _ in 0..400 {
            let (clip, rounded, plain) = self.round(weight, scale, scale <= wanted, seen);
            let chosen = scale * clip;
            let clip = chosen / wanted;
            let asked = Finish { bias, mean, scale: chosen, integers: &rounded.integers, added };
            if let Some([start, multiplier, adds]) = self.finish(&asked, seen) {
                let Rounded { integers, cost } = rounded;
                return Some(Row { weights: integers, start, multiplier, adds, scale: chosen, clip, cost, plain });
            }
            scale *= 1.1;
        }
        None
    }

    /// A channel that no input moves by half a step.
    fn constant(&self, fan_in: usize, bias: f64) -> Option<Row> {
        let Target { unit, zero, range: [low, high], .. } = *self.target;
        let value = (bias / unit + zero).clamp(f64::from(low) - 1.0, f64::from(high) + 1.0);
        let mut multiplier = MULTIPLIER_OF_NONE;
        while (value * MULTIPLIER_ONE / multiplier).abs() > f64::from(1 << 30) {
            multiplier *= 2.0;
        }
        let fits = multiplier < f64::from(i32::MAX);
        fits.then(|| Row {
            weights: vec![0; fan_in],
            start: (value * MULTIPLIER_ONE / multiplier).round() as i32,
            multiplier: multiplier as i32,
            adds: 0,
            scale: multiplier / MULTIPLIER_ONE * unit * self.unit,
            clip: f64::INFINITY,
            cost: 0.0,
            plain: 0.0,
        })
    }

    /// Integers by what they cost, the share of the scale that is best, and what the nearest integers would cost.
    fn round(&self, weight: &[f64], scale: f64, may_clip: bool, seen: &Seen) -> (f64, Rounded, f64) {
        let Some(covariance) = &seen.covariance else {
            let integers = weight.iter().map(|w| ((w / scale).round() as i32).clamp(-self.max, self.max)).collect();
            return (1.0, Rounded { integers, cost: 0.0 }, 0.0);
        };
        let plain = nearest(weight, scale, self.max, covariance).cost;
        let clips = if may_clip { &CLIPS[..] } else { &CLIPS[..1] };
        let tried = clips.iter().map(|&clip| (clip, by_cost(weight, clip * scale, self.max, covariance)));
        let best = tried.reduce(|best, other| if other.1.cost < best.1.cost { other } else { best });
        let (clip, _) = best.expect("the first of the clips is always tried");
        (clip, by_pairs(weight, clip * scale, self.max, covariance), plain)
    }

    /// Start value, multiplier and factor of what is added, where they and every accumulator fit. The bias takes back what the mean
    /// is off.
    fn finish(&self, asked: &Finish<'_>, seen: &Seen) -> Option<[i32; 3]> {
        let Finish { bias, mean, scale, integers, added } = *asked;
        let Target { unit, zero, .. } = *self.target;
        let products = || integers.iter().map(|&q| f64::from(q));
        let per_unit = self.unit / scale;
        let adds = added.map_or(0.0, |added| (added.scale * per_unit).round());
        let [added_mean, added_zero] = added.map_or([0.0; 2], |added| [added.mean, added.zero]);
        let given = products().zip(&seen.means).map(|(q, mean)| q * scale * mean).sum::<f64>();
        let given: f64 = bias + given + adds / per_unit * added_mean;
        let bias = bias + (mean - given);
        let off: f64 = products().zip(self.zeros).map(|(q, zero)| q * zero).sum();
        let start = ((bias + zero * unit) * per_unit - off * self.unit - adds * added_zero).round();
        let multiplier = (scale / self.unit / unit * MULTIPLIER_ONE).round();
        let [up, down] = [1.0, -1.0].map(|sign| products().map(|q| (sign * q).max(0.0)).sum::<f64>() * 255.0);
        let odd = f64::from(conv::ODD) * products().map(f64::abs).sum::<f64>();
        let most = f64::from(i32::MAX) - 1.0;
        let fits = (1.0..most).contains(&multiplier)
            && start + up * self.unit + 255.0 * adds < most
            && start - down * self.unit > -most
            && (self.unit != f64::from(conv::UNIT) || start.abs() + odd < most);
        fits.then_some([start as i32, multiplier as i32, adds as i32])
    }
}

/// Integers of a channel whose scale and weights are chosen.
struct Finish<'a> {
    bias: f64,
    /// What its results should be on the mean.
    mean: f64,
    scale: f64,
    integers: &'a [i32],
    added: Option<Added>,
}

/// What became of a layer's weights, and what they would be if they need not be whole.
fn learned(layer: String, most: i32, affine: &Affine, rows: &[Row]) -> Weights {
    let (mut noise, mut scale, mut costs) = (Noise::default(), [f64::INFINITY, 0.0_f64], [0.0, 0.0]);
    for (row, weights) in rows.iter().zip(&affine.weight) {
        for (&weight, &integer) in weights.iter().zip(&row.weights) {
            noise.add(weight / row.scale, f64::from(integer) - weight / row.scale);
        }
        scale = [scale[0].min(row.scale), scale[1].max(row.scale)];
        costs = [costs[0] + row.cost, costs[1] + row.plain];
    }
    let report = LayerReport {
        layer,
        weight_bits: i32::BITS - most.leading_zeros() + 1,
        weight_max: affine.weight.iter().flatten().fold(0.0, |max, w| f64::max(max, w.abs())),
        scale,
        weight_snr_db: noise.snr_db(),
        floored_channels: rows.iter().filter(|row| row.clip > 1.0).count(),
        clipped_outputs: rows.iter().filter(|row| row.clip < 1.0).count(),
        cost_left: (costs[1] > 0.0).then(|| costs[0] / costs[1]),
    };
    let wanted = rows.iter().zip(&affine.weight);
    let wanted = wanted.map(|(row, weights)| weights.iter().map(|w| (w / row.scale) as f32).collect()).collect();
    Weights { report, wanted: Wanted { most, rows: wanted } }
}
