//! The kernels, one operation at a time: each is given what the device itself fed it, and the reference engine's twin of the
//! operation computes the same in f64. So an error shows where it is made, and nothing hides behind another.

use std::collections::HashMap;

use bn_core::lenet::{CLASSES, CONV1_CHANNELS, CONV2_CHANNELS, FLAT, POOL1_SIDE, POOL2_SIDE};
use host_trainer::data::Split;
use host_trainer::engine::Engine;
use host_trainer::engine::cuda::{Cuda, Level};
use host_trainer::engine::reference::avg_pool2d::{avg_pool2d_backward, avg_pool2d_forward};
use host_trainer::engine::reference::batch_norm::{batch_norm_backward, batch_norm_train};
use host_trainer::engine::reference::conv2d::{conv2d_backward_input, conv2d_backward_parameters, conv2d_forward};
use host_trainer::engine::reference::cross_entropy::{cross_entropy_backward, cross_entropy_forward};
use host_trainer::engine::reference::linear::{linear_backward, linear_forward};
use host_trainer::engine::reference::network::LeNet;
use host_trainer::engine::reference::sigmoid::{sigmoid_backward, sigmoid_forward};
use host_trainer::model::parameters::{Parameters, Variance};
use ndarray::{Array, Array2, Array4, Dimension};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::engine_suite::noise;

/// Of the norm, in f32. Each comparison spans one kernel, so that errors do not add up.
const TOLERANCE: f64 = 1e-5;

/// What one batch left on the device, and the network that it met, in f64.
struct Step {
    n: usize,
    images: Array4<f64>,
    labels: Vec<u8>,
    net: LeNet<f64>,
    gradients: LeNet<f64>,
    tensors: HashMap<&'static str, Vec<f32>>,
}

impl Step {
    /// A batch that fills no warp and no block, drawn out of order from a larger split, through a network in which no gamma is 1
    /// and no beta 0.
    fn new() -> Self {
        let (split, batch) = (noise(21, 50), (0..37).map(|i| (i * 11 + 3) % 50).collect::<Vec<u32>>());
        let mut engine = Cuda::new(3, Variance::Biased, Level::Graph).unwrap();
        engine.set_parameters(&stirred(engine.parameters()));
        let net = LeNet::from_parameters(&engine.parameters());
        let (_, gradients) = engine.gradients(&split, &batch).unwrap();
        let tensors = engine.activations().unwrap().into_iter().collect();
        let (images, labels) = gather(&split, &batch);
        Self { n: batch.len(), images, labels, net, gradients: LeNet::from_parameters(&gradients), tensors }
    }

    /// Example-major, `[n, c, side, side]`.
    fn maps(&self, name: &str, channels: usize) -> Array4<f64> {
        let values: Vec<f64> = self.tensors[name].iter().map(|&v| f64::from(v)).collect();
        let side = (values.len() / self.n / channels).isqrt();
        Array4::from_shape_vec((self.n, channels, side, side), values).unwrap()
    }

    /// Feature-major on the device, `[n, features]` here.
    fn rows(&self, name: &str) -> Array2<f64> {
        let values = &self.tensors[name];
        Array2::from_shape_fn((self.n, values.len() / self.n), |(e, f)| f64::from(values[f * self.n + e]))
    }
}

/// Every gamma, beta and bias moved by up to a third; one gamma negative.
fn stirred(mut parameters: Parameters) -> Parameters {
    let mut rng = ChaCha8Rng::seed_from_u64(22);
    for (spec, values) in bn_core::lenet::TENSORS.iter().zip(&mut parameters.tensors) {
        if spec.role.is_trained() && spec.shape.len() == 1 {
            values.iter_mut().for_each(|v| *v = f64::from((*v + rng.random_range(-0.33..0.33)) as f32));
        }
    }
    parameters.get_mut("5.weight")[3] = -0.75;
    parameters
}

fn gather(split: &Split, batch: &[u32]) -> (Array4<f64>, Vec<u8>) {
    let pixel = |(e, _, row, column): (usize, usize, usize, usize)| {
        f64::from(split.images[batch[e] as usize][row][column]) / 255.0
    };
    (Array4::from_shape_fn((batch.len(), 1, 28, 28), pixel), batch.iter().map(|&i| split.labels[i as usize]).collect())
}

#[track_caller]
fn assert_close<D: Dimension>(what: &str, actual: &Array<f64, D>, expected: &Array<f64, D>) {
    assert_eq!(actual.shape(), expected.shape(), "{what}");
    let distance = (actual - expected).mapv(|v| v * v).sum().sqrt();
    let norm = expected.mapv(|v| v * v).sum().sqrt();
    assert!(distance <= TOLERANCE * norm, "{what}: {:e} of its norm", distance / norm);
}

/// Biases before a BatchNorm have no gradient but rounding.
#[track_caller]
fn assert_zero(what: &str, actual: &ndarray::Array1<f64>) {
    assert!(actual.iter().all(|v| v.abs() < 1e-6), "{what}: {actual}");
}

#[test]
#[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
fn cuda_forward() {
    let s = Step::new();
    let eps = s.net.eps;
    assert_close("conv2d_1_forward", &s.maps("y1", CONV1_CHANNELS), &conv2d_forward(&s.images, &s.net.conv1));

    let (y, _) = batch_norm_train(s.maps("y1", CONV1_CHANNELS), &s.net.bn1, eps);
    let pool1 = s.maps("pool1", CONV1_CHANNELS);
    assert_close("conv2d_2_forward, pool1", &pool1, &avg_pool2d_forward(&sigmoid_forward(y)));
    let y2 = s.maps("y2", CONV2_CHANNELS);
    assert_close("conv2d_2_forward, y2", &y2, &conv2d_forward(&pool1, &s.net.conv2));

    let (y, _) = batch_norm_train(y2, &s.net.bn2, eps);
    let flat = avg_pool2d_forward(&sigmoid_forward(y)).into_shape_with_order((s.n, FLAT)).unwrap();
    assert_close("avg_pool2d_2_forward", &s.rows("flat"), &flat);

    let (y, batch3) = batch_norm_train(linear_forward(&s.rows("flat"), &s.net.linear1), &s.net.bn3, eps);
    assert_close("linear_1_forward, x_hat3", &s.rows("x_hat3"), &batch3.x_hat);
    assert_close("linear_1_forward, y3", &s.rows("y3"), &sigmoid_forward(y));
    let (y, batch4) = batch_norm_train(linear_forward(&s.rows("y3"), &s.net.linear2), &s.net.bn4, eps);
    assert_close("linear_2_forward, x_hat4", &s.rows("x_hat4"), &batch4.x_hat);
    assert_close("linear_2_forward, y4", &s.rows("y4"), &sigmoid_forward(y));

    let logits = s.rows("logits");
    assert_eq!(logits.ncols(), CLASSES);
    assert_close("cross_entropy_forward, logits", &logits, &linear_forward(&s.rows("y4"), &s.net.linear3));
    let (_, probabilities) = cross_entropy_forward(logits, &s.labels, 0.0);
    let d_logits = cross_entropy_backward(probabilities, &s.labels, 0.0);
    assert_close("cross_entropy_forward, d_logits", &s.rows("d_logits"), &d_logits);
}

#[test]
#[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
fn cuda_backward_of_the_linear_layers() {
    let s = Step::new();
    let (net, eps) = (&s.net, s.net.eps);
    let (_, batch4) = batch_norm_train(linear_forward(&s.rows("y3"), &net.linear2), &net.bn4, eps);
    let (_, batch3) = batch_norm_train(linear_forward(&s.rows("flat"), &net.linear1), &net.bn3, eps);

    let (d, linear3) = linear_backward(&s.rows("y4"), &s.rows("d_logits"), &net.linear3);
    assert_close("linear_2_backward, d_weight of linear3", &s.gradients.linear3.weight, &linear3.weight);
    assert_close("linear_2_backward, d_bias of linear3", &s.gradients.linear3.bias, &linear3.bias);
    let (d, gamma, beta) = batch_norm_backward(sigmoid_backward(d, &s.rows("y4")), &batch4, &net.bn4);
    assert_close("linear_2_backward, d_gamma", &s.gradients.bn4.gamma, &gamma);
    assert_close("linear_2_backward, d_beta", &s.gradients.bn4.beta, &beta);
    assert_close("linear_2_backward, d_y4", &s.rows("d_y4"), &d);

    let (d, linear2) = linear_backward(&s.rows("y3"), &s.rows("d_y4"), &net.linear2);
    assert_close("linear_2_backward, d_weight", &s.gradients.linear2.weight, &linear2.weight);
    assert_zero("linear_2_backward, d_bias", &s.gradients.linear2.bias);
    let (d, gamma, beta) = batch_norm_backward(sigmoid_backward(d, &s.rows("y3")), &batch3, &net.bn3);
    assert_close("linear_1_backward, d_gamma", &s.gradients.bn3.gamma, &gamma);
    assert_close("linear_1_backward, d_beta", &s.gradients.bn3.beta, &beta);
    assert_close("linear_1_backward, d_y3", &s.rows("d_y3"), &d);

    let (d_flat, linear1) = linear_backward(&s.rows("flat"), &s.rows("d_y3"), &net.linear1);
    assert_close("linear_1_backward, d_weight", &s.gradients.linear1.weight, &linear1.weight);
    assert_zero("linear_1_backward, d_bias", &s.gradients.linear1.bias);
    assert_close("avg_pool2d_2_backward", &s.rows("d_flat"), &d_flat);
}

#[test]
#[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
fn cuda_backward_of_the_convolutions() {
    let s = Step::new();
    let (net, eps) = (&s.net, s.net.eps);
    let (z2, batch2) = batch_norm_train(s.maps("y2", CONV2_CHANNELS), &net.bn2, eps);
    let (z1, batch1) = batch_norm_train(s.maps("y1", CONV1_CHANNELS), &net.bn1, eps);

    let d = s.rows("d_flat").as_standard_layout().into_owned();
    let d = d.into_shape_with_order((s.n, CONV2_CHANNELS, POOL2_SIDE, POOL2_SIDE)).unwrap();
    let d = sigmoid_backward(avg_pool2d_backward(&d), &sigmoid_forward(z2));
    let (d_y2, gamma, beta) = batch_norm_backward(d, &batch2, &net.bn2);
    assert_close("conv2d_2_backward, d_gamma", &s.gradients.bn2.gamma, &gamma);
    assert_close("conv2d_2_backward, d_beta", &s.gradients.bn2.beta, &beta);
    let pool1 = s.maps("pool1", CONV1_CHANNELS);
    assert_eq!(pool1.dim().2, POOL1_SIDE);
    let conv2 = conv2d_backward_parameters(&pool1, &d_y2, &net.conv2);
    assert_close("conv2d_2_backward, d_weight", &s.gradients.conv2.weight, &conv2.weight);
    assert_zero("conv2d_2_backward, d_bias", &s.gradients.conv2.bias);
    let d_pool1 = s.maps("d_pool1", CONV1_CHANNELS);
    assert_close("conv2d_2_backward, d_pool1", &d_pool1, &conv2d_backward_input(&d_y2, &net.conv2));

    let d = sigmoid_backward(avg_pool2d_backward(&d_pool1), &sigmoid_forward(z1));
    let (d_y1, gamma, beta) = batch_norm_backward(d, &batch1, &net.bn1);
    assert_close("conv2d_1_backward, d_gamma", &s.gradients.bn1.gamma, &gamma);
    assert_close("conv2d_1_backward, d_beta", &s.gradients.bn1.beta, &beta);
    let conv1 = conv2d_backward_parameters(&s.images, &d_y1, &net.conv1);
    assert_close("conv2d_1_backward, d_weight", &s.gradients.conv1.weight, &conv1.weight);
    assert_zero("conv2d_1_backward, d_bias", &s.gradients.conv1.bias);
}
