//! LeNet's integers with AVX2 or AVX-512: the arithmetic of [`kernels`](crate::kernels), and its bits.
//!
//! | stage | lanes of a vector, each two 16-bit numbers or one accumulator |
//! |---|---|
//! | convolution 1 | tiles of a row, rows |
//! | convolution 2 | output channels |
//! | linear layers | outputs |
//!
//! Sums wrap as everywhere in the integer network, so their order does not matter. Elsewhere than on x86 the portable path
//! does the work.

use pulp::{Arch, Simd, WithSimd};

use crate::kernels::linear::BLOCK;
use crate::lenet::{
    CLASSES, CONV1_CHANNELS, CONV2_CHANNELS, CONV2_SIDE, FLAT, FLAT_QUADS, IMAGE_SIDE, Image, KERNEL, LINEAR1,
    LINEAR1_QUADS, LINEAR2, LINEAR2_BLOCKS, LINEAR2_QUADS, LOGIT_BLOCKS, POOL, POOL1_SIDE, POOL2_SIDE, Streams,
};
use crate::ops::winograd::{BIAS_POINT, POINTS, TILE, WINDOW, inverse, transform_data};
use crate::quant::{
    CONV_SHIFT, LINEAR_UNIT, POOLED_CENTRE, Pair, conv_index, linear_index, mean_of_four, requantize, unpack_weights,
};

/// Most lanes of a vector, and whole vectors in a row of weights.
const LANES: usize = 16;
/// Tiles of a row of convolution 1, two of eight in vain.
const TILES1: usize = 8;
/// Pairs of image rows.
const ROW_PAIRS: usize = IMAGE_SIDE / 2;
/// Pairs of rows that a pooled row of convolution 1 sees.
const ROWS1: usize = KERNEL.div_ceil(2);
/// Tiles of a row of convolution 2.
const TILES2: usize = CONV2_SIDE / TILE;
/// Pairs of convolution 2's input channels.
const PAIRS2: usize = CONV1_CHANNELS / 2;
/// Accumulators of all outputs of a layer, filled up with zeros.
const ROW1: usize = LINEAR1.next_multiple_of(LANES);
/// As above.
const ROW2: usize = LINEAR2.next_multiple_of(LANES);
/// As above.
const ROW3: usize = CLASSES.next_multiple_of(LANES);
/// Pairs of inputs of a linear layer.
const WORDS1: usize = FLAT_QUADS * 2;
/// As above.
const WORDS2: usize = LINEAR1_QUADS * 2;
/// As above.
const WORDS3: usize = LINEAR2_QUADS * 2;

/// A proved model as vectors want it; pairs of 16-bit numbers are one word. 100 KB: keep it in a `Box` or a `static`.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct WideModel<'a> {
    /// `[point][pair of input channels][kernel row][channel]`.
    conv2: [[[[u32; CONV2_CHANNELS]; KERNEL]; PAIRS2]; POINTS],
    /// `[pair of inputs][output]`.
    linear1: [[u32; ROW1]; WORDS1],
    /// As above.
    linear2: [[u32; ROW2]; WORDS2],
    /// As above.
    linear3: [[u32; ROW3]; WORDS3],
    streams: &'a Streams,
    arch: Arch,
}

/// Memory of one inference. Contents need not be cleared between images.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct WideInt8Scratch {
    /// `[point][pair of rows][tile]`, a spare pair at the end.
    window1: [[[u32; TILES1]; ROW_PAIRS + 1]; POINTS],
    /// `[column][channel][row]`, centred.
    pooled1: [[[i32; POOL1_SIDE]; CONV1_CHANNELS]; POOL1_SIDE],
    flat: [i8; FLAT],
    linear1: [i8; WORDS2 * 2],
    linear2: [i8; WORDS3 * 2],
}

impl WideInt8Scratch {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            window1: [[[0; TILES1]; ROW_PAIRS + 1]; POINTS],
            pooled1: [[[0; POOL1_SIDE]; CONV1_CHANNELS]; POOL1_SIDE],
            flat: [0; FLAT],
            linear1: [0; WORDS2 * 2],
            linear2: [0; WORDS3 * 2],
        }
    }
}

impl Default for WideInt8Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> WideModel<'a> {
    /// Lays out a model's proved streams for this machine's vectors; `None` where it has neither AVX2 nor AVX-512.
    pub fn new(streams: &'a Streams) -> Option<Self> {
        let arch = Arch::new();
        can_multiply_pairs(arch).then(|| Self::of_arch(streams, arch))
    }

    fn of_arch(streams: &'a Streams, arch: Arch) -> Self {
        let lanes = &streams.conv2_lanes;
        let mut conv2 = [[[[0; CONV2_CHANNELS]; KERNEL]; PAIRS2]; POINTS];
        for (p, conv2) in conv2.iter_mut().enumerate() {
            for (pair, conv2) in conv2.iter_mut().enumerate() {
                for (ky, conv2) in conv2.iter_mut().enumerate() {
                    *conv2 = core::array::from_fn(|channel| word(lanes[channel][p][pair][ky]));
                }
            }
        }
        Self {
            conv2,
            linear1: rows(&streams.linear1_weight),
            linear2: rows(&streams.linear2_weight),
            linear3: rows(&streams.linear3_weight),
            streams,
            arch,
        }
    }

    /// The logits, with the bits of the portable kernels.
    pub fn predict(&self, image: &Image, scratch: &mut WideInt8Scratch) -> [i32; CLASSES] {
        match self.arch {
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Arch::V4(simd) => Simd::vectorize(simd, Inference { simd, wide: self, image, scratch }),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Arch::V3(simd) => Simd::vectorize(simd, Inference { simd, wide: self, image, scratch }),
            // [`new`](Self::new) has refused all others.
            _ => unreachable!(),
        }
    }
}

/// Whether an instruction set multiplies pairs of 16-bit numbers.
fn can_multiply_pairs(arch: Arch) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return matches!(arch, Arch::V3(_) | Arch::V4(_));
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return {
        let _ = arch;
        false
    };
}

fn word(pair: Pair) -> u32 {
    bytemuck::cast(pair)
}

/// Two numbers that fit 16 bits as one word.
#[inline(always)]
fn pack(low: i32, high: i32) -> u32 {
    low as u16 as u32 | (high as u32) << 16
}

/// The weights of a linear layer, `[pair of inputs][output]`.
fn rows<const QUADS: usize, const BLOCKS: usize, const ROW: usize, const WORDS: usize>(
    weight: &[[[Pair; BLOCK]; QUADS]; BLOCKS],
) -> [[u32; ROW]; WORDS] {
    let mut rows = [[0; ROW]; WORDS];
    for (block, quads) in weight.iter().enumerate() {
        for (quad, weights) in quads.iter().enumerate() {
            for (o, &weights) in weights.iter().enumerate() {
                let [a, b, c, d] = unpack_weights(weights);
                rows[2 * quad][block * BLOCK + o] = word(Pair::new(a, b));
                rows[2 * quad + 1][block * BLOCK + o] = word(Pair::new(c, d));
            }
        }
    }
    rows
}

/// An instruction set that multiplies pairs of 16-bit numbers.
trait Words: Simd {
    /// `sum + a.low * b.low + a.high * b.high` in each lane, wrapping.
    fn dot(self, a: Self::u32s, b: Self::u32s, sum: Self::u32s) -> Self::u32s;
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Words for pulp::x86::V4 {
    #[inline(always)]
    fn dot(self, a: Self::u32s, b: Self::u32s, sum: Self::u32s) -> Self::u32s {
        self.add_u32s(sum, pulp::cast(self.avx512bw._mm512_madd_epi16(pulp::cast(a), pulp::cast(b))))
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Words for pulp::x86::V3 {
    #[inline(always)]
    fn dot(self, a: Self::u32s, b: Self::u32s, sum: Self::u32s) -> Self::u32s {
        self.add_u32s(sum, pulp::cast(self.avx2._mm256_madd_epi16(pulp::cast(a), pulp::cast(b))))
    }
}

/// One image through the network.
struct Inference<'a, S> {
    simd: S,
    wide: &'a WideModel<'a>,
    image: &'a Image,
    scratch: &'a mut WideInt8Scratch,
}

impl<S: Words> WithSimd for Inference<'_, S> {
    type Output = [i32; CLASSES];

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) -> [i32; CLASSES] {
        // `T` is `S`, which knows how to multiply pairs.
        let Self { simd, wide, image, scratch: s } = self;
        transform_image(image, &mut s.window1);
        conv1(simd, wide.streams, &s.window1, &mut s.pooled1);
        for tile in 0..TILES2 {
            conv2(simd, wide, &s.pooled1, tile, &mut s.flat);
        }
        let table = &wide.streams.linear_sigmoid;
        let sums: [u32; ROW1] = linear::<S, 8, WORDS1, ROW1>(simd, &s.flat, &wide.linear1);
        let (bias, multipliers) = (&wide.streams.linear1_bias, &wide.streams.linear1_multiplier);
        for o in 0..LINEAR1 {
            let multiplier = multipliers[o / BLOCK][o % BLOCK];
            s.linear1[o] = table[linear_index(accumulator(sums[o], bias, o), multiplier)];
        }
        let sums: [u32; ROW2] = linear::<S, 6, WORDS2, ROW2>(simd, &s.linear1, &wide.linear2);
        let (bias, multipliers) = (&wide.streams.linear2_bias, &wide.streams.linear2_multiplier);
        for o in 0..LINEAR2 {
            let multiplier = multipliers[o / BLOCK][o % BLOCK];
            s.linear2[o] = table[linear_index(accumulator(sums[o], bias, o), multiplier)];
        }
        let sums: [u32; ROW3] = linear::<S, 1, WORDS3, ROW3>(simd, &s.linear2, &wide.linear3);
        let (bias, multipliers) = (&wide.streams.linear3_bias, &wide.streams.linear3_multiplier);
        let mut logits = [0; CLASSES];
        for o in 0..CLASSES {
            logits[o] = requantize(accumulator(sums[o], bias, o), multipliers[o / BLOCK][o % BLOCK]);
        }
        logits
    }
}

/// Every pair of rows, transformed.
#[inline(always)]
fn transform_image(image: &Image, window: &mut [[[u32; TILES1]; ROW_PAIRS + 1]; POINTS]) {
    for pair in 0..ROW_PAIRS {
        let [upper, lower] = [&image[2 * pair], &image[2 * pair + 1]].map(transform_row);
        for p in 0..POINTS {
            for tile in 0..TILES1 {
                window[p][pair][tile] = pack(upper[p][tile], lower[p][tile]);
            }
        }
    }
}

/// The tiles of an image row, four columns apart, transformed: `[point][tile]`.
#[inline(always)]
fn transform_row(row: &[u8; IMAGE_SIDE]) -> [[i32; TILES1]; POINTS] {
    let mut columns = [[0; TILES1 + 1]; TILE];
    for (quad, pixels) in row.as_chunks::<TILE>().0.iter().enumerate() {
        for i in 0..TILE {
            columns[i][quad] = i32::from(pixels[i]);
        }
    }
    let mut points = [[0; TILES1]; POINTS];
    for tile in 0..TILES1 {
        let mut window = [0; WINDOW];
        for i in 0..TILE {
            window[i] = columns[i][tile];
            window[i + TILE] = columns[i][tile + 1];
        }
        let transformed = transform_data(window);
        for p in 0..POINTS {
            points[p][tile] = transformed[p];
        }
    }
    points
}

/// Convolution 1, sigmoid, pool: two output rows of as many tiles as there are lanes.
#[inline(always)]
fn conv1<S: Words>(
    simd: S,
    streams: &Streams,
    window: &[[[u32; TILES1]; ROW_PAIRS + 1]; POINTS],
    pooled: &mut [[[i32; POOL1_SIDE]; CONV1_CHANNELS]; POOL1_SIDE],
) {
    let used = (IMAGE_SIDE - KERNEL + 1) / TILE;
    for y in (0..POOL1_SIDE).step_by(S::U32_LANES / TILES1) {
        for channel in 0..CONV1_CHANNELS {
            let mut sums = [[0; LANES]; TILE / POOL];
            for row in 0..POOL {
                let mut m = [[0; LANES]; POINTS];
                for p in 0..POINTS {
                    let bias = if p == BIAS_POINT { streams.conv1_bias[channel] } else { 0 };
                    let mut sum = simd.splat_u32s(bias as u32);
                    for r in 0..ROWS1 {
                        let data = S::as_simd_u32s(&window[p].as_flattened()[(y + r) * TILES1..][..S::U32_LANES]).0[0];
                        sum = simd.dot(data, simd.splat_u32s(word(streams.conv1_lanes[channel][p][row][r])), sum);
                    }
                    S::as_mut_simd_u32s(&mut m[p]).0[0] = sum;
                }
                let indices = table_indices::<{ CONV_SHIFT[0] }>(&m);
                for x in 0..TILE {
                    for lane in 0..S::U32_LANES {
                        sums[x / POOL][lane] += i32::from(streams.conv1_sigmoid[usize::from(indices[x][lane]) % 1024]);
                    }
                }
            }
            for (x, sums) in sums.iter().enumerate() {
                for lane in (0..S::U32_LANES).filter(|lane| lane % TILES1 < used) {
                    let column = lane % TILES1 * (TILE / POOL) + x;
                    pooled[column][channel][y + lane / TILES1] = sums[lane] - POOLED_CENTRE;
                }
            }
        }
    }
}

/// From points to the four outputs of each lane's tile, as indices of a table: `[output][lane]`.
#[inline(always)]
fn table_indices<const SHIFT: u32>(m: &[[u32; LANES]; POINTS]) -> [[u16; LANES]; TILE] {
    let mut indices = [[0; LANES]; TILE];
    for lane in 0..LANES {
        let mut points = [0; POINTS];
        for p in 0..POINTS {
            points[p] = m[p][lane] as i32;
        }
        let outputs = inverse(points);
        for x in 0..TILE {
            indices[x][lane] = conv_index(outputs[x], SHIFT) as u16;
        }
    }
    indices
}

/// Convolution 2, sigmoid, pool, of one column of tiles.
#[inline(always)]
fn conv2<S: Words>(
    simd: S,
    wide: &WideModel<'_>,
    input: &[[[i32; POOL1_SIDE]; CONV1_CHANNELS]; POOL1_SIDE],
    tile: usize,
    flat: &mut [i8; FLAT],
) {
    let data = transform_columns(input, tile);
    let streams = wide.streams;
    let mut m = [[[0_u32; LANES]; POINTS]; CONV2_SIDE];
    for part in 0..LANES / S::U32_LANES {
        let bias = S::as_simd_i32s(&streams.conv2_bias).0[part];
        for p in 0..POINTS {
            let start = if p == BIAS_POINT { simd.transmute_u32s_i32s(bias) } else { simd.splat_u32s(0) };
            let mut sums = [start; CONV2_SIDE];
            for pair in 0..PAIRS2 {
                for ky in 0..KERNEL {
                    let weight = S::as_simd_u32s(&wide.conv2[p][pair][ky]).0[part];
                    for y in 0..CONV2_SIDE {
                        sums[y] = simd.dot(weight, simd.splat_u32s(data[p][pair][y + ky]), sums[y]);
                    }
                }
            }
            for y in 0..CONV2_SIDE {
                S::as_mut_simd_u32s(&mut m[y][p]).0[part] = sums[y];
            }
        }
    }
    for y in 0..POOL2_SIDE {
        let upper = table_indices::<{ CONV_SHIFT[1] }>(&m[POOL * y]);
        let lower = table_indices::<{ CONV_SHIFT[1] }>(&m[POOL * y + 1]);
        for x in 0..TILE / POOL {
            for channel in 0..CONV2_CHANNELS {
                let at =
                    |indices: &[u16; LANES]| i32::from(streams.conv2_sigmoid[usize::from(indices[channel]) % 1024]);
                let sum =
                    at(&upper[POOL * x]) + at(&upper[POOL * x + 1]) + at(&lower[POOL * x]) + at(&lower[POOL * x + 1]);
                flat[(channel * POOL2_SIDE + y) * POOL2_SIDE + tile * (TILE / POOL) + x] = mean_of_four(sum);
            }
        }
    }
}

/// Eight columns of every row and channel, transformed: `[point][pair of channels][row]`.
#[inline(always)]
fn transform_columns(
    input: &[[[i32; POOL1_SIDE]; CONV1_CHANNELS]; POOL1_SIDE],
    tile: usize,
) -> [[[u32; POOL1_SIDE]; PAIRS2]; POINTS] {
    let columns: &[_; WINDOW] = input[TILE * tile..].first_chunk().expect("a window lies within the map");
    let mut points = [[[0; POOL1_SIDE]; PAIRS2]; POINTS];
    for pair in 0..PAIRS2 {
        for y in 0..POOL1_SIDE {
            let (mut low, mut high) = ([0; WINDOW], [0; WINDOW]);
            for i in 0..WINDOW {
                (low[i], high[i]) = (columns[i][2 * pair][y], columns[i][2 * pair + 1][y]);
            }
            let (low, high) = (transform_data(low), transform_data(high));
            for p in 0..POINTS {
                points[p][pair][y] = pack(low[p], high[p]);
            }
        }
    }
    points
}

/// Sums of products of a linear layer, without bias: `BLOCK` vectors at a time.
#[inline(always)]
fn linear<S: Words, const VECTORS: usize, const WORDS: usize, const ROW: usize>(
    simd: S,
    input: &[i8],
    weight: &[[u32; ROW]; WORDS],
) -> [u32; ROW] {
    let mut output = [0; ROW];
    let outputs = S::as_mut_simd_u32s(&mut output).0.as_chunks_mut::<VECTORS>().0;
    for (block, output) in outputs.iter_mut().enumerate() {
        let mut sums = [simd.splat_u32s(0); VECTORS];
        for (row, &[low, high]) in weight.iter().zip(input.as_chunks::<2>().0) {
            let x = simd.splat_u32s(pack(i32::from(low), i32::from(high)));
            let row: &[_; VECTORS] =
                S::as_simd_u32s(row).0[block * VECTORS..].first_chunk().expect("a block of the row");
            for v in 0..VECTORS {
                sums[v] = simd.dot(row[v], x, sums[v]);
            }
        }
        *output = sums;
    }
    output
}

/// The accumulator of output `o`: what its sum is in the unit of the bias.
#[inline(always)]
fn accumulator(sum: u32, bias: &[[i32; BLOCK]], o: usize) -> i32 {
    bias[o / BLOCK][o % BLOCK].wrapping_add((sum as i32).wrapping_mul(LINEAR_UNIT))
}

const _: () = assert!(LINEAR2_BLOCKS * BLOCK == LINEAR2 && LOGIT_BLOCKS * BLOCK >= CLASSES);

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;
    use crate::kernels::tests::{portable, streams};
    use crate::wide::each_arch;
    use rand::{RngExt, SeedableRng};
    use std::boxed::Box;
    use std::vec::Vec;

    #[test]
    fn logits_are_those_of_the_portable_path() {
        let streams = streams();
        let mut rng = chacha20::ChaCha8Rng::seed_from_u64(1);
        let mut scratch = Box::new(WideInt8Scratch::new());
        let able = each_arch().filter(|&arch| can_multiply_pairs(arch));
        let each = able.map(|arch| Box::new(WideModel::of_arch(&streams, arch))).collect::<Vec<_>>();
        for round in if cfg!(miri) { 2..3 } else { 0..200 } {
            let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
            // Black, white, noise, and noise at the ends.
            image.as_flattened_mut().fill_with(|| match round {
                0 => 0,
                1 => 255,
                r if r % 2 == 0 => rng.random(),
                _ => 255 * rng.random_range(0..2),
            });
            let expected = portable(&streams, &image);
            for wide in &each {
                assert_eq!(wide.predict(&image, &mut scratch), expected, "{:?}", wide.arch);
            }
        }
    }
}
