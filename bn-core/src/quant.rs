//! The integer arithmetic: what a stored number means, how long the tables are, and THE rounding rule.
//!
//! | value | stored as | meaning |
//! |---|---|---|
//! | pixel | u8 | `value / 255` |
//! | activation (a sigmoid's output) | i8 in [-127, 127] | `(value + 127) / 254`: centred, so that products are small |
//! | pooled activation 1 | i16, the SUM of four, from 0 | `value / 1016`: no division, no rounding; convolution 2 subtracts 508 |
//! | pooled activation 2 | i8, `(sum + 2) >> 2` | as an activation |
//! | convolution lane | i16 in [-32767, 32767] | a transformed weight ([`ops::winograd`](crate::ops::winograd)), one scale a layer |
//! | linear weight | i8 in [-127, 127] | `value * scale[output]` |
//! | convolution accumulator | i32 | `2^CONV_SHIFT` units are one entry of the layer's sigmoid table |
//! | linear accumulator | i32, times 256 | becomes a table index or a logit by one multiplication: [`requantize`] |
//! | logit | i32 | `value * 2^-logit_fraction_bits` |
//!
//! A convolution needs no multiplier: its weights share one scale, which is chosen so that a shift gives the index. What
//! matters to a sigmoid is the absolute error, and 16-bit lanes have room enough for every channel.

use bytemuck::{Pod, Zeroable};

/// What the integers of a tensor mean: `(integer - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Scale {
    /// Value of one step; positive.
    pub scale: f32,
    /// The integer of the value 0; it need not be one that occurs.
    pub zero_point: i32,
}

/// Largest magnitude of a transformed convolution weight: 16 bits, symmetric.
pub const CONV_LANE_MAX: i16 = 32_767;
/// Largest magnitude of a linear weight: 8 bits, symmetric.
pub const LINEAR_WEIGHT_MAX: i8 = 127;
/// What 1.0 is as a pixel.
pub const PIXEL_ONE: u8 = 255;
/// Largest magnitude of an activation; the smallest is 0.0, the largest 1.0.
pub const ACTIVATION_MAX: i8 = 127;
/// Steps of an activation from 0.0 to 1.0.
pub const ACTIVATION_ONE: u8 = 254;
/// Steps of the sum of four from 0.0 to 1.0.
pub const POOLED_ONE: u16 = 4 * ACTIVATION_ONE as u16;
/// What one half is as the sum of four.
pub const POOLED_CENTRE: i32 = POOLED_ONE as i32 / 2;
/// What a linear accumulator counts a product as: two weights travel in one halfword, one of them 256 times.
pub const LINEAR_UNIT: i32 = 256;

/// By how many bits the accumulators of convolution 1 and 2 are finer than their tables.
pub const CONV_SHIFT: [u32; 2] = [13, 17];

/// Entries of a sigmoid table.
pub const SIGMOID_LEN: usize = 1024;
/// A table spans at least [-SIGMOID_RANGE, SIGMOID_RANGE). Beyond 6.24 a sigmoid rounds to its ends anyway.
pub const SIGMOID_RANGE: f64 = 6.4;
/// Smallest distance between neighbouring entries; a layer of very large weights has a table of larger steps.
pub const SIGMOID_STEP: f64 = 2.0 * SIGMOID_RANGE / SIGMOID_LEN as f64;

/// Two neighbours that one instruction multiplies: one word, `low` in its lower half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(4))]
#[expect(missing_docs, reason = "the names say it")]
pub struct Pair {
    pub low: i16,
    pub high: i16,
}

impl Pair {
    /// Both halves.
    pub const fn new(low: i16, high: i16) -> Self {
        Self { low, high }
    }

    /// `self.low * other.low + self.high * other.high`. At most 2^31 - 2^17 in magnitude unless both are all -32768, which
    /// no lane is.
    #[inline(always)]
    pub const fn dot(self, other: Self) -> i32 {
        (self.low as i32 * other.low as i32).wrapping_add(self.high as i32 * other.high as i32)
    }
}

/// Four inputs of a linear layer, in the form in which int8 weights are multiplied without being unpacked.
///
/// Two weights are one halfword `256 * w1 + w0`. Then `(256 * w1 + w0) * a1 + w0 * (256 * a0 - a1)` is
/// `256 * (w0 * a0 + w1 * a1)`: two multiplications, and only `w0` was extracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Quad {
    /// `a1` and `a3`.
    pub odd: Pair,
    /// `256 * a0 - a1` and `256 * a2 - a3`: at most 32,639 in magnitude.
    pub even: Pair,
}

impl Quad {
    /// Of four activations.
    #[inline(always)]
    pub const fn new(a: [i8; 4]) -> Self {
        const fn even(a0: i8, a1: i8) -> i16 {
            LINEAR_UNIT as i16 * a0 as i16 - a1 as i16
        }
        Self { odd: Pair::new(a[1] as i16, a[3] as i16), even: Pair::new(even(a[0], a[1]), even(a[2], a[3])) }
    }

    /// The four activations.
    pub const fn values(self) -> [i8; 4] {
        const fn a0(even: i16, a1: i16) -> i8 {
            ((even as i32 + a1 as i32) / LINEAR_UNIT) as i8
        }
        let (a1, a3) = (self.odd.low, self.odd.high);
        [a0(self.even.low, a1), a1 as i8, a0(self.even.high, a3), a3 as i8]
    }

    /// 256 times the dot product with four weights, see [`pack_weights`]. The low byte of a halfword is `w0` or `w2` itself.
    #[inline(always)]
    pub fn dot(self, weights: &Pair) -> i32 {
        const LOW: usize = if cfg!(target_endian = "little") { 0 } else { 1 };
        let bytes: &[i8; 4] = bytemuck::must_cast_ref(weights);
        let even = self.even.dot(Pair::new(bytes[LOW].into(), bytes[2 + LOW].into()));
        even.wrapping_add(self.odd.dot(*weights))
    }
}

/// Four int8 weights in [-127, 127] as two halfwords: `256 * w1 + w0` and `256 * w3 + w2`.
pub const fn pack_weights(w: [i8; 4]) -> Pair {
    Pair::new(LINEAR_UNIT as i16 * w[1] as i16 + w[0] as i16, LINEAR_UNIT as i16 * w[3] as i16 + w[2] as i16)
}

/// The four weights of [`pack_weights`], with room for a forged -128.
pub const fn unpack_weights(pair: Pair) -> [i16; 4] {
    const fn two(half: i16) -> [i16; 2] {
        let low = half as i8 as i16;
        [low, ((half as i32 - low as i32) / LINEAR_UNIT) as i16]
    }
    let ([w0, w1], [w2, w3]) = (two(pair.low), two(pair.high));
    [w0, w1, w2, w3]
}

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

/// [`requantize`] for cores that multiply 32 bits by 32 bits to 32 bits, from products of halves.
///
/// With `x = 2^16 * xh + xl`, `xl` unsigned, the high word of `a * b + 2^31` is `ah * bh` and what the middle carries into it:
/// `ah * bl`, `al * bh` and the high half of `al * bl`, whose lower 16 bits cannot change a floor. Each middle product is
/// within `(-2^31, 2^31)`; they are added one at a time, and the first sum, `ah * bl + 2^15 + (al * bl >> 16)`, ends at
/// `(2^15 - 1) * (2^16 - 1) + 2^15 + 2^16 - 2 < 2^31`.
#[inline(always)]
pub const fn requantize_by_halves(accumulator: i32, multiplier: i32) -> i32 {
    let (a_high, a_low) = (accumulator >> 16, accumulator & 0xFFFF);
    let (b_high, b_low) = (multiplier >> 16, multiplier & 0xFFFF);
    let low = (a_low as u32 * b_low as u32) >> 16;
    let middle = a_high * b_low + (low as i32 + (1 << 15));
    let other = (middle & 0xFFFF) + a_low * b_high;
    a_high * b_high + (middle >> 16) + (other >> 16)
}

/// Index of the table entry for a convolution's accumulator: its shift's floor, clamped to the table.
#[inline(always)]
pub const fn conv_index(accumulator: i32, shift: u32) -> usize {
    table_index(accumulator >> shift)
}

/// Index of the table entry for a linear accumulator, clamped to the table.
#[inline(always)]
pub const fn linear_index(accumulator: i32, multiplier: i32) -> usize {
    table_index(requantize(accumulator, multiplier))
}

/// An index, clamped to the table.
#[inline(always)]
pub const fn table_index(index: i32) -> usize {
    if index < 0 {
        0
    } else if index as usize >= SIGMOID_LEN {
        SIGMOID_LEN - 1
    } else {
        index as usize
    }
}

/// A sigmoid's table: entry `i` stands for `[i, i + 1) * step - SIGMOID_LEN / 2 * step` and holds the middle's
/// `127 * (2 * sigmoid - 1)`, rounded.
///
/// Made once, at export, and stored in the file: `exp` differs between maths libraries, bits must not.
pub fn sigmoid_table(step: f64) -> [i8; SIGMOID_LEN] {
    core::array::from_fn(|i| {
        let x = (i as f64 + 0.5 - (SIGMOID_LEN / 2) as f64) * step;
        libm::round(f64::from(ACTIVATION_MAX) * libm::tanh(x / 2.0)) as i8
    })
}

/// Convolution 1's table: as [`sigmoid_table`], not centred, 0 to 254.
pub fn sigmoid_table_uncentred(step: f64) -> [u8; SIGMOID_LEN] {
    sigmoid_table(step).map(|value| (i16::from(value) + i16::from(ACTIVATION_MAX)) as u8)
}

/// The second pool: the mean of four, rounded to nearest, halves up.
#[inline(always)]
pub const fn mean_of_four(sum: i32) -> i8 {
    ((sum + 2) >> 2) as i8
}

/// The code of a raw value: `floor(raw / scale + 1/2) + zero_point`, clamped. Every core rounds the quotient as IEEE 754 says, so
/// all of them give the same code; what is no number is code 0.
pub fn quantize_input(raw: f32, scale: Scale) -> u8 {
    let steps = libm::floorf(raw / scale.scale + 0.5);
    // A cast saturates, and far from both ends nothing is lost by it.
    (steps as i32).saturating_add(scale.zero_point).max(0).min(u8::MAX.into()) as u8
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
                assert_eq!(requantize_by_halves(a, b), requantize(a, b), "{a} {b}");
            }
        }
        // Ties go up: 1/2 -> 1, -1/2 -> 0, 3/2 -> 2, -3/2 -> -1.
        assert_eq!([1, -1, 3, -3].map(|halves| requantize(halves << 16, 1 << 15)), [1, 0, 2, -1]);
    }

    #[test]
    fn requantize_matches_unbounded_arithmetic_at_random() {
        let mut rng = chacha20::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..if cfg!(miri) { 1_000 } else { 1_000_000 } {
            let (a, b) = (rng.random(), rng.random());
            assert_eq!(i128::from(requantize(a, b)), oracle(a, b), "{a} {b}");
            assert_eq!(requantize_by_halves(a, b), requantize(a, b), "{a} {b}");
        }
    }

    #[test]
    fn the_table_is_a_sigmoid() {
        for step in [SIGMOID_STEP, 0.1] {
            let table = sigmoid_table(step);
            assert!(table.is_sorted());
            assert_eq!((table[0], table[SIGMOID_LEN - 1]), (-127, 127));
            assert!((0..SIGMOID_LEN / 2).all(|i| table[i] == -table[SIGMOID_LEN - 1 - i]));
        }
    }

    #[test]
    fn packed_products_are_the_plain_ones() {
        let edge = |a: i8| [a, 0, 127, -127, 1, -1];
        for weights in [edge(127), edge(-127), edge(5)].as_flattened().windows(4) {
            for inputs in [edge(-127), edge(127), edge(-77)].as_flattened().windows(4) {
                let (w, a): ([i8; 4], [i8; 4]) = (weights.try_into().unwrap(), inputs.try_into().unwrap());
                let expected: i32 = w.iter().zip(a).map(|(&w, a)| i32::from(w) * i32::from(a)).sum();
                assert_eq!(Quad::new(a).dot(&pack_weights(w)), LINEAR_UNIT * expected);
                assert_eq!(Quad::new(a).values(), a);
                assert_eq!(unpack_weights(pack_weights(w)), w.map(i16::from));
            }
        }
    }

    #[test]
    fn raw_values_become_codes() {
        let scale = Scale { scale: 0.5, zero_point: 100 };
        let codes = [-1e30, -50.0, -0.3, -0.25, 0.0, 0.24, 0.25, 77.4, 1e30, f32::NAN];
        assert_eq!(codes.map(|raw| quantize_input(raw, scale)), [0, 0, 99, 100, 100, 100, 101, 255, 255, 100]);
    }

    #[test]
    fn the_mean_of_four_rounds_and_stays_in_range() {
        assert_eq!([-508, -507, -3, -2, 1, 2, 5, 6, 508].map(mean_of_four), [-127, -127, -1, 0, 0, 1, 1, 2, 127]);
    }
}
