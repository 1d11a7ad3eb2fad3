//! From a network's nodes to units: what is stored, and what is worked out while it is read.
//!
//! A unit is a stored tensor with the operation that makes it, and what is applied whenever it is read: at most one BatchNorm
//! and one activation. A BatchNorm or an activation that does not fit behind the unit it reads becomes a unit of its own.

use bn_core::network::{Activation, Conv2d, Node, Op, Pool, Shape, Value};

use crate::network::Network;

/// How a unit's tensor is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Work {
    /// The network's input.
    Input,
    /// A convolution.
    Conv(Conv2d),
    /// A fully connected layer.
    Linear,
    /// The mean of each window; see [`Op::AvgPool2d`].
    AvgPool {
        /// Windows.
        pool: Pool,
        /// Whether padded positions count.
        count_pad: bool,
    },
    /// The largest value of each window.
    MaxPool(Pool),
    /// The sum of two units.
    Add,
    /// What is read, as it is; its shape may be another.
    Copy,
}

/// One reading of a unit by another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Read {
    /// The unit that is read.
    pub(super) unit: usize,
    /// Whether the backward pass meets this reader before all others, so that there is no gradient yet to add to.
    pub(super) first: bool,
    /// Whether it meets this reader after all others, so that the gradient is complete.
    pub(super) last: bool,
}

/// A stored tensor.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// How it is made.
    pub(super) work: Work,
    /// What it is made of.
    pub(super) reads: Vec<Read>,
    /// Shape of one example.
    pub(super) shape: Shape,
    /// Position of its first parameter, where it has one.
    pub(super) parameter: Option<usize>,
    /// Whether it has a bias.
    pub(super) bias: bool,
    /// The BatchNorm that is applied when it is read.
    pub(super) batch_norm: Option<Norm>,
    /// The activation that is applied after that.
    pub(super) activation: Option<Activation>,
    /// Whether anything before it, or its BatchNorm, is trained.
    pub(super) wants_gradient: bool,
}

/// A BatchNorm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Norm {
    /// Position of gamma; beta, running mean and variance follow.
    pub(super) parameter: usize,
    /// Added to the variance.
    pub(super) eps: f64,
}

/// The units of a network, in an order in which they can be computed; the first is the input, the last is the output.
pub(super) fn plan(network: &Network) -> Vec<Unit> {
    let mut plan = Plan { network, units: vec![unit(Work::Input, Vec::new(), network.input())], of: Vec::new() };
    for at in 0..network.nodes().len() {
        let unit = plan.place(at);
        plan.of.push(unit);
    }
    let mut units = plan.units;
    mark_readers(&mut units);
    mark_gradients(&mut units);
    units
}

struct Plan<'a> {
    network: &'a Network,
    units: Vec<Unit>,
    /// The unit of each node so far.
    of: Vec<usize>,
}

fn unit(work: Work, reads: Vec<usize>, shape: Shape) -> Unit {
    let read = |unit| Read { unit, first: false, last: false };
    let reads = reads.into_iter().map(read).collect();
    let (parameter, bias, batch_norm, activation) = (None, false, None, None);
    Unit { work, reads, shape, parameter, bias, batch_norm, activation, wants_gradient: false }
}

impl Plan<'_> {
    fn unit_of(&self, value: Value) -> usize {
        if let Value::Node(at) = value { self.of[at] } else { 0 }
    }

    /// The unit that holds a node's output.
    fn place(&mut self, at: usize) -> usize {
        let Node { op, input } = self.network.nodes()[at];
        let (from, shape) = (self.unit_of(input), self.network.shape(Value::Node(at)));
        let whole = || {
            let Shape { height, width, .. } = self.network.shape(input);
            Pool { kernel: [height, width], ..Pool::new(1) }
        };
        let work = match op {
            Op::BatchNorm { eps } => return self.normalize(at, from, eps),
            Op::Activation(f) => return self.activate(input, from, f),
            Op::Flatten if self.units[from].shape == shape && self.is_read_once(input) => return from,
            Op::Conv2d(conv) => Work::Conv(conv),
            Op::Linear { .. } => Work::Linear,
            Op::AvgPool2d { pool, count_pad } => Work::AvgPool { pool, count_pad },
            Op::GlobalAvgPool => Work::AvgPool { pool: whole(), count_pad: false },
            Op::MaxPool2d(pool) => Work::MaxPool(pool),
            Op::GlobalMaxPool => Work::MaxPool(whole()),
            Op::Add { other } => return self.push(unit(Work::Add, vec![from, self.unit_of(other)], shape)),
            Op::Flatten => Work::Copy,
            op => unreachable!("bn-core has no operation {op:?}"),
        };
        let bias = matches!(op, Op::Conv2d(Conv2d { bias: true, .. }) | Op::Linear { bias: true, .. });
        let parameter = self.network.first_parameter(at);
        self.push(Unit { parameter, bias, ..unit(work, vec![from], shape) })
    }

    fn push(&mut self, unit: Unit) -> usize {
        self.units.push(unit);
        self.units.len() - 1
    }

    /// Whether nothing but one node reads a value.
    fn is_read_once(&self, value: Value) -> bool {
        self.network.topology().readers(value).count() == 1
    }

    fn copy(&mut self, from: usize) -> usize {
        let shape = self.units[from].shape;
        self.push(unit(Work::Copy, vec![from], shape))
    }

    fn normalize(&mut self, at: usize, from: usize, eps: f32) -> usize {
        let Unit { batch_norm, activation, .. } = &self.units[from];
        let is_plain = batch_norm.is_none() && activation.is_none();
        let fits = is_plain && self.is_read_once(self.network.nodes()[at].input);
        let to = if fits { from } else { self.copy(from) };
        let parameter = self.network.first_parameter(at).expect("a BatchNorm has parameters");
        self.units[to].batch_norm = Some(Norm { parameter, eps: eps.into() });
        to
    }

    fn activate(&mut self, input: Value, from: usize, f: Activation) -> usize {
        let fits = self.units[from].activation.is_none() && self.is_read_once(input);
        let to = if fits { from } else { self.copy(from) };
        self.units[to].activation = Some(f);
        to
    }
}

/// Backward the last unit comes first, and of its readings the first one.
fn mark_readers(units: &mut [Unit]) {
    let mut last_reading = vec![None; units.len()];
    for at in (0..units.len()).rev() {
        for slot in 0..units[at].reads.len() {
            let read = &mut units[at].reads[slot];
            read.first = last_reading[read.unit].replace((at, slot)).is_none();
        }
    }
    for (at, slot) in last_reading.into_iter().flatten() {
        units[at].reads[slot].last = true;
    }
}

fn mark_gradients(units: &mut [Unit]) {
    for at in 0..units.len() {
        let unit = &units[at];
        let is_trained = unit.parameter.is_some() || unit.batch_norm.is_some();
        units[at].wants_gradient = is_trained || unit.reads.iter().any(|read| units[read.unit].wants_gradient);
    }
}
