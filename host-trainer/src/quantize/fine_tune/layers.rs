//! The three linear layers while they are fine-tuned: weights before rounding, the integer forward pass, the backward pass.
//!
//! The forward pass is the device's. Its sums are taken in f32, where they are exact: at most 256 products of two integers up
//! to 127 stay below 2^24. What follows a sum, bias, requantising and table, is [`bn_core::quant`]'s own code.
//!
//! Going back, rounding counts as the identity (the straight-through estimator; Bengio, Leonard and Courville 2013,
//! "Estimating or Propagating Gradients Through Stochastic Neurons"), and a table has the slope of the sigmoid it samples.

use bn_core::quant::{
    ACTIVATION_MAX, ACTIVATION_ONE, LINEAR_UNIT, LINEAR_WEIGHT_MAX, SIGMOID_LEN, SIGMOID_RANGE, SIGMOID_STEP,
    linear_index, requantize,
};
use ndarray::{Array1, Array2, Axis, Zip};

use crate::engine::steps::{ADAM_EPS, BETA1, BETA2, Coefficients};
use crate::quantize::MULTIPLIER_ONE;
use crate::quantize::linear::Integers;

/// Units of a bias in a step of it: what one step of a weight adds whose input is 1.0. So weights and biases share a rate.
const BIAS_STEP: f64 = (LINEAR_UNIT * ACTIVATION_MAX as i32) as f64;
/// Farthest that a weight may start from its integer, in steps: short of the edge where it would round to the next.
const START: f64 = 0.49;

/// One linear layer.
pub(super) struct Layer {
    /// `[outputs][inputs]` in steps. The integers are these, rounded.
    weight: Array2<f32>,
    /// `[outputs]`, in [`BIAS_STEP`]s, since the start.
    bias: Array1<f32>,
    /// `[outputs]`, the stored biases of the start; [`bias`](Self::bias) is what has been added.
    bias_start: Vec<i32>,
    multiplier: Vec<i32>,
    moments: [Moments; 2],
}

/// What Adam remembers of the weights or of the biases: `m` and `v`.
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

/// What a backward pass needs of a layer's forward pass.
pub(super) struct Pass {
    /// `[images][inputs]`, integers.
    input: Array2<f32>,
    /// `[outputs][inputs]`, integers.
    weight: Array2<f32>,
    /// `[images][outputs]`, before requantising.
    pub(super) accumulators: Array2<i32>,
}

/// Gradients of a layer's parameters, in their steps.
pub(super) struct Gradients {
    weight: Array2<f32>,
    bias: Array1<f32>,
}

impl Layer {
    /// Starts at the integers of a file. `wanted` are the weights in f32 that they stand for, `[outputs][inputs]`, and `unit`
    /// is the value of one after requantising: a weight starts as near to what was wanted as leaves its integer alone.
    pub(super) fn new(integers: &Integers, wanted: &[f32], unit: f64) -> Self {
        let (outputs, inputs) = (integers.bias.len(), integers.weight.len() / integers.bias.len());
        let start = |at: usize| {
            let integer = f64::from(integers.weight[at]);
            let step = f64::from(integers.multiplier[at / inputs]) / MULTIPLIER_ONE * unit;
            let exact = f64::from(wanted[at]) / (step * f64::from(LINEAR_UNIT) * f64::from(ACTIVATION_ONE));
            exact.clamp(integer - START, integer + START) as f32
        };
        let weight = Array2::from_shape_fn((outputs, inputs), |(o, i)| start(o * inputs + i));
        let moments = |len: usize| Moments { first: vec![0.0; len], second: vec![0.0; len] };
        Self {
            weight,
            bias: Array1::zeros(outputs),
            bias_start: integers.bias.clone(),
            multiplier: integers.multiplier.clone(),
            moments: [moments(outputs * inputs), moments(outputs)],
        }
    }

    /// Moves each weight by what `by` draws, in steps.
    #[cfg(test)]
    pub(super) fn disturb(&mut self, mut by: impl FnMut() -> f32) {
        let max = f32::from(LINEAR_WEIGHT_MAX);
        self.weight.mapv_inplace(|w| (w + by()).clamp(-max, max));
    }

    /// What would be stored.
    pub(super) fn integers(&self) -> Integers {
        Integers {
            weight: self.weight.iter().map(|&w| rounded(w) as i8).collect(),
            bias: (0..self.bias.len()).map(|output| self.bias_of(output)).collect(),
            multiplier: self.multiplier.clone(),
        }
    }

    fn bias_of(&self, output: usize) -> i32 {
        let moved = (f64::from(self.bias[output]) * BIAS_STEP).round() as i32;
        self.bias_start[output].saturating_add(moved)
    }

    /// Inputs `[images][inputs]`, centred integers, to accumulators.
    pub(super) fn forward(&self, input: Array2<f32>) -> Pass {
        let weight = self.weight.mapv(rounded);
        let biases: Vec<i32> = (0..self.bias.len()).map(|output| self.bias_of(output)).collect();
        let sums = input.dot(&weight.t());
        let mut accumulators = Array2::zeros(sums.dim());
        for (mut row, sums) in accumulators.outer_iter_mut().zip(sums.outer_iter()) {
            for ((accumulator, &sum), bias) in row.iter_mut().zip(sums).zip(&biases) {
                *accumulator = (sum as i32 * LINEAR_UNIT).wrapping_add(*bias);
            }
        }
        Pass { input, weight, accumulators }
    }

    /// Accumulators to activations, centred integers: the model's `table`.
    pub(super) fn activations(&self, pass: &Pass, table: &[i8; SIGMOID_LEN]) -> Array2<f32> {
        self.map(pass, |accumulator, multiplier| f32::from(table[linear_index(accumulator, multiplier)]))
    }

    /// Accumulators to logits.
    pub(super) fn logits(&self, pass: &Pass) -> Array2<i32> {
        self.map(pass, requantize)
    }

    /// How fast an activation rises with a sum of products: 254 times the sigmoid's derivative where the sum lies.
    pub(super) fn sigmoid_slopes(&self, pass: &Pass) -> Array2<f32> {
        self.map(pass, |accumulator, multiplier| {
            let scale = f64::from(multiplier) / MULTIPLIER_ONE * SIGMOID_STEP;
            let z = f64::from(accumulator) * scale - SIGMOID_RANGE + SIGMOID_STEP / 2.0;
            let sigmoid = 1.0 / (1.0 + (-z as f32).exp());
            f32::from(ACTIVATION_ONE) * sigmoid * (1.0 - sigmoid) * (scale * f64::from(LINEAR_UNIT)) as f32
        })
    }

    /// How fast a logit of this value rises with a sum of products.
    pub(super) fn logit_slopes(&self, pass: &Pass, unit: f64) -> Array2<f32> {
        let scale = unit * f64::from(LINEAR_UNIT) / MULTIPLIER_ONE;
        self.map(pass, |_, multiplier| (f64::from(multiplier) * scale) as f32)
    }

    fn map<T: Default + Clone>(&self, pass: &Pass, of: impl Fn(i32, i32) -> T) -> Array2<T> {
        let mut result = Array2::from_elem(pass.accumulators.dim(), T::default());
        for (mut row, accumulators) in result.outer_iter_mut().zip(pass.accumulators.outer_iter()) {
            for ((value, &accumulator), &multiplier) in row.iter_mut().zip(accumulators).zip(&self.multiplier) {
                *value = of(accumulator, multiplier);
            }
        }
        result
    }

    /// Takes a step of Adam against the gradients.
    pub(super) fn step(&mut self, gradients: &Gradients, coefficients: &Coefficients) {
        let [weight_moments, bias_moments] = &mut self.moments;
        let weight = self.weight.as_slice_mut().expect("it was made in order");
        weight_moments.step(weight, gradients.weight.iter(), coefficients);
        let max = f32::from(LINEAR_WEIGHT_MAX);
        weight.iter_mut().for_each(|w| *w = w.clamp(-max, max));
        let bias = self.bias.as_slice_mut().expect("it was made in order");
        bias_moments.step(bias, gradients.bias.iter(), coefficients);
    }
}

impl Moments {
    fn step<'a>(&mut self, values: &mut [f32], gradients: impl Iterator<Item = &'a f32>, with: &Coefficients) {
        let [beta1, beta2, eps] = [BETA1, BETA2, ADAM_EPS].map(|v| v as f32);
        let (rate, root) = (with.rate as f32, with.root as f32);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, &gradient), (first, second)) in values.iter_mut().zip(gradients).zip(moments) {
            *first = beta1 * *first + (1.0 - beta1) * gradient;
            *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
            *value -= rate * *first / (root * second.sqrt() + eps);
        }
    }
}

impl Pass {
    /// From the gradient of each sum of products to the parameters' and the inputs'.
    pub(super) fn backward(&self, d_sums: &Array2<f32>) -> (Gradients, Array2<f32>) {
        // A step of a bias is 127 of what a sum of products counts.
        let bias = d_sums.sum_axis(Axis(0)) * f32::from(ACTIVATION_MAX);
        (Gradients { weight: d_sums.t().dot(&self.input), bias }, d_sums.dot(&self.weight))
    }
}

/// The product, element by element.
pub(super) fn times(mut a: Array2<f32>, b: &Array2<f32>) -> Array2<f32> {
    Zip::from(&mut a).and(b).for_each(|a, b| *a *= b);
    a
}

fn rounded(weight: f32) -> f32 {
    weight.round_ties_even()
}
