//! Depthwise convolution: each output channel reads one input channel, `channels / groups` of them each. Forward, and
//! backward for input and parameters.
//!
//! Tap by tap: a weight times the plane that it reads, moved to where it reads it.

use bn_core::network::Conv2d;
use ndarray::Array4;

use super::layer::{Layer, LayerGradient};
use super::window::{Window, for_each_run, of_conv2d};
use crate::model::real::Real;

/// `x: [n, groups, h, w]` to `[n, channels, out_h, out_w]`, with a weight `[channels, 1, kernel_h, kernel_w]`.
pub fn depthwise_forward<T: Real>(x: &Array4<T>, conv: &Conv2d, layer: Layer<'_, T>) -> Array4<T> {
    let (n, _, h, w) = x.dim();
    let windows = of_conv2d(conv, [h, w]);
    let mut y = Array4::zeros((n, conv.channels, windows[0].output, windows[1].output));
    for (x, y) in examples(x).zip(examples_mut(&mut y)) {
        for_each_plane(conv, &windows, |channel, read, written| {
            let (x, y) = (&x[read], &mut y[written]);
            if let Some(bias) = layer.bias {
                y.fill(bias[channel]);
            }
            for (&weight, tap) in weights(layer.weight, conv, channel).iter().zip(taps(conv)) {
                for_each_run(&windows, tap, |to, from| {
                    add(&mut y[to], 1, &x[from], windows[1].stride, weight);
                });
            }
        });
    }
    y
}

/// Gradients of weight and bias: each weight met the plane that it read, each bias every position.
pub fn depthwise_backward_parameters<T: Real>(x: &Array4<T>, d_y: &Array4<T>, conv: &Conv2d) -> LayerGradient<T> {
    let windows = of_conv2d(conv, [x.dim().2, x.dim().3]);
    let area = conv.kernel[0] * conv.kernel[1];
    let mut d_weight = vec![T::zero(); conv.channels * area];
    let mut d_bias = conv.bias.then(|| vec![T::zero(); conv.channels]);
    for (x, d_y) in examples(x).zip(examples(d_y)) {
        for_each_plane(conv, &windows, |channel, read, written| {
            let (x, d_y) = (&x[read], &d_y[written]);
            for (d_weight, tap) in d_weight[channel * area..].iter_mut().zip(taps(conv)) {
                for_each_run(&windows, tap, |to, from| {
                    let met = x[from].iter().step_by(windows[1].stride);
                    *d_weight = met.zip(&d_y[to]).fold(*d_weight, |sum, (&x, &d)| sum + x * d);
                });
            }
            if let Some(d_bias) = &mut d_bias {
                d_bias[channel] = d_y.iter().fold(d_bias[channel], |sum, &d| sum + d);
            }
        });
    }
    LayerGradient { weight: d_weight, bias: d_bias }
}

/// Gradient of an input with maps of the given `[h, w]`: every weight hands its output's gradient back to the pixel that it met.
pub fn depthwise_backward_input<T: Real>(
    d_y: &Array4<T>,
    conv: &Conv2d,
    layer: Layer<'_, T>,
    [h, w]: [usize; 2],
) -> Array4<T> {
    let windows = of_conv2d(conv, [h, w]);
    let mut d_x = Array4::zeros((d_y.dim().0, conv.groups, h, w));
    for (d_x, d_y) in examples_mut(&mut d_x).zip(examples(d_y)) {
        for_each_plane(conv, &windows, |channel, read, written| {
            let (d_x, d_y) = (&mut d_x[read], &d_y[written]);
            for (&weight, tap) in weights(layer.weight, conv, channel).iter().zip(taps(conv)) {
                for_each_run(&windows, tap, |from, to| {
                    add(&mut d_x[to], windows[1].stride, &d_y[from], 1, weight);
                });
            }
        });
    }
    d_x
}

/// `to += factor * from`, each at its own step.
fn add<T: Real>(to: &mut [T], to_step: usize, from: &[T], from_step: usize, factor: T) {
    if to_step == 1 && from_step == 1 {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
    } else {
        let pairs = to.iter_mut().step_by(to_step).zip(from.iter().step_by(from_step));
        pairs.for_each(|(to, &from)| *to += factor * from);
    }
}

fn examples<T: Real>(x: &Array4<T>) -> std::slice::ChunksExact<'_, T> {
    let example = x.len() / x.dim().0;
    x.as_slice().expect("activations are row-major").chunks_exact(example)
}

fn examples_mut<T: Real>(x: &mut Array4<T>) -> std::slice::ChunksExactMut<'_, T> {
    let example = x.len() / x.dim().0;
    x.as_slice_mut().expect("activations are row-major").chunks_exact_mut(example)
}

/// Calls `f` with each output channel, the values of an example that it reads, and those that it writes.
fn for_each_plane(
    conv: &Conv2d,
    windows: &[Window; 2],
    mut f: impl FnMut(usize, std::ops::Range<usize>, std::ops::Range<usize>),
) {
    let read = windows[0].input * windows[1].input;
    let written = windows[0].output * windows[1].output;
    for channel in 0..conv.channels {
        let group = channel / (conv.channels / conv.groups);
        f(channel, group * read..(group + 1) * read, channel * written..(channel + 1) * written);
    }
}

fn weights<'a, T>(weight: &'a [T], conv: &Conv2d, channel: usize) -> &'a [T] {
    let area = conv.kernel[0] * conv.kernel[1];
    &weight[channel * area..(channel + 1) * area]
}

fn taps(conv: &Conv2d) -> impl Iterator<Item = [usize; 2]> {
    let [height, width] = conv.kernel;
    (0..height).flat_map(move |row| (0..width).map(move |col| [row, col]))
}
