//! Two-dimensional convolution (cross-correlation, as d2l and PyTorch mean it), stride 1, no padding.
//!
//! ```text
//! output[o][y][x] = bias[o] + sum over i, ky, kx of weight[o][i][ky][kx] * input[i][y + ky][x + kx]
//! ```

use crate::lenet::{Conv2d, KERNEL};

/// Integer parameters of a convolution, read in place from a weights.bin.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dInt8<'a, const I: usize, const O: usize> {
    /// `[out_channels][in_channels][kernel][kernel]`, magnitude at most [`CONV_WEIGHT_MAX`](crate::quant::CONV_WEIGHT_MAX).
    pub weight: &'a [[[[i16; KERNEL]; KERNEL]; I]; O],
    /// Start value of each channel's accumulator.
    pub bias: &'a [i32; O],
    /// Each channel's factor for [`requantize`](crate::quant::requantize).
    pub multiplier: &'a [i32; O],
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

/// `input [I][H][H]` to accumulators `output [O][OH][OH]`, each handed to `store(o, y, x, accumulator)` when complete.
///
/// A model that was parsed has proved that no accumulator leaves i32, whatever the input.
#[inline(always)]
pub fn conv2d_int8<T: Copy + Into<i32>, const I: usize, const H: usize, const O: usize>(
    input: &[[[T; H]; H]; I],
    layer: &Conv2dInt8<'_, I, O>,
    mut store: impl FnMut(usize, usize, usize, i32),
) {
    for o in 0..O {
        for y in 0..=H - KERNEL {
            for x in 0..=H - KERNEL {
                let mut accumulator = layer.bias[o];
                for i in 0..I {
                    for ky in 0..KERNEL {
                        for kx in 0..KERNEL {
                            accumulator += i32::from(layer.weight[o][i][ky][kx]) * input[i][y + ky][x + kx].into();
                        }
                    }
                }
                store(o, y, x, accumulator);
            }
        }
    }
}
