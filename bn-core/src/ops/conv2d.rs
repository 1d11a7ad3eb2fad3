//! Two-dimensional convolution (cross-correlation, as d2l and PyTorch mean it), stride 1, no padding.
//!
//! ```text
//! output[o][y][x] = bias[o] + sum over i, ky, kx of weight[o][i][ky][kx] * input[i][y + ky][x + kx]
//! ```

use crate::lenet::{Conv2d, KERNEL};

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
