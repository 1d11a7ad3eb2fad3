//! Convolution: forward, and backward for input and parameters. Any kernel, stride and padding; plain or depthwise.
//!
//! Each image is unrolled so that the patch under an output position becomes a column (`im2col`); the convolution is
//! then one matrix product, `[out_channels, patch] x [patch, positions]`, and so are both its gradients. Depthwise
//! convolutions have a file of their own.

use bn_core::network::Conv2d;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array4, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut3, Axis};

use super::depthwise::{depthwise_backward_input, depthwise_backward_parameters, depthwise_forward};
use super::layer::{Layer, LayerGradient};
use super::window::{Window, for_each_run, of_conv2d};
use crate::model::real::Real;

/// `x: [n, in_channels, h, w]` to `[n, out_channels, out_h, out_w]`. The weight is `[out_channels, in_channels / groups,
/// kernel_h, kernel_w]`, as PyTorch has it.
pub fn conv2d_forward<T: Real>(x: &Array4<T>, conv: &Conv2d, layer: Layer<'_, T>) -> Array4<T> {
    if conv.groups > 1 {
        return depthwise_forward(x, conv, layer);
    }
    let (n, in_channels, h, w) = x.dim();
    let windows = of_conv2d(conv, [h, w]);
    let [out_h, out_w] = windows.map(|window| window.output);
    let weight = flat_weight(conv, layer.weight);
    let mut columns = Array2::zeros((in_channels * conv.kernel[0] * conv.kernel[1], out_h * out_w));

    let mut y = Array4::zeros((n, conv.channels, out_h, out_w));
    for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
        im2col(x, conv, &windows, &mut columns);
        let mut y = y.view_mut().into_shape_with_order((conv.channels, out_h * out_w)).expect("y is row-major");
        if let Some(bias) = layer.bias {
            y.assign(&ArrayView1::from(bias).insert_axis(Axis(1)));
        }
        general_mat_mul(T::one(), &weight, &columns, T::one(), &mut y);
    }
    y
}

/// Gradients of weight and bias: each weight met the patches that `im2col` lays out, each bias every position.
pub fn conv2d_backward_parameters<T: Real>(x: &Array4<T>, d_y: &Array4<T>, conv: &Conv2d) -> LayerGradient<T> {
    if conv.groups > 1 {
        return depthwise_backward_parameters(x, d_y, conv);
    }
    let (_, in_channels, h, w) = x.dim();
    let windows = of_conv2d(conv, [h, w]);
    let positions = windows[0].output * windows[1].output;
    let mut columns = Array2::zeros((in_channels * conv.kernel[0] * conv.kernel[1], positions));

    let mut d_weight = Array2::zeros((conv.channels, columns.nrows()));
    let mut d_bias = conv.bias.then(|| vec![T::zero(); conv.channels]);
    for (x, d_y) in x.outer_iter().zip(d_y.outer_iter()) {
        im2col(x, conv, &windows, &mut columns);
        let d_y = d_y.into_shape_with_order((conv.channels, positions)).expect("d_y is row-major");
        general_mat_mul(T::one(), &d_y, &columns.t(), T::one(), &mut d_weight);
        for (d_bias, d_y) in d_bias.iter_mut().flatten().zip(d_y.outer_iter()) {
            *d_bias += d_y.sum();
        }
    }
    LayerGradient { weight: d_weight.into_raw_vec_and_offset().0, bias: d_bias }
}

/// Gradient of an input `[n, in_channels, h, w]` with maps of the given `[h, w]`: every weight hands its output's gradient back
/// to the pixel that it met.
pub fn conv2d_backward_input<T: Real>(
    d_y: &Array4<T>,
    conv: &Conv2d,
    layer: Layer<'_, T>,
    [h, w]: [usize; 2],
) -> Array4<T> {
    if conv.groups > 1 {
        return depthwise_backward_input(d_y, conv, layer, [h, w]);
    }
    let windows = of_conv2d(conv, [h, w]);
    let positions = windows[0].output * windows[1].output;
    let weight = flat_weight(conv, layer.weight);
    let mut d_columns = Array2::zeros((weight.ncols(), positions));

    let in_channels = weight.ncols() / (conv.kernel[0] * conv.kernel[1]);
    let mut d_x = Array4::zeros((d_y.dim().0, in_channels, h, w));
    for (mut d_x, d_y) in d_x.outer_iter_mut().zip(d_y.outer_iter()) {
        let d_y = d_y.into_shape_with_order((conv.channels, positions)).expect("d_y is row-major");
        general_mat_mul(T::one(), &weight.t(), &d_y, T::zero(), &mut d_columns);
        add_col2im(&d_columns, conv, &windows, &mut d_x.view_mut());
    }
    d_x
}

/// The weights of an output channel as one row: `[out_channels, patch]`.
fn flat_weight<'a, T: Real>(conv: &Conv2d, weight: &'a [T]) -> ArrayView2<'a, T> {
    ArrayView2::from_shape((conv.channels, weight.len() / conv.channels), weight).expect("rows of one length")
}

/// Lays out the patches of one image `[in_channels, h, w]` as columns `[in_channels * kernel_h * kernel_w, out_h * out_w]`.
///
/// Row `(channel, row, column)` of the result is the plane of that channel, moved by `(row, column)`. Positions in the padding
/// are not written: they are the same in every image, and the columns begin as zeros.
fn im2col<T: Real>(image: ArrayView3<'_, T>, conv: &Conv2d, windows: &[Window; 2], columns: &mut Array2<T>) {
    let [rows, cols] = windows;
    let image = image.to_slice().expect("images are row-major");
    let moved = columns.as_slice_mut().expect("columns are row-major").chunks_exact_mut(rows.output * cols.output);
    for ((channel, tap_row, tap_col), moved) in taps(image.len() / (rows.input * cols.input), conv).zip(moved) {
        let plane = &image[channel * rows.input * cols.input..][..rows.input * cols.input];
        for_each_run(windows, [tap_row, tap_col], |to, from| {
            let (to, from) = (&mut moved[to], &plane[from]);
            if cols.stride == 1 {
                to.copy_from_slice(from);
            } else {
                to.iter_mut().zip(from.iter().step_by(cols.stride)).for_each(|(to, &from)| *to = from);
            }
        });
    }
}

/// The transpose of [`im2col`]: adds every entry of `columns` to the pixel that it was copied from.
fn add_col2im<T: Real>(columns: &Array2<T>, conv: &Conv2d, windows: &[Window; 2], image: &mut ArrayViewMut3<'_, T>) {
    let [rows, cols] = windows;
    let image = image.as_slice_mut().expect("images are row-major");
    let moved = columns.as_slice().expect("columns are row-major").chunks_exact(rows.output * cols.output);
    for ((channel, tap_row, tap_col), moved) in taps(image.len() / (rows.input * cols.input), conv).zip(moved) {
        let plane = &mut image[channel * rows.input * cols.input..][..rows.input * cols.input];
        for_each_run(windows, [tap_row, tap_col], |from, to| {
            let pixels = plane[to].iter_mut().step_by(cols.stride);
            pixels.zip(&moved[from]).for_each(|(pixel, &value)| *pixel += value);
        });
    }
}

/// Channel, row and column of each of the columns' rows, in order.
fn taps(channels: usize, conv: &Conv2d) -> impl Iterator<Item = (usize, usize, usize)> {
    let [height, width] = conv.kernel;
    (0..channels).flat_map(move |c| (0..height).flat_map(move |row| (0..width).map(move |col| (c, row, col))))
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;
    use bn_core::network::Pads;
    use ndarray::Array1;

    /// Kernel, strides, pads a side and groups of every kind, on 4 channels of 6x7.
    fn examples() -> Vec<Conv2d> {
        let keras_same = Pads { bottom: 1, right: 1, ..Pads::NONE };
        let beyond = Pads { top: 4, left: 0, bottom: 5, right: 3 };
        vec![
            Conv2d::new(5, 3),
            Conv2d::new(3, 3).pad(1),
            Conv2d { bias: false, ..Conv2d::new(2, 1) },
            Conv2d { pads: keras_same, ..Conv2d::new(3, 3).stride(2) },
            Conv2d { kernel: [2, 5], stride: [3, 1], pads: beyond, ..Conv2d::new(2, 1) },
            Conv2d::new(3, 1).stride(2),
            Conv2d::new(4, 3).pad(1).depthwise(4),
            Conv2d { kernel: [3, 2], bias: false, ..Conv2d::new(12, 1).stride(2).pad(1).depthwise(4) },
        ]
    }

    fn parameters(conv: &Conv2d) -> (Array4<f64>, Array1<f64>, Array1<f64>) {
        let weights = conv.channels * (4 / conv.groups) * conv.kernel[0] * conv.kernel[1];
        (random(1, (2, 4, 6, 7)), random(2, weights), random(3, conv.channels))
    }

    fn layer<'a>(conv: &Conv2d, weight: &'a Array1<f64>, bias: &'a Array1<f64>) -> Layer<'a, f64> {
        Layer { weight: weight.as_slice().unwrap(), bias: conv.bias.then(|| bias.as_slice().unwrap()) }
    }

    #[test]
    fn forward_is_the_sum_of_the_book() {
        for conv in examples() {
            let (x, weight, bias) = parameters(&conv);
            let y = conv2d_forward(&x, &conv, layer(&conv, &weight, &bias));
            let (per_group, [kh, kw]) = (4 / conv.groups, conv.kernel);
            let weight = weight.into_shape_with_order((conv.channels, per_group, kh, kw)).unwrap();
            for ((n, out, row, column), &y) in y.indexed_iter() {
                let mut sum = if conv.bias { bias[out] } else { 0.0 };
                for ((_, channel, i, j), weight) in weight.indexed_iter().filter(|((o, ..), _)| *o == out) {
                    let channel = out / (conv.channels / conv.groups) * per_group + channel;
                    let at = [row * conv.stride[0] + i, column * conv.stride[1] + j];
                    let at = (at[0].wrapping_sub(conv.pads.top), at[1].wrapping_sub(conv.pads.left));
                    sum += weight * x.get((n, channel, at.0, at.1)).unwrap_or(&0.0);
                }
                assert!((y - sum).abs() < 1e-13, "{conv:?} {n} {out} {row} {column}: {y} {sum}");
            }
        }
    }

    #[test]
    fn gradients() {
        for conv in examples() {
            let (x, weight, bias) = parameters(&conv);
            let d_y = random(4, conv2d_forward(&x, &conv, layer(&conv, &weight, &bias)).raw_dim());
            let loss = |x: &Array4<f64>, weight: &Array1<f64>, bias: &Array1<f64>| {
                weighted_sum(&conv2d_forward(x, &conv, layer(&conv, weight, bias)), &d_y)
            };
            let d_x = conv2d_backward_input(&d_y, &conv, layer(&conv, &weight, &bias), [6, 7]);
            check("d_x", &d_x, &x, |x| loss(&x, &weight, &bias));
            let gradient = conv2d_backward_parameters(&x, &d_y, &conv);
            check("d_weight", &gradient.weight.into(), &weight, |weight| loss(&x, &weight, &bias));
            assert_eq!(gradient.bias.is_some(), conv.bias);
            if let Some(d_bias) = gradient.bias {
                check("d_bias", &d_bias.into(), &bias, |bias| loss(&x, &weight, &bias));
            }
        }
    }
}
