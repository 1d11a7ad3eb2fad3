//! Linear layers: one symmetric scale an output, and the integers, both chosen by what they cost on the calibration images.
//!
//! The largest weight need not be the largest integer: clipping it makes the steps of all others smaller. The scale is
//! floored where an output is so small (a dead one: gamma near 0) that its bias, counted in steps of the accumulator, would
//! leave i32.

use bn_core::kernels::linear::BLOCK;
use bn_core::quant::{LINEAR_UNIT, LINEAR_WEIGHT_MAX, Pair, pack_weights, unpack_weights};

use super::rounding::{Covariance, Rounded, by_cost, by_pairs, nearest};
use super::{LayerReport, MULTIPLIER_ONE, Noise, Source, max_magnitude, scale_does_not_fit};
use crate::cores::each;
use crate::error::Result;

/// Largest bias of a linear layer in steps of the accumulator. The widest layer's products (256 * 256 of 127 by 127) stay
/// below it too, so that both together stay inside i32.
const BIAS_MAX: f64 = (1_u64 << 30) as f64;
/// Smallest multiplier that an output is given; below, the multiplier's own rounding would be felt.
const MULTIPLIER_MIN: f64 = 256.0;
/// Shares of the largest weight that may become the largest integer, tried in turn; a tie goes to the first. The first is
/// min-max calibration, the others cover what percentiles and the least squared error would choose.
const CLIPS: [f64; 13] = [1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8, 0.75, 0.7, 0.65, 0.6];

/// What the accumulators of a linear layer turn into.
#[derive(Clone, Copy)]
pub(super) struct Output {
    /// Added to the bias: the distance from the start of the sigmoid's table to 0, to the middle of its first entry.
    pub(super) offset: f64,
    /// Value of one unit after `requantize`.
    pub(super) step: f64,
}

/// A linear layer's integers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Integers {
    /// `[outputs][inputs]`.
    pub(super) weight: Vec<i8>,
    /// `[outputs]`.
    pub(super) bias: Vec<i32>,
    /// `[outputs]`.
    pub(super) multiplier: Vec<i32>,
}

/// One output's scale and integers.
struct Row {
    scale: f64,
    clip: f64,
    rounded: Rounded,
    /// What min-max and the nearest integers would cost.
    plain: f64,
}

impl Source<'_> {
    pub(super) fn linear(&self, output: Output) -> Result<(Integers, LayerReport)> {
        self.check_finite()?;
        let (mut result, mut report) = (Integers::default(), self.report());
        let mut noise = Noise::default();
        let mut costs = [0.0; 2];
        for (weight, bias, row) in self.rows(output) {
            let Row { scale, clip, rounded, plain } = row?;
            costs = [costs[0] + rounded.cost, costs[1] + plain];
            let unit = self.unit(scale);
            result.multiplier.push((unit / output.step * MULTIPLIER_ONE).round() as i32);
            let mut correction = 0.0;
            for ((&value, &integer), mean) in weight.iter().zip(&rounded.integers).zip(self.input.means) {
                let error = f64::from(integer) * scale - value;
                noise.add(value, error);
                correction += error * (mean - self.input.centre());
                result.weight.push(integer as i8);
            }
            result.bias.push(((bias - correction) / unit).round() as i32);
            report.floored_channels += usize::from(clip > 1.0);
            report.clipped_outputs += usize::from(clip < 1.0);
            report.scale = [report.scale[0].min(scale), report.scale[1].max(scale)];
        }
        report.weight_snr_db = noise.snr_db();
        let [cost, plain] = costs;
        report.cost_left = self.input.covariance.map(|_| if plain > 0.0 { cost / plain } else { 1.0 });
        Ok((result, report))
    }

    /// Every output: its weights, its bias with all that is added to it, and its scale and integers. Outputs do not depend
    /// on each other, so all cores work.
    fn rows(&self, output: Output) -> Vec<(Vec<f64>, f64, Result<Row>)> {
        let channels: Vec<_> = self.channels().collect();
        let of = |(weight, bias): &(&[f32], f64)| {
            let weight: Vec<f64> = weight.iter().map(|&w| f64::from(w)).collect();
            let bias = bias + weight.iter().sum::<f64>() * self.input.centre() + output.offset;
            let row = self.row(&weight, bias, output.step);
            (weight, bias, row)
        };
        each(&channels, of)
    }

    /// Value of one unit of a linear accumulator whose weights have this scale.
    fn unit(&self, scale: f64) -> f64 {
        scale / f64::from(self.input.one) / f64::from(LINEAR_UNIT)
    }

    /// The scale and integers of one output that cost least.
    fn row(&self, weight: &[f64], bias: f64, step: f64) -> Result<Row> {
        let max = i32::from(LINEAR_WEIGHT_MAX);
        let wanted = weight.iter().fold(0.0, |max, w| f64::max(max, w.abs())) / f64::from(max);
        let for_bias = bias.abs() / BIAS_MAX / self.unit(1.0);
        let for_multiplier = MULTIPLIER_MIN / MULTIPLIER_ONE * step / self.unit(1.0);
        let floor = for_bias.max(for_multiplier);
        if self.unit(wanted.max(floor)) / step * MULTIPLIER_ONE >= f64::from(i32::MAX) {
            return Err(scale_does_not_fit(self.layer, max_magnitude(self.weight).max(bias.abs())));
        }
        let plain = |covariance: &Covariance| nearest(weight, wanted.max(floor), max, covariance);
        let Some(covariance) = self.input.covariance else {
            let rounded = plain(&Covariance::identity(weight.len()));
            let clip = if wanted < floor { f64::INFINITY } else { 1.0 };
            return Ok(Row { scale: wanted.max(floor), clip, plain: rounded.cost, rounded });
        };
        let plain = plain(covariance).cost;
        let rows = CLIPS.iter().filter(|&&clip| clip == 1.0 || clip * wanted > floor).map(|&clip| {
            let scale = (clip * wanted).max(floor);
            Row { scale, clip: scale / wanted, rounded: by_cost(weight, scale, max, covariance), plain }
        });
        let best = rows.reduce(|best, row| if row.rounded.cost < best.rounded.cost { row } else { best });
        let mut best = best.expect("the first of the clips is always tried");
        best.rounded = by_pairs(weight, best.scale, max, covariance);
        Ok(best)
    }
}

impl Integers {
    /// Of a stream of `inputs` and `outputs`.
    pub(super) fn load<const QUADS: usize, const BLOCKS: usize>(
        weight: &[[[Pair; BLOCK]; QUADS]; BLOCKS],
        bias: &[[i32; BLOCK]; BLOCKS],
        multiplier: &[[i32; BLOCK]; BLOCKS],
        [inputs, outputs]: [usize; 2],
    ) -> Self {
        let mut weights = Vec::with_capacity(inputs * outputs);
        for output in 0..outputs {
            let quads = weight[output / BLOCK].iter().map(|outputs| outputs[output % BLOCK]);
            weights.extend(quads.flat_map(unpack_weights).take(inputs).map(|w| w as i8));
        }
        let of = |values: &[[i32; BLOCK]; BLOCKS]| values.as_flattened()[..outputs].to_vec();
        Self { weight: weights, bias: of(bias), multiplier: of(multiplier) }
    }

    /// Into a stream.
    pub(super) fn store<const QUADS: usize, const BLOCKS: usize>(
        &self,
        weight: &mut [[[Pair; BLOCK]; QUADS]; BLOCKS],
        bias: &mut [[i32; BLOCK]; BLOCKS],
        multiplier: &mut [[i32; BLOCK]; BLOCKS],
    ) {
        bias.as_flattened_mut()[..self.bias.len()].copy_from_slice(&self.bias);
        multiplier.as_flattened_mut()[..self.multiplier.len()].copy_from_slice(&self.multiplier);
        let fan_in = self.weight.len() / self.bias.len();
        for (output, row) in self.weight.chunks_exact(fan_in).enumerate() {
            for (quad, &weights) in row.as_chunks().0.iter().enumerate() {
                weight[output / BLOCK][quad][output % BLOCK] = pack_weights(weights);
            }
        }
    }
}
