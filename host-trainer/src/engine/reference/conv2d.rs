//! Convolution with a square kernel, stride 1, no padding: forward, and backward for input and parameters.
//!
//! Each image is unrolled so that the patch under an output position becomes a column (`im2col`); the convolution is
//! then one matrix product, `[out_channels, patch] x [patch, positions]`, and so are both its gradients.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Array4, ArrayView2, ArrayView3, ArrayViewMut3, Axis};

use super::network::Layer;
use super::real::Real;

/// A convolution: weight `[out_channels, in_channels, kernel, kernel]`, bias `[out_channels]`.
pub type Conv2d<T> = Layer<T, ndarray::Ix4>;

/// `x: [n, in_channels, h, w]` to `[n, out_channels, h - kernel + 1, w - kernel + 1]`.
pub fn conv2d_forward<T: Real>(x: &Array4<T>, conv: &Conv2d<T>) -> Array4<T> {
    let (n, _, h, w) = x.dim();
    let (out_channels, _, kernel, _) = conv.weight.dim();
    let (out_h, out_w) = (h - kernel + 1, w - kernel + 1);
    let weight = flat_weight(&conv.weight);
    let mut columns = Array2::zeros((weight.ncols(), out_h * out_w));

    let mut y = Array4::zeros((n, out_channels, out_h, out_w));
    for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
        im2col(x, kernel, &mut columns);
        let mut y = y.view_mut().into_shape_with_order((out_channels, out_h * out_w)).expect("y is row-major");
        y.assign(&conv.bias.view().insert_axis(Axis(1)));
        general_mat_mul(T::one(), &weight, &columns, T::one(), &mut y);
    }
    y
}

/// Gradients of weight and bias: each weight met the patches that `im2col` lays out, each bias every position.
pub fn conv2d_backward_parameters<T: Real>(x: &Array4<T>, d_y: &Array4<T>, conv: &Conv2d<T>) -> Conv2d<T> {
    let (_, out_channels, out_h, out_w) = d_y.dim();
    let kernel = conv.weight.dim().2;
    let patch = conv.weight.len() / out_channels;
    let mut columns = Array2::zeros((patch, out_h * out_w));

    let mut d_weight = Array2::zeros((out_channels, patch));
    let mut d_bias = Array1::zeros(out_channels);
    for (x, d_y) in x.outer_iter().zip(d_y.outer_iter()) {
        im2col(x, kernel, &mut columns);
        let d_y = d_y.into_shape_with_order((out_channels, out_h * out_w)).expect("d_y is row-major");
        general_mat_mul(T::one(), &d_y, &columns.t(), T::one(), &mut d_weight);
        for (d_bias, d_y) in d_bias.iter_mut().zip(d_y.outer_iter()) {
            *d_bias += d_y.sum();
        }
    }
    let d_weight = d_weight.into_shape_with_order(conv.weight.raw_dim()).expect("the same number of weights");
    Conv2d { weight: d_weight, bias: d_bias }
}

/// Gradient of the input, `[n, in_channels, h, w]`: every weight hands its output's gradient back to the pixel it met.
pub fn conv2d_backward_input<T: Real>(d_y: &Array4<T>, conv: &Conv2d<T>) -> Array4<T> {
    let (n, out_channels, out_h, out_w) = d_y.dim();
    let (_, in_channels, kernel, _) = conv.weight.dim();
    let weight = flat_weight(&conv.weight);
    let mut d_columns = Array2::zeros((weight.ncols(), out_h * out_w));

    let mut d_x = Array4::zeros((n, in_channels, out_h + kernel - 1, out_w + kernel - 1));
    for (mut d_x, d_y) in d_x.outer_iter_mut().zip(d_y.outer_iter()) {
        let d_y = d_y.into_shape_with_order((out_channels, out_h * out_w)).expect("d_y is row-major");
        general_mat_mul(T::one(), &weight.t(), &d_y, T::zero(), &mut d_columns);
        add_col2im(&d_columns, kernel, &mut d_x.view_mut());
    }
    d_x
}

/// The weights of an output channel as one row: `[out_channels, in_channels * kernel * kernel]`.
fn flat_weight<T: Real>(weight: &Array4<T>) -> ArrayView2<'_, T> {
    let out_channels = weight.dim().0;
    weight.view().into_shape_with_order((out_channels, weight.len() / out_channels)).expect("weights are row-major")
}

/// Lays out the patches of one image `[in_channels, h, w]` as columns `[in_channels * kernel * kernel, out_h * out_w]`.
///
/// Row `(channel, row, column)` of the result is the plane of that channel, moved by `(row, column)`: whole runs of `out_w`
/// values are copied at a time.
fn im2col<T: Real>(image: ArrayView3<'_, T>, kernel: usize, columns: &mut Array2<T>) {
    let (_, h, w) = image.dim();
    let (out_h, out_w) = (h - kernel + 1, w - kernel + 1);
    let image = image.to_slice().expect("images are row-major");
    let mut runs = columns.as_slice_mut().expect("columns are row-major").chunks_exact_mut(out_w);
    for plane in image.chunks_exact(h * w) {
        for row in 0..kernel {
            for column in 0..kernel {
                let moved = plane[row * w..].chunks(w).take(out_h);
                for (run, plane_row) in runs.by_ref().take(out_h).zip(moved) {
                    run.copy_from_slice(&plane_row[column..column + out_w]);
                }
            }
        }
    }
}

/// The transpose of [`im2col`]: adds every entry of `columns` to the pixel it was copied from.
fn add_col2im<T: Real>(columns: &Array2<T>, kernel: usize, image: &mut ArrayViewMut3<'_, T>) {
    let (_, h, w) = image.dim();
    let (out_h, out_w) = (h - kernel + 1, w - kernel + 1);
    let image = image.as_slice_mut().expect("images are row-major");
    let mut runs = columns.as_slice().expect("columns are row-major").chunks_exact(out_w);
    for plane in image.chunks_exact_mut(h * w) {
        for row in 0..kernel {
            for column in 0..kernel {
                let moved = plane[row * w..].chunks_mut(w).take(out_h);
                for (plane_row, run) in moved.zip(runs.by_ref()) {
                    for (pixel, &value) in plane_row[column..column + out_w].iter_mut().zip(run) {
                        *pixel += value;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;

    fn example() -> (Array4<f64>, Conv2d<f64>) {
        (random(1, (2, 3, 6, 7)), Conv2d { weight: random(2, (4, 3, 3, 3)), bias: random(3, 4) })
    }

    #[test]
    fn forward_is_the_sum_of_the_book() {
        let (x, conv) = example();
        let y = conv2d_forward(&x, &conv);
        assert_eq!(y.dim(), (2, 4, 4, 5));
        for ((n, out, row, column), &y) in y.indexed_iter() {
            let mut sum = conv.bias[out];
            for ((_, channel, i, j), weight) in conv.weight.indexed_iter().filter(|((o, ..), _)| *o == out) {
                sum += weight * x[(n, channel, row + i, column + j)];
            }
            assert!((y - sum).abs() < 1e-13, "{n} {out} {row} {column}");
        }
    }

    #[test]
    fn gradients() {
        let (x, conv) = example();
        let d_y = random(4, conv2d_forward(&x, &conv).raw_dim());
        let loss = |x: &Array4<f64>, conv: &Conv2d<f64>| weighted_sum(&conv2d_forward(x, conv), &d_y);
        check("d_x", &conv2d_backward_input(&d_y, &conv), &x, |x| loss(&x, &conv));
        let d_conv = conv2d_backward_parameters(&x, &d_y, &conv);
        check("d_weight", &d_conv.weight, &conv.weight, |weight| loss(&x, &Conv2d { weight, ..conv.clone() }));
        check("d_bias", &d_conv.bias, &conv.bias, |bias| loss(&x, &Conv2d { bias, ..conv.clone() }));
    }
}
