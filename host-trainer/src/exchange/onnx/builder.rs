//! The network while it is read: nodes and tensors, each checked as it comes, so that what is wrong is said of the node of
//! the file that it comes from.

use std::collections::HashMap;

use bn_core::network::{Activation, MAX_NODES, MAX_VALUES, Node, Op, Role, Shape, Topology, Value};

use super::function::{BatchNorm, Function, Step, batch_norm, composed};
use super::view::View;
use crate::model::state_dict::check_values;

/// Nodes so far.
pub(super) struct Builder {
    /// Shape of one example.
    pub(super) input: Shape,
    pub(super) nodes: Vec<Node>,
    shapes: Vec<Shape>,
    /// Tensors of each node, in the order of its roles.
    pub(super) tensors: Vec<Vec<Vec<f64>>>,
    flattened: HashMap<usize, Value>,
    parameters: usize,
}

impl Builder {
    pub(super) fn new(input: Shape) -> Self {
        let flattened = HashMap::new();
        Self { input, nodes: vec![], shapes: vec![], tensors: vec![], flattened, parameters: 0 }
    }

    pub(super) fn shape(&self, value: Value) -> Shape {
        if let Value::Node(at) = value { self.shapes[at] } else { self.input }
    }

    /// Adds a node; `of` is the file's, for messages.
    ///
    /// # Errors
    /// If it is none that a network may have, or its tensors do not fit it or hold what no parameter may be.
    pub(super) fn push(&mut self, op: Op, input: Value, tensors: Vec<Vec<f64>>, of: &str) -> Result<Value, String> {
        let shape = self.shape(input);
        if let Op::Add { other } = op
            && self.shape(other) != shape
        {
            return Err(format!("{of} adds {shape} and {}; tensors of one shape are supported", self.shape(other)));
        }
        // The other summand's shape was compared; here the node stands alone.
        let checked = if let Op::Add { .. } = op { Op::Add { other: Value::Input } } else { op };
        let alone = Topology { input: shape, nodes: &[Node { op: checked, input: Value::Input }] };
        alone.check().map_err(|error| format!("{of}: {}", error.problem))?;
        if self.nodes.len() == MAX_NODES {
            return Err(format!("{of} is behind {MAX_NODES} others; that many are supported"));
        }
        let mut rounded = Vec::with_capacity(tensors.len());
        for (parameter, values) in alone.parameters().zip(tensors) {
            let name = role_name(parameter.role);
            if values.len() != parameter.dims.len() {
                let wanted = parameter.dims.as_slice();
                return Err(format!("{of}: its {name} has {} values, not those of {wanted:?}", values.len()));
            }
            check_values(name, parameter.role, &values).map_err(|problem| format!("{of}: {problem}"))?;
            self.parameters += values.len();
            // A checkpoint holds f32: rounded here, what was imported is what is read back.
            rounded.push(values.into_iter().map(|v| f64::from(v as f32)).collect());
        }
        if self.parameters > MAX_VALUES {
            return Err(format!("{of}: with it, the network has more than {MAX_VALUES} parameters"));
        }
        self.nodes.push(Node { op, input });
        self.shapes.push(op.output(shape));
        self.tensors.push(rounded);
        Ok(Value::Node(self.nodes.len() - 1))
    }

    /// Whether the value is that of the last node.
    pub(super) fn is_last(&self, value: Value) -> bool {
        value == Value::Node(self.nodes.len().wrapping_sub(1))
    }

    /// The value as one row.
    pub(super) fn flat(&mut self, value: Value, of: &str) -> Result<Value, String> {
        if self.shape(value).is_flat() {
            return Ok(value);
        }
        let key = if let Value::Node(at) = value { at + 1 } else { 0 };
        if let Some(&flat) = self.flattened.get(&key) {
            return Ok(flat);
        }
        let flat = self.push(Op::Flatten, value, vec![], of)?;
        self.flattened.insert(key, flat);
        Ok(flat)
    }

    /// Leaves nothing but what the network's result needs, in the same order: of some values a graph reads the shape alone.
    pub(super) fn keep(&mut self, result: Value) {
        let mut needed = vec![false; self.nodes.len()];
        let mark = |needed: &mut Vec<bool>, value| {
            if let Value::Node(at) = value {
                needed[at] = true;
            }
        };
        mark(&mut needed, result);
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if needed[at] {
                mark(&mut needed, node.input);
                if let Op::Add { other } = node.op {
                    mark(&mut needed, other);
                }
            }
        }
        let place = |value| match value {
            Value::Node(at) => Value::Node(needed[..at].iter().filter(|&&needed| needed).count()),
            Value::Input => Value::Input,
        };
        for node in &mut self.nodes {
            node.input = place(node.input);
            if let Op::Add { other } = &mut node.op {
                *other = place(*other);
            }
        }
        let mut of_node = needed.iter();
        self.nodes.retain(|_| of_node.next() == Some(&true));
        let mut of_tensors = needed.iter();
        self.tensors.retain(|_| of_tensors.next() == Some(&true));
    }

    /// The view as one of a value of ours, with nodes for what was still to be done.
    pub(super) fn settled(&mut self, view: &View, of: &str) -> Result<View, String> {
        let value = match &view.function {
            Function::Plain => return Ok(view.clone()),
            Function::Affine(steps) => self.affine(view.value, view.alone, steps, of)?,
            Function::HardSwish { scale } => {
                let value = self.activation(Activation::HardSwish, view.value, of)?;
                let steps = if (scale - 1.0).abs() <= 1e-6 { vec![] } else { vec![Step::Multiply(vec![*scale])] };
                self.affine(value, true, &steps, of)?
            }
            Function::Clip(clip) => {
                let (low, high) = (clip.low, clip.high);
                let (before, activation, behind) = clip.parts().ok_or_else(|| {
                    format!("{of} limits to {low}..{high}; limits from 0 up, and the hard sigmoid, are supported")
                })?;
                let mut value = self.affine(view.value, view.alone, &before, of)?;
                if let Some(activation) = activation {
                    value = self.activation(activation, value, of)?;
                }
                self.affine(value, true, &behind, of)?
            }
        };
        Ok(View { value, function: Function::Plain, ..view.clone() })
    }

    fn activation(&mut self, activation: Activation, value: Value, of: &str) -> Result<Value, String> {
        self.push(Op::Activation(activation), value, vec![], of)
    }

    /// Constants: into the bias of the layer before, where nothing else reads it, or a BatchNorm.
    fn affine(&mut self, value: Value, alone: bool, steps: &[Step], of: &str) -> Result<Value, String> {
        if steps.is_empty() {
            return Ok(value);
        }
        let sums = steps.iter().take_while(|step| matches!(step, Step::Add(_))).count();
        // What is added just before a division by the deviation is the mean, unless nothing else could be.
        let is_mean = sums == 1 && matches!(steps.get(1), Some(Step::Divide(..)));
        let biases = match sums {
            sums if sums == steps.len() => sums,
            _ if is_mean => 0,
            sums => sums.min(1),
        };
        let rest =
            if alone && biases > 0 && self.add_to_bias(value, &steps[..biases]) { &steps[biases..] } else { steps };
        if rest.is_empty() {
            return Ok(value);
        }
        let BatchNorm { gamma, beta, mean, variance, eps } = batch_norm(rest, self.shape(value).channels);
        self.push(Op::BatchNorm { eps }, value, vec![gamma, beta, mean, variance], of)
    }

    /// Adds to a layer's bias; `false` where the value is not that of a layer with one.
    fn add_to_bias(&mut self, value: Value, steps: &[Step]) -> bool {
        let Value::Node(node) = value else { return false };
        let has_bias = self.nodes[node].op.roles().contains(&Role::Bias);
        let (Some(bias), true) = (self.tensors[node].get_mut(1), has_bias) else { return false };
        let (_, shift) = composed(steps, bias.len());
        let sum: Vec<f64> = bias.iter().zip(shift).map(|(bias, shift)| f64::from((bias + shift) as f32)).collect();
        let finite = sum.iter().all(|value| value.is_finite());
        if finite {
            *bias = sum;
        }
        finite
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Gamma => "scale",
        Role::Beta => "shift",
        other => other.name(),
    }
}
