//! Linear layers in plain Rust: the specification of every faster path.

use super::{BLOCK, Layer, Stream};
use crate::kernels::CentredTable;
use crate::quant::{Pair, Quad, linear_index, requantize};

/// Adds the products of a block's weights and the inputs to its accumulators, times 256.
///
/// [`Layer::check`] has proved that no accumulator leaves i32, whatever the input.
#[inline(always)]
pub fn accumulate(bias: [i32; BLOCK], weight: &[[Pair; BLOCK]], input: &[Quad]) -> [i32; BLOCK] {
    let mut accumulators = bias;
    for (weights, quad) in weight.iter().zip(input) {
        for o in 0..BLOCK {
            accumulators[o] = accumulators[o].wrapping_add(quad.dot(&weights[o]));
        }
    }
    accumulators
}

/// Accumulators to activations.
#[inline(always)]
fn activate(accumulators: [i32; BLOCK], multiplier: [i32; BLOCK], table: &CentredTable) -> Quad {
    Quad::new(core::array::from_fn(|o| table[linear_index(accumulators[o], multiplier[o])]))
}

/// A layer (BatchNorm folded) and its sigmoid. Quads of `output` beyond the layer's blocks become zero.
#[inline(never)]
pub fn sigmoid<const QUADS: usize, const BLOCKS: usize, const OUT: usize>(
    stream: &Stream<'_, QUADS, BLOCKS>,
    table: &CentredTable,
    input: &[Quad; QUADS],
    output: &mut [Quad; OUT],
) {
    const { assert!(OUT >= BLOCKS, "each block of outputs is a quad of the next layer") }
    for block in 0..BLOCKS {
        let accumulators = accumulate(stream.bias[block], &stream.weight[block], input);
        output[block] = activate(accumulators, stream.multiplier[block], table);
    }
    output[BLOCKS..].fill(Quad::new([0; 4]));
}

/// A layer whose outputs are the network's.
#[inline(never)]
pub fn logits<const QUADS: usize, const BLOCKS: usize>(
    stream: &Stream<'_, QUADS, BLOCKS>,
    input: &[Quad; QUADS],
    logits: &mut [[i32; BLOCK]; BLOCKS],
) {
    for block in 0..BLOCKS {
        let accumulators = accumulate(stream.bias[block], &stream.weight[block], input);
        logits[block] = core::array::from_fn(|o| requantize(accumulators[o], stream.multiplier[block][o]));
    }
}

/// [`sigmoid`] where sizes are known at run time alone: for hosts.
pub fn sigmoid_of(layer: Layer<'_>, table: &CentredTable, input: &[Quad], output: &mut [Quad]) {
    output.fill(Quad::new([0; 4]));
    for ((bias, multiplier, weight), quad) in layer.blocks().zip(output) {
        *quad = activate(accumulate(*bias, weight, input), *multiplier, table);
    }
}

/// [`logits`] where sizes are known at run time alone: for hosts.
pub fn logits_of(layer: Layer<'_>, input: &[Quad], logits: &mut [[i32; BLOCK]]) {
    for ((bias, multiplier, weight), block) in layer.blocks().zip(logits) {
        let accumulators = accumulate(*bias, weight, input);
        *block = core::array::from_fn(|o| requantize(accumulators[o], multiplier[o]));
    }
}
