//! Average pooling over 2x2 windows, stride 2.

use crate::lenet::POOL;

/// Mean of each window: `input [C][H][H]` to `output [C][OH][OH]`, `OH = H / 2`.
pub fn avg_pool2d_f32<const C: usize, const H: usize, const OH: usize>(
    input: &[[[f32; H]; H]; C],
    output: &mut [[[f32; OH]; OH]; C],
) {
    const { assert!(OH * POOL == H, "the windows tile the map") }
    for c in 0..C {
        for y in 0..OH {
            for x in 0..OH {
                let (top, bottom) = (&input[c][POOL * y], &input[c][POOL * y + 1]);
                let sum = top[POOL * x] + top[POOL * x + 1] + bottom[POOL * x] + bottom[POOL * x + 1];
                output[c][y][x] = sum / (POOL * POOL) as f32;
            }
        }
    }
}
