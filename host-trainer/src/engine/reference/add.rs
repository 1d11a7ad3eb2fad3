//! The sum of two tensors of one shape. Backward, both get the gradient as it is.

use ndarray::Array4;

use crate::model::real::Real;

/// `x + other`.
pub fn add_forward<T: Real>(x: Array4<T>, other: &Array4<T>) -> Array4<T> {
    x + other
}

/// Gradients of both terms.
pub fn add_backward<T: Real>(d_y: Array4<T>) -> [Array4<T>; 2] {
    [d_y.clone(), d_y]
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;

    #[test]
    fn gradients() {
        let [x, other, d_y] = [1, 2, 3].map(|seed| random(seed, (2, 3, 2, 2)));
        let [d_x, d_other] = add_backward(d_y.clone());
        check("d_x", &d_x, &x, |x| weighted_sum(&add_forward(x, &other), &d_y));
        check("d_other", &d_other, &other, |other| weighted_sum(&add_forward(x.clone(), &other), &d_y));
    }
}
