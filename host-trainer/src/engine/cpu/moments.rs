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
use super::state::Map;

/// Pixels of a patch.
pub(super) const PATCH: usize = KERNEL * KERNEL;

/// Sums over every patch of some examples. Position `5 * row + column` of a patch, pixels from 0 to 255.
#[derive(Clone, Debug, PartialEq)]
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
    pub(super) image: &'a Map<V, IMAGE_SIDE>,
    /// Where the result goes.
    pub(super) moments: &'a mut PatchMoments,
}

impl<S: Simd> Kernel<S> for Moments<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        for dy in 0..KERNEL {
            for left in 0..KERNEL {
                for right in 0..KERNEL {
                    // Each pair of positions once: rows apart by dy, in the columns left and right.
                    let leftmost = left.min(right) == 0;
                    if leftmost && (dy > 0 || right >= left) {
                        products(simd, self.image, dy, left, right, self.moments);
                    }
                }
            }
        }
        sums(simd, self.image, self.moments);
    }
}

/// The sums of products of positions `(a, left + b)` and `(a + dy, right + b)` for all `a` and `b` in the patch.
///
/// Neighbouring `b`, and neighbouring `a`, differ by one column, or row, of products at either end.
#[inline(always)]
fn products<S: Simd>(
    simd: S,
    image: &Map<Lanes<S>, IMAGE_SIDE>,
    dy: usize,
    left: usize,
    right: usize,
    moments: &mut PatchMoments,
) {
    let columns = KERNEL - left.abs_diff(right);
    let mut rows = [[simd.splat_u32s(0); KERNEL]; IMAGE_SIDE];
    for y in 0..IMAGE_SIDE - dy {
        let (upper, lower) = (&image[y][left..], &image[y + dy][right..]);
        let mut sum = dot(simd, &upper[..CONV1_SIDE], &lower[..CONV1_SIDE]);
        rows[y][0] = whole(simd, sum);
        for b in 1..columns {
            sum = simd.negate_mul_add_e_f32s(upper[b - 1], lower[b - 1], sum);
            sum = fma(simd, upper[b + CONV1_SIDE - 1], lower[b + CONV1_SIDE - 1], sum);
            rows[y][b] = whole(simd, sum);
        }
    }
    for b in 0..columns {
        let mut sum = simd.splat_u32s(0);
        for row in &rows[..CONV1_SIDE] {
            sum = simd.add_u32s(sum, row[b]);
        }
        for a in 0..KERNEL - dy {
            if a > 0 {
                sum = simd.sub_u32s(sum, rows[a - 1][b]);
                sum = simd.add_u32s(sum, rows[a + CONV1_SIDE - 1][b]);
            }
            let total = total::<S>(sum);
            let (p, q) = (a * KERNEL + left + b, (a + dy) * KERNEL + right + b);
            moments.second[p][q] = total;
            moments.second[q][p] = total;
        }
    }
}

/// The sums of the pixels at each position of the patch.
#[inline(always)]
fn sums<S: Simd>(simd: S, image: &Map<Lanes<S>, IMAGE_SIDE>, moments: &mut PatchMoments) {
    for b in 0..KERNEL {
        let mut rows = [simd.splat_u32s(0); IMAGE_SIDE];
        for (row, image) in rows.iter_mut().zip(image) {
            let mut sum = zero(simd);
            for &pixel in &image[b..b + CONV1_SIDE] {
                sum = simd.add_f32s(sum, pixel);
            }
            *row = whole(simd, sum);
        }
        for a in 0..KERNEL {
            let mut sum = simd.splat_u32s(0);
            for &row in &rows[a..a + CONV1_SIDE] {
                sum = simd.add_u32s(sum, row);
            }
            moments.first[a * KERNEL + b] = total::<S>(sum);
        }
    }
}

/// Sum of products of a row. At most 24 * 255², which f32 holds exactly: the four parts may be added in any order.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[Lanes<S>], b: &[Lanes<S>]) -> Lanes<S> {
    let mut parts = [zero(simd); 4];
    for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
        for part in 0..4 {
            parts[part] = fma(simd, a[part], b[part], parts[part]);
        }
    }
    let [a, b, c, d] = parts;
    simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d))
}

/// A whole number below 2²³ as an integer: 2²³ is added, and its low bits are kept.
#[inline(always)]
fn whole<S: Simd>(simd: S, value: Lanes<S>) -> S::u32s {
    const IMPLICIT: f32 = 8_388_608.0;
    let bits = simd.transmute_u32s_f32s(simd.add_f32s(value, simd.splat_f32s(IMPLICIT)));
    simd.sub_u32s(bits, simd.splat_u32s(IMPLICIT.to_bits()))
}

/// Sum over the lanes.
#[inline(always)]
fn total<S: Simd>(sums: S::u32s) -> u64 {
    let sums: &[u32] = bytemuck::cast_slice(std::slice::from_ref(&sums));
    sums.iter().map(|&sum| u64::from(sum)).sum()
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
