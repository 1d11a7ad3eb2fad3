//! What passes between nodes: values on the way down, their gradients on the way up.

use std::rc::Rc;

use bn_core::network::{Node, Op, Value};
use ndarray::Array4;

use crate::model::real::Real;

/// Values that nodes still have to read. Each is let go by its last reader, which may then work in place.
pub(super) struct Values<T> {
    /// The network's input, then each node's output.
    values: Vec<Option<Rc<Array4<T>>>>,
    /// How often each is still to be read.
    reads: Vec<usize>,
}

fn position(value: Value) -> usize {
    match value {
        Value::Input => 0,
        Value::Node(at) => at + 1,
    }
}

impl<T: Real> Values<T> {
    /// Before the first node.
    pub(super) fn new(nodes: &[Node], x: Array4<T>) -> Self {
        let mut reads = vec![0; nodes.len() + 1];
        for node in nodes {
            reads[position(node.input)] += 1;
            if let Op::Add { other } = node.op {
                reads[position(other)] += 1;
            }
        }
        let mut values = vec![None; nodes.len() + 1];
        values[0] = Some(Rc::new(x));
        Self { values, reads }
    }

    /// A value for one of its readers.
    pub(super) fn read(&mut self, value: Value) -> Rc<Array4<T>> {
        let at = position(value);
        self.reads[at] -= 1;
        let value = if self.reads[at] == 0 { self.values[at].take() } else { self.values[at].clone() };
        value.expect("a node reads what comes before it")
    }

    /// What a node gives.
    pub(super) fn write(&mut self, node: usize, value: Rc<Array4<T>>) {
        self.values[node + 1] = Some(value);
    }

    /// What the last node gave; the input where there is none.
    pub(super) fn result(mut self) -> Array4<T> {
        Rc::unwrap_or_clone(self.values.pop().flatten().expect("nothing reads the last value"))
    }
}

/// Gradients of the nodes' outputs, as far as the nodes behind have handed them back.
pub(super) struct Gradients<T>(Vec<Option<Array4<T>>>);

impl<T: Real> Gradients<T> {
    /// That of the network's output.
    pub(super) fn new(nodes: usize, d_y: Array4<T>) -> Self {
        let mut gradients = vec![None; nodes];
        *gradients.last_mut().expect("a network has a node") = Some(d_y);
        Self(gradients)
    }

    /// That of a node's output, once all its readers have been visited.
    pub(super) fn take(&mut self, node: usize) -> Array4<T> {
        self.0[node].take().expect("every node is read")
    }

    /// Adds what one reader hands back. A value that is read twice has the sum of both gradients.
    pub(super) fn add(&mut self, value: Value, gradient: Array4<T>) {
        let Value::Node(at) = value else { return };
        match &mut self.0[at] {
            Some(sum) => *sum += &gradient,
            none => *none = Some(gradient),
        }
    }
}
