//! Fully connected layer: `output[o] = bias[o] + sum over i of weight[o][i] * input[i]`.

use crate::lenet::Linear;

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
