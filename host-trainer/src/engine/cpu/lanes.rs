//! Vectors of f32: one example a lane. Names for pulp's generic operations, the exponential and the sigmoid, and the way
//! into code compiled for an instruction set.
//!
//! Everything here is `inline(always)`: an operation that stayed a function of its own would be compiled for the plainest
//! processor of the family.

use std::array::from_fn;

use pulp::{Simd, WithSimd};

/// A vector of the instruction set `S`.
pub(super) type Lanes<S> = <S as Simd>::f32s;

/// Most lanes of any instruction set, and so most examples of a group.
pub(super) const MAX_LANES: usize = 16;

/// Work on vectors of the instruction set `S`, its arguments in the fields.
pub(super) trait Kernel<S: Simd> {
    /// What it returns.
    type Output;

    /// Does the work. To be called by [`enter`] alone, and marked `inline(always)`.
    fn run(self, simd: S) -> Self::Output;
}

/// Runs a kernel in a function that is compiled for the instruction set.
pub(super) fn enter<S: Simd, K: Kernel<S>>(simd: S, kernel: K) -> K::Output {
    struct Enter<S, K>(S, K);
    impl<S: Simd, K: Kernel<S>> WithSimd for Enter<S, K> {
        type Output = K::Output;

        #[inline(always)]
        fn with_simd<T: Simd>(self, _: T) -> K::Output {
            // `T` is `S`; the fields are typed by `S`.
            self.1.run(self.0)
        }
    }
    simd.vectorize(Enter(simd, kernel))
}

/// `a * b + c`, in one rounding where the processor has it.
#[inline(always)]
pub(super) fn fma<S: Simd>(simd: S, a: Lanes<S>, b: Lanes<S>, c: Lanes<S>) -> Lanes<S> {
    simd.mul_add_e_f32s(a, b, c)
}

/// Every lane zero.
#[inline(always)]
pub(super) fn zero<S: Simd>(simd: S) -> Lanes<S> {
    simd.splat_f32s(0.0)
}

/// 1 in the first `count` lanes, 0 in the others.
pub(super) fn mask<S: Simd>(simd: S, count: usize) -> Lanes<S> {
    let ones: [f32; MAX_LANES] = from_fn(|lane| if lane < count { 1.0 } else { 0.0 });
    simd.partial_load_f32s(&ones[..S::F32_LANES])
}

/// One lane a value.
#[inline(always)]
pub(super) fn values<S: Simd>(vector: &Lanes<S>) -> &[f32] {
    bytemuck::cast_slice(std::slice::from_ref(vector))
}

/// Adding it moves the nearest integer of a small number into the lowest bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// `2^r` on [-1/2, 1/2] by falling powers: error 2e-9 of the value before rounding, exact at 0.
const EXP2: [f32; 7] =
    [1.535_335_9e-4, 1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, 6.931_472e-1, 1.0];

/// `2^t` for t in [-126, 126]. A NaN stays one.
#[inline(always)]
pub(super) fn exp2<S: Simd>(simd: S, t: Lanes<S>) -> Lanes<S> {
    let shifted = simd.add_f32s(t, simd.splat_f32s(ROUND));
    let r = simd.sub_f32s(t, simd.sub_f32s(shifted, simd.splat_f32s(ROUND)));
    let mut p = simd.splat_f32s(EXP2[0]);
    for c in &EXP2[1..] {
        p = fma(simd, p, r, simd.splat_f32s(*c));
    }
    // The integer part is added to the exponent.
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p), exponent))
}

/// Two sigmoids `1 / (1 + 2^t)` at the price of one division: `t` is `-log2(e)` times the sigmoid's argument.
///
/// Below -43 (t above 62) the result stays at 2e-19, so that the product of two denominators does not overflow.
#[inline(always)]
pub(super) fn sigmoids<S: Simd>(simd: S, t: [Lanes<S>; 2]) -> [Lanes<S>; 2] {
    let one = simd.splat_f32s(1.0);
    let (a, b) = (simd.add_f32s(one, exp2(simd, clamp(simd, t[0]))), simd.add_f32s(one, exp2(simd, clamp(simd, t[1]))));
    let r = simd.div_f32s(one, simd.mul_f32s(a, b));
    [simd.mul_f32s(r, b), simd.mul_f32s(r, a)]
}

/// To [-62, 62].
#[inline(always)]
fn clamp<S: Simd>(simd: S, t: Lanes<S>) -> Lanes<S> {
    let t = if S::IS_SCALAR {
        let limit = simd.splat_f32s(62.0);
        simd.select_f32s(simd.greater_than_f32s(t, limit), limit, t)
    } else {
        // The limit comes first: x86 hands on the second operand where one is a NaN.
        simd.min_f32s(simd.splat_f32s(62.0), t)
    };
    at_least(simd, -62.0, t)
}

/// The larger of a limit and each lane. A NaN stays one.
#[inline(always)]
pub(super) fn at_least<S: Simd>(simd: S, limit: f32, t: Lanes<S>) -> Lanes<S> {
    let limit = simd.splat_f32s(limit);
    if S::IS_SCALAR {
        return simd.select_f32s(simd.less_than_f32s(t, limit), limit, t);
    }
    simd.max_f32s(limit, t)
}

/// Sigmoids in place of the `t` that [`sigmoids`] takes. An even number of vectors.
#[inline(always)]
pub(super) fn sigmoid_slice<S: Simd>(simd: S, vectors: &mut [Lanes<S>]) {
    for pair in vectors.as_chunks_mut::<2>().0 {
        *pair = sigmoids(simd, *pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::Arch;

    struct Sigmoids([f32; 2]);

    impl WithSimd for Sigmoids {
        type Output = [f32; 2];

        fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
            let t = self.0.map(|x| simd.splat_f32s(x * -std::f32::consts::LOG2_E));
            sigmoids(simd, t).map(|s| values::<S>(&s)[0])
        }
    }

    #[test]
    fn sigmoids_are_right_to_a_few_roundings() {
        for arch in [Arch::new(), Arch::Scalar] {
            for i in -40_000..40_000 {
                let x = i as f32 * 1e-3;
                let [a, b] = arch.dispatch(Sigmoids([x, -x]));
                for (x, s) in [(x, a), (-x, b)] {
                    let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
                    // The argument's own rounding in base 2 grows with it.
                    let allowed = f64::from(f32::EPSILON) * (2.0 + f64::from(x.abs()));
                    assert!((f64::from(s) / exact - 1.0).abs() < allowed, "{x}: {s} for {exact}");
                }
            }
        }
    }

    #[test]
    fn sigmoids_saturate_and_keep_a_nan() {
        for arch in [Arch::new(), Arch::Scalar] {
            let [low, high] = arch.dispatch(Sigmoids([f32::NEG_INFINITY, f32::INFINITY]));
            assert!((0.0..1e-18).contains(&low) && high == 1.0, "{low} {high}");
            let [nan, half] = arch.dispatch(Sigmoids([f32::NAN, 0.0]));
            assert!(nan.is_nan(), "{nan} {half}");
        }
    }
}
