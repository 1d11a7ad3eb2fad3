//! The logistic function, in place.

use ndarray::{Array, Dimension, Zip};

use super::real::Real;

/// `y = 1 / (1 + exp(-x))`.
pub fn sigmoid_forward<T: Real, D: Dimension>(x: Array<T, D>) -> Array<T, D> {
    let mut y = x;
    y.mapv_inplace(|x| T::one() / (T::one() + (-x).exp()));
    y
}

/// `d_x = d_y * y * (1 - y)`, from the forward pass's result `y`.
pub fn sigmoid_backward<T: Real, D: Dimension>(d_y: Array<T, D>, y: &Array<T, D>) -> Array<T, D> {
    let mut d_x = d_y;
    Zip::from(&mut d_x).and(y).for_each(|d, &y| *d = *d * y * (T::one() - y));
    d_x
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;
    use ndarray::array;

    #[test]
    fn forward_saturates_without_overflow() {
        let y = sigmoid_forward(array![f32::NEG_INFINITY, -1000.0, 0.0, 1000.0, f32::INFINITY]);
        assert_eq!(y, array![0.0, 0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn gradient() {
        let (x, d_y) = (random(1, (3, 4)) * 4.0, random(2, (3, 4)));
        let d_x = sigmoid_backward(d_y.clone(), &sigmoid_forward(x.clone()));
        check("d_x", &d_x, &x, |x| weighted_sum(&sigmoid_forward(x), &d_y));
    }
}
