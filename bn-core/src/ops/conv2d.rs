//! Two-dimensional convolution (cross-correlation, as d2l and PyTorch mean it), stride 1, no padding.
//!
//! ```text
//! output[o][y][x] = bias[o] + sum over i, ky, kx of weight[o][i][ky][kx] * input[i][y + ky][x + kx]
//! ```

use super::winograd::POINTS;
use crate::lenet::{CONV1_CHANNELS, CONV2_CHANNELS, Conv2d, KERNEL, POOL};
use crate::quant::{Pair, SIGMOID_LEN};

/// Rows of two kernel rows below each other, the span of a pooled row: taps of the upper output row, then of the lower.
pub(crate) const CONV1_ROWS: usize = KERNEL + 1;

/// Integer parameters of convolution 1, read in place from a weights.bin.
#[derive(Clone, Copy, Debug)]
pub struct Conv1Int8<'a> {
    /// `[channel][point][upper or lower output row][pair of input rows]`: transformed weights.
    pub lanes: &'a [[[[Pair; CONV1_ROWS / 2]; POOL]; POINTS]; CONV1_CHANNELS],
    /// Start value of each channel's accumulator.
    pub bias: &'a [i32; CONV1_CHANNELS],
    /// What becomes of an accumulator.
    pub sigmoid: &'a [u8; SIGMOID_LEN],
}

/// Integer parameters of convolution 2, read in place from a weights.bin.
#[derive(Clone, Copy, Debug)]
pub struct Conv2Int8<'a> {
    /// `[channel][point][pair of input channels][kernel row]`: transformed weights.
    pub lanes: &'a [[[[Pair; KERNEL]; CONV1_CHANNELS / 2]; POINTS]; CONV2_CHANNELS],
    /// Start value of each channel's accumulator.
    pub bias: &'a [i32; CONV2_CHANNELS],
    /// What becomes of an accumulator.
    pub sigmoid: &'a [i8; SIGMOID_LEN],
}

/// `input [I][H][H]` to `output [O][OH][OH]`, with `OH = H - KERNEL + 1`.
pub fn conv2d_f32<const I: usize, const H: usize, const O: usize, const OH: usize>(
    input: &[[[f32; H]; H]; I],
    layer: &Conv2d<I, O>,
    output: &mut [[[f32; OH]; OH]; O],
) {
    const { assert!(OH + KERNEL - 1 == H, "the output is smaller than the input by the kernel less one") }
    for o in 0..O {
        for y in 0..OH {
            // A row of outputs at a time: the innermost loop runs over neighbours, so that a compiler can use vectors.
            let mut row = [layer.bias[o]; OH];
            for i in 0..I {
                for ky in 0..KERNEL {
                    for kx in 0..KERNEL {
                        let weight = layer.weight[o][i][ky][kx];
                        for x in 0..OH {
                            row[x] += weight * input[i][y + ky][x + kx];
                        }
                    }
                }
            }
            output[o][y] = row;
        }
    }
}
