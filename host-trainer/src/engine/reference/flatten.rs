//! All values of an example as one row: channel, row, column. Nothing moves in memory.

use ndarray::Array4;

use crate::model::real::Real;

/// `[n, c, h, w]` to `[n, c * h * w, 1, 1]`.
pub fn flatten_forward<T: Real>(x: Array4<T>) -> Array4<T> {
    let (n, values) = (x.dim().0, x.len() / x.dim().0);
    x.into_shape_with_order((n, values, 1, 1)).expect("activations are row-major")
}

/// The way back, to examples of the given `[c, h, w]`.
pub fn flatten_backward<T: Real>(d_y: Array4<T>, [c, h, w]: [usize; 3]) -> Array4<T> {
    let n = d_y.dim().0;
    d_y.into_shape_with_order((n, c, h, w)).expect("gradients are row-major")
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;

    #[test]
    fn gradient() {
        let (x, d_y) = (random(1, (2, 3, 4, 5)), random(2, (2, 60, 1, 1)));
        let d_x = flatten_backward(d_y.clone(), [3, 4, 5]);
        check("d_x", &d_x, &x, |x| weighted_sum(&flatten_forward(x), &d_y));
    }
}
