//! Shapes, sizes and multiply-accumulates that follow from a description.

use super::{Conv2d, Node, Op, Pads, Pool, Topology, Value};

/// Shape of one example's tensor. A vector is `[channels, 1, 1]`, a sequence `[channels, length, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels, or features.
    pub channels: usize,
    /// Rows, or steps of a sequence.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// A map.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// A row of values.
    pub const fn flat(values: usize) -> Self {
        Self::new(values, 1, 1)
    }

    /// Number of values.
    pub const fn len(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether it holds no value; no tensor of a sound network does.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it is a row of values.
    pub const fn is_flat(self) -> bool {
        self.height == 1 && self.width == 1
    }

    /// As an array: channels, rows, columns.
    pub const fn dims(self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }
}

impl core::fmt::Display for Shape {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Shape { channels, height: 1, width: 1 } => write!(f, "{channels}"),
            Shape { channels, height, width: 1 } => write!(f, "{channels}x{height}"),
            Shape { channels, height, width } => write!(f, "{channels}x{height}x{width}"),
        }
    }
}

/// Windows that fit: `(length + pads - kernel) / stride + 1`, rounded down; 0 where the kernel is longer than that.
const fn windows(length: usize, pads: usize, kernel: usize, stride: usize) -> usize {
    if length + pads < kernel { 0 } else { (length + pads - kernel) / stride + 1 }
}

const fn slide(input: Shape, channels: usize, kernel: [usize; 2], stride: [usize; 2], pads: Pads) -> Shape {
    Shape {
        channels,
        height: windows(input.height, pads.top + pads.bottom, kernel[0], stride[0]),
        width: windows(input.width, pads.left + pads.right, kernel[1], stride[1]),
    }
}

impl Op {
    /// Shape of what it gives for an input of that shape.
    pub const fn output(&self, input: Shape) -> Shape {
        match *self {
            Op::Conv2d(Conv2d { channels, kernel, stride, pads, .. }) => slide(input, channels, kernel, stride, pads),
            Op::AvgPool2d { pool: Pool { kernel, stride, pads }, .. }
            | Op::MaxPool2d(Pool { kernel, stride, pads }) => slide(input, input.channels, kernel, stride, pads),
            Op::Linear { outputs, .. } => Shape::flat(outputs),
            Op::GlobalAvgPool | Op::GlobalMaxPool => Shape::flat(input.channels),
            Op::Flatten => Shape::flat(input.len()),
            Op::BatchNorm { .. } | Op::Activation(_) | Op::Add { .. } => input,
        }
    }

    /// Multiply-accumulates of one example, padded positions included; convolutions and linear layers only.
    pub const fn macs(&self, input: Shape) -> usize {
        match *self {
            Op::Conv2d(conv) => {
                let patch = conv.kernel[0] * conv.kernel[1] * (input.channels / conv.groups);
                self.output(input).len() * patch
            }
            Op::Linear { outputs, .. } => input.len() * outputs,
            _ => 0,
        }
    }
}

impl<'a> Topology<'a> {
    /// Shape of a value.
    ///
    /// # Panics
    /// If there is no such node.
    pub const fn shape(&self, value: Value) -> Shape {
        match value {
            Value::Input => self.input,
            Value::Node(at) => self.nodes[at].op.output(self.shape(self.nodes[at].input)),
        }
    }

    /// Shape of what the node at that position reads.
    ///
    /// # Panics
    /// If there is no such node.
    pub const fn input_of(&self, node: usize) -> Shape {
        self.shape(self.nodes[node].input)
    }

    /// The network's output: that of its last node.
    pub const fn result(&self) -> Value {
        if self.nodes.is_empty() { Value::Input } else { Value::Node(self.nodes.len() - 1) }
    }

    /// Shape of the network's output.
    pub const fn output(&self) -> Shape {
        self.shape(self.result())
    }

    /// Multiply-accumulates of one example: convolutions and linear layers, padded positions included.
    pub const fn macs(&self) -> usize {
        let (mut sum, mut at) = (0, 0);
        while at < self.nodes.len() {
            sum += self.nodes[at].op.macs(self.input_of(at));
            at += 1;
        }
        sum
    }

    /// The nodes that read a value.
    pub fn readers(&self, value: Value) -> impl Iterator<Item = usize> + use<'a> {
        let reads = move |node: &Node| node.input == value || matches!(node.op, Op::Add { other } if other == value);
        self.nodes.iter().enumerate().filter(move |(_, node)| reads(node)).map(|(at, _)| at)
    }
}
