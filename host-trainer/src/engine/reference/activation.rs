//! Functions of each value, in place. At a kink the derivative is PyTorch's. A NaN stays one, so that a training that went
//! wrong shows.

use bn_core::network::Activation;
use ndarray::{Array, Dimension, Zip};

use crate::model::real::Real;

/// `f` of each value, see [`Activation`].
pub fn activation_forward<T: Real, D: Dimension>(x: Array<T, D>, f: Activation) -> Array<T, D> {
    let (zero, one, half, six) = (T::zero(), T::one(), T::of(0.5), T::of(6.0));
    let mut y = x;
    match f {
        Activation::Relu => y.mapv_inplace(|x| if x < zero { zero } else { x }),
        Activation::Relu6 => y.mapv_inplace(|x| clamp(x, six)),
        Activation::LeakyRelu { slope } => {
            let slope = T::of(slope.into());
            y.mapv_inplace(|x| if x > zero { x } else { slope * x });
        }
        Activation::Sigmoid => y.mapv_inplace(|x| one / (one + (-x).exp())),
        Activation::Tanh => y.mapv_inplace(T::tanh),
        Activation::HardSigmoid { slope } => {
            let slope = T::of(slope.into());
            y.mapv_inplace(|x| clamp(slope * x + half, one));
        }
        Activation::HardSwish => y.mapv_inplace(|x| x * clamp(x / six + half, one)),
        other => unreachable!("bn-core has no activation {other:?}"),
    }
    y
}

/// Whether [`activation_backward`] reads what the forward pass gave; else it reads what it took.
pub fn reads_output(f: Activation) -> bool {
    matches!(f, Activation::Relu | Activation::Relu6 | Activation::Sigmoid | Activation::Tanh)
}

/// `d_x = d_y * f'(x)`, from the forward pass's result or its input: see [`reads_output`].
pub fn activation_backward<T: Real, D: Dimension>(d_y: Array<T, D>, kept: &Array<T, D>, f: Activation) -> Array<T, D> {
    let (zero, one, half, six) = (T::zero(), T::one(), T::of(0.5), T::of(6.0));
    let three = T::of(3.0);
    let mut d = d_y;
    let each = Zip::from(&mut d).and(kept);
    match f {
        Activation::Relu => each.for_each(|d, &y| *d = if y <= zero { zero } else { *d }),
        Activation::Relu6 => each.for_each(|d, &y| *d = if y <= zero || y >= six { zero } else { *d }),
        Activation::LeakyRelu { slope } => {
            let slope = T::of(slope.into());
            each.for_each(|d, &x| *d = if x > zero { *d } else { slope * *d });
        }
        Activation::Sigmoid => each.for_each(|d, &y| *d = *d * y * (one - y)),
        Activation::Tanh => each.for_each(|d, &y| *d *= one - y * y),
        Activation::HardSigmoid { slope } => {
            let slope = T::of(slope.into());
            let inside = |y: T| y > zero && y < one;
            each.for_each(|d, &x| *d = if inside(slope * x + half) { slope * *d } else { zero });
        }
        Activation::HardSwish => each.for_each(|d, &x| {
            *d = if x <= -three {
                zero
            } else if x < three {
                *d * (x / three + half)
            } else {
                *d
            }
        }),
        other => unreachable!("bn-core has no activation {other:?}"),
    }
    d
}

/// Between 0 and `largest`.
fn clamp<T: Real>(x: T, largest: T) -> T {
    if x < T::zero() {
        T::zero()
    } else if x > largest {
        largest
    } else {
        x
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;
    use ndarray::{Array1, array};

    const ALL: [Activation; 8] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::LeakyRelu { slope: -0.5 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::HardSigmoid { slope: 0.2 },
        Activation::HardSwish,
    ];

    fn derivative(f: Activation, x: Array1<f64>) -> Array1<f64> {
        let kept = if reads_output(f) { activation_forward(x.clone(), f) } else { x.clone() };
        activation_backward(Array1::ones(x.len()), &kept, f)
    }

    #[test]
    fn forward_by_hand() {
        let x = array![-8.0, -1.5, 0.0, 1.5, 9.0];
        let y = |f| activation_forward(x.clone(), f);
        assert_eq!(y(Activation::Relu), array![0.0, 0.0, 0.0, 1.5, 9.0]);
        assert_eq!(y(Activation::Relu6), array![0.0, 0.0, 0.0, 1.5, 6.0]);
        assert_eq!(y(Activation::LeakyRelu { slope: 0.25 }), array![-2.0, -0.375, 0.0, 1.5, 9.0]);
        assert_eq!(y(Activation::HardSigmoid { slope: 0.25 }), array![0.0, 0.125, 0.5, 0.875, 1.0]);
        assert_eq!(y(Activation::HardSwish), array![0.0, -0.375, 0.0, 1.125, 9.0]);
        assert_eq!(y(Activation::Tanh)[3], 1.5f64.tanh());
    }

    #[test]
    fn sigmoid_saturates_without_overflow() {
        let x = array![f32::NEG_INFINITY, -1000.0, 0.0, 1000.0, f32::INFINITY];
        assert_eq!(activation_forward(x, Activation::Sigmoid), array![0.0, 0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn gradients() {
        for f in ALL {
            // From -8 to 8: every piece of every function.
            let (x, d_y) = (random(1, (6, 10)) * 8.0, random(2, (6, 10)));
            let kept = if reads_output(f) { activation_forward(x.clone(), f) } else { x.clone() };
            let d_x = activation_backward(d_y.clone(), &kept, f);
            check(&format!("{f:?}"), &d_x, &x, |x| weighted_sum(&activation_forward(x, f), &d_y));
        }
    }

    /// As PyTorch 2.15 gives them.
    #[test]
    fn derivatives_at_the_kinks_are_pytorchs() {
        assert_eq!(derivative(Activation::Relu, array![0.0, -0.0]), array![0.0, 0.0]);
        assert_eq!(derivative(Activation::Relu6, array![0.0, 6.0]), array![0.0, 0.0]);
        assert_eq!(derivative(Activation::LeakyRelu { slope: 0.25 }, array![0.0]), array![0.25]);
        assert_eq!(derivative(Activation::HardSigmoid { slope: 0.25 }, array![-2.0, 2.0]), array![0.0, 0.0]);
        assert_eq!(derivative(Activation::HardSwish, array![-3.0, 3.0]), array![0.0, 1.0]);
    }

    #[test]
    fn a_nan_stays() {
        for f in ALL {
            assert!(activation_forward(array![f32::NAN], f)[0].is_nan(), "{f:?}");
        }
    }
}
