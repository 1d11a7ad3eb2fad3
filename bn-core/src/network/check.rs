//! The one check of a description. What passes has a shape for every value, and no size overflows.

use super::{
    Activation, Conv2d, MAX_KERNEL, MAX_NODES, MAX_VALUES, NetworkError, Node, Op, Pads, Pool, Problem, Shape,
    Topology, Value,
};

impl Topology<'_> {
    /// Whether the description is sound: every node reads what comes before it, everything is read, every shape and size is
    /// within its bounds.
    ///
    /// # Errors
    /// The first node at fault.
    pub fn check(&self) -> Result<(), NetworkError> {
        let whole = |problem| Err(NetworkError { node: None, problem });
        match self.nodes.len() {
            0 => return whole(Problem::Empty),
            n if n > MAX_NODES => return whole(Problem::TooManyNodes),
            _ => {}
        }
        if !is_size(self.input) {
            return whole(Problem::Size);
        }
        let mut parameters = 0;
        for (at, node) in self.nodes.iter().enumerate() {
            let fault = |problem| NetworkError { node: Some(at), problem };
            self.check_order(at, node).map_err(fault)?;
            // Everything before is sound, so it has a shape.
            let input = self.input_of(at);
            check_op(&node.op, input).map_err(fault)?;
            if let Op::Add { other } = node.op
                && self.shape(other) != input
            {
                return Err(fault(Problem::Shapes(input, self.shape(other))));
            }
            parameters += weights(&node.op, input);
            if !is_size(node.op.output(input)) || parameters > MAX_VALUES {
                return Err(fault(Problem::Size));
            }
        }
        let unread = (0..self.nodes.len() - 1).find(|&at| self.readers(Value::Node(at)).next().is_none());
        unread.map_or(Ok(()), |at| Err(NetworkError { node: Some(at), problem: Problem::Unread }))
    }

    fn check_order(&self, at: usize, node: &Node) -> Result<(), Problem> {
        let before = |value| !matches!(value, Value::Node(other) if other >= at);
        let other = if let Op::Add { other } = node.op { other } else { Value::Input };
        if before(node.input) && before(other) { Ok(()) } else { Err(Problem::Order) }
    }
}

/// Whether a tensor of that shape has between 1 and [`MAX_VALUES`] values, without overflow on the way.
fn is_size(shape: Shape) -> bool {
    let [c, h, w] = shape.dims().map(|d| d as u64);
    let within = |n: u64| (1..=MAX_VALUES as u64).contains(&n);
    within(c) && within(h) && within(w) && within(c * h) && within(c * h * w)
}

/// Weights of a node, [`MAX_VALUES`] and one where there are more than that.
fn weights(op: &Op, input: Shape) -> usize {
    let product = |factors: &[usize]| factors.iter().try_fold(1_usize, |product, &f| product.checked_mul(f));
    let count = match *op {
        Op::Conv2d(conv) => product(&[conv.channels, input.channels / conv.groups, conv.kernel[0], conv.kernel[1]]),
        Op::Linear { outputs, .. } => product(&[outputs, input.len()]),
        Op::BatchNorm { .. } => product(&[4, input.channels]),
        _ => Some(0),
    };
    count.map_or(MAX_VALUES + 1, |count| count.min(MAX_VALUES + 1))
}

fn check_op(op: &Op, input: Shape) -> Result<(), Problem> {
    match *op {
        Op::Conv2d(conv) => check_conv(&conv, input),
        Op::AvgPool2d { pool, .. } | Op::MaxPool2d(pool) => {
            let Pool { kernel, stride, pads } = pool;
            check_window(kernel, stride, pads, input)?;
            let fits = pads.top.max(pads.bottom) < kernel[0] && pads.left.max(pads.right) < kernel[1];
            if fits { Ok(()) } else { Err(Problem::Padding) }
        }
        Op::Linear { outputs: 0, .. } => Err(Problem::Kernel),
        Op::Linear { .. } if !input.is_flat() => Err(Problem::NotFlat(input)),
        Op::BatchNorm { eps } if !(eps > 0.0 && eps < 1.0) => Err(Problem::Eps),
        Op::Activation(Activation::LeakyRelu { slope } | Activation::HardSigmoid { slope }) if !slope.is_finite() => {
            Err(Problem::Slope)
        }
        _ => Ok(()),
    }
}

fn check_conv(conv: &Conv2d, input: Shape) -> Result<(), Problem> {
    check_window(conv.kernel, conv.stride, conv.pads, input)?;
    let (groups, channels) = (conv.groups, input.channels);
    if conv.channels == 0 {
        return Err(Problem::Kernel);
    }
    if (groups != 1 && groups != channels) || !conv.channels.is_multiple_of(groups) {
        return Err(Problem::Groups { groups, channels });
    }
    Ok(())
}

fn check_window(kernel: [usize; 2], stride: [usize; 2], pads: Pads, input: Shape) -> Result<(), Problem> {
    // A pool may span the whole map, as frameworks write a global pool.
    let spans = kernel == [input.height, input.width] && pads.is_none();
    let within = |n: usize, most: usize| (1..=most).contains(&n);
    if !(kernel.iter().all(|&k| within(k, MAX_KERNEL)) || spans) || !stride.iter().all(|&s| within(s, MAX_VALUES)) {
        return Err(Problem::Kernel);
    }
    if [pads.top, pads.left, pads.bottom, pads.right].iter().any(|&pad| pad > MAX_VALUES) {
        return Err(Problem::Size);
    }
    let (height, width) = (input.height + pads.top + pads.bottom, input.width + pads.left + pads.right);
    if height < kernel[0] || width < kernel[1] { Err(Problem::TooSmall(input)) } else { Ok(()) }
}
