//! The network of [`bn_core::lenet`], layer by layer: training-mode forward, backward, and inference.

use bn_core::lenet::{FLAT, TENSOR_COUNT, TENSORS};
use ndarray::{Array, Array1, Array2, Array4, Dimension, Ix2, Ix4, IxDyn};

use super::avg_pool2d::{avg_pool2d_backward, avg_pool2d_forward};
use super::batch_norm::{BatchNorm, Normalized, batch_norm_backward, batch_norm_infer, batch_norm_train};
use super::conv2d::{Conv2d, conv2d_backward_input, conv2d_backward_parameters, conv2d_forward};
use super::linear::{Linear, linear_backward, linear_forward};
use super::real::Real;
use super::sigmoid::{sigmoid_backward, sigmoid_forward};
use crate::model::parameters::{Parameters, Variance, index};

/// Weight and bias of a convolution or of a linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer<T, D: Dimension> {
    /// `[out, in, kernel, kernel]` or `[out, in]`.
    pub weight: Array<T, D>,
    /// `[out]`.
    pub bias: Array1<T>,
}

/// The network, or the gradients of all its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct LeNet<T> {
    /// First convolution.
    pub conv1: Conv2d<T>,
    /// BatchNorm of the first convolution's channels.
    pub bn1: BatchNorm<T>,
    /// Second convolution.
    pub conv2: Conv2d<T>,
    /// BatchNorm of the second convolution's channels.
    pub bn2: BatchNorm<T>,
    /// First linear layer.
    pub linear1: Linear<T>,
    /// BatchNorm of the first linear layer's outputs.
    pub bn3: BatchNorm<T>,
    /// Second linear layer.
    pub linear2: Linear<T>,
    /// BatchNorm of the second linear layer's outputs.
    pub bn4: BatchNorm<T>,
    /// Last linear layer.
    pub linear3: Linear<T>,
    /// BatchNorm's `eps`.
    pub eps: T,
}

/// What a training-mode forward pass leaves behind for the backward pass.
pub struct Forward<T> {
    x: Array4<T>,
    bn1: Normalized<T, Ix4>,
    sigmoid1: Array4<T>,
    pool1: Array4<T>,
    bn2: Normalized<T, Ix4>,
    sigmoid2: Array4<T>,
    flat: Array2<T>,
    bn3: Normalized<T, Ix2>,
    sigmoid3: Array2<T>,
    bn4: Normalized<T, Ix2>,
    sigmoid4: Array2<T>,
}

impl<T: Real> LeNet<T> {
    /// Logits `[n, 10]` of images `[n, 1, 28, 28]`, every BatchNorm in training mode. Changes nothing.
    pub fn forward_train(&self, x: Array4<T>) -> (Array2<T>, Forward<T>) {
        let (y, bn1) = batch_norm_train(conv2d_forward(&x, &self.conv1), &self.bn1, self.eps);
        let sigmoid1 = sigmoid_forward(y);
        let pool1 = avg_pool2d_forward(&sigmoid1);

        let (y, bn2) = batch_norm_train(conv2d_forward(&pool1, &self.conv2), &self.bn2, self.eps);
        let sigmoid2 = sigmoid_forward(y);
        let flat = flatten(avg_pool2d_forward(&sigmoid2));

        let (y, bn3) = batch_norm_train(linear_forward(&flat, &self.linear1), &self.bn3, self.eps);
        let sigmoid3 = sigmoid_forward(y);

        let (y, bn4) = batch_norm_train(linear_forward(&sigmoid3, &self.linear2), &self.bn4, self.eps);
        let sigmoid4 = sigmoid_forward(y);

        let logits = linear_forward(&sigmoid4, &self.linear3);
        (logits, Forward { x, bn1, sigmoid1, pool1, bn2, sigmoid2, flat, bn3, sigmoid3, bn4, sigmoid4 })
    }

    /// Gradients of all parameters, from those of the logits: [`forward_train`](Self::forward_train) read upwards. The
    /// result's moving statistics are zero.
    pub fn backward(&self, forward: &Forward<T>, d_logits: &Array2<T>) -> Self {
        let (d, linear3) = linear_backward(&forward.sigmoid4, d_logits, &self.linear3);

        let d = sigmoid_backward(d, &forward.sigmoid4);
        let (d, gamma4, beta4) = batch_norm_backward(d, &forward.bn4, &self.bn4);
        let (d, linear2) = linear_backward(&forward.sigmoid3, &d, &self.linear2);

        let d = sigmoid_backward(d, &forward.sigmoid3);
        let (d, gamma3, beta3) = batch_norm_backward(d, &forward.bn3, &self.bn3);
        let (d, linear1) = linear_backward(&forward.flat, &d, &self.linear1);

        let d = avg_pool2d_backward(&unflatten(d, &self.conv2));
        let d = sigmoid_backward(d, &forward.sigmoid2);
        let (d, gamma2, beta2) = batch_norm_backward(d, &forward.bn2, &self.bn2);
        let conv2 = conv2d_backward_parameters(&forward.pool1, &d, &self.conv2);
        let d = conv2d_backward_input(&d, &self.conv2);

        let d = sigmoid_backward(avg_pool2d_backward(&d), &forward.sigmoid1);
        let (d, gamma1, beta1) = batch_norm_backward(d, &forward.bn1, &self.bn1);
        // Nobody asks for the gradient of the image.
        let conv1 = conv2d_backward_parameters(&forward.x, &d, &self.conv1);

        let [bn1, bn2, bn3, bn4] = [(gamma1, beta1), (gamma2, beta2), (gamma3, beta3), (gamma4, beta4)].map(gradient);
        Self { conv1, bn1, conv2, bn2, linear1, bn3, linear2, bn4, linear3, eps: T::zero() }
    }

    /// Lets the moving statistics of every BatchNorm follow the batch of a forward pass.
    pub fn update_statistics(&mut self, forward: &Forward<T>, momentum: T, variance: Variance) {
        self.bn1.update_statistics(&forward.bn1, momentum, variance);
        self.bn2.update_statistics(&forward.bn2, momentum, variance);
        self.bn3.update_statistics(&forward.bn3, momentum, variance);
        self.bn4.update_statistics(&forward.bn4, momentum, variance);
    }

    /// Logits `[n, 10]` of images `[n, 1, 28, 28]`, every BatchNorm in inference mode.
    pub fn infer(&self, x: &Array4<T>) -> Array2<T> {
        let y = sigmoid_forward(batch_norm_infer(conv2d_forward(x, &self.conv1), &self.bn1, self.eps));
        let y = avg_pool2d_forward(&y);
        let y = sigmoid_forward(batch_norm_infer(conv2d_forward(&y, &self.conv2), &self.bn2, self.eps));
        let y = flatten(avg_pool2d_forward(&y));
        let y = sigmoid_forward(batch_norm_infer(linear_forward(&y, &self.linear1), &self.bn3, self.eps));
        let y = sigmoid_forward(batch_norm_infer(linear_forward(&y, &self.linear2), &self.bn4, self.eps));
        linear_forward(&y, &self.linear3)
    }

    /// The network of these parameters, every value rounded to `T`.
    pub fn from_parameters(parameters: &Parameters) -> Self {
        let p = parameters;
        Self {
            conv1: layer(p, "0"),
            bn1: batch_norm(p, "1"),
            conv2: layer(p, "4"),
            bn2: batch_norm(p, "5"),
            linear1: layer(p, "9"),
            bn3: batch_norm(p, "10"),
            linear2: layer(p, "12"),
            bn4: batch_norm(p, "13"),
            linear3: layer(p, "15"),
            eps: T::of(p.eps),
        }
    }

    /// The way back, exact.
    pub fn to_parameters(&self, variance: Variance) -> Parameters {
        let tensors = self.tensors().map(|tensor| tensor.iter().map(|value| value.as_f64()).collect());
        Parameters { tensors, eps: self.eps.as_f64(), variance }
    }

    /// Every tensor, flat and row-major, in the order of [`TENSORS`].
    #[rustfmt::skip] // a table: one layer a line
    pub fn tensors(&self) -> [&[T]; TENSOR_COUNT] {
        [
            flat(&self.conv1.weight), flat(&self.conv1.bias),
            flat(&self.bn1.gamma), flat(&self.bn1.beta), flat(&self.bn1.running_mean), flat(&self.bn1.running_var),
            flat(&self.conv2.weight), flat(&self.conv2.bias),
            flat(&self.bn2.gamma), flat(&self.bn2.beta), flat(&self.bn2.running_mean), flat(&self.bn2.running_var),
            flat(&self.linear1.weight), flat(&self.linear1.bias),
            flat(&self.bn3.gamma), flat(&self.bn3.beta), flat(&self.bn3.running_mean), flat(&self.bn3.running_var),
            flat(&self.linear2.weight), flat(&self.linear2.bias),
            flat(&self.bn4.gamma), flat(&self.bn4.beta), flat(&self.bn4.running_mean), flat(&self.bn4.running_var),
            flat(&self.linear3.weight), flat(&self.linear3.bias),
        ]
    }

    /// [`tensors`](Self::tensors), to be changed.
    #[rustfmt::skip] // a table: one layer a line
    pub fn tensors_mut(&mut self) -> [&mut [T]; TENSOR_COUNT] {
        let Self { conv1, bn1, conv2, bn2, linear1, bn3, linear2, bn4, linear3, eps: _ } = self;
        [
            flat_mut(&mut conv1.weight), flat_mut(&mut conv1.bias),
            flat_mut(&mut bn1.gamma), flat_mut(&mut bn1.beta), flat_mut(&mut bn1.running_mean), flat_mut(&mut bn1.running_var),
            flat_mut(&mut conv2.weight), flat_mut(&mut conv2.bias),
            flat_mut(&mut bn2.gamma), flat_mut(&mut bn2.beta), flat_mut(&mut bn2.running_mean), flat_mut(&mut bn2.running_var),
            flat_mut(&mut linear1.weight), flat_mut(&mut linear1.bias),
            flat_mut(&mut bn3.gamma), flat_mut(&mut bn3.beta), flat_mut(&mut bn3.running_mean), flat_mut(&mut bn3.running_var),
            flat_mut(&mut linear2.weight), flat_mut(&mut linear2.bias),
            flat_mut(&mut bn4.gamma), flat_mut(&mut bn4.beta), flat_mut(&mut bn4.running_mean), flat_mut(&mut bn4.running_var),
            flat_mut(&mut linear3.weight), flat_mut(&mut linear3.bias),
        ]
    }
}

/// `[n, c, h, w]` to `[n, c * h * w]`.
fn flatten<T: Real>(x: Array4<T>) -> Array2<T> {
    let n = x.dim().0;
    x.into_shape_with_order((n, FLAT)).expect("the second pool gives FLAT features")
}

/// The way back, to the channels of the convolution that the features came from.
fn unflatten<T: Real>(x: Array2<T>, conv: &Conv2d<T>) -> Array4<T> {
    let (n, channels) = (x.nrows(), conv.bias.len());
    let side = (FLAT / channels).isqrt();
    x.into_shape_with_order((n, channels, side, side)).expect("FLAT features in square maps")
}

/// Gradients of one BatchNorm layer; the moving statistics have none.
fn gradient<T: Real>((gamma, beta): (Array1<T>, Array1<T>)) -> BatchNorm<T> {
    let zero = Array1::zeros(gamma.len());
    BatchNorm { gamma, beta, running_mean: zero.clone(), running_var: zero }
}

fn layer<T: Real, D: Dimension>(parameters: &Parameters, module: &str) -> Layer<T, D> {
    Layer { weight: tensor(parameters, module, "weight"), bias: tensor(parameters, module, "bias") }
}

fn batch_norm<T: Real>(parameters: &Parameters, module: &str) -> BatchNorm<T> {
    BatchNorm {
        gamma: tensor(parameters, module, "weight"),
        beta: tensor(parameters, module, "bias"),
        running_mean: tensor(parameters, module, "running_mean"),
        running_var: tensor(parameters, module, "running_var"),
    }
}

/// One tensor in the shape that [`TENSORS`] gives it.
fn tensor<T: Real, D: Dimension>(parameters: &Parameters, module: &str, name: &str) -> Array<T, D> {
    let position = index(&format!("{module}.{name}"));
    let values = parameters.tensors[position].iter().map(|&value| T::of(value)).collect();
    let tensor = Array::from_shape_vec(IxDyn(TENSORS[position].shape), values).expect("parameters have their shapes");
    tensor.into_dimensionality().expect("the table gives this tensor its rank")
}

fn flat<T, D: Dimension>(tensor: &Array<T, D>) -> &[T] {
    tensor.as_slice().expect("tensors are row-major")
}

fn flat_mut<T, D: Dimension>(tensor: &mut Array<T, D>) -> &mut [T] {
    tensor.as_slice_mut().expect("tensors are row-major")
}
