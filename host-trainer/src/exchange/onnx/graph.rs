//! The graph of an ONNX file as what this network is: a chain of operations, each with constants of its own. Knows nothing
//! of layers.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use super::tensor::Tensor;

/// Constants may pass through so many nodes (`Identity`, `Transpose`) before they are used.
const DEEPEST: usize = 8;

/// Nodes and constants by the names of what they give.
pub(super) struct Graph<'a> {
    model: &'a Path,
    nodes: HashMap<&'a str, &'a NodeProto>,
    initializers: HashMap<&'a str, &'a TensorProto>,
    inputs: HashSet<&'a str>,
    graph: &'a GraphProto,
}

impl<'a> Graph<'a> {
    /// `model` is the file, beside which tensors may lie.
    pub(super) fn new(model: &'a Path, graph: &'a GraphProto) -> Self {
        // Outputs behind the first are statistics of training; nothing of this network reads them.
        let nodes = graph.node.iter().filter_map(|n| Some((n.output.first()?.as_str(), n))).collect();
        let named = |t: &'a TensorProto| Some((t.name.as_deref()?, t));
        let initializers: HashMap<_, _> = graph.initializer.iter().filter_map(named).collect();
        let inputs = graph.input.iter().filter_map(|i| i.name.as_deref());
        let inputs = inputs.filter(|&name| !initializers.contains_key(name)).collect();
        Self { model, nodes, initializers, inputs, graph }
    }

    /// Every node between the one input and the one output, in the order in which they compute. What feeds a node besides,
    /// constants and the arithmetic of shapes, is not part of the chain.
    ///
    /// # Errors
    /// What is no chain.
    pub(super) fn chain(&self) -> Result<Vec<&'a NodeProto>, String> {
        let [output] = &self.graph.output[..] else {
            return Err(format!("its graph has {} outputs, the network has one", self.graph.output.len()));
        };
        let mut at = output.name.as_deref().unwrap_or_default();
        // By the names seen: a limit on the length alone would let a small circle be walked as often as there are nodes.
        let (mut chain, mut seen) = (Vec::new(), HashSet::new());
        while !self.inputs.contains(at) {
            let Some(&node) = self.nodes.get(at) else { return Err(format!("nothing in its graph makes {at:?}")) };
            if !seen.insert(at) {
                return Err(format!("its graph runs in a circle at {at:?}"));
            }
            chain.push(node);
            // Of a sum or product either side may be the constant.
            let data = node.input.iter().find(|name| !self.is_constant(name));
            at = data.ok_or_else(|| format!("{} depends on no input", describe(node)))?;
        }
        chain.reverse();
        Ok(chain)
    }

    fn is_constant(&self, name: &str) -> bool {
        let mut name = name;
        for _ in 0..DEEPEST {
            if self.initializers.contains_key(name) {
                return true;
            }
            match self.nodes.get(name) {
                Some(node) if node.op_type() == "Constant" => return true,
                Some(node) if matches!(node.op_type(), "Identity" | "Transpose") => {
                    let Some(input) = node.input.first() else { return false };
                    name = input;
                }
                _ => return false,
            }
        }
        false
    }

    /// The constant input of a node at that position; `None` where the node leaves it away.
    ///
    /// # Errors
    /// When it is there and no constant, or damaged.
    pub(super) fn constant(&self, node: &NodeProto, position: usize) -> Result<Option<Tensor>, String> {
        match node.input.get(position).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(name) => self.value(name, DEEPEST).map(Some),
        }
    }

    fn value(&self, name: &str, depth: usize) -> Result<Tensor, String> {
        let damaged = |problem| format!("tensor {name} {problem}");
        if let Some(tensor) = self.initializers.get(name) {
            return Tensor::unpack(self.model, tensor).map_err(damaged);
        }
        let node = self.nodes.get(name).filter(|_| depth > 0);
        let input = node.and_then(|n| n.input.first());
        match (node.map(|n| (*n, n.op_type())), input) {
            (Some((node, "Constant")), _) => self.of_constant_node(node).map_err(damaged),
            (Some((_, "Identity")), Some(input)) => self.value(input, depth - 1),
            (Some((node, "Transpose")), Some(input)) if matches!(node.ints("perm"), None | Some([1, 0])) => {
                self.value(input, depth - 1)?.transposed().map_err(damaged)
            }
            _ => Err(format!("tensor {name} is no constant, so it cannot be a parameter")),
        }
    }

    fn of_constant_node(&self, node: &NodeProto) -> Result<Tensor, String> {
        let list = |values: Vec<f64>| Tensor { shape: vec![values.len()], values };
        for attribute in &node.attribute {
            match attribute.name.as_deref() {
                Some("value") => {
                    return Tensor::unpack(self.model, attribute.t.as_ref().unwrap_or(&TensorProto::default()));
                }
                Some("value_ints") => return Ok(list(attribute.ints.iter().map(|&i| i as f64).collect())),
                Some("value_floats") => return Ok(list(attribute.floats.iter().map(|&f| f64::from(f)).collect())),
                _ => {}
            }
        }
        Err("is a Constant of a kind that the network has no use for".into())
    }
}

/// A node's attributes by name.
impl NodeProto {
    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|a| a.name.as_deref() == Some(name))
    }

    /// An integer; `None` where it is not given.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|a| a.i.unwrap_or_default())
    }

    /// A number; `None` where it is not given.
    pub(super) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).map(|a| a.f.unwrap_or_default())
    }

    /// A list of integers; `None` where it is not given.
    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    /// A text; `None` where it is not given.
    pub(super) fn text(&self, name: &str) -> Option<&[u8]> {
        self.attribute(name).map(|a| a.s.as_deref().unwrap_or_default())
    }
}

/// A node for messages: its operation and, where it has one, its name.
pub(super) fn describe(node: &NodeProto) -> String {
    match node.name.as_deref() {
        None | Some("") => format!("a node {}", node.op_type()),
        Some(name) => format!("node {name} ({})", node.op_type()),
    }
}
