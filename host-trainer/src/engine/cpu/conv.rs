//! The two convolutions: forward, and backward for weights and input. Each vector is one pixel of a group of examples, each
//! weight one number for all of them, so nothing is ever moved between lanes.
//!
//! A tile of outputs, or of weights, stays in registers while its products are added up. Shapes are types: the inner loops
//! have constant bounds and no index is checked in them.

use bn_core::lenet::{CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, Conv2d, IMAGE_SIDE, KERNEL, POOL1_SIDE};
use pulp::Simd;

use super::lanes::{Lanes, fma, sigmoids, zero};
use super::state::Map;

/// Outputs of a row that a tile has.
const WIDTH: usize = 4;
/// Output channels of a tile of convolution 1.
const TILE1: usize = 3;
/// Output channels of a tile of convolution 2.
const TILE2: usize = 4;
/// Input channels of a tile of convolution 2's backward pass.
const TILE2_IN: usize = 2;

/// Repeats a block with the number written in: an index into registers has to be a constant.
macro_rules! unrolled {
    ($i:ident in [$($n:literal)*] $block:block) => {
        $({ let $i: usize = $n; $block })*
    };
}

/// `N` neighbours of a row.
#[inline(always)]
fn window<V, const N: usize>(row: &[V], start: usize) -> &[V; N] {
    row[start..].first_chunk().expect("a window lies within its row")
}

/// Convolution 1, sigmoid and pool in one pass. `layer` holds BatchNorm and the factor that [`sigmoids`] wants.
#[inline(always)]
pub(super) fn conv1_forward<S: Simd>(
    simd: S,
    image: &Map<Lanes<S>, IMAGE_SIDE>,
    layer: &Conv2d<1, CONV1_CHANNELS>,
    s1: &mut [Map<Lanes<S>, CONV1_SIDE>; CONV1_CHANNELS],
    p1: &mut [Map<Lanes<S>, POOL1_SIDE>; CONV1_CHANNELS],
) {
    let quarter = simd.splat_f32s(0.25);
    for y in 0..POOL1_SIDE {
        for first in (0..CONV1_CHANNELS).step_by(TILE1) {
            for x in (0..CONV1_SIDE).step_by(WIDTH) {
                let tile = conv1_tile(simd, image, layer, first, 2 * y, x);
                for (o, rows) in tile.into_iter().enumerate() {
                    let [[a, b, c, d], [e, f, g, h]] = rows;
                    let ([a, b], [c, d]) = (sigmoids(simd, [a, b]), sigmoids(simd, [c, d]));
                    let ([e, f], [g, h]) = (sigmoids(simd, [e, f]), sigmoids(simd, [g, h]));
                    let s1 = &mut s1[first + o];
                    s1[2 * y][x..x + WIDTH].copy_from_slice(&[a, b, c, d]);
                    s1[2 * y + 1][x..x + WIDTH].copy_from_slice(&[e, f, g, h]);
                    let left = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(e, f));
                    let right = simd.add_f32s(simd.add_f32s(c, d), simd.add_f32s(g, h));
                    p1[first + o][y][x / 2] = simd.mul_f32s(left, quarter);
                    p1[first + o][y][x / 2 + 1] = simd.mul_f32s(right, quarter);
                }
            }
        }
    }
}

/// Two rows of four outputs of three channels.
#[inline(always)]
fn conv1_tile<S: Simd>(
    simd: S,
    image: &Map<Lanes<S>, IMAGE_SIDE>,
    layer: &Conv2d<1, CONV1_CHANNELS>,
    first: usize,
    y: usize,
    x: usize,
) -> [[[Lanes<S>; WIDTH]; 2]; TILE1] {
    let weight: &[_; TILE1] = window(&layer.weight, first);
    let bias: &[f32; TILE1] = window(&layer.bias, first);
    let mut tile = [[[zero(simd); WIDTH]; 2]; TILE1];
    for o in 0..TILE1 {
        tile[o] = [[simd.splat_f32s(bias[o]); WIDTH]; 2];
    }
    for ky in 0..KERNEL {
        let rows: [&[_; WIDTH + KERNEL - 1]; 2] = [window(&image[y + ky], x), window(&image[y + ky + 1], x)];
        for kx in 0..KERNEL {
            for o in 0..TILE1 {
                let weight = simd.splat_f32s(weight[o][0][ky][kx]);
                for row in 0..2 {
                    for i in 0..WIDTH {
                        tile[o][row][i] = fma(simd, weight, rows[row][i + kx], tile[o][row][i]);
                    }
                }
            }
        }
    }
    tile
}

/// Convolution 2.
#[inline(always)]
pub(super) fn conv2_forward<S: Simd>(
    simd: S,
    p1: &[Map<Lanes<S>, POOL1_SIDE>; CONV1_CHANNELS],
    layer: &Conv2d<CONV1_CHANNELS, CONV2_CHANNELS>,
    z2: &mut [Map<Lanes<S>, CONV2_SIDE>; CONV2_CHANNELS],
) {
    for y in 0..CONV2_SIDE {
        for first in (0..CONV2_CHANNELS).step_by(TILE2) {
            let weight: &[_; TILE2] = window(&layer.weight, first);
            let bias: &[f32; TILE2] = window(&layer.bias, first);
            for x in (0..CONV2_SIDE).step_by(WIDTH) {
                let mut tile = [[zero(simd); WIDTH]; TILE2];
                for o in 0..TILE2 {
                    tile[o] = [simd.splat_f32s(bias[o]); WIDTH];
                }
                for i in 0..CONV1_CHANNELS {
                    for ky in 0..KERNEL {
                        let row: &[_; WIDTH + KERNEL - 1] = window(&p1[i][y + ky], x);
                        unrolled!(kx in [0 1 2 3 4] {
                            for o in 0..TILE2 {
                                let weight = simd.splat_f32s(weight[o][i][ky][kx]);
                                for j in 0..WIDTH {
                                    tile[o][j] = fma(simd, weight, row[j + kx], tile[o][j]);
                                }
                            }
                        });
                    }
                }
                for o in 0..TILE2 {
                    z2[first + o][y][x..x + WIDTH].copy_from_slice(&tile[o]);
                }
            }
        }
    }
}

/// Gradient of convolution 2's input: every output's gradient goes back to the pixels it came from.
#[inline(always)]
pub(super) fn conv2_backward_input<S: Simd>(
    simd: S,
    d_z2: &[Map<Lanes<S>, CONV2_SIDE>; CONV2_CHANNELS],
    weight: &[[[[f32; KERNEL]; KERNEL]; CONV1_CHANNELS]; CONV2_CHANNELS],
    d_p1: &mut [Map<Lanes<S>, POOL1_SIDE>; CONV1_CHANNELS],
) {
    for y in 0..POOL1_SIDE {
        for first in (0..CONV1_CHANNELS).step_by(TILE2_IN) {
            let mut tile = [[zero(simd); POOL1_SIDE]; TILE2_IN];
            for ky in y.saturating_sub(CONV2_SIDE - 1)..KERNEL.min(y + 1) {
                for o in 0..CONV2_CHANNELS {
                    let row = &d_z2[o][y - ky];
                    let weight: &[_; TILE2_IN] = window(&weight[o], first);
                    unrolled!(kx in [0 1 2 3 4] {
                        for i in 0..TILE2_IN {
                            let weight = simd.splat_f32s(weight[i][ky][kx]);
                            for x in 0..CONV2_SIDE {
                                tile[i][x + kx] = fma(simd, weight, row[x], tile[i][x + kx]);
                            }
                        }
                    });
                }
            }
            for i in 0..TILE2_IN {
                d_p1[first + i][y] = tile[i];
            }
        }
    }
}

/// Gradient of convolution 2's weights, summed over the lanes of `mask`.
#[inline(always)]
pub(super) fn conv2_backward_weight<S: Simd>(
    simd: S,
    p1: &[Map<Lanes<S>, POOL1_SIDE>; CONV1_CHANNELS],
    d_z2: &[Map<Lanes<S>, CONV2_SIDE>; CONV2_CHANNELS],
    mask: Lanes<S>,
    d_weight: &mut [[[[f32; KERNEL]; KERNEL]; CONV1_CHANNELS]; CONV2_CHANNELS],
) {
    for first in (0..CONV2_CHANNELS).step_by(TILE2) {
        let d_z2: &[_; TILE2] = window(d_z2, first);
        for i in 0..CONV1_CHANNELS {
            for ky in 0..KERNEL {
                let mut tile = [[zero(simd); KERNEL]; TILE2];
                for y in 0..CONV2_SIDE {
                    add_row_products(simd, &p1[i][y + ky], d_z2.each_ref().map(|d| &d[y]), &mut tile);
                }
                for o in 0..TILE2 {
                    for kx in 0..KERNEL {
                        let sum = simd.mul_f32s(tile[o][kx], mask);
                        d_weight[first + o][i][ky][kx] = simd.reduce_sum_f32s(sum);
                    }
                }
            }
        }
    }
}

/// Adds to `tile[o][kx]` the sum over x of `d_z[o][x] * row[x + kx]`.
#[inline(always)]
fn add_row_products<S: Simd, const O: usize, const WIDE: usize, const NARROW: usize>(
    simd: S,
    row: &[Lanes<S>; WIDE],
    d_z: [&[Lanes<S>; NARROW]; O],
    tile: &mut [[Lanes<S>; KERNEL]; O],
) {
    const { assert!(NARROW + KERNEL - 1 == WIDE, "the windows fill the row") }
    let mut sums = *tile;
    for x in 0..NARROW {
        let under: &[_; KERNEL] = window(row, x);
        for o in 0..O {
            for kx in 0..KERNEL {
                sums[o][kx] = fma(simd, d_z[o][x], under[kx], sums[o][kx]);
            }
        }
    }
    *tile = sums;
}

/// From the gradient of the pooled maps, the sums over all positions of `g` (the gradient of the sigmoid's argument) times
/// the pixels under each weight, and of `g` alone: `[row][column]` and the sum, a channel.
#[inline(always)]
pub(super) fn conv1_backward<S: Simd>(
    simd: S,
    image: &Map<Lanes<S>, IMAGE_SIDE>,
    s1: &[Map<Lanes<S>, CONV1_SIDE>; CONV1_CHANNELS],
    d_p1: &[Map<Lanes<S>, POOL1_SIDE>; CONV1_CHANNELS],
    mask: Lanes<S>,
    sums: &mut [([[f64; KERNEL]; KERNEL], f64); CONV1_CHANNELS],
) {
    let (one, quarter) = (simd.splat_f32s(1.0), simd.splat_f32s(0.25));
    for first in (0..CONV1_CHANNELS).step_by(TILE1) {
        let mut patches = [[[zero(simd); KERNEL]; TILE1]; KERNEL];
        let mut alone = [zero(simd); TILE1];
        for y in 0..CONV1_SIDE {
            let mut g = [[zero(simd); CONV1_SIDE]; TILE1];
            for o in 0..TILE1 {
                let (d_p, s) = (&d_p1[first + o][y / 2], &s1[first + o][y]);
                for x in 0..CONV1_SIDE {
                    let share = simd.mul_f32s(d_p[x / 2], quarter);
                    let slope = simd.mul_f32s(s[x], simd.sub_f32s(one, s[x]));
                    g[o][x] = simd.mul_f32s(share, slope);
                    alone[o] = simd.add_f32s(alone[o], g[o][x]);
                }
            }
            for ky in 0..KERNEL {
                add_row_products(simd, &image[y + ky], g.each_ref(), &mut patches[ky]);
            }
        }
        for o in 0..TILE1 {
            for ky in 0..KERNEL {
                for kx in 0..KERNEL {
                    let sum = simd.mul_f32s(patches[ky][o][kx], mask);
                    sums[first + o].0[ky][kx] = f64::from(simd.reduce_sum_f32s(sum));
                }
            }
            sums[first + o].1 = f64::from(simd.reduce_sum_f32s(simd.mul_f32s(alone[o], mask)));
        }
    }
}
