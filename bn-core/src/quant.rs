//! The integer arithmetic: what a stored number means, how long the tables are, and THE rounding rule.
//!
//! | value | stored as | meaning |
//! |---|---|---|
//! | pixel | u8 | `value / 255` |
//! | activation (a sigmoid's output) | u8 | `value / 255`, zero point 0 |
//! | pooled activation | u16, the SUM of four | `value / 1020`: no division, no rounding |
//! | convolution weight | i16 in [-2047, 2047] | `value * scale[channel]` |
//! | linear weight | i8 in [-127, 127] | `value * scale[channel]` |
//! | bias | i32 | in units of the accumulator, with the start of the sigmoid's table added |
//! | accumulator | i32 | `value * scale[channel] * input's unit` |
//! | logit | i32 | `value * 2^-logit_fraction_bits` |
//!
//! An accumulator becomes the index of a sigmoid table entry, or a logit, by one multiplication: [`requantize`].

/// Largest magnitude of a convolution weight: 12 bits, symmetric.
pub const CONV_WEIGHT_MAX: i16 = 2047;
/// Largest magnitude of a linear weight: 8 bits, symmetric.
pub const LINEAR_WEIGHT_MAX: i8 = 127;
/// What 1.0 is as a pixel or activation.
pub const ACTIVATION_ONE: u8 = 255;
/// What 1.0 is as a pooled activation: the sum of four.
pub const POOLED_ONE: u16 = 4 * ACTIVATION_ONE as u16;

/// Entries of the sigmoid table.
pub const SIGMOID_LEN: usize = 1024;
/// The table spans [-SIGMOID_RANGE, SIGMOID_RANGE). Beyond 6.24 a sigmoid rounds to 0 or 255 of 255 anyway.
pub const SIGMOID_RANGE: f64 = 6.4;
/// Distance between neighbouring entries.
pub const SIGMOID_STEP: f64 = 2.0 * SIGMOID_RANGE / SIGMOID_LEN as f64;

/// Most fraction bits that a logit may have.
pub const LOGIT_FRACTION_BITS_MAX: u8 = 20;

/// THE rounding rule: `floor(accumulator * multiplier / 2^32 + 1/2)`, that is, round to nearest, ties towards positive
/// infinity. It is what one `SMMULR` of the Cortex-M DSP extension computes.
///
/// The absolute error that rounding the multiplier adds is at most `|accumulator| / 2^33`, so no shift is needed.
/// Cannot overflow: the product of two i32 fits an i64 with the half added, and its high word fits an i32.
#[inline(always)]
pub const fn requantize(accumulator: i32, multiplier: i32) -> i32 {
    ((accumulator as i64 * multiplier as i64 + (1 << 31)) >> 32) as i32
}

/// Index of the sigmoid's table entry for an accumulator, clamped to the table.
#[inline(always)]
pub const fn sigmoid_index(accumulator: i32, multiplier: i32) -> usize {
    let index = requantize(accumulator, multiplier);
    if index < 0 {
        0
    } else if index as usize >= SIGMOID_LEN {
        SIGMOID_LEN - 1
    } else {
        index as usize
    }
}

/// The sigmoid's table: entry `i` is `round(255 * sigmoid(i * SIGMOID_STEP - SIGMOID_RANGE))`.
///
/// Made once, at export, and stored in the file: `exp` differs between maths libraries, bits must not.
pub fn sigmoid_table() -> [u8; SIGMOID_LEN] {
    core::array::from_fn(|i| {
        let x = i as f64 * SIGMOID_STEP - SIGMOID_RANGE;
        libm::round(f64::from(ACTIVATION_ONE) / (1.0 + libm::exp(-x))) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// The rule in unbounded arithmetic: floor((2ab + 2^32) / 2^33).
    fn oracle(a: i32, b: i32) -> i128 {
        (2 * i128::from(a) * i128::from(b) + (1 << 32)).div_euclid(1 << 33)
    }

    #[test]
    fn requantize_matches_unbounded_arithmetic_at_extremes_and_ties() {
        let edges =
            [i32::MIN, i32::MIN + 1, -65_537, -65_536, -1, 0, 1, 2, 65_535, 65_536, 1 << 30, i32::MAX - 1, i32::MAX];
        for a in edges {
            for b in edges {
                assert_eq!(i128::from(requantize(a, b)), oracle(a, b), "{a} {b}");
            }
        }
        // Ties go up: 1/2 -> 1, -1/2 -> 0, 3/2 -> 2, -3/2 -> -1.
        assert_eq!([1, -1, 3, -3].map(|halves| requantize(halves << 16, 1 << 15)), [1, 0, 2, -1]);
    }

    #[test]
    fn requantize_matches_unbounded_arithmetic_at_random() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..1_000_000 {
            let (a, b) = (rng.random(), rng.random());
            assert_eq!(i128::from(requantize(a, b)), oracle(a, b), "{a} {b}");
        }
    }

    #[test]
    fn the_table_is_a_sigmoid() {
        let table = sigmoid_table();
        assert!(table.is_sorted());
        assert_eq!((table[0], table[SIGMOID_LEN / 2], table[SIGMOID_LEN - 1]), (0, 128, 255));
    }
}
