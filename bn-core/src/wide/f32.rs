//! f32 inference, BatchNorm folded.
//!
//! | stage | lanes of a vector |
//! |---|---|
//! | convolution 1 | neighbouring positions of the flat image; four of 28 in a row are computed in vain |
//! | convolution 2, its pool | output channels |
//! | linear layers | outputs |

use pulp::{Arch, Simd, WithSimd};

use crate::lenet::{
    CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, FoldedLeNet, IMAGE_SIDE, Image, KERNEL,
    LINEAR1, LINEAR2, Linear, PIXELS, POOL, POOL1_SIDE, POOL2_SIDE,
};

/// Vectors are of at most 16 lanes; rows of weights are whole ones.
const LANES: usize = 16;
/// Outputs of linear layer 1, filled up with zeros.
const ROW1: usize = LINEAR1.next_multiple_of(LANES);
/// Outputs of linear layer 2, filled up with zeros.
const ROW2: usize = LINEAR2.next_multiple_of(LANES);
/// Logits, filled up with zeros.
const ROW3: usize = CLASSES.next_multiple_of(LANES);
/// Positions of the flat image that convolution 1 computes.
const FLAT1: usize = CONV1_SIDE * IMAGE_SIDE;
/// The flat image, and zeros behind it: what the last vector of positions reads.
const FLAT_IMAGE: usize = (PIXELS + KERNEL).next_multiple_of(LANES);
/// Vectors of positions that convolution 1 computes at a time.
const POSITIONS: usize = 2;
/// `exp(-x)` is `2^(-x log2(e))`: the factor belongs to the weights before a sigmoid.
const EXPONENT: f64 = -core::f64::consts::LOG2_E;
/// What 1.0 is as a pixel.
const WHITE: f64 = 255.0;

/// The folded network as vectors want it. 200 KB: keep it in a `Box` or a `static`.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct WideLeNet {
    /// `[in][row][column][out]`.
    conv2: [[[[f32; CONV2_CHANNELS]; KERNEL]; KERNEL]; CONV1_CHANNELS],
    conv2_bias: [f32; CONV2_CHANNELS],
    /// `[in][out]`, the inputs in the order `[row][column][channel]`.
    linear1: [[f32; ROW1]; FLAT],
    linear1_bias: [f32; ROW1],
    /// `[in][out]`.
    linear2: [[f32; ROW2]; LINEAR1],
    linear2_bias: [f32; ROW2],
    /// `[in][out]`.
    linear3: [[f32; ROW3]; LINEAR2],
    linear3_bias: [f32; ROW3],
    /// `[out][row][column]`.
    conv1: [[[f32; KERNEL]; KERNEL]; CONV1_CHANNELS],
    conv1_bias: [f32; CONV1_CHANNELS],
    arch: Arch,
}

/// Memory of one inference. Contents need not be cleared between images.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct WideScratch {
    image: [f32; FLAT_IMAGE],
    map1: [[f32; FLAT1]; CONV1_CHANNELS],
    pooled1: [[[f32; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS],
    map2: [[[f32; CONV2_CHANNELS]; CONV2_SIDE]; CONV2_SIDE],
    flat: [f32; FLAT],
    linear1: [f32; ROW1],
    linear2: [f32; ROW2],
    logits: [f32; ROW3],
}

impl WideScratch {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            image: [0.0; FLAT_IMAGE],
            map1: [[0.0; FLAT1]; CONV1_CHANNELS],
            pooled1: [[[0.0; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS],
            map2: [[[0.0; CONV2_CHANNELS]; CONV2_SIDE]; CONV2_SIDE],
            flat: [0.0; FLAT],
            linear1: [0.0; ROW1],
            linear2: [0.0; ROW2],
            logits: [0.0; ROW3],
        }
    }
}

impl Default for WideScratch {
    fn default() -> Self {
        Self::new()
    }
}

impl WideLeNet {
    /// Lays out a network for this machine's vectors. What goes before a sigmoid is multiplied with `-log2(e)`, what follows
    /// a pool is divided by 4 (pools add), and what meets pixels by 255; each number is rounded once.
    pub fn new(net: &FoldedLeNet) -> Self {
        let mut wide = Self {
            conv2: [[[[0.0; CONV2_CHANNELS]; KERNEL]; KERNEL]; CONV1_CHANNELS],
            conv2_bias: net.conv2.bias.map(|b| scaled(b, EXPONENT)),
            linear1: [[0.0; ROW1]; FLAT],
            linear1_bias: [0.0; ROW1],
            linear2: [[0.0; ROW2]; LINEAR1],
            linear2_bias: [0.0; ROW2],
            linear3: [[0.0; ROW3]; LINEAR2],
            linear3_bias: [0.0; ROW3],
            conv1: [[[0.0; KERNEL]; KERNEL]; CONV1_CHANNELS],
            conv1_bias: net.conv1.bias.map(|b| scaled(b, EXPONENT)),
            arch: Arch::new(),
        };
        let pooled = EXPONENT / (POOL * POOL) as f64;
        for ky in 0..KERNEL {
            for kx in 0..KERNEL {
                for i in 0..CONV1_CHANNELS {
                    wide.conv1[i][ky][kx] = scaled(net.conv1.weight[i][0][ky][kx], EXPONENT / WHITE);
                    for o in 0..CONV2_CHANNELS {
                        wide.conv2[i][ky][kx][o] = scaled(net.conv2.weight[o][i][ky][kx], pooled);
                    }
                }
            }
        }
        // The features of a pooled map come position by position, not channel by channel.
        let channel_first = |i: usize| i % CONV2_CHANNELS * POOL2_SIDE * POOL2_SIDE + i / CONV2_CHANNELS;
        turn(&net.linear1, channel_first, (pooled, EXPONENT), &mut wide.linear1, &mut wide.linear1_bias);
        turn(&net.linear2, |i| i, (EXPONENT, EXPONENT), &mut wide.linear2, &mut wide.linear2_bias);
        turn(&net.linear3, |i| i, (1.0, 1.0), &mut wide.linear3, &mut wide.linear3_bias);
        wide
    }

    /// Logits of an image.
    pub fn infer(&self, image: &Image, scratch: &mut WideScratch) -> [f32; CLASSES] {
        self.arch.dispatch(Inference { net: self, image, scratch })
    }
}

fn scaled(value: f32, factor: f64) -> f32 {
    (f64::from(value) * factor) as f32
}

/// Weights `[out][in]` to rows `[in][out]`: input `i` of the rows is input `from(i)` of the layer. Weights and biases are
/// multiplied with a factor each.
fn turn<const I: usize, const O: usize, const ROW: usize>(
    layer: &Linear<I, O>,
    from: impl Fn(usize) -> usize,
    (weight, bias): (f64, f64),
    rows: &mut [[f32; ROW]; I],
    biases: &mut [f32; ROW],
) {
    for o in 0..O {
        biases[o] = scaled(layer.bias[o], bias);
        for i in 0..I {
            rows[i][o] = scaled(layer.weight[o][from(i)], weight);
        }
    }
}

/// One image through the network, for whichever instruction set it is called with.
struct Inference<'a> {
    net: &'a WideLeNet,
    image: &'a Image,
    scratch: &'a mut WideScratch,
}

impl WithSimd for Inference<'_> {
    type Output = [f32; CLASSES];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { net, image, scratch: s } = self;
        for (to, from) in s.image.iter_mut().zip(image.as_flattened()) {
            *to = f32::from(*from);
        }
        conv1(simd, net, &s.image, &mut s.map1);
        for c in 0..CONV1_CHANNELS {
            sum_pool(&s.map1[c], &mut s.pooled1[c]);
        }
        if S::F32_LANES == LANES {
            conv2::<S, 1, 8>(simd, net, &s.pooled1, &mut s.map2);
        } else if S::F32_LANES == LANES / 2 {
            conv2::<S, 2, 4>(simd, net, &s.pooled1, &mut s.map2);
        } else {
            for part in 0..LANES / (4 * S::F32_LANES) {
                conv2_part::<S, 4, 4>(simd, net, &s.pooled1, &mut s.map2, part);
            }
        }
        pool2(simd, &s.map2, &mut s.flat);
        linear::<S, 8, FLAT, FLAT, ROW1>(simd, &s.flat, &net.linear1, &net.linear1_bias, &mut s.linear1);
        sigmoids(simd, &mut s.linear1);
        linear::<S, 6, ROW1, LINEAR1, ROW2>(simd, &s.linear1, &net.linear2, &net.linear2_bias, &mut s.linear2);
        sigmoids(simd, &mut s.linear2);
        linear::<S, 1, ROW2, LINEAR2, ROW3>(simd, &s.linear2, &net.linear3, &net.linear3_bias, &mut s.logits);
        *s.logits.first_chunk().expect("a row holds all logits")
    }
}

/// Convolution 1 and sigmoid: one output for each position of the flat image.
#[inline(always)]
fn conv1<S: Simd>(simd: S, net: &WideLeNet, image: &[f32; FLAT_IMAGE], map: &mut [[f32; FLAT1]; CONV1_CHANNELS]) {
    for start in (0..FLAT1).step_by(POSITIONS * S::F32_LANES) {
        let mut tile = [[simd.splat_f32s(0.0); POSITIONS]; CONV1_CHANNELS];
        for c in 0..CONV1_CHANNELS {
            tile[c] = [simd.splat_f32s(net.conv1_bias[c]); POSITIONS];
        }
        for ky in 0..KERNEL {
            for kx in 0..KERNEL {
                let pixels = S::as_simd_f32s(&image[start + ky * IMAGE_SIDE + kx..][..POSITIONS * S::F32_LANES]).0;
                let pixels: &[_; POSITIONS] = pixels.first_chunk().expect("as many vectors");
                for c in 0..CONV1_CHANNELS {
                    let weight = simd.splat_f32s(net.conv1[c][ky][kx]);
                    for p in 0..POSITIONS {
                        tile[c][p] = simd.mul_add_e_f32s(weight, pixels[p], tile[c][p]);
                    }
                }
            }
        }
        for c in 0..CONV1_CHANNELS {
            let to = S::as_mut_simd_f32s(&mut map[c][start..start + POSITIONS * S::F32_LANES]).0;
            let to: &mut [_; POSITIONS] = to.first_chunk_mut().expect("as many vectors");
            *to = sigmoid_pair(simd, tile[c]);
        }
    }
}

/// Sums of 2x2 windows of a map in the layout of [`FLAT1`].
#[inline(always)]
fn sum_pool(map: &[f32; FLAT1], pooled: &mut [[f32; POOL1_SIDE]; POOL1_SIDE]) {
    for (rows, pooled) in map.as_chunks::<{ POOL * IMAGE_SIDE }>().0.iter().zip(pooled) {
        let (top, bottom) = rows.split_at(IMAGE_SIDE);
        let mut sums = [0.0; CONV1_SIDE];
        for x in 0..CONV1_SIDE {
            sums[x] = top[x] + bottom[x];
        }
        for x in 0..POOL1_SIDE {
            pooled[x] = sums[POOL * x] + sums[POOL * x + 1];
        }
    }
}

type Pooled1 = [[[f32; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS];
type Map2 = [[[f32; CONV2_CHANNELS]; CONV2_SIDE]; CONV2_SIDE];

/// Convolution 2, all channels at once: `VECTORS` vectors of them, `WIDTH` positions at a time.
#[inline(always)]
fn conv2<S: Simd, const VECTORS: usize, const WIDTH: usize>(simd: S, net: &WideLeNet, input: &Pooled1, map: &mut Map2) {
    conv2_part::<S, VECTORS, WIDTH>(simd, net, input, map, 0);
}

/// Convolution 2, the channels of part `part`.
#[inline(always)]
fn conv2_part<S: Simd, const VECTORS: usize, const WIDTH: usize>(
    simd: S,
    net: &WideLeNet,
    input: &Pooled1,
    map: &mut Map2,
    part: usize,
) {
    for y in 0..CONV2_SIDE {
        for x in (0..CONV2_SIDE).step_by(WIDTH) {
            let bias = S::as_simd_f32s(&net.conv2_bias).0.as_chunks::<VECTORS>().0[part];
            let mut tile = [bias; WIDTH];
            for i in 0..CONV1_CHANNELS {
                for ky in 0..KERNEL {
                    let row = &input[i][y + ky][x..];
                    for kx in 0..KERNEL {
                        let weight = S::as_simd_f32s(&net.conv2[i][ky][kx]).0.as_chunks::<VECTORS>().0[part];
                        let pixels: &[f32; WIDTH] = row[kx..].first_chunk().expect("a window lies within its row");
                        for p in 0..WIDTH {
                            let pixel = simd.splat_f32s(pixels[p]);
                            for v in 0..VECTORS {
                                tile[p][v] = simd.mul_add_e_f32s(pixel, weight[v], tile[p][v]);
                            }
                        }
                    }
                }
            }
            for p in 0..WIDTH {
                S::as_mut_simd_f32s(&mut map[y][x + p]).0.as_chunks_mut::<VECTORS>().0[part] = tile[p];
            }
        }
    }
}

/// Sigmoid of the second map, and the sums of its 2x2 windows.
#[inline(always)]
fn pool2<S: Simd>(simd: S, map: &Map2, flat: &mut [f32; FLAT]) {
    for (position, sums) in flat.as_chunks_mut::<CONV2_CHANNELS>().0.iter_mut().enumerate() {
        let (y, x) = (POOL * (position / POOL2_SIDE), POOL * (position % POOL2_SIDE));
        let window = [&map[y][x], &map[y][x + 1], &map[y + 1][x], &map[y + 1][x + 1]];
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| S::as_simd_f32s(window[i]).0);
        let sums = S::as_mut_simd_f32s(sums).0;
        for v in 0..CONV2_CHANNELS / S::F32_LANES {
            let [a, b] = sigmoid_pair(simd, [a[v], b[v]]);
            let [c, d] = sigmoid_pair(simd, [c[v], d[v]]);
            sums[v] = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
        }
    }
}

/// A linear layer, `BLOCK` vectors of outputs at a time. Inputs beyond `I` fill up the last vector of a layer.
#[inline(always)]
fn linear<S: Simd, const BLOCK: usize, const INPUT: usize, const I: usize, const ROW: usize>(
    simd: S,
    input: &[f32; INPUT],
    weight: &[[f32; ROW]; I],
    bias: &[f32; ROW],
    output: &mut [f32; ROW],
) {
    let biases = S::as_simd_f32s(bias).0.as_chunks::<BLOCK>().0;
    let outputs = S::as_mut_simd_f32s(output).0.as_chunks_mut::<BLOCK>().0;
    for (block, (bias, output)) in biases.iter().zip(outputs).enumerate() {
        let mut sums = *bias;
        for (row, &x) in weight.iter().zip(input) {
            let row: &[_; BLOCK] = S::as_simd_f32s(row).0[block * BLOCK..].first_chunk().expect("a block of the row");
            let x = simd.splat_f32s(x);
            for v in 0..BLOCK {
                sums[v] = simd.mul_add_e_f32s(x, row[v], sums[v]);
            }
        }
        *output = sums;
    }
}

/// Sigmoids in place.
#[inline(always)]
fn sigmoids<S: Simd>(simd: S, values: &mut [f32]) {
    for pair in S::as_mut_simd_f32s(values).0.as_chunks_mut::<2>().0 {
        *pair = sigmoid_pair(simd, *pair);
    }
}

/// Two sigmoids `1 / (1 + 2^t)` for the price of one division. Below 2e-19 they stay there.
#[inline(always)]
fn sigmoid_pair<S: Simd>(simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 2] {
    let one = simd.splat_f32s(1.0);
    let (a, b) = (simd.add_f32s(one, exp2(simd, a)), simd.add_f32s(one, exp2(simd, b)));
    let r = simd.div_f32s(one, simd.mul_f32s(a, b));
    [simd.mul_f32s(r, b), simd.mul_f32s(r, a)]
}

/// `2^t` by falling powers of the part behind the point; `t` is held within 62 of zero.
#[inline(always)]
fn exp2<S: Simd>(simd: S, t: S::f32s) -> S::f32s {
    /// Adding it moves the nearest integer of a small number into the lowest bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    const POWERS: [f32; 7] =
        [1.535_335_9e-4, 1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, 6.931_472e-1, 1.0];
    // The limits come first: x86 hands on the second operand where one is a NaN.
    let t = simd.max_f32s(simd.splat_f32s(-62.0), simd.min_f32s(simd.splat_f32s(62.0), t));
    let shifted = simd.add_f32s(t, simd.splat_f32s(ROUND));
    let r = simd.sub_f32s(t, simd.sub_f32s(shifted, simd.splat_f32s(ROUND)));
    let mut p = simd.splat_f32s(POWERS[0]);
    for power in &POWERS[1..] {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(*power));
    }
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p), exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::{ScratchF32, folded};
    use crate::lenet::LeNet;
    use crate::wide::each_arch;
    use rand::{RngExt, SeedableRng};
    use std::boxed::Box;
    use std::vec::Vec;

    #[test]
    fn logits_are_those_of_the_textbook() {
        let mut rng = chacha20::ChaCha8Rng::seed_from_u64(1);
        let mut net = Box::new(LeNet::zero());
        for tensor in net.tensors_mut() {
            tensor.iter_mut().for_each(|value| *value += rng.random_range(-0.3..0.3));
        }
        let folded_net = Box::new(net.fold());
        let (mut scratch, mut wide_scratch) = (Box::new(ScratchF32::new()), Box::new(WideScratch::new()));
        let each =
            each_arch().map(|arch| Box::new(WideLeNet { arch, ..WideLeNet::new(&folded_net) })).collect::<Vec<_>>();
        for _ in 0..if cfg!(miri) { 1 } else { 20 } {
            let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
            image.as_flattened_mut().fill_with(|| rng.random());
            let expected = folded(&folded_net, &image, &mut scratch);
            for wide in &each {
                for (a, e) in wide.infer(&image, &mut wide_scratch).into_iter().zip(expected) {
                    assert!((a - e).abs() <= 1e-4 + 1e-4 * e.abs(), "{:?}: {a} for {e}", wide.arch);
                }
            }
        }
    }
}
