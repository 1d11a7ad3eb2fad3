//! The fully connected layer: `y = x W^T + b`.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use super::layer::{Layer, LayerGradient};
use crate::model::real::Real;

/// `x: [n, in_features]` to `[n, out_features]`, with a weight `[out_features, in_features]`.
pub fn linear_forward<T: Real>(x: ArrayView2<'_, T>, layer: Layer<'_, T>) -> Array2<T> {
    let weight = rows(layer.weight, x.ncols());
    let shape = (x.nrows(), weight.nrows());
    let mut y = match layer.bias {
        Some(bias) => ArrayView1::from(bias).broadcast(shape).expect("one bias an output").to_owned(),
        None => Array2::zeros(shape),
    };
    general_mat_mul(T::one(), &x, &weight.t(), T::one(), &mut y);
    y
}

/// Gradients of the parameters: `d_weight = d_y^T x`, and `d_bias` the sum of `d_y` over the batch.
pub fn linear_backward_parameters<T: Real>(
    x: ArrayView2<'_, T>,
    d_y: ArrayView2<'_, T>,
    bias: bool,
) -> LayerGradient<T> {
    let d_weight = d_y.t().dot(&x).as_standard_layout().into_owned();
    let d_bias = bias.then(|| d_y.sum_axis(Axis(0)).to_vec());
    LayerGradient { weight: d_weight.into_raw_vec_and_offset().0, bias: d_bias }
}

/// Gradient of the input: `d_x = d_y W`.
pub fn linear_backward_input<T: Real>(d_y: ArrayView2<'_, T>, layer: Layer<'_, T>) -> Array2<T> {
    d_y.dot(&rows(layer.weight, layer.weight.len() / d_y.ncols()))
}

fn rows<T>(weight: &[T], in_features: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((weight.len() / in_features, in_features), weight).expect("rows of one length")
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;
    use ndarray::{Array1, array};

    #[test]
    fn forward_by_hand() {
        let weight = [1.0, 2.0, 0.0, -1.0, 3.0, 0.5];
        let x = array![[2.0, 4.0]];
        let y = linear_forward(x.view(), Layer { weight: &weight, bias: Some(&[0.5, 0.0, -1.0]) });
        assert_eq!(y, array![[10.5, -4.0, 7.0]]);
        assert_eq!(linear_forward(x.view(), Layer { weight: &weight, bias: None }), array![[10.0, -4.0, 8.0]]);
    }

    #[test]
    fn gradients() {
        let (x, weight, bias) = (random(1, (5, 3)), random(2, 4 * 3), random(3, 4));
        let d_y = random(4, (5, 4));
        let forward = |x: &Array2<f64>, weight: &Array1<f64>, bias: &Array1<f64>| {
            linear_forward(x.view(), Layer { weight: weight.as_slice().unwrap(), bias: bias.as_slice() })
        };
        let loss = |x: &_, weight: &_, bias: &_| weighted_sum(&forward(x, weight, bias), &d_y);
        let d_x = linear_backward_input(d_y.view(), Layer { weight: weight.as_slice().unwrap(), bias: None });
        check("d_x", &d_x, &x, |x| loss(&x, &weight, &bias));
        let gradient = linear_backward_parameters(x.view(), d_y.view(), true);
        check("d_weight", &gradient.weight.into(), &weight, |weight| loss(&x, &weight, &bias));
        check("d_bias", &gradient.bias.unwrap().into(), &bias, |bias| loss(&x, &weight, &bias));
        assert_eq!(linear_backward_parameters(x.view(), d_y.view(), false).bias, None);
    }
}
