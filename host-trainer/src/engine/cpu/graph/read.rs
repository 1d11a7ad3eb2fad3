//! What a unit's readers see: its tensor through BatchNorm and activation; and backward the gradient of the tensor from that
//! of what they see.

use bn_core::network::Activation;
use pulp::Simd;

use super::super::lanes::{Lanes, at_least, fma, sigmoids, zero};

/// Of each channel what BatchNorm does to a value, forward and backward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coefficients {
    /// `scale * z + shift` is the normalised value, scaled and shifted by gamma and beta.
    pub(super) scale: f32,
    /// See `scale`.
    pub(super) shift: f32,
    /// Mean of the batch.
    pub(super) mean: f32,
    /// `d.0 * g + d.1 * z + d.2` is the gradient of the tensor.
    pub(super) d: [f32; 3],
}

impl Coefficients {
    /// Where there is no BatchNorm.
    pub(super) const NONE: Self = Self { scale: 1.0, shift: 0.0, mean: 0.0, d: [1.0, 0.0, 0.0] };
}

/// An activation as a vector loop has it: a range to stay in, and where that is not all, a function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Curve {
    low: f32,
    high: f32,
    function: Option<Activation>,
}

impl Curve {
    /// The curve of an activation, or of none.
    pub(super) fn of(activation: Option<Activation>) -> Self {
        let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
        match activation {
            None => Self { low, high, function: None },
            Some(Activation::Relu) => Self { low: 0.0, high, function: None },
            Some(Activation::Relu6) => Self { low: 0.0, high: 6.0, function: None },
            function => Self { low, high, function },
        }
    }
}

/// As pulp's `select_f32s`, which is no function that compilers always inline.
#[inline(always)]
pub(super) fn select<S: Simd>(simd: S, mask: S::m32s, yes: Lanes<S>, no: Lanes<S>) -> Lanes<S> {
    let [yes, no] = [simd.transmute_u32s_f32s(yes), simd.transmute_u32s_f32s(no)];
    simd.transmute_f32s_u32s(simd.select_u32s(mask, yes, no))
}

#[inline(always)]
fn within<S: Simd>(simd: S, low: f32, high: f32, x: Lanes<S>) -> Lanes<S> {
    let limit = simd.splat_f32s(high);
    // x86 hands on the second operand where one is a NaN.
    let x =
        if S::IS_SCALAR { select(simd, simd.greater_than_f32s(x, limit), limit, x) } else { simd.min_f32s(limit, x) };
    at_least(simd, low, x)
}

/// What readers see of a run of one channel.
#[inline(always)]
pub(super) fn see<S: Simd>(simd: S, curve: Curve, channel: &Coefficients, z: &[Lanes<S>], to: &mut [Lanes<S>]) {
    let (scale, shift) = (simd.splat_f32s(channel.scale), simd.splat_f32s(channel.shift));
    for (to, &z) in to.iter_mut().zip(z) {
        *to = within(simd, curve.low, curve.high, fma(simd, scale, z, shift));
    }
    if let Some(function) = curve.function {
        for value in &mut to[..z.len()] {
            *value = activate(simd, function, *value);
        }
    }
}

/// Backward of [`see`], in place, of a run of one channel: from the gradient of what readers see to that of the BatchNorm's output.
/// Returns the gradient's sum over positions, and that of its products with the distance from the mean.
#[inline(always)]
pub(super) fn unsee<S: Simd>(
    simd: S,
    curve: Curve,
    channel: &Coefficients,
    z: &[Lanes<S>],
    g: &mut [Lanes<S>],
) -> [f32; 2] {
    let (scale, shift) = (simd.splat_f32s(channel.scale), simd.splat_f32s(channel.shift));
    if let Some(function) = curve.function {
        for (g, &z) in g.iter_mut().zip(z) {
            *g = simd.mul_f32s(*g, slope(simd, function, fma(simd, scale, z, shift)));
        }
    }
    let (low, high) = (simd.splat_f32s(curve.low), simd.splat_f32s(curve.high));
    let mean = simd.splat_f32s(channel.mean);
    let (mut sum, mut along) = (zero(simd), zero(simd));
    for (g, &z) in g.iter_mut().zip(z) {
        let x = fma(simd, scale, z, shift);
        let inside = simd.and_m32s(simd.greater_than_f32s(x, low), simd.less_than_f32s(x, high));
        *g = select(simd, inside, *g, zero(simd));
        sum = simd.add_f32s(sum, *g);
        along = fma(simd, *g, simd.sub_f32s(z, mean), along);
    }
    [simd.reduce_sum_f32s(sum), simd.reduce_sum_f32s(along)]
}

/// Gradient of a run of one channel of the tensor, from that of the BatchNorm's output. `mask` is 1 where a lane holds an example.
#[inline(always)]
pub(super) fn gradient<S: Simd>(
    simd: S,
    channel: &Coefficients,
    mask: Lanes<S>,
    [g, z]: [&[Lanes<S>]; 2],
    to: &mut [Lanes<S>],
) {
    let [a, b, c] = channel.d;
    let a = simd.mul_f32s(simd.splat_f32s(a), mask);
    let (b, c) = (simd.mul_f32s(simd.splat_f32s(b), mask), simd.mul_f32s(simd.splat_f32s(c), mask));
    for ((to, &g), &z) in to.iter_mut().zip(g).zip(z) {
        *to = fma(simd, a, g, fma(simd, b, z, c));
    }
}

#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: Lanes<S>) -> Lanes<S> {
    let t = simd.mul_f32s(x, simd.splat_f32s(-std::f32::consts::LOG2_E));
    sigmoids(simd, [t, t])[0]
}

#[inline(always)]
fn tanh<S: Simd>(simd: S, x: Lanes<S>) -> Lanes<S> {
    let double = sigmoid(simd, simd.add_f32s(x, x));
    simd.sub_f32s(simd.add_f32s(double, double), simd.splat_f32s(1.0))
}

#[inline(always)]
fn activate<S: Simd>(simd: S, function: Activation, x: Lanes<S>) -> Lanes<S> {
    let splat = |value| simd.splat_f32s(value);
    let hard = |slope| within(simd, 0.0, 1.0, fma(simd, splat(slope), x, splat(0.5)));
    match function {
        Activation::LeakyRelu { slope } => {
            let is_positive = simd.greater_than_f32s(x, zero(simd));
            select(simd, is_positive, x, simd.mul_f32s(splat(slope), x))
        }
        Activation::Sigmoid => sigmoid(simd, x),
        Activation::Tanh => tanh(simd, x),
        Activation::HardSigmoid { slope } => hard(slope),
        Activation::HardSwish => simd.mul_f32s(x, hard(1.0 / 6.0)),
        other => unreachable!("{other:?} is a range, or no activation of bn-core"),
    }
}

/// The derivative at `x`.
#[inline(always)]
fn slope<S: Simd>(simd: S, function: Activation, x: Lanes<S>) -> Lanes<S> {
    let splat = |value| simd.splat_f32s(value);
    let one = splat(1.0);
    match function {
        Activation::LeakyRelu { slope } => select(simd, simd.greater_than_f32s(x, zero(simd)), one, splat(slope)),
        Activation::Sigmoid => {
            let y = sigmoid(simd, x);
            simd.mul_f32s(y, simd.sub_f32s(one, y))
        }
        Activation::Tanh => {
            let y = tanh(simd, x);
            simd.sub_f32s(one, simd.mul_f32s(y, y))
        }
        Activation::HardSigmoid { slope } => {
            let y = fma(simd, splat(slope), x, splat(0.5));
            let inside = simd.and_m32s(simd.greater_than_f32s(y, zero(simd)), simd.less_than_f32s(y, one));
            select(simd, inside, splat(slope), zero(simd))
        }
        Activation::HardSwish => {
            let between = fma(simd, splat(1.0 / 3.0), x, splat(0.5));
            let above = select(simd, simd.less_than_f32s(x, splat(3.0)), between, one);
            select(simd, simd.greater_than_f32s(x, splat(-3.0)), above, zero(simd))
        }
        other => unreachable!("{other:?} is a range, or no activation of bn-core"),
    }
}
