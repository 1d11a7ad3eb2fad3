//! Numbers of 16 bits, as models for GPUs are stored: read, never computed with.

/// An IEEE 754 half: a sign, 5 bits of exponent, 10 of fraction.
pub(crate) fn f16(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
    let magnitude = match exponent {
        // Subnormal numbers have no leading one.
        0 => fraction * (-14f64).exp2(),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1.0 + fraction) * f64::from(exponent - 15).exp2(),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}

/// A bfloat16: the upper half of an f32.
pub(crate) fn bf16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_standards() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x3555, 0.333251953125),
            (0x0400, 6.103515625e-5),
            (0x0001, 5.960464477539063e-8),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(f16(bits), value, "{bits:#06x}");
        }
        assert!(f16(0x7e00).is_nan() && f16(0x8000).is_sign_negative());
        for (bits, value) in [(0x3f80, 1.0), (0xc040, -3.0), (0x7f80, f64::INFINITY), (0x3eab, 0.333984375)] {
            assert_eq!(bf16(bits), value, "{bits:#06x}");
        }
    }
}
