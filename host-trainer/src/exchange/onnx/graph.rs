//! The nodes that an ONNX graph's output hangs on, in an order in which they can be computed, and who reads what. Knows
//! nothing of layers.

use std::collections::{HashMap, HashSet};

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Nodes and stored tensors by the names of what they give.
pub(super) struct Graph<'a> {
    makers: HashMap<&'a str, &'a NodeProto>,
    initializers: HashMap<&'a str, &'a TensorProto>,
    /// The nodes that the output needs, each behind those that it reads.
    pub(super) order: Vec<&'a NodeProto>,
    /// Nodes that read each name, and the graph's output.
    readers: HashMap<&'a str, Vec<&'a NodeProto>>,
    /// What the network reads.
    pub(super) input: &'a ValueInfoProto,
    /// Name of what it gives.
    pub(super) output: &'a str,
}

impl<'a> Graph<'a> {
    /// Looks at the graph from its output backwards.
    ///
    /// # Errors
    /// If it runs in a circle, needs something that nothing makes, or has not one input and one output.
    pub(super) fn new(graph: &'a GraphProto) -> Result<Self, String> {
        let [output] = &graph.output[..] else {
            return Err(format!("its graph has {} outputs; one is supported", graph.output.len()));
        };
        let output = output.name.as_deref().unwrap_or_default();
        let outputs = |node: &'a NodeProto| node.output.iter().map(move |name| (name.as_str(), node));
        let makers: HashMap<_, _> = graph.node.iter().flat_map(outputs).filter(|(name, _)| !name.is_empty()).collect();
        let named = |t: &'a TensorProto| Some((t.name.as_deref()?, t));
        let initializers: HashMap<_, _> = graph.initializer.iter().filter_map(named).collect();
        let inputs: HashMap<_, _> = graph.input.iter().filter_map(|i| Some((i.name.as_deref()?, i))).collect();
        let known = |name: &str| initializers.contains_key(name) || inputs.contains_key(name);
        // A branch at a time, the longest first: as the networks that people write down.
        let depths = depths(&order(&makers, output, known, |_| 0)?);
        let depth = |name: &str| depths.get(name).copied().unwrap_or(0);
        let order = order(&makers, output, known, depth)?;
        let mut readers: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
        let mut read = HashSet::new();
        for node in &order {
            for (at, name) in node.input.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                if !reads_no_number(node, at) {
                    readers.entry(name).or_default().push(node);
                }
                if inputs.contains_key(name.as_str()) && !initializers.contains_key(name.as_str()) {
                    read.insert(name.as_str());
                }
            }
        }
        let mut read = read.into_iter();
        let (Some(name), None) = (read.next(), read.next()) else {
            return Err("its output hangs on no input, or on more than one; one is supported".into());
        };
        Ok(Self { makers, initializers, order, readers, input: inputs[name], output })
    }

    /// The node that makes a value.
    pub(super) fn maker(&self, name: &str) -> Option<&'a NodeProto> {
        self.makers.get(name).copied()
    }

    /// The stored tensor of that name.
    pub(super) fn initializer(&self, name: &str) -> Option<&'a TensorProto> {
        self.initializers.get(name).copied()
    }

    /// The nodes that read a value's numbers.
    pub(super) fn readers(&self, name: &str) -> &[&'a NodeProto] {
        self.readers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether exactly one node reads a value's numbers, and it is not the graph's output.
    pub(super) fn is_read_once(&self, name: &str) -> bool {
        self.readers(name).len() == 1 && name != self.output
    }
}

/// The nodes behind `output`, each after those that it reads, of which those of the largest `depth` come first.
fn order<'a>(
    makers: &HashMap<&'a str, &'a NodeProto>,
    output: &'a str,
    known: impl Fn(&str) -> bool,
    depth: impl Fn(&str) -> usize,
) -> Result<Vec<&'a NodeProto>, String> {
    let (mut order, mut open, mut done) = (Vec::new(), HashSet::new(), HashSet::new());
    // A name, and whether what it needs was looked at before.
    let mut stack = vec![(output, false)];
    while let Some((name, inputs_done)) = stack.pop() {
        if name.is_empty() || known(name) {
            continue;
        }
        let Some(&node) = makers.get(name) else { return Err(format!("nothing in its graph makes {name:?}")) };
        let id = std::ptr::from_ref(node);
        if inputs_done {
            done.insert(id);
            order.push(node);
        } else if !done.contains(&id) {
            if !open.insert(id) {
                return Err(format!("its graph runs in a circle at {name:?}"));
            }
            stack.push((name, true));
            let mut inputs: Vec<&str> = node.input.iter().rev().map(String::as_str).collect();
            inputs.sort_by_key(|name| depth(name));
            stack.extend(inputs.into_iter().map(|input| (input, false)));
        }
    }
    Ok(order)
}

/// Whether the node wants nothing but the shape or the type of that input.
fn reads_no_number(node: &NodeProto, at: usize) -> bool {
    matches!((node.op_type(), at), ("Shape" | "Size", 0) | ("CastLike", 1))
}

/// How many nodes lie one behind the other up to each name.
fn depths<'a>(order: &[&'a NodeProto]) -> HashMap<&'a str, usize> {
    let mut depths: HashMap<&str, usize> = HashMap::new();
    for node in order {
        let before = node.input.iter().filter_map(|name| depths.get(name.as_str())).max().copied().unwrap_or(0);
        depths.extend(node.output.iter().map(|name| (name.as_str(), before + 1)));
    }
    depths
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

    /// Name of its first output.
    pub(super) fn result(&self) -> &str {
        self.output.first().map_or("", String::as_str)
    }

    /// Name of an input; `None` where it is left away.
    pub(super) fn given(&self, position: usize) -> Option<&str> {
        self.input.get(position).map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// A node for messages: its operation and, where it has one, its name.
pub(super) fn describe(node: &NodeProto) -> String {
    match node.name.as_deref() {
        None | Some("") => format!("the node {} that gives {:?}", node.op_type(), node.result()),
        Some(name) => format!("node {name} ({})", node.op_type()),
    }
}
