//! Steps without weights that change what codes mean: means and sums.

use bn_core::kernels::add::{MULTIPLIER_MAX, SHIFT_MAX};
use bn_core::kernels::pool::{MEAN_UNIT, Pool};
use bn_core::plan::{Kernel, Layer, Step};

use super::integers::Integers;
use super::range::Codes;
use super::{Made, Quantizer, Target};
use crate::error::Result;
use crate::quantize::MULTIPLIER_ONE;

impl Quantizer<'_> {
    pub(super) fn mean(&self, layer: &Layer, step: &Step, shape: &Pool) -> Made {
        let input = &self.read(step).codes;
        let counts = shape.mean_words() - 4;
        let count = |n: usize| if counts == 1 { shape.window.taps() } else { n };
        // A code of its own for 0 is what a mean of several values can use better.
        let (scale, zero, target) = if input.is_uniform() {
            let finest = input.scale[0] / (f64::from(MEAN_UNIT) * count(1) as f64) * 4.0;
            let target = self.target(layer, [input.largest(), finest]);
            (input.scale[0], input.zero[0], Some(target))
        } else {
            (1.0, 0.0, None)
        };
        let (unit, to, range) = target.as_ref().map_or((1.0, 0.0, [0, 255]), |t| (t.unit, t.zero, t.range));
        let multiplier = |n: usize| {
            let factor = scale / unit / f64::from(MEAN_UNIT) / count(n) as f64;
            ((factor * MULTIPLIER_ONE).round() as i64).clamp(1, i32::MAX.into()) as u32
        };
        let mut stream = vec![range[0] as u32, range[1] as u32, zero as u32, to as i32 as u32];
        stream.extend((1..=counts).map(multiplier));
        let output = target.map_or_else(|| input.clone(), |target| target.output);
        Made { integers: Integers::Alike(stream), table: None, output, learned: None }
    }

    pub(super) fn add(&self, layer: &Layer, step: &Step) -> Result<Made> {
        let (Kernel::Add(_), Some(other)) = (layer.kernel, layer.other) else { unreachable!("a sum") };
        let terms: [&Codes; 2] = [layer.reads, other].map(|value| &self.tensor(value).codes);
        if !terms.iter().all(|codes| codes.is_uniform()) {
            return Err(self.refuse(step, "adds the network's input, whose channels have scales of their own"));
        }
        let scales = terms.map(|codes| codes.scale[0]);
        let largest = scales[0].max(scales[1]);
        let ends = [terms[0].largest() + terms[1].largest(), largest / f64::from(1 << 16)];
        let Target { unit, zero, range, table, output } = self.target(layer, ends);
        let bits = (f64::from(MULTIPLIER_MAX) * unit / largest).log2().floor().clamp(0.0, f64::from(SHIFT_MAX));
        let one = bits.exp2();
        let multipliers = scales.map(|scale| (scale / unit * one).round().max(1.0));
        let zeros: f64 = (0..2).map(|term| multipliers[term] * terms[term].zero[0]).sum();
        let start = (zero * one - zeros + one / 2.0).floor();
        let fits = start.abs() < f64::from(1 << 30) && multipliers.iter().all(|&m| m <= f64::from(MULTIPLIER_MAX));
        if !fits {
            return Err(self.refuse(step, "adds numbers too large for an integer scale"));
        }
        let stream = vec![
            range[0] as u32,
            range[1] as u32,
            multipliers[0] as u32,
            multipliers[1] as u32,
            start as i32 as u32,
            bits as u32,
        ];
        Ok(Made { integers: Integers::Alike(stream), table, output, learned: None })
    }
}
