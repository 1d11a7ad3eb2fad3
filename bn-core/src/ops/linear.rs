//! Fully connected layer: `output[o] = bias[o] + sum over i of weight[o][i] * input[i]`.

use crate::lenet::Linear;
use crate::quant::{Pair, Quad};

/// Outputs that are computed side by side.
pub const BLOCK: usize = 4;

/// Integer parameters of a linear layer, read in place from a weights.bin: `QUADS` times four inputs, `BLOCKS` times four
/// outputs. What a layer lacks to whole quads and blocks is zero.
#[derive(Clone, Copy, Debug)]
pub struct LinearInt8<'a, const QUADS: usize, const BLOCKS: usize> {
    /// `[block][quad][output of the block]`, four weights each: [`pack_weights`](crate::quant::pack_weights).
    pub weight: &'a [[[Pair; BLOCK]; QUADS]; BLOCKS],
    /// Start value of each output's accumulator, times 256.
    pub bias: &'a [[i32; BLOCK]; BLOCKS],
    /// Each output's factor for [`requantize`](crate::quant::requantize).
    pub multiplier: &'a [[i32; BLOCK]; BLOCKS],
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

/// Inputs to accumulators, times 256, each block handed to `store(block, accumulators)` when complete.
///
/// A model that was parsed has proved that no accumulator leaves i32, whatever the input.
#[inline(always)]
pub fn linear_int8<const QUADS: usize, const BLOCKS: usize>(
    input: &[Quad; QUADS],
    layer: &LinearInt8<'_, QUADS, BLOCKS>,
    mut store: impl FnMut(usize, [i32; BLOCK]),
) {
    for block in 0..BLOCKS {
        let mut accumulators = layer.bias[block];
        for (weights, quad) in layer.weight[block].iter().zip(input) {
            for o in 0..BLOCK {
                accumulators[o] = accumulators[o].wrapping_add(quad.dot(&weights[o]));
            }
        }
        store(block, accumulators);
    }
}
