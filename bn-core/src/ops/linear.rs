//! Fully connected layer: `output[o] = bias[o] + sum over i of weight[o][i] * input[i]`.

use crate::lenet::Linear;

/// Integer parameters of a linear layer, read in place from a weights.bin.
#[derive(Clone, Copy, Debug)]
pub struct LinearInt8<'a, const I: usize, const O: usize> {
    /// `[out_features][in_features]`, magnitude at most [`LINEAR_WEIGHT_MAX`](crate::quant::LINEAR_WEIGHT_MAX).
    pub weight: &'a [[i8; I]; O],
    /// Start value of each output's accumulator.
    pub bias: &'a [i32; O],
    /// Each output's factor for [`requantize`](crate::quant::requantize).
    pub multiplier: &'a [i32; O],
}

/// Sums that a dot product keeps side by side, so that a compiler can use vectors without reordering what is written here.
const LANES: usize = 8;

/// `input [I]` to `output [O]`.
pub fn linear_f32<const I: usize, const O: usize>(input: &[f32; I], layer: &Linear<I, O>, output: &mut [f32; O]) {
    for o in 0..O {
        let (weights, weights_rest) = layer.weight[o].as_chunks::<LANES>();
        let (inputs, inputs_rest) = input.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for (weights, inputs) in weights.iter().zip(inputs) {
            for lane in 0..LANES {
                lanes[lane] += weights[lane] * inputs[lane];
            }
        }
        let rest: f32 = weights_rest.iter().zip(inputs_rest).map(|(w, x)| w * x).sum();
        output[o] = layer.bias[o] + lanes.iter().sum::<f32>() + rest;
    }
}

/// `input [I]` to accumulators, each handed to `store(o, accumulator)` when complete.
///
/// A model that was parsed has proved that no accumulator leaves i32, whatever the input.
#[inline(always)]
pub fn linear_int8<T: Copy + Into<i32>, const I: usize, const O: usize>(
    input: &[T; I],
    layer: &LinearInt8<'_, I, O>,
    mut store: impl FnMut(usize, i32),
) {
    for o in 0..O {
        let products = layer.weight[o].iter().zip(input).map(|(&weight, &x)| i32::from(weight) * x.into());
        store(o, layer.bias[o] + products.sum::<i32>());
    }
}
