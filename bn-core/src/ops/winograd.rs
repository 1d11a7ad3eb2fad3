//! Winograd's minimal filtering F(4, 5) along x: four neighbouring outputs of a kernel row of five from eight inputs, with
//! eight multiplications instead of twenty.
//!
//! ```text
//! output = INVERSE^T * (lanes o (DATA * input)),    lanes = weights transformed, then rounded
//! ```
//!
//! Inputs and weights are polynomials; a product of polynomials is known from its values at eight points, here 2, -2, 1/2,
//! -1/2, 1, -1, 0 and infinity. The weights are transformed in f64 at export and rounded there, so the arithmetic below is
//! exact in integers and no factor has to be divided out: the powers of two of the points are in the lanes' scale.
//! Source: Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks".

use crate::lenet::KERNEL;

/// Points, in the order in which lanes are stored.
pub const POINTS: usize = 8;
/// The point (1) at which the bias enters: its inverse is 1 for every output.
pub const BIAS_POINT: usize = 4;
/// Outputs of a tile.
pub const TILE: usize = 4;
/// Inputs of a tile.
pub const WINDOW: usize = TILE + KERNEL - 1;

/// Input to points: `[point][input]`.
pub const DATA: [[i32; WINDOW]; POINTS] = [
    [0, 2, 1, -10, -5, 8, 4, 0],
    [0, -2, 1, 10, -5, -8, 4, 0],
    [0, 4, 8, -5, -10, 1, 2, 0],
    [0, -4, 8, 5, -10, -1, 2, 0],
    [0, 4, 4, -17, -17, 4, 4, 0],
    [0, -4, 4, 17, -17, -4, 4, 0],
    [4, 0, -21, 0, 21, 0, -4, 0],
    [0, -4, 0, 21, 0, -21, 0, 4],
];

/// Points to outputs: `[point][output]`.
pub const INVERSE: [[i32; TILE]; POINTS] = [
    [1, 2, 4, 8],
    [1, -2, 4, -8],
    [8, 4, 2, 1],
    [8, -4, 2, -1],
    [1, 1, 1, 1],
    [1, -1, 1, -1],
    [1, 0, 0, 0],
    [0, 0, 0, 1],
];

/// Largest sum of magnitudes of a row of [`DATA`]: what the transform may multiply the largest input by.
pub const DATA_GROWTH: i32 = {
    let (mut largest, mut point) = (0, 0);
    while point < POINTS {
        let (mut sum, mut i) = (0, 0);
        while i < WINDOW {
            sum += DATA[point][i].abs();
            i += 1;
        }
        largest = if sum > largest { sum } else { largest };
        point += 1;
    }
    largest
};

/// `DATA * d`. Every intermediate is at most [`DATA_GROWTH`] times the largest input, so that 16 bits hold an input of 508.
#[inline(always)]
pub const fn transform_data(d: [i32; WINDOW]) -> [i32; POINTS] {
    let (even2, odd2) = (d[2] - 5 * d[4] + 4 * d[6], 2 * (d[1] - 5 * d[3] + 4 * d[5]));
    let (even_half, odd_half) = (2 * (4 * d[2] - 5 * d[4] + d[6]), 4 * d[1] - 5 * d[3] + d[5]);
    let (even1, odd1) = (4 * (d[2] + d[6]) - 17 * d[4], 4 * (d[1] + d[5]) - 17 * d[3]);
    [
        even2 + odd2,
        even2 - odd2,
        even_half + odd_half,
        even_half - odd_half,
        even1 + odd1,
        even1 - odd1,
        4 * (d[0] - d[6]) + 21 * (d[4] - d[2]),
        4 * (d[7] - d[1]) + 21 * (d[3] - d[5]),
    ]
}

/// `INVERSE^T * m`. Sums may wrap on the way: only the outputs, which are proved to fit, matter.
#[inline(always)]
pub const fn inverse(m: [i32; POINTS]) -> [i32; TILE] {
    let (even2, odd2) = (m[0].wrapping_add(m[1]), m[0].wrapping_sub(m[1]));
    let (even_half, odd_half) = (m[2].wrapping_add(m[3]), m[2].wrapping_sub(m[3]));
    let (even1, odd1) = (m[4].wrapping_add(m[5]), m[4].wrapping_sub(m[5]));
    [
        m[6].wrapping_add(even1).wrapping_add(even2).wrapping_add(even_half << 3),
        odd1.wrapping_add(odd2 << 1).wrapping_add(odd_half << 2),
        even1.wrapping_add(even2 << 2).wrapping_add(even_half << 1),
        m[7].wrapping_add(odd1).wrapping_add(odd2 << 3).wrapping_add(odd_half),
    ]
}

/// Five weights of a kernel row to the eight lanes, unrounded.
pub fn transform_weights(w: [f64; KERNEL]) -> [f64; POINTS] {
    // The values of the polynomial, times Lagrange's factor of the point, over what DATA and INVERSE are scaled by.
    let at = |x: f64, factor: f64| factor * w.iter().rev().fold(0.0, |value, weight| value * x + weight);
    let (two, half, one) = (1.0 / 360.0, 32.0 / 720.0, -1.0 / 18.0);
    [at(2.0, two), at(-2.0, two), at(0.5, half), at(-0.5, half), at(1.0, one), at(-1.0, one), w[0] / 4.0, w[4] / 4.0]
}

/// What rounded lanes do to a row: `[input][output]`, the factor of each input in each output. Exact: below 2^23, because the
/// magnitudes of an input's and an output's products of [`DATA`] and [`INVERSE`] have a sum of at most 225.
pub fn effective_taps(lanes: [i16; POINTS]) -> [[i32; TILE]; WINDOW] {
    core::array::from_fn(|input| {
        core::array::from_fn(|output| {
            let term = |p: usize| i32::from(lanes[p]) * (DATA[p][input] * INVERSE[p][output]);
            (0..POINTS).map(term).sum()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_its_matrix_and_fits_sixteen_bits() {
        for i in 0..WINDOW {
            let mut unit = [0; WINDOW];
            unit[i] = 1;
            assert_eq!(transform_data(unit), DATA.map(|row| row[i]));
        }
        assert!(DATA_GROWTH * 4 * i32::from(crate::quant::ACTIVATION_MAX) <= i32::from(i16::MAX));
    }

    #[test]
    fn the_inverse_is_its_matrix() {
        for p in 0..POINTS {
            let mut unit = [0; POINTS];
            unit[p] = 1;
            assert_eq!(inverse(unit), INVERSE[p]);
        }
    }

    #[test]
    fn unrounded_lanes_are_a_correlation() {
        for tap in 0..KERNEL {
            let mut w = [0.0; KERNEL];
            w[tap] = 1.0;
            let lanes = transform_weights(w);
            for input in 0..WINDOW {
                for output in 0..TILE {
                    let factor: f64 =
                        (0..POINTS).map(|p| lanes[p] * f64::from(DATA[p][input] * INVERSE[p][output])).sum();
                    let expected = f64::from(u8::from(input == output + tap));
                    assert!((factor - expected).abs() < 1e-12, "{tap} {input} {output}: {factor}");
                }
            }
        }
    }

    #[test]
    fn effective_taps_are_what_the_arithmetic_does() {
        let lanes = [32_767, -32_767, 12_345, -7, 0, 999, -20_000, 31];
        let d = [508, -508, 3, 77, -508, 508, 0, -1];
        let transformed = transform_data(d);
        let outputs = inverse(core::array::from_fn(|p| transformed[p].wrapping_mul(i32::from(lanes[p]))));
        let taps = effective_taps(lanes);
        for output in 0..TILE {
            let exact: i64 = (0..WINDOW).map(|i| i64::from(taps[i][output]) * i64::from(d[i])).sum();
            assert_eq!(outputs[output], exact as i32);
        }
    }

    #[test]
    fn effective_taps_stay_below_their_bound() {
        let sum = |i: usize, o: usize| (0..POINTS).map(|p| (DATA[p][i] * INVERSE[p][o]).abs()).sum::<i32>();
        let sums = (0..WINDOW).flat_map(|i| (0..TILE).map(move |o| sum(i, o)));
        let largest = sums.max().unwrap();
        assert!(largest == 225 && largest * i32::from(crate::quant::CONV_LANE_MAX) < 1 << 23, "{largest}");
    }
}
