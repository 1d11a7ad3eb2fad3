//! The kernels, one operation at a time: each is given what the device itself fed it, and the reference engine's twin of the
//! operation computes the same in f64. So an error shows where it is made, and nothing hides behind another.

use std::collections::HashMap;

use bn_core::lenet::{CLASSES, CONV1_CHANNELS, CONV2_CHANNELS, FLAT, POOL1_SIDE, POOL2_SIDE};
use bn_core::network::{Activation, Conv2d, Op, Pool};
use chacha20::ChaCha8Rng;
use host_trainer::data::Split;
use host_trainer::engine::Engine;
use host_trainer::engine::cuda::{Cuda, Level};
use host_trainer::engine::reference::activation::{activation_backward, activation_forward};
use host_trainer::engine::reference::avg_pool2d::{avg_pool2d_backward, avg_pool2d_forward};
use host_trainer::engine::reference::batch_norm::{batch_norm_backward, batch_norm_train};
use host_trainer::engine::reference::conv2d::{conv2d_backward_input, conv2d_backward_parameters, conv2d_forward};
use host_trainer::engine::reference::cross_entropy::{cross_entropy_backward, cross_entropy_forward};
use host_trainer::engine::reference::layer::{BatchNorm, Layer};
use host_trainer::engine::reference::linear::{linear_backward_input, linear_backward_parameters, linear_forward};
use host_trainer::model::parameters::{Parameters, Variance};
use ndarray::{Array, Array1, Array2, Array4, Dimension};
use rand::{RngExt, SeedableRng};

use crate::engine_suite::noise;

/// Of the norm, in f32. Each comparison spans one kernel, so that errors do not add up.
const TOLERANCE: f64 = 1e-5;

/// What one batch left on the device, and the network that it met, in f64.
struct Step {
    n: usize,
    images: Array4<f64>,
    labels: Vec<u8>,
    net: Parameters,
    gradients: Parameters,
    tensors: HashMap<&'static str, Vec<f32>>,
}

impl Step {
    /// A batch that fills no warp and no block, drawn out of order from a larger split, through a network in which no gamma is 1
    /// and no beta 0.
    fn new() -> Self {
        let (split, batch) = (noise(21, 50), (0..37).map(|i| (i * 11 + 3) % 50).collect::<Vec<u32>>());
        let mut engine = Cuda::new(3, Variance::Biased, Level::Graph).unwrap();
        engine.set_parameters(&stirred(engine.parameters()));
        let net = engine.parameters();
        let (_, gradients) = engine.gradients(&split, &batch).unwrap();
        let tensors = engine.activations().unwrap().into_iter().collect();
        let (images, labels) = gather(&split, &batch);
        Self { n: batch.len(), images, labels, net, gradients, tensors }
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
        f64::from(split.images()[batch[e] as usize][row][column]) / 255.0
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

#[track_caller]
fn assert_tensor(what: &str, actual: &[f64], expected: &[f64]) {
    assert_close(what, &Array1::from(actual.to_vec()), &Array1::from(expected.to_vec()));
}

/// Biases before a BatchNorm have no gradient but rounding.
#[track_caller]
fn assert_zero(what: &str, actual: &[f64]) {
    assert!(actual.iter().all(|v| v.abs() < 1e-6), "{what}: {actual:?}");
}

/// Weight and bias of a module.
fn layer(net: &Parameters, module: usize) -> Layer<'_, f64> {
    Layer { weight: &net.of(module)[0], bias: Some(&net.of(module)[1]) }
}

fn conv(net: &Parameters, module: usize) -> Conv2d {
    let Op::Conv2d(conv) = net.network.nodes()[module].op else { panic!("module {module} is no convolution") };
    conv
}

fn batch_norm(net: &Parameters, module: usize) -> BatchNorm<'_, f64> {
    let [gamma, beta, running_mean, running_var] = net.of(module) else { panic!("module {module} is no BatchNorm") };
    BatchNorm { gamma, beta, running_mean, running_var, eps: net.network.eps(module).into() }
}

fn sigmoid<D: Dimension>(x: Array<f64, D>) -> Array<f64, D> {
    activation_forward(x, Activation::Sigmoid)
}

fn d_sigmoid<D: Dimension>(d_y: Array<f64, D>, y: &Array<f64, D>) -> Array<f64, D> {
    activation_backward(d_y, y, Activation::Sigmoid)
}

#[test]
#[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
fn cuda_forward() {
    let s = Step::new();
    assert_close(
        "conv2d_1_forward",
        &s.maps("y1", CONV1_CHANNELS),
        &conv2d_forward(&s.images, &conv(&s.net, 0), layer(&s.net, 0)),
    );

    let (y, _) = batch_norm_train(s.maps("y1", CONV1_CHANNELS), batch_norm(&s.net, 1));
    let pool1 = s.maps("pool1", CONV1_CHANNELS);
    assert_close("conv2d_2_forward, pool1", &pool1, &avg_pool2d_forward(&sigmoid(y), &Pool::new(2), true));
    let y2 = s.maps("y2", CONV2_CHANNELS);
    assert_close("conv2d_2_forward, y2", &y2, &conv2d_forward(&pool1, &conv(&s.net, 4), layer(&s.net, 4)));

    let (y, _) = batch_norm_train(y2, batch_norm(&s.net, 5));
    let flat = avg_pool2d_forward(&sigmoid(y), &Pool::new(2), true).into_shape_with_order((s.n, FLAT)).unwrap();
    assert_close("avg_pool2d_2_forward", &s.rows("flat"), &flat);

    let (y, batch3) = batch_norm_train(linear_forward(s.rows("flat").view(), layer(&s.net, 9)), batch_norm(&s.net, 10));
    assert_close("linear_1_forward, x_hat3", &s.rows("x_hat3"), &batch3.x_hat);
    assert_close("linear_1_forward, y3", &s.rows("y3"), &sigmoid(y));
    let (y, batch4) = batch_norm_train(linear_forward(s.rows("y3").view(), layer(&s.net, 12)), batch_norm(&s.net, 13));
    assert_close("linear_2_forward, x_hat4", &s.rows("x_hat4"), &batch4.x_hat);
    assert_close("linear_2_forward, y4", &s.rows("y4"), &sigmoid(y));

    let logits = s.rows("logits");
    assert_eq!(logits.ncols(), CLASSES);
    assert_close("cross_entropy_forward, logits", &logits, &linear_forward(s.rows("y4").view(), layer(&s.net, 15)));
    let (_, probabilities) = cross_entropy_forward(logits, &s.labels, 0.0);
    let d_logits = cross_entropy_backward(probabilities, &s.labels, 0.0);
    assert_close("cross_entropy_forward, d_logits", &s.rows("d_logits"), &d_logits);
}

#[test]
#[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
fn cuda_backward_of_the_linear_layers() {
    let s = Step::new();
    let net = &s.net;
    let (_, batch4) = batch_norm_train(linear_forward(s.rows("y3").view(), layer(net, 12)), batch_norm(net, 13));
    let (_, batch3) = batch_norm_train(linear_forward(s.rows("flat").view(), layer(net, 9)), batch_norm(net, 10));

    let d_y = s.rows("d_logits");
    let (d, linear3) = (
        linear_backward_input(d_y.view(), layer(net, 15)),
        linear_backward_parameters(s.rows("y4").view(), d_y.view(), true),
    );
    assert_tensor("linear_2_backward, d_weight of linear3", s.gradients.get("15.weight"), &linear3.weight);
    assert_tensor("linear_2_backward, d_bias of linear3", s.gradients.get("15.bias"), &linear3.bias.unwrap());
    let (d, gamma, beta) = batch_norm_backward(d_sigmoid(d, &s.rows("y4")), &batch4, net.get("13.weight"));
    assert_tensor("linear_2_backward, d_gamma", s.gradients.get("13.weight"), gamma.as_slice().unwrap());
    assert_tensor("linear_2_backward, d_beta", s.gradients.get("13.bias"), beta.as_slice().unwrap());
    assert_close("linear_2_backward, d_y4", &s.rows("d_y4"), &d);

    let d_y = s.rows("d_y4");
    let (d, linear2) = (
        linear_backward_input(d_y.view(), layer(net, 12)),
        linear_backward_parameters(s.rows("y3").view(), d_y.view(), true),
    );
    assert_tensor("linear_2_backward, d_weight", s.gradients.get("12.weight"), &linear2.weight);
    assert_zero("linear_2_backward, d_bias", s.gradients.get("12.bias"));
    let (d, gamma, beta) = batch_norm_backward(d_sigmoid(d, &s.rows("y3")), &batch3, net.get("10.weight"));
    assert_tensor("linear_1_backward, d_gamma", s.gradients.get("10.weight"), gamma.as_slice().unwrap());
    assert_tensor("linear_1_backward, d_beta", s.gradients.get("10.bias"), beta.as_slice().unwrap());
    assert_close("linear_1_backward, d_y3", &s.rows("d_y3"), &d);

    let d_y = s.rows("d_y3");
    let (d_flat, linear1) = (
        linear_backward_input(d_y.view(), layer(net, 9)),
        linear_backward_parameters(s.rows("flat").view(), d_y.view(), true),
    );
    assert_tensor("linear_1_backward, d_weight", s.gradients.get("9.weight"), &linear1.weight);
    assert_zero("linear_1_backward, d_bias", s.gradients.get("9.bias"));
    assert_close("avg_pool2d_2_backward", &s.rows("d_flat"), &d_flat);
}

#[test]
#[ignore = "needs an NVIDIA GPU; `cuda::` runs it on the CPU build of the kernels"]
fn cuda_backward_of_the_convolutions() {
    let s = Step::new();
    let net = &s.net;
    let (z2, batch2) = batch_norm_train(s.maps("y2", CONV2_CHANNELS), batch_norm(net, 5));
    let (z1, batch1) = batch_norm_train(s.maps("y1", CONV1_CHANNELS), batch_norm(net, 1));

    let d = s.rows("d_flat").as_standard_layout().into_owned();
    let d = d.into_shape_with_order((s.n, CONV2_CHANNELS, POOL2_SIDE, POOL2_SIDE)).unwrap();
    let d = d_sigmoid(avg_pool2d_backward(&d, &Pool::new(2), true, [2 * POOL2_SIDE; 2]), &sigmoid(z2));
    let (d_y2, gamma, beta) = batch_norm_backward(d, &batch2, net.get("5.weight"));
    assert_tensor("conv2d_2_backward, d_gamma", s.gradients.get("5.weight"), gamma.as_slice().unwrap());
    assert_tensor("conv2d_2_backward, d_beta", s.gradients.get("5.bias"), beta.as_slice().unwrap());
    let pool1 = s.maps("pool1", CONV1_CHANNELS);
    assert_eq!(pool1.dim().2, POOL1_SIDE);
    let conv2 = conv2d_backward_parameters(&pool1, &d_y2, &conv(net, 4));
    assert_tensor("conv2d_2_backward, d_weight", s.gradients.get("4.weight"), &conv2.weight);
    assert_zero("conv2d_2_backward, d_bias", s.gradients.get("4.bias"));
    let d_pool1 = s.maps("d_pool1", CONV1_CHANNELS);
    assert_close(
        "conv2d_2_backward, d_pool1",
        &d_pool1,
        &conv2d_backward_input(&d_y2, &conv(net, 4), layer(net, 4), [POOL1_SIDE; 2]),
    );

    let d = d_sigmoid(avg_pool2d_backward(&d_pool1, &Pool::new(2), true, [2 * POOL1_SIDE; 2]), &sigmoid(z1));
    let (d_y1, gamma, beta) = batch_norm_backward(d, &batch1, net.get("1.weight"));
    assert_tensor("conv2d_1_backward, d_gamma", s.gradients.get("1.weight"), gamma.as_slice().unwrap());
    assert_tensor("conv2d_1_backward, d_beta", s.gradients.get("1.bias"), beta.as_slice().unwrap());
    let conv1 = conv2d_backward_parameters(&s.images, &d_y1, &conv(net, 0));
    assert_tensor("conv2d_1_backward, d_weight", s.gradients.get("0.weight"), &conv1.weight);
    assert_zero("conv2d_1_backward, d_bias", s.gradients.get("0.bias"));
}
