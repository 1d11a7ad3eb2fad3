//! The linear layers of a group of examples, one example a lane, and the sums over examples that their weights need.

use bn_core::lenet::Linear;
use pulp::Simd;

use super::lanes::{Kernel, Lanes, fma, values, zero};
use super::state::Rows;

/// Outputs of a tile of the forward pass.
const OUTPUTS: usize = 12;

/// `output = weight * input + bias`.
#[inline(always)]
pub(super) fn linear_forward<S: Simd, const I: usize, const O: usize>(
    simd: S,
    input: &[Lanes<S>; I],
    layer: &Linear<I, O>,
    output: &mut [Lanes<S>; O],
) {
    let (weights, weights_rest) = layer.weight.as_chunks::<OUTPUTS>();
    let (biases, biases_rest) = layer.bias.as_chunks::<OUTPUTS>();
    let (outputs, outputs_rest) = output.as_chunks_mut::<OUTPUTS>();
    for ((weight, bias), output) in weights.iter().zip(biases).zip(outputs) {
        let mut tile = [zero(simd); OUTPUTS];
        for o in 0..OUTPUTS {
            tile[o] = simd.splat_f32s(bias[o]);
        }
        for i in 0..I {
            for o in 0..OUTPUTS {
                tile[o] = fma(simd, simd.splat_f32s(weight[o][i]), input[i], tile[o]);
            }
        }
        *output = tile;
    }
    for ((weight, bias), output) in weights_rest.iter().zip(biases_rest).zip(outputs_rest) {
        let mut sum = simd.splat_f32s(*bias);
        for (weight, input) in weight.iter().zip(input) {
            sum = fma(simd, simd.splat_f32s(*weight), *input, sum);
        }
        *output = sum;
    }
}

/// Gradient of the input: `d_input = weight^T * d_output`, `TILE` inputs at a time.
#[inline(always)]
pub(super) fn linear_backward<S: Simd, const TILE: usize, const I: usize, const O: usize>(
    simd: S,
    d_output: &[Lanes<S>; O],
    layer: &Linear<I, O>,
    d_input: &mut [Lanes<S>; I],
) {
    const { assert!(I.is_multiple_of(TILE), "tiles cover the inputs") }
    for (t, d_input) in d_input.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
        let mut tile = [zero(simd); TILE];
        for o in 0..O {
            let weight: &[f32; TILE] = layer.weight[o][t * TILE..].first_chunk().expect("a tile lies within its row");
            for i in 0..TILE {
                tile[i] = fma(simd, simd.splat_f32s(weight[i]), d_output[o], tile[i]);
            }
        }
        *d_input = tile;
    }
}

/// Lays vectors out as one row an example.
#[inline(always)]
pub(super) fn to_rows<S: Simd, const N: usize>(vectors: &[Lanes<S>], rows: &mut Rows<N>) {
    for (column, vector) in vectors.iter().enumerate() {
        for (row, &value) in rows.iter_mut().zip(values::<S>(vector)) {
            row[column] = value;
        }
    }
}

/// Outputs of a task of [`WeightGradient`].
pub(super) const BLOCK: usize = 12;

/// Rows of a weight's gradient: `d_weight[first + o][i]`, the sum over examples of `d_output[first + o] * input[i]`.
///
/// Each number is summed by one task in the order of the examples, so no result depends on who does which task.
pub(super) struct WeightGradient<'a, const I: usize, const O: usize> {
    /// Inputs and gradients of the outputs of every group, and the examples in it.
    pub(super) groups: &'a [(&'a Rows<I>, &'a Rows<O>, usize)],
    /// First output of the block.
    pub(super) first: usize,
    /// Where the result goes; a row may be longer than its layer's.
    pub(super) block: &'a mut [[f32; I]; BLOCK],
}

impl<S: Simd, const I: usize, const O: usize> Kernel<S> for WeightGradient<'_, I, O> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let tiles = I / (2 * S::F32_LANES);
        for t in 0..tiles {
            let mut tile = [[zero(simd); 2]; BLOCK];
            for (inputs, d_outputs, count) in self.groups {
                for (input, d_output) in inputs.iter().zip(d_outputs.iter()).take(*count) {
                    let input = S::as_simd_f32s(input).0.as_chunks::<2>().0[t];
                    let d_output: &[f32; BLOCK] = d_output[self.first..].first_chunk().expect("a block of outputs");
                    for o in 0..BLOCK {
                        let d_output = simd.splat_f32s(d_output[o]);
                        for half in 0..2 {
                            tile[o][half] = fma(simd, d_output, input[half], tile[o][half]);
                        }
                    }
                }
            }
            for o in 0..BLOCK {
                S::as_mut_simd_f32s(&mut self.block[o]).0.as_chunks_mut::<2>().0[t] = tile[o];
            }
        }
    }
}
