//! The scale of a tensor: its range on the calibration inputs and a little more, and tables of activations.

use bn_core::kernels::packed::HALVES;
use bn_core::network::{Activation, Shape};
use bn_core::quant::SIGMOID_LEN;
use bn_core::quant::Scale;

use super::Target;

/// By how much more codes span than the calibration inputs do: others go a little further, and what is clipped costs most. Ranges
/// below that of the calibration inputs, chosen by squared error, were worse on inputs that were not calibrated on.
const ROOM: f64 = 1.05;
/// The largest code.
const MAX: f64 = 255.0;
/// By how much more an output of 16 bits spans than its layer's weights allow before they are rounded.
const HALF_ROOM: f64 = 1.02;

/// What a tensor's codes mean, by channel: `(code - zero) * scale`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Codes {
    pub(crate) scale: Vec<f64>,
    /// The code of 0; of a network's input it need not be whole.
    pub(crate) zero: Vec<f64>,
}

impl Codes {
    /// The same for all channels.
    pub(super) fn uniform(scale: f64, zero: i32, channels: usize) -> Self {
        Self { scale: vec![scale; channels], zero: vec![zero.into(); channels] }
    }

    /// As a file says it: of the first channel.
    pub(super) fn scale(&self) -> Scale {
        Scale { scale: self.scale[0] as f32, zero_point: self.zero[0].round() as i32 }
    }

    /// The codes that padding takes.
    pub(super) fn zeros(&self) -> Vec<u8> {
        self.zero.iter().map(|zero| zero.round().clamp(0.0, MAX) as u8).collect()
    }

    /// The largest magnitude that a code means.
    pub(super) fn largest(&self) -> f64 {
        let each = self.scale.iter().zip(&self.zero);
        each.map(|(scale, zero)| scale * zero.abs().max((MAX - zero).abs())).fold(0.0, f64::max)
    }

    /// Of a map's values in a row.
    pub(super) fn flat(&self, shape: Shape) -> Self {
        let each = |of: &[f64]| of.iter().flat_map(|&v| vec![v; shape.height * shape.width]).collect();
        Self { scale: each(&self.scale), zero: each(&self.zero) }
    }

    /// Whether all channels mean the same, and 0 is a code.
    pub(super) fn is_uniform(&self) -> bool {
        let same = |of: &[f64]| of.iter().all(|v| *v == of[0]);
        same(&self.scale) && same(&self.zero) && self.zero[0].fract() == 0.0
    }
}

/// Smallest and largest of 0 and some values.
fn ends(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([0.0, 0.0], |[low, high], v| [f64::min(low, v), f64::max(high, v)])
}

/// Scale and code of zero of values whose ends those are, none of which can exceed `most`.
fn span(ends: [f64; 2], most: f64) -> [f64; 2] {
    let [low, high] = ends.map(|end| (ROOM * end).min(most));
    let scale = ((high - low) / MAX).max(f64::from(f32::MIN_POSITIVE) * MAX);
    // As a file holds it.
    let scale = f64::from(scale as f32);
    [scale, (-low / scale).round().clamp(0.0, MAX)]
}

/// Scale and code of zero of a tensor that is given before its activation.
pub(super) fn choose(pre: &[f32], activation: Option<Activation>) -> [f64; 2] {
    // So the largest code of ReLU6 is at most 6, and kernels clamp to all codes whatever the activation.
    let most = if activation == Some(Activation::Relu6) { 6.0 } else { f64::INFINITY };
    span(ends(pre.iter().map(|&v| activate(activation, v.into()))), most)
}

/// Of raw inputs: whole numbers from 0 to 255 are codes.
pub(super) fn of_raw(values: &[f32]) -> Scale {
    if values.iter().all(|v| v.fract() == 0.0 && (0.0..=255.0).contains(v)) {
        return Scale { scale: 1.0, zero_point: 0 };
    }
    let [scale, zero] = span(ends(values.iter().map(|&v| f64::from(v))), f64::INFINITY);
    Scale { scale: scale as f32, zero_point: zero as i32 }
}

/// The unit of results of 16 bits, none of which is larger, with a little room for what rounding adds; not below `finest`.
pub(super) fn half_unit(largest: f64, finest: f64) -> f64 {
    let unit = (HALF_ROOM * largest / f64::from(HALVES[1])).max(finest);
    // As a file holds it.
    f64::from((unit as f32).max(f32::MIN_POSITIVE))
}

/// An activation.
pub(super) fn activate(activation: Option<Activation>, x: f64) -> f64 {
    match activation {
        None => x,
        Some(Activation::Relu) => x.max(0.0),
        Some(Activation::Relu6) => x.clamp(0.0, 6.0),
        Some(Activation::LeakyRelu { slope }) => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        Some(Activation::Sigmoid) => 1.0 / (1.0 + (-x).exp()),
        Some(Activation::Tanh) => x.tanh(),
        Some(Activation::HardSigmoid { slope }) => (f64::from(slope) * x + 0.5).clamp(0.0, 1.0),
        Some(Activation::HardSwish) => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Some(other) => unreachable!("bn-core has no activation {other:?}"),
    }
}

/// Where an activation is flat from on, below and above.
fn flat(activation: Activation) -> [f64; 2] {
    match activation {
        Activation::Sigmoid => [-8.0, 8.0],
        Activation::Tanh => [-4.5, 4.5],
        Activation::HardSigmoid { slope } => [-0.5 / f64::from(slope.abs()), 0.5 / f64::from(slope.abs())],
        Activation::HardSwish => [-3.0, f64::INFINITY],
        _ => [f64::NEG_INFINITY, f64::INFINITY],
    }
}

/// A table over what stands before an activation, and the scale of what it gives.
pub(super) fn table(activation: Activation, pre: &[f32], channels: usize) -> Target {
    let [low, high] = ends(pre.iter().map(|&v| f64::from(v)));
    let [below, above] = flat(activation);
    // A little room for what errors add.
    let margin = (high - low) / 64.0;
    let (low, high) = ((low - margin).max(below), (high + margin).min(above));
    let step = ((high - low) / SIGMOID_LEN as f64).max(1e-30);
    let [scale, zero] = choose(pre, Some(activation));
    let entry = |i: usize| {
        let y = activate(Some(activation), low + (i as f64 + 0.5) * step);
        (y / scale + zero).round().clamp(0.0, MAX) as u8
    };
    Target {
        unit: step,
        // An index is rounded to nearest; entry `i` stands for all from `i` to `i + 1`.
        zero: -low / step - 0.5,
        range: [0, SIGMOID_LEN as i32 - 1],
        table: Some((0..SIGMOID_LEN).map(entry).collect()),
        output: Codes::uniform(scale, zero as i32, channels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_zero_and_spends_its_codes() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 / 999.0) * 3.0 - 1.0).collect();
        let [scale, zero] = choose(&values, None);
        assert!((scale - 1.05 * 3.0 / 255.0).abs() < 1e-7 && zero == 85.0, "{scale} {zero}");
        let [scale, zero] = choose(&values, Some(Activation::Relu));
        assert!((scale - 1.05 * 2.0 / 255.0).abs() < 1e-7 && zero == 0.0, "{scale} {zero}");
        assert_eq!(choose(&[0.0; 9], None)[1], 0.0);
    }

    #[test]
    fn pixels_are_codes_as_they_are() {
        assert_eq!(of_raw(&[0.0, 3.0, 255.0]), Scale { scale: 1.0, zero_point: 0 });
        assert!(of_raw(&[0.0, 3.5, 255.0]).scale > 1.04);
        assert_ne!(of_raw(&[-1.0, 3.0]).zero_point, 0);
    }

    #[test]
    fn a_table_is_its_activation_in_codes() {
        let pre: Vec<f32> = (-100..=100).map(|i| i as f32 / 20.0).collect();
        let Target { unit, zero, table, output, .. } = table(Activation::HardSwish, &pre, 1);
        let table = table.unwrap();
        for x in [-5.0, -3.0, -1.5, 0.0, 0.3, 2.0, 5.0] {
            let index = (x / unit + zero + 0.5).floor().clamp(0.0, 1023.0) as usize;
            let y = (f64::from(table[index]) - output.zero[0]) * output.scale[0];
            let wanted = activate(Some(Activation::HardSwish), x);
            assert!((y - wanted).abs() <= output.scale[0] + unit, "{x}: {y} for {wanted}");
        }
    }
}
