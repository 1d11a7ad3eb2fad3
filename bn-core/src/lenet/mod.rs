//! The first network: d2l's BatchNorm LeNet, as a description and, for its own kernels, as types of fixed size.
//!
//! ```text
//! 28x28 -> conv5x5(1,6) -> BN -> sigmoid -> avg_pool2 -> conv5x5(6,16) -> BN -> sigmoid -> avg_pool2 -> flatten 256
//!       -> linear 120 -> BN -> sigmoid -> linear 84 -> BN -> sigmoid -> linear 10
//! ```
//!
//! [`NETWORK`] is the description; every size below is derived from it. Source: *Dive into Deep Learning*, section 8.5,
//! "Batch Normalization".

mod streams;

use crate::batch_norm::{BatchNorm, DEFAULT_EPS, fold};
use crate::network::{
    Activation, Conv2d as Convolution, Network, Node, Op, Pool, Preprocessing, Role, Shape, Topology, Value, chain,
};

pub use streams::{
    FLAT_QUADS, LINEAR1_BLOCKS, LINEAR1_QUADS, LINEAR2_BLOCKS, LINEAR2_QUADS, LOGIT_BLOCKS, STREAM_FIELDS, Streams,
};

/// The nodes, at the positions of d2l's `nn.Sequential`.
pub const NODES: [Node; 16] = chain([
    Op::Conv2d(Convolution::new(6, 5)),
    Op::BatchNorm { eps: DEFAULT_EPS },
    Op::Activation(Activation::Sigmoid),
    Op::AvgPool2d { pool: Pool::new(2), count_pad: true },
    Op::Conv2d(Convolution::new(16, 5)),
    Op::BatchNorm { eps: DEFAULT_EPS },
    Op::Activation(Activation::Sigmoid),
    Op::AvgPool2d { pool: Pool::new(2), count_pad: true },
    Op::Flatten,
    Op::Linear { outputs: 120, bias: true },
    Op::BatchNorm { eps: DEFAULT_EPS },
    Op::Activation(Activation::Sigmoid),
    Op::Linear { outputs: 84, bias: true },
    Op::BatchNorm { eps: DEFAULT_EPS },
    Op::Activation(Activation::Sigmoid),
    Op::Linear { outputs: 10, bias: true },
]);

/// The network on Fashion-MNIST: pixels are shares of white.
pub const NETWORK: Network<'static> = Network {
    topology: Topology { input: Shape::new(1, 28, 28), nodes: &NODES },
    preprocessing: Preprocessing { divide: 255.0, ..Preprocessing::NONE },
    classes: "t-shirt\ntrouser\npullover\ndress\ncoat\nsandal\nshirt\nsneaker\nbag\nankle boot",
};

const fn shape(node: usize) -> Shape {
    NETWORK.topology.shape(Value::Node(node))
}

const fn side(node: usize) -> usize {
    shape(node).width
}

/// Side of the square input image, in pixels.
pub const IMAGE_SIDE: usize = NETWORK.topology.input.width;
/// Pixels of an image.
pub const PIXELS: usize = NETWORK.topology.input.len();
/// Side of the square convolution kernels.
pub const KERNEL: usize = IMAGE_SIDE - CONV1_SIDE + 1;
/// Side and stride of the average pools.
pub const POOL: usize = CONV1_SIDE / POOL1_SIDE;

/// Output channels of the first convolution.
pub const CONV1_CHANNELS: usize = shape(0).channels;
/// Side of the first convolution's output map.
pub const CONV1_SIDE: usize = side(0);
/// Side of the first pooled map.
pub const POOL1_SIDE: usize = side(3);
/// Output channels of the second convolution.
pub const CONV2_CHANNELS: usize = shape(4).channels;
/// Side of the second convolution's output map.
pub const CONV2_SIDE: usize = side(4);
/// Side of the second pooled map.
pub const POOL2_SIDE: usize = side(7);
/// Features after flattening the second pooled map (channel, row, column).
pub const FLAT: usize = shape(8).len();
/// Outputs of the first linear layer.
pub const LINEAR1: usize = shape(9).len();
/// Outputs of the second linear layer.
pub const LINEAR2: usize = shape(12).len();
/// Classes, the outputs of the last linear layer.
pub const CLASSES: usize = NETWORK.topology.output().len();

/// Multiply-accumulates of one inference, BatchNorm folded.
pub const MACS: usize = NETWORK.topology.macs();

/// Trained parameters: weights, biases, gammas and betas.
pub const TRAINED_PARAMETERS: usize = NETWORK.topology.trained_parameters();

/// The classes of Fashion-MNIST, by label.
pub const CLASS_NAMES: [&str; CLASSES] = class_names();

const fn class_names() -> [&'static str; CLASSES] {
    let (mut names, mut rest, mut at, mut end) = ([""; CLASSES], NETWORK.classes, 0, 0);
    while end < rest.len() {
        if rest.as_bytes()[end] == b'\n' {
            let (name, behind) = rest.split_at(end);
            names[at] = name;
            (rest, at, end) = (behind.split_at(1).1, at + 1, 0);
        } else {
            end += 1;
        }
    }
    names[at] = rest;
    names
}

/// A greyscale image, `[row][column]`, 0 is the background.
pub type Image = [[u8; IMAGE_SIDE]; IMAGE_SIDE];

/// Name, shape and role of one tensor of the unfolded network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in a PyTorch `state_dict` of d2l's `nn.Sequential`: index of the module, then PyTorch's name.
    pub name: &'static str,
    /// Row-major shape: `[out_channels, in_channels, kernel, kernel]`, `[out_features, in_features]` or `[channels]`.
    pub shape: &'static [usize],
    /// What it is for.
    pub role: Role,
}

impl TensorSpec {
    /// Number of values.
    pub const fn len(&self) -> usize {
        let mut product = 1;
        let mut i = 0;
        while i < self.shape.len() {
            product *= self.shape[i];
            i += 1;
        }
        product
    }

    /// No tensor of the network is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const fn tensor(name: &'static str, shape: &'static [usize], role: Role) -> TensorSpec {
    TensorSpec { name, shape, role }
}

/// Number of tensors of the unfolded network.
pub const TENSOR_COUNT: usize = 26;

/// Every tensor of the unfolded network, in the order of PyTorch's `state_dict`. [`LeNet::tensors`] follows this order.
pub const TENSORS: [TensorSpec; TENSOR_COUNT] = [
    tensor("0.weight", &[CONV1_CHANNELS, 1, KERNEL, KERNEL], Role::Weight),
    tensor("0.bias", &[CONV1_CHANNELS], Role::Bias),
    tensor("1.weight", &[CONV1_CHANNELS], Role::Gamma),
    tensor("1.bias", &[CONV1_CHANNELS], Role::Beta),
    tensor("1.running_mean", &[CONV1_CHANNELS], Role::RunningMean),
    tensor("1.running_var", &[CONV1_CHANNELS], Role::RunningVar),
    tensor("4.weight", &[CONV2_CHANNELS, CONV1_CHANNELS, KERNEL, KERNEL], Role::Weight),
    tensor("4.bias", &[CONV2_CHANNELS], Role::Bias),
    tensor("5.weight", &[CONV2_CHANNELS], Role::Gamma),
    tensor("5.bias", &[CONV2_CHANNELS], Role::Beta),
    tensor("5.running_mean", &[CONV2_CHANNELS], Role::RunningMean),
    tensor("5.running_var", &[CONV2_CHANNELS], Role::RunningVar),
    tensor("9.weight", &[LINEAR1, FLAT], Role::Weight),
    tensor("9.bias", &[LINEAR1], Role::Bias),
    tensor("10.weight", &[LINEAR1], Role::Gamma),
    tensor("10.bias", &[LINEAR1], Role::Beta),
    tensor("10.running_mean", &[LINEAR1], Role::RunningMean),
    tensor("10.running_var", &[LINEAR1], Role::RunningVar),
    tensor("12.weight", &[LINEAR2, LINEAR1], Role::Weight),
    tensor("12.bias", &[LINEAR2], Role::Bias),
    tensor("13.weight", &[LINEAR2], Role::Gamma),
    tensor("13.bias", &[LINEAR2], Role::Beta),
    tensor("13.running_mean", &[LINEAR2], Role::RunningMean),
    tensor("13.running_var", &[LINEAR2], Role::RunningVar),
    tensor("15.weight", &[CLASSES, LINEAR2], Role::Weight),
    tensor("15.bias", &[CLASSES], Role::Bias),
];

/// A convolution without padding, stride 1; `weight[out][in][row][column]`.
#[derive(Clone, Debug, PartialEq)]
#[repr(C)]
pub struct Conv2d<const I: usize, const O: usize> {
    /// Weights, `[out_channels][in_channels][kernel][kernel]`.
    pub weight: [[[[f32; KERNEL]; KERNEL]; I]; O],
    /// Bias, `[out_channels]`.
    pub bias: [f32; O],
}

/// A fully connected layer; `weight[out][in]`.
#[derive(Clone, Debug, PartialEq)]
#[repr(C)]
pub struct Linear<const I: usize, const O: usize> {
    /// Weights, `[out_features][in_features]`.
    pub weight: [[f32; I]; O],
    /// Bias, `[out_features]`.
    pub bias: [f32; O],
}

impl<const I: usize, const O: usize> Conv2d<I, O> {
    /// All zero.
    pub const fn zero() -> Self {
        Self { weight: [[[[0.0; KERNEL]; KERNEL]; I]; O], bias: [0.0; O] }
    }

    /// The weights, flat and row-major.
    pub const fn flat(&self) -> &[f32] {
        self.weight.as_flattened().as_flattened().as_flattened()
    }

    /// Flat weights and bias, to be changed.
    pub const fn parts_mut(&mut self) -> (&mut [f32], &mut [f32; O]) {
        (self.weight.as_flattened_mut().as_flattened_mut().as_flattened_mut(), &mut self.bias)
    }
}

impl<const I: usize, const O: usize> Linear<I, O> {
    /// All zero.
    pub const fn zero() -> Self {
        Self { weight: [[0.0; I]; O], bias: [0.0; O] }
    }

    /// The weights, flat and row-major.
    pub const fn flat(&self) -> &[f32] {
        self.weight.as_flattened()
    }

    /// Flat weights and bias, to be changed.
    pub const fn parts_mut(&mut self) -> (&mut [f32], &mut [f32; O]) {
        (self.weight.as_flattened_mut(), &mut self.bias)
    }
}

/// The network as it is trained: BatchNorm after each layer but the last. About 181 KB: keep it in a `Box` or a `static`. In
/// memory it is its tensors in the order of [`TENSORS`], each BatchNorm followed by its `eps`, and nothing else.
#[derive(Clone, Debug, PartialEq)]
#[repr(C)]
pub struct LeNet {
    /// First convolution.
    pub conv1: Conv2d<1, CONV1_CHANNELS>,
    /// BatchNorm of the first convolution's channels.
    pub bn1: BatchNorm<CONV1_CHANNELS>,
    /// Second convolution.
    pub conv2: Conv2d<CONV1_CHANNELS, CONV2_CHANNELS>,
    /// BatchNorm of the second convolution's channels.
    pub bn2: BatchNorm<CONV2_CHANNELS>,
    /// First linear layer.
    pub linear1: Linear<FLAT, LINEAR1>,
    /// BatchNorm of the first linear layer's outputs.
    pub bn3: BatchNorm<LINEAR1>,
    /// Second linear layer.
    pub linear2: Linear<LINEAR1, LINEAR2>,
    /// BatchNorm of the second linear layer's outputs.
    pub bn4: BatchNorm<LINEAR2>,
    /// Last linear layer.
    pub linear3: Linear<LINEAR2, CLASSES>,
}

/// The network as it is shipped: BatchNorm folded into the layer before it. In memory it is its tensors in order.
#[derive(Clone, Debug, PartialEq)]
#[repr(C)]
pub struct FoldedLeNet {
    /// First convolution with BatchNorm 1.
    pub conv1: Conv2d<1, CONV1_CHANNELS>,
    /// Second convolution with BatchNorm 2.
    pub conv2: Conv2d<CONV1_CHANNELS, CONV2_CHANNELS>,
    /// First linear layer with BatchNorm 3.
    pub linear1: Linear<FLAT, LINEAR1>,
    /// Second linear layer with BatchNorm 4.
    pub linear2: Linear<LINEAR1, LINEAR2>,
    /// Last linear layer, as it was.
    pub linear3: Linear<LINEAR2, CLASSES>,
}

impl FoldedLeNet {
    /// All zero: something to fill.
    pub const fn zero() -> Self {
        Self {
            conv1: Conv2d::zero(),
            conv2: Conv2d::zero(),
            linear1: Linear::zero(),
            linear2: Linear::zero(),
            linear3: Linear::zero(),
        }
    }
}

impl LeNet {
    /// All weights zero, BatchNorm untouched (gamma 1, beta 0, mean 0, variance 1): something to fill.
    pub const fn zero() -> Self {
        Self {
            conv1: Conv2d::zero(),
            bn1: BatchNorm::identity(),
            conv2: Conv2d::zero(),
            bn2: BatchNorm::identity(),
            linear1: Linear::zero(),
            bn3: BatchNorm::identity(),
            linear2: Linear::zero(),
            bn4: BatchNorm::identity(),
            linear3: Linear::zero(),
        }
    }

    /// Every tensor, flat and row-major, in the order of [`TENSORS`].
    #[rustfmt::skip] // a table: one layer a line
    pub fn tensors(&self) -> [&[f32]; TENSOR_COUNT] {
        [
            self.conv1.flat(), &self.conv1.bias,
            &self.bn1.gamma, &self.bn1.beta, &self.bn1.running_mean, &self.bn1.running_var,
            self.conv2.flat(), &self.conv2.bias,
            &self.bn2.gamma, &self.bn2.beta, &self.bn2.running_mean, &self.bn2.running_var,
            self.linear1.flat(), &self.linear1.bias,
            &self.bn3.gamma, &self.bn3.beta, &self.bn3.running_mean, &self.bn3.running_var,
            self.linear2.flat(), &self.linear2.bias,
            &self.bn4.gamma, &self.bn4.beta, &self.bn4.running_mean, &self.bn4.running_var,
            self.linear3.flat(), &self.linear3.bias,
        ]
    }

    /// [`tensors`](Self::tensors), to be filled.
    #[rustfmt::skip] // a table: one layer a line
    pub fn tensors_mut(&mut self) -> [&mut [f32]; TENSOR_COUNT] {
        let Self { conv1, bn1, conv2, bn2, linear1, bn3, linear2, bn4, linear3 } = self;
        let ((w1, b1), (w2, b2), (w3, b3)) = (conv1.parts_mut(), conv2.parts_mut(), linear1.parts_mut());
        let ((w4, b4), (w5, b5)) = (linear2.parts_mut(), linear3.parts_mut());
        [
            w1, b1, &mut bn1.gamma, &mut bn1.beta, &mut bn1.running_mean, &mut bn1.running_var,
            w2, b2, &mut bn2.gamma, &mut bn2.beta, &mut bn2.running_mean, &mut bn2.running_var,
            w3, b3, &mut bn3.gamma, &mut bn3.beta, &mut bn3.running_mean, &mut bn3.running_var,
            w4, b4, &mut bn4.gamma, &mut bn4.beta, &mut bn4.running_mean, &mut bn4.running_var,
            w5, b5,
        ]
    }

    /// Sets the `eps` of each BatchNorm, in order.
    pub fn set_eps_of_each(&mut self, eps: [f32; 4]) {
        [self.bn1.eps, self.bn2.eps, self.bn3.eps, self.bn4.eps] = eps;
    }

    /// Folds every BatchNorm into the layer before it, in f64, rounded once.
    pub fn fold(&self) -> FoldedLeNet {
        let mut folded = FoldedLeNet {
            conv1: self.conv1.clone(),
            conv2: self.conv2.clone(),
            linear1: self.linear1.clone(),
            linear2: self.linear2.clone(),
            linear3: self.linear3.clone(),
        };
        fold(&self.bn1, folded.conv1.parts_mut());
        fold(&self.bn2, folded.conv2.parts_mut());
        fold(&self.bn3, folded.linear1.parts_mut());
        fold(&self.bn4, folded.linear2.parts_mut());
        folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_has_the_published_size() {
        assert_eq!(TRAINED_PARAMETERS, 44_878);
        assert_eq!(MACS, 281_640);
        assert_eq!((CONV1_SIDE, POOL1_SIDE, CONV2_SIDE, POOL2_SIDE, FLAT), (24, 12, 8, 4, 256));
    }

    #[test]
    fn the_table_is_that_of_the_description() {
        NETWORK.topology.check().unwrap();
        assert_eq!(NETWORK.topology.parameters().count(), TENSOR_COUNT);
        for (spec, parameter) in TENSORS.iter().zip(NETWORK.topology.parameters()) {
            assert_eq!(spec.name, std::format!("{}.{}", parameter.node, parameter.role.name()));
            assert_eq!((spec.shape, spec.role), (parameter.dims.as_slice(), parameter.role));
        }
        assert_eq!(NETWORK.class_names().collect::<std::vec::Vec<_>>(), CLASS_NAMES);
    }

    #[test]
    fn tensors_follow_the_table() {
        static NET: LeNet = LeNet::zero();
        for (spec, values) in TENSORS.iter().zip(NET.tensors()) {
            assert_eq!(spec.len(), values.len(), "{}", spec.name);
            let untouched = if matches!(spec.role, Role::Gamma | Role::RunningVar) { 1.0 } else { 0.0 };
            assert!(values.iter().all(|&v| v == untouched), "{}", spec.name);
        }
    }
}
