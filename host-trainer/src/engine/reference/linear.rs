//! The fully connected layer: `y = x W^T + b`.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis};

use super::network::Layer;
use super::real::Real;

/// A fully connected layer: weight `[out_features, in_features]`, bias `[out_features]`.
pub type Linear<T> = Layer<T, ndarray::Ix2>;

/// `x: [n, in_features]` to `[n, out_features]`.
pub fn linear_forward<T: Real>(x: &Array2<T>, linear: &Linear<T>) -> Array2<T> {
    let shape = (x.nrows(), linear.weight.nrows());
    let mut y = linear.bias.broadcast(shape).expect("one bias an output").to_owned();
    general_mat_mul(T::one(), x, &linear.weight.t(), T::one(), &mut y);
    y
}

/// Gradients of the input and of the parameters: `d_x = d_y W`, `d_weight = d_y^T x`, `d_bias` the sum over the batch.
pub fn linear_backward<T: Real>(x: &Array2<T>, d_y: &Array2<T>, linear: &Linear<T>) -> (Array2<T>, Linear<T>) {
    let d_x = d_y.dot(&linear.weight);
    let d_weight = d_y.t().dot(x).as_standard_layout().into_owned();
    (d_x, Linear { weight: d_weight, bias: d_y.sum_axis(Axis(0)) })
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;
    use ndarray::array;

    #[test]
    fn forward_by_hand() {
        let linear = Linear { weight: array![[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]], bias: array![0.5, 0.0, -1.0] };
        assert_eq!(linear_forward(&array![[2.0, 4.0]], &linear), array![[10.5, -4.0, 7.0]]);
    }

    #[test]
    fn gradients() {
        let x = random(1, (5, 3));
        let linear = Linear { weight: random(2, (4, 3)), bias: random(3, 4) };
        let d_y = random(4, (5, 4));
        let loss = |x: &Array2<f64>, linear: &Linear<f64>| weighted_sum(&linear_forward(x, linear), &d_y);
        let (d_x, d_linear) = linear_backward(&x, &d_y, &linear);
        check("d_x", &d_x, &x, |x| loss(&x, &linear));
        check("d_weight", &d_linear.weight, &linear.weight, |weight| loss(&x, &Linear { weight, ..linear.clone() }));
        check("d_bias", &d_linear.bias, &linear.bias, |bias| loss(&x, &Linear { bias, ..linear.clone() }));
    }
}
