//! The first and second moments of the 5x5 patches of a batch: what BatchNorm 1 needs to know of the images.
//!
//! The first convolution is linear, so the mean and the variance of its output follow from the mean `m` and the covariance
//! `C` of the patches that it is applied to:
//!
//! ```text
//! mean = w . m + b        var = w . C w
//! ```
//!
//! They are known before the convolution is computed, which can then go through normalisation, sigmoid and pool at once.
//! The sums are over whole numbers and exact, so nothing cancels in `C` and their order does not matter.

use bn_core::lenet::{CONV1_SIDE, IMAGE_SIDE, KERNEL};
use pulp::Simd;

use super::lanes::{Kernel, Lanes, fma, zero};

/// Pixels of a patch.
pub(super) const PATCH: usize = KERNEL * KERNEL;

/// Sums over every patch of some examples. Position `5 * row + column` of a patch, pixels from 0 to 255.
#[derive(Clone, Debug, PartialEq, bytemuck::Zeroable)]
pub(super) struct PatchMoments {
    /// Of the pixels at each position.
    pub(super) first: [u64; PATCH],
    /// Of the products of the pixels at two positions, symmetric.
    pub(super) second: [[u64; PATCH]; PATCH],
}

impl PatchMoments {
    /// Of no patch.
    pub(super) const fn zero() -> Self {
        Self { first: [0; PATCH], second: [[0; PATCH]; PATCH] }
    }

    /// Adds the patches of other examples.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, other) in self.first.iter_mut().zip(&other.first) {
            *sum += other;
        }
        for (sum, other) in self.second.as_flattened_mut().iter_mut().zip(other.second.as_flattened()) {
            *sum += other;
        }
    }
}

/// Computes the moments of a group: `image [28][28]`, whole numbers; an empty lane holds zeros.
pub(super) struct Moments<'a, V> {
    /// Pixels.
    pub(super) image: &'a [[V; IMAGE_SIDE]; IMAGE_SIDE],
    /// Where the result goes.
    pub(super) moments: &'a mut PatchMoments,
}

impl<S: Simd> Kernel<S> for Moments<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        // Row by row the sums of products of neighbours `offset` apart, over every window of 24 columns.
        let mut rows = [[[zero(simd); KERNEL]; 2 * KERNEL - 1]; IMAGE_SIDE];
        for dy in 0..KERNEL {
            for y in 0..IMAGE_SIDE - dy {
                row_products(simd, &self.image[y], &self.image[y + dy], &mut rows[y]);
            }
            for offset in 0..2 * KERNEL - 1 {
                let (left, right) = columns(offset);
                // Within one row each pair of columns is there twice.
                if dy == 0 && right < left {
                    continue;
                }
                for b in 0..KERNEL - left.max(right) {
                    add_up(simd, rows.each_ref().map(|row| row[offset][b]), |a, total| {
                        let (p, q) = (a * KERNEL + left + b, (a + dy) * KERNEL + right + b);
                        if a + dy < KERNEL {
                            self.moments.second[p][q] = total;
                            self.moments.second[q][p] = total;
                        }
                    });
                }
            }
        }
        for b in 0..KERNEL {
            let mut rows = [zero(simd); IMAGE_SIDE];
            for (row, image) in rows.iter_mut().zip(self.image) {
                for &pixel in &image[b..b + CONV1_SIDE] {
                    *row = simd.add_f32s(*row, pixel);
                }
            }
            add_up(simd, rows, |a, total| self.moments.first[a * KERNEL + b] = total);
        }
    }
}

/// First columns of the upper and the lower row, whose products an offset from 0 to 8 stands for.
#[inline(always)]
fn columns(offset: usize) -> (usize, usize) {
    ((KERNEL - 1).saturating_sub(offset), offset.saturating_sub(KERNEL - 1))
}

/// Sums of products of two rows: `sums[offset][b]` over the 24 columns from `b`. At most 24 * 255², which f32 holds exactly,
/// so that the order does not matter.
///
/// All offsets are summed side by side over the window of `b = 0`; the next windows lose and gain one column each.
#[inline(always)]
fn row_products<S: Simd>(
    simd: S,
    upper: &[Lanes<S>; IMAGE_SIDE],
    lower: &[Lanes<S>; IMAGE_SIDE],
    sums: &mut [[Lanes<S>; KERNEL]; 2 * KERNEL - 1],
) {
    let mut first = [zero(simd); 2 * KERNEL - 1];
    for x in 0..CONV1_SIDE {
        let upper: &[_; KERNEL] = upper[x..].first_chunk().expect("a window lies within its row");
        let lower: &[_; KERNEL] = lower[x..].first_chunk().expect("a window lies within its row");
        for offset in 0..2 * KERNEL - 1 {
            let (left, right) = columns(offset);
            first[offset] = fma(simd, upper[left], lower[right], first[offset]);
        }
    }
    for offset in 0..2 * KERNEL - 1 {
        let (left, right) = columns(offset);
        let mut sum = first[offset];
        sums[offset][0] = sum;
        for b in 1..KERNEL - left.max(right) {
            let (out, into) = (b - 1, b + CONV1_SIDE - 1);
            sum = simd.negate_mul_add_e_f32s(upper[left + out], lower[right + out], sum);
            sum = fma(simd, upper[left + into], lower[right + into], sum);
            sums[offset][b] = sum;
        }
    }
}

/// Hands each sum over 24 rows, and over the lanes, to `store(a, sum)`, `a` the first of the rows.
///
/// Such a sum can be too long for f32. A whole number below 2²³ becomes an integer by adding 2²³ and taking the bits as they
/// are; what that adds to a sum of 24 is taken away at its end.
#[inline(always)]
fn add_up<S: Simd>(simd: S, rows: [Lanes<S>; IMAGE_SIDE], mut store: impl FnMut(usize, u64)) {
    const IMPLICIT: f32 = 8_388_608.0;
    let mut bits = [simd.splat_u32s(0); IMAGE_SIDE];
    for (bits, row) in bits.iter_mut().zip(rows) {
        *bits = simd.transmute_u32s_f32s(simd.add_f32s(row, simd.splat_f32s(IMPLICIT)));
    }
    let mut sum = simd.splat_u32s(IMPLICIT.to_bits().wrapping_mul(CONV1_SIDE as u32).wrapping_neg());
    for &bits in &bits[..CONV1_SIDE] {
        sum = simd.add_u32s(sum, bits);
    }
    for a in 0..KERNEL {
        let sums: &[u32] = bytemuck::cast_slice(std::slice::from_ref(&sum));
        store(a, sums.iter().map(|&sum| u64::from(sum)).sum());
        if a + 1 < KERNEL {
            sum = simd.add_u32s(simd.sub_u32s(sum, bits[a]), bits[a + CONV1_SIDE]);
        }
    }
}

/// Mean `[25]` and covariance `[25][25]` of the patches, of pixels in units of `1/255`.
pub(super) fn mean_and_covariance(moments: &PatchMoments, patches: usize) -> ([f64; PATCH], [[f64; PATCH]; PATCH]) {
    const WHITE: f64 = 255.0;
    let n = patches as f64;
    let mean = moments.first.map(|sum| sum as f64 / (n * WHITE));
    let mut covariance = [[0.0; PATCH]; PATCH];
    for p in 0..PATCH {
        for q in 0..PATCH {
            // The difference of two whole numbers: n * sum(pq) - sum(p) * sum(q).
            let of_products = patches as i128 * i128::from(moments.second[p][q]);
            let of_sums = i128::from(moments.first[p]) * i128::from(moments.first[q]);
            covariance[p][q] = (of_products - of_sums) as f64 / (n * n * WHITE * WHITE);
        }
    }
    (mean, covariance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cpu::lanes::{MAX_LANES, enter};
    use pulp::{Arch, WithSimd};
    use rand::{RngExt, SeedableRng};

    struct Check;

    impl WithSimd for Check {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            let mut rng = chacha20::ChaCha8Rng::seed_from_u64(1);
            // One all white: the largest sums there are.
            let images: Vec<[[u8; IMAGE_SIDE]; IMAGE_SIDE]> = (0..S::F32_LANES)
                .map(|n| [[0; IMAGE_SIDE]; IMAGE_SIDE].map(|row| row.map(|_| if n == 0 { 255 } else { rng.random() })))
                .collect();
            let mut lanes = [[zero(simd); IMAGE_SIDE]; IMAGE_SIDE];
            let mut naive = PatchMoments::zero();
            for y in 0..IMAGE_SIDE {
                for x in 0..IMAGE_SIDE {
                    let pixels: [f32; MAX_LANES] =
                        std::array::from_fn(|n| images.get(n).map_or(0.0, |i| f32::from(i[y][x])));
                    lanes[y][x] = simd.partial_load_f32s(&pixels[..S::F32_LANES]);
                }
            }
            for image in &images {
                for (y, x) in (0..CONV1_SIDE).flat_map(|y| (0..CONV1_SIDE).map(move |x| (y, x))) {
                    let pixel = |p: usize| u64::from(image[y + p / KERNEL][x + p % KERNEL]);
                    for p in 0..PATCH {
                        naive.first[p] += pixel(p);
                        (0..PATCH).for_each(|q| naive.second[p][q] += pixel(p) * pixel(q));
                    }
                }
            }
            let mut moments = PatchMoments::zero();
            enter(simd, Moments { image: &lanes, moments: &mut moments });
            assert!(moments == naive);
        }
    }

    #[test]
    fn moments_are_the_sums_over_every_patch_exactly() {
        Arch::new().dispatch(Check);
        Arch::Scalar.dispatch(Check);
    }
}
