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

/// SUM of each window. The division by four belongs to the next layer's scale: a pool that rounds loses accuracy, one that
/// floors is biased by -0.37 of a step, and neither saves anything.
pub fn sum_pool2d_int8<const C: usize, const H: usize, const OH: usize>(
    input: &[[[u8; H]; H]; C],
    output: &mut [[[u16; OH]; OH]; C],
) {
    const { assert!(OH * POOL == H, "the windows tile the map") }
    for c in 0..C {
        for y in 0..OH {
            for x in 0..OH {
                let (top, bottom) = (&input[c][POOL * y], &input[c][POOL * y + 1]);
                let quad = [top[POOL * x], top[POOL * x + 1], bottom[POOL * x], bottom[POOL * x + 1]];
                output[c][y][x] = quad.into_iter().map(u16::from).sum();
            }
        }
    }
}
