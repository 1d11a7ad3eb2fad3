//! What can be wrong with a description, and at which node.

use super::{MAX_KERNEL, MAX_NODES, MAX_VALUES, Shape};

/// What is wrong with a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkError {
    /// The node at fault; `None` where it is the network as a whole.
    pub node: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

/// The kinds of mistakes in a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// There is no node.
    Empty,
    /// There are more nodes than [`MAX_NODES`].
    TooManyNodes,
    /// A tensor, or all parameters, have more values than [`MAX_VALUES`], or none.
    Size,
    /// A node reads one that does not come before it.
    Order,
    /// A node's output is read by no other, and it is not the last.
    Unread,
    /// A number of outputs, a kernel, or a stride is zero, or a kernel is above [`MAX_KERNEL`].
    Kernel,
    /// The padded input is smaller than the kernel.
    TooSmall(Shape),
    /// Padding is as large as the kernel.
    Padding,
    /// Groups are neither 1 nor the number of input channels, or do not divide the outputs.
    Groups {
        /// Groups of the convolution.
        groups: usize,
        /// Channels that reach it.
        channels: usize,
    },
    /// A linear layer reads a map.
    NotFlat(Shape),
    /// Two tensors of different shapes are added.
    Shapes(Shape, Shape),
    /// A BatchNorm's eps is not between 0 and 1.
    Eps,
    /// The slope of an activation is not finite.
    Slope,
}

impl core::fmt::Display for Problem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Problem::Empty => write!(f, "the network has no node"),
            Problem::TooManyNodes => write!(f, "the network has more than {MAX_NODES} nodes"),
            Problem::Size => write!(f, "it has no values, or more than {MAX_VALUES}"),
            Problem::Order => write!(f, "it reads a node that does not come before it"),
            Problem::Unread => write!(f, "nothing reads its output"),
            Problem::Kernel => write!(f, "outputs, kernel and stride are at least 1, a kernel at most {MAX_KERNEL}"),
            Problem::TooSmall(input) => write!(f, "its kernel does not fit into its input {input}"),
            Problem::Padding => write!(f, "its padding is as large as its kernel"),
            Problem::Groups { groups, channels } => write!(
                f,
                "it has {groups} groups on {channels} channels; 1 and {channels} are supported, with outputs that they divide"
            ),
            Problem::NotFlat(input) => write!(f, "it reads a map {input}; flatten it first"),
            Problem::Shapes(a, b) => write!(f, "it adds {a} and {b}"),
            Problem::Eps => write!(f, "eps lies between 0 and 1"),
            Problem::Slope => write!(f, "its slope is not finite"),
        }
    }
}

impl core::fmt::Display for NetworkError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.node {
            Some(node) => write!(f, "node {node}: {}", self.problem),
            None => write!(f, "{}", self.problem),
        }
    }
}

impl core::error::Error for NetworkError {}
