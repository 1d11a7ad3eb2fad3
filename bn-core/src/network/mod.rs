//! What a network is: a list of nodes, as plain data.
//!
//! Everything else is derived from it: shapes, sizes, multiply-accumulates ([`Topology::macs`]), the tensors of its
//! parameters ([`Topology::parameter`]) and digests. A node reads the output of one node before it, [`Op::Add`] of two; most
//! read the one just before. [`Topology::check`] says once whether a description is sound, and by node what is not.
//!
//! ```
//! use bn_core::network::{Activation, Conv2d, Network, Node, Op, Pool, Preprocessing, Shape, Topology, chain};
//!
//! const NODES: [Node; 5] = chain([
//!     Op::Conv2d(Conv2d::new(8, 3).stride(2).pad(1)),
//!     Op::BatchNorm { eps: 1e-5 },
//!     Op::Activation(Activation::Relu),
//!     Op::GlobalAvgPool,
//!     Op::Linear { outputs: 2, bias: true },
//! ]);
//! const TINY: Topology<'static> = Topology { input: Shape::new(3, 32, 32), nodes: &NODES };
//! assert!(TINY.check().is_ok());
//! assert_eq!(TINY.macs(), 16 * 16 * 8 * 27 + 16);
//! ```

mod check;
mod codec;
mod error;
mod parameter;
mod shape;
#[cfg(test)]
mod tests;

#[cfg(feature = "build")]
pub use codec::{Decoded, decode};
pub use error::{NetworkError, Problem};
pub use parameter::{Dims, Parameter, Role};
pub use shape::Shape;

/// The largest side of a kernel or of a pool's window, global pools aside.
pub const MAX_KERNEL: usize = 15;
/// The most nodes of a network.
pub const MAX_NODES: usize = 1024;
/// The most values of one example's tensor, and the most parameters of a network.
pub const MAX_VALUES: usize = 1 << 24;

/// Something a node can read: the network's input, or the output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// The network's input.
    Input,
    /// The output of the node at that position.
    Node(usize),
}

/// One operation and what it reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// What it reads.
    pub input: Value,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// A convolution, plain or depthwise.
    Conv2d(Conv2d),
    /// A fully connected layer on a flat tensor.
    Linear {
        /// Features that it gives.
        outputs: usize,
        /// Whether it adds one learned value an output.
        bias: bool,
    },
    /// Batch normalization, a channel at a time.
    BatchNorm {
        /// Added to the variance, inside the square root.
        eps: f32,
    },
    /// A function of each value.
    Activation(Activation),
    /// The mean of each window.
    AvgPool2d {
        /// Windows.
        pool: Pool,
        /// Whether padded positions count as zeros of the mean; else the mean is over the others.
        count_pad: bool,
    },
    /// The largest value of each window; padded positions never win.
    MaxPool2d(Pool),
    /// The mean of each channel's map.
    GlobalAvgPool,
    /// The largest value of each channel's map.
    GlobalMaxPool,
    /// The sum of two tensors of one shape.
    Add {
        /// The second of them.
        other: Value,
    },
    /// All values as one row: channel, row, column.
    Flatten,
}

/// A convolution (cross-correlation): out channels, kernel, stride, padding by zeros, groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Channels that it gives.
    pub channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub pads: Pads,
    /// 1, or the number of input channels: depthwise, with `channels / groups` outputs for each input channel.
    pub groups: usize,
    /// Whether it adds one learned value a channel.
    pub bias: bool,
}

impl Conv2d {
    /// A square kernel, stride 1, no padding, with a bias.
    pub const fn new(channels: usize, kernel: usize) -> Self {
        Self { channels, kernel: [kernel; 2], stride: [1; 2], pads: Pads::NONE, groups: 1, bias: true }
    }

    /// With that stride in both directions.
    pub const fn stride(self, stride: usize) -> Self {
        Self { stride: [stride; 2], ..self }
    }

    /// With that padding on all sides.
    pub const fn pad(self, pad: usize) -> Self {
        Self { pads: Pads::all(pad), ..self }
    }

    /// Depthwise over so many channels.
    pub const fn depthwise(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

/// Windows of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Positions around the input that belong to windows.
    pub pads: Pads,
}

impl Pool {
    /// Square windows that tile the map.
    pub const fn new(kernel: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [kernel; 2], pads: Pads::NONE }
    }
}

/// Padding by side. Keras' `same` pads an odd row at the bottom and an odd column at the right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pads {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Pads {
    /// No padding.
    pub const NONE: Self = Self::all(0);

    /// The same on all sides.
    pub const fn all(pad: usize) -> Self {
        Self { top: pad, left: pad, bottom: pad, right: pad }
    }

    /// Whether there is none.
    pub const fn is_none(self) -> bool {
        self.top == 0 && self.left == 0 && self.bottom == 0 && self.right == 0
    }
}

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x` where that is positive, else `slope * x`
    LeakyRelu {
        /// Slope below zero.
        slope: f32,
    },
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `min(max(slope * x + 1/2, 0), 1)`; PyTorch's slope is 1/6, that of older Keras 0.2.
    HardSigmoid {
        /// Slope in the middle.
        slope: f32,
    },
    /// `x * min(max(x / 6 + 1/2, 0), 1)`
    HardSwish,
}

/// The nodes of a network and the shape of one example that it reads: what engines and kernels are chosen by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Topology<'a> {
    /// Shape of one example.
    pub input: Shape,
    /// Operations in an order in which they can be computed. The last one's output is the network's.
    pub nodes: &'a [Node],
}

/// How a raw value becomes what the first node reads: `(raw * multiply / divide - mean[channel]) / std[channel]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing<'a> {
    /// Factor of a raw value.
    pub multiply: f32,
    /// Divisor of a raw value: 255 makes shares of white of pixels.
    pub divide: f32,
    /// What is taken off: one a channel, or one for all; none is zero.
    pub mean: &'a [f32],
    /// What is divided by after that: one a channel, or one for all; none is one.
    pub std: &'a [f32],
}

impl Preprocessing<'_> {
    /// Raw values as they are.
    pub const NONE: Preprocessing<'static> = Preprocessing { multiply: 1.0, divide: 1.0, mean: &[], std: &[] };
}

/// A network: its topology, how it takes its input, and what its outputs mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network<'a> {
    /// Nodes and shapes.
    pub topology: Topology<'a>,
    /// How it takes its input.
    pub preprocessing: Preprocessing<'a>,
    /// Names of the outputs, one a line, in order; empty for a network without classes.
    pub classes: &'a str,
}

impl<'a> Network<'a> {
    /// Names of the classes, by label.
    pub fn class_names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.classes.lines()
    }
}

/// Nodes that each read the one before, the first one the input.
pub const fn chain<const N: usize>(ops: [Op; N]) -> [Node; N] {
    let mut nodes = [Node { op: Op::Flatten, input: Value::Input }; N];
    let mut i = 0;
    while i < N {
        nodes[i] = Node { op: ops[i], input: if i == 0 { Value::Input } else { Value::Node(i - 1) } };
        i += 1;
    }
    nodes
}
