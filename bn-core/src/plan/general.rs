//! What the families that take any shape make of neighbouring nodes.

use super::{Family, Form, Kernel, Run, Shapes, words};
use crate::kernels::add::Add;
use crate::kernels::conv::Conv;
use crate::kernels::depthwise::Depthwise;
use crate::kernels::depthwise3::Depthwise3;
use crate::kernels::packed::{Window, half_words, words_of};
use crate::kernels::pointwise::Pointwise;
use crate::kernels::polyphase3::Polyphase3;
use crate::kernels::pool::Pool;
use crate::kernels::winograd3::Winograd3;
use crate::network::{Activation, Conv2d, Op, Pads, Shape, Topology, Value};

/// A step of a family that takes any shape: its nodes by what they are for, and its kernel's sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    /// What it reads; a sum's first term.
    pub reads: Value,
    /// The other term of a sum, or of the sum behind a convolution.
    pub other: Option<Value>,
    /// BatchNorm before the convolution or linear layer, folded into it.
    pub before: Option<usize>,
    /// The node that the kernel is named after: a convolution, linear layer, pool, sum or flatten; none where a BatchNorm or an
    /// activation stands on its own.
    pub node: Option<usize>,
    /// BatchNorm behind it, or on its own.
    pub after: Option<usize>,
    /// Sum behind a convolution.
    pub sum: Option<usize>,
    /// What stands behind that.
    pub activation: Option<Activation>,
    /// Position of the last node.
    pub last: usize,
    /// Sizes.
    pub kernel: Kernel,
    /// Forms of its input and its output.
    pub forms: [Form; 2],
    /// Words of its input and its output.
    pub sizes: [usize; 2],
}

/// Whether an activation is read from a table; else it is a range.
pub const fn needs_table(activation: Option<Activation>) -> bool {
    !matches!(activation, None | Some(Activation::Relu | Activation::Relu6))
}

impl Layer {
    /// What its step takes.
    pub(super) fn shapes(&self) -> Shapes {
        let [scratch, stream] = self.kernel.words();
        let [input, output] = self.sizes;
        Shapes {
            last: self.last,
            input,
            output,
            forms: self.forms,
            scratch,
            stream,
            table: needs_table(self.activation),
            other: self.other,
            in_place: self.kernel.in_place(),
            other_in_place: self.sum.is_some() && self.forms[1] == Form::Packed,
        }
    }

    /// The value before its activation.
    pub fn before_activation(&self) -> Value {
        self.sum.or(self.after).or(self.node).map_or(self.reads, Value::Node)
    }
}

impl Family {
    /// What a family that takes any shape makes of the nodes from `first` on; `None` where it computes none.
    pub fn layer(self, topology: &Topology<'_>, first: usize) -> Option<Layer> {
        let reads = topology.nodes.get(first)?.input;
        let run = Run { topology, next: first, reads };
        match self {
            Family::Winograd3Add | Family::Winograd3 => {
                run.convolution(first, self == Family::Winograd3Add, |conv| Winograd3::of(conv).map(Kernel::Winograd3))
            }
            Family::PointwiseAdd | Family::Pointwise => {
                run.convolution(first, self == Family::PointwiseAdd, |conv| Pointwise::of(conv).map(Kernel::Pointwise))
            }
            Family::Polyphase3 => run.convolution(first, false, |conv| Polyphase3::of(conv).map(Kernel::Polyphase3)),
            Family::ConvAdd | Family::Conv => run.conv(first, self == Family::ConvAdd),
            Family::Depthwise3 => {
                let layer = run.depthwise(first)?;
                let Kernel::Depthwise(depthwise) = layer.kernel else { return None };
                Depthwise3::of(&depthwise).map(|shape| Layer { kernel: Kernel::Depthwise3(shape), ..layer })
            }
            Family::Depthwise => run.depthwise(first),
            Family::MeanPool | Family::MaxPool => run.pool(first, self == Family::MeanPool),
            Family::Add => run.add(first),
            Family::Flatten => run.flatten(first),
            _ => None,
        }
    }
}

/// Windows of a convolution or pool.
fn window(input: Shape, output: Shape, kernel: [usize; 2], stride: [usize; 2], pads: Pads, bytes: bool) -> Window {
    let (before, output) = ([pads.top, pads.left], [output.height, output.width]);
    Window { input, kernel, stride, before, output, bytes }
}

impl Run<'_> {
    fn op(&self) -> Option<Op> {
        self.topology.nodes.get(self.next).filter(|node| node.input == self.reads).map(|node| node.op)
    }

    /// Takes the next node where it alone reads what was computed so far.
    fn behind(&mut self, is: impl Fn(&Op) -> bool) -> Option<usize> {
        (self.alone() && self.step(is)).then(|| self.next - 1)
    }

    fn batch_norm(&mut self) -> Option<usize> {
        self.behind(|op| matches!(op, Op::BatchNorm { .. }))
    }

    fn activation(&mut self) -> Option<Activation> {
        let Some(Op::Activation(activation)) = self.op() else { return None };
        self.behind(|_| true).map(|_| activation)
    }

    /// Whether the step ends the network. Flattening the network's output changes nothing of it.
    fn ends(&mut self) -> bool {
        let last = self.topology.nodes.len();
        if self.next + 1 == last {
            self.behind(|op| *op == Op::Flatten);
        }
        self.next == last
    }

    /// The step that ends here.
    fn layer(&self, first: usize, nodes: [Option<usize>; 3], activation: Option<Activation>, kernel: Kernel) -> Layer {
        let (from, at_end) = (self.topology.nodes[first].input, self.next == self.topology.nodes.len());
        let (input, output) = (self.topology.shape(from), self.topology.shape(Value::Node(self.next - 1)));
        let is_bytes = from == Value::Input;
        let [before, node, after] = nodes;
        Layer {
            reads: from,
            other: None,
            before,
            node,
            after,
            sum: None,
            activation,
            last: self.next - 1,
            kernel,
            forms: [
                if is_bytes { Form::Bytes } else { Form::Packed },
                if at_end { Form::Halves } else { Form::Packed },
            ],
            sizes: [
                if is_bytes { words(input.len()) } else { words_of(input) },
                if at_end { half_words(output.len()) } else { words_of(output) },
            ],
        }
    }

    /// Takes the next node where it is a sum of what was computed so far and a map that was there before the step: that map.
    fn sum(&mut self, first: usize) -> Option<Value> {
        let node = self.topology.nodes.get(self.next)?;
        let Op::Add { other } = node.op else { return None };
        let other = if node.input == self.reads { other } else { node.input };
        let was_there = matches!(other, Value::Node(node) if node < first);
        if !(was_there && self.alone()) {
            return None;
        }
        (self.reads, self.next) = (Value::Node(self.next), self.next + 1);
        Some(other)
    }

    /// `[flatten] [batch_norm] conv2d|linear [batch_norm] [add] [activation]`, the first two in any order, with a sum or without.
    fn conv(mut self, first: usize, adds: bool) -> Option<Layer> {
        let bytes = self.reads == Value::Input;
        let map = self.topology.shape(self.reads);
        // A BatchNorm is folded into what follows it, flattened before or behind.
        let (mut is_flat, mut before) = (false, None);
        loop {
            match self.op()? {
                Op::Flatten if !is_flat => is_flat = true,
                Op::BatchNorm { .. } if before.is_none() => before = Some(self.next),
                _ => break,
            }
            if !(self.step(|_| true) && self.alone()) {
                return None;
            }
        }
        let (node, op) = (self.next, self.op()?);
        let output = op.output(self.topology.input_of(node));
        let (window, channels) = match op {
            Op::Linear { outputs, .. } => {
                let whole = window(map, Shape::flat(1), [map.height, map.width], [1; 2], Pads::NONE, bytes);
                (whole, outputs)
            }
            Op::Conv2d(Conv2d { channels, kernel, stride, pads, groups: 1, .. })
                if !is_flat && (before.is_none() || pads.is_none()) =>
            {
                (window(map, output, kernel, stride, pads, bytes), channels)
            }
            _ => return None,
        };
        self.step(|_| true);
        let after = self.batch_norm();
        let (sum, other) = if adds { (Some(self.next), Some(self.sum(first)?)) } else { (None, None) };
        let activation = self.activation();
        let kernel = Conv { window, channels, adds, halves: self.ends(), table: needs_table(activation) };
        let layer = self.layer(first, [before, Some(node), after], activation, Kernel::Conv(kernel));
        Some(Layer { sum, other, ..layer })
    }

    /// Likewise, where another family takes the convolution.
    fn convolution(self, first: usize, adds: bool, of: impl Fn(&Conv) -> Option<Kernel>) -> Option<Layer> {
        let layer = self.conv(first, adds)?;
        let Kernel::Conv(conv) = layer.kernel else { return None };
        of(&conv).map(|kernel| Layer { kernel, ..layer })
    }

    /// `conv2d groups=channels [batch_norm] [activation]`, `batch_norm [activation]` or `activation`.
    fn depthwise(mut self, first: usize) -> Option<Layer> {
        let (input, bytes) = (self.topology.shape(self.reads), self.reads == Value::Input);
        let op = self.op()?;
        let (node, window, multiplier) = match op {
            Op::Conv2d(Conv2d { channels, kernel, stride, pads, groups, .. }) if groups == input.channels => {
                let window = window(input, op.output(input), kernel, stride, pads, bytes);
                (Some(self.next), window, channels / groups)
            }
            Op::BatchNorm { .. } | Op::Activation(_) => (None, Window::points(input, bytes), 1),
            _ => return None,
        };
        let (mut after, mut activation) = (None, None);
        match op {
            Op::Activation(alone) => activation = Some(alone),
            Op::BatchNorm { .. } => after = Some(first),
            _ => {}
        }
        self.step(|_| true);
        if node.is_some() {
            after = self.batch_norm();
        }
        if activation.is_none() {
            activation = self.activation();
        }
        let (halves, table) = (self.ends(), needs_table(activation));
        let kernel = Depthwise { window, multiplier, halves, table };
        Some(self.layer(first, [None, node, after], activation, Kernel::Depthwise(kernel)))
    }

    fn pool(mut self, first: usize, mean: bool) -> Option<Layer> {
        let (input, bytes, op) = (self.topology.shape(self.reads), self.reads == Value::Input, self.op()?);
        let whole = crate::network::Pool { kernel: [input.height, input.width], ..crate::network::Pool::new(1) };
        let (pool, count_pad) = match (op, mean) {
            (Op::AvgPool2d { pool, count_pad }, true) => (pool, count_pad),
            (Op::GlobalAvgPool, true) | (Op::GlobalMaxPool, false) => (whole, false),
            (Op::MaxPool2d(pool), false) => (pool, false),
            _ => return None,
        };
        let window = window(input, op.output(input), pool.kernel, pool.stride, pool.pads, bytes);
        self.step(|_| true);
        let kernel = Pool { window, count_pad, halves: self.ends() };
        let kernel = if mean { Kernel::MeanPool(kernel) } else { Kernel::MaxPool(kernel) };
        Some(self.layer(first, [None, Some(first), None], None, kernel))
    }

    /// `add [activation]`.
    fn add(mut self, first: usize) -> Option<Layer> {
        let Op::Add { other } = self.op()? else { return None };
        let shape = self.topology.shape(self.reads);
        self.step(|_| true);
        let activation = self.activation();
        let kernel = Add { shape, halves: self.ends(), table: needs_table(activation) };
        let layer = self.layer(first, [None, Some(first), None], activation, Kernel::Add(kernel));
        Some(Layer { other: Some(other), ..layer })
    }

    fn flatten(mut self, first: usize) -> Option<Layer> {
        let Op::Flatten = self.op()? else { return None };
        let shape = self.topology.shape(self.reads);
        self.step(|_| true);
        let is_last = self.next == self.topology.nodes.len();
        // A flat output is what the step before gives.
        (!is_last).then(|| self.layer(first, [None, Some(first), None], None, Kernel::Flatten(shape)))
    }
}
