//! The walk over a graph: each node becomes a constant, another view of a value, or nodes of ours. What is accepted of each
//! operation stands in the function that reads it.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use bn_core::network::{Activation, Op, Shape, Value};

use super::builder::Builder;
use super::constant::{Budget, fold, shape_of};
use super::function::Function;
use super::graph::{Graph, describe};
use super::proto::NodeProto;
use super::refusal::Refusal;
use super::tensor::Tensor;
use super::view::{BATCH, View};

const SUPPORTED: &str = "supported are Conv, Gemm, MatMul, BatchNormalization, Add, Relu, Clip, LeakyRelu, Sigmoid, Tanh, \
                         HardSigmoid, HardSwish, AveragePool, MaxPool, GlobalAveragePool, GlobalMaxPool, ReduceMean, ReduceMax, \
                         Pad, Flatten, Reshape, Transpose, Squeeze, Unsqueeze, constants added or multiplied a channel, and a \
                         Softmax at the end";

/// What a name of the graph stands for.
#[derive(Clone)]
enum Item {
    Constant(Rc<Tensor>),
    /// A constant that cannot be computed, and why; most are never needed.
    Unknown(String),
    Data(View),
}

/// Names and nodes so far.
pub(super) struct Walk<'a> {
    pub(super) graph: Graph<'a>,
    pub(super) builder: Builder,
    /// Lines for the user.
    pub(super) notes: Vec<String>,
    path: &'a Path,
    items: HashMap<&'a str, Item>,
    budget: Budget,
    pub(super) transposes: usize,
}

impl<'a> Walk<'a> {
    /// Computes the constants, of a graph whose input is stored as a value of that name.
    pub(super) fn new(path: &'a Path, graph: Graph<'a>, name: &'a str, stored: View) -> Self {
        let items = HashMap::from([(name, Item::Data(stored))]);
        let builder = Builder::new(Shape::flat(1));
        let mut walk = Self { graph, builder, notes: vec![], path, items, budget: Budget::new(), transposes: 0 };
        walk.constants();
        walk
    }

    /// Everything that hangs on stored tensors and the input's shape alone.
    fn constants(&mut self) {
        for node in self.graph.order.clone() {
            if node.op_type() == "Shape" && self.data(node.given(0).unwrap_or_default()).is_some() {
                self.shape(node);
            } else if node.input.iter().all(|name| name.is_empty() || self.constant(name).is_some()) {
                self.fold(node);
            }
        }
    }

    fn shape(&mut self, node: &'a NodeProto) {
        let dims = self.data(node.given(0).unwrap_or_default()).map(View::dims);
        self.keep(node, shape_of(node, &dims.unwrap_or_default()));
    }

    fn fold(&mut self, node: &'a NodeProto) {
        if !is_standard(node) {
            return self.keep(node, Err(format!("{} is of the operators of {}", describe(node), node.domain())));
        }
        if node.op_type() == "Constant" {
            let value = of_constant_node(self.path, node);
            self.keep(node, value);
            return;
        }
        let inputs: Vec<_> = node.input.iter().map(|name| self.constant(name)).collect();
        // The first cause is what helps.
        let cause = node.input.iter().find_map(|name| match self.items.get(name.as_str()) {
            Some(Item::Unknown(problem)) => Some(problem.clone()),
            _ => None,
        });
        if let Some(problem) = cause {
            return self.keep(node, Err(problem));
        }
        let inputs: Vec<_> = inputs.iter().map(Option::as_deref).collect();
        let value = fold(node, &inputs, &mut self.budget);
        self.keep(node, value);
    }

    fn keep(&mut self, node: &'a NodeProto, value: Result<Tensor, String>) {
        let item = value.map_or_else(Item::Unknown, |tensor| Item::Constant(Rc::new(tensor)));
        self.items.insert(node.result(), item);
    }

    /// The constant of that name. A stored tensor is unpacked when it is first asked for.
    pub(super) fn constant(&mut self, name: &str) -> Option<Rc<Tensor>> {
        if let Some(item) = self.items.get(name) {
            return if let Item::Constant(tensor) = item { Some(tensor.clone()) } else { None };
        }
        let stored = self.graph.initializer(name)?;
        let key = stored.name.as_deref()?;
        let item = match Tensor::unpack(self.path, stored) {
            Ok(tensor) => {
                self.budget.grows_by(&tensor);
                Item::Constant(Rc::new(tensor))
            }
            Err(problem) => Item::Unknown(format!("tensor {name} {problem}")),
        };
        self.items.insert(key, item);
        self.constant(name)
    }

    /// Input `at` of a node, which must be constant; `None` where it is left away.
    pub(super) fn optional(&mut self, node: &NodeProto, at: usize) -> Result<Option<Rc<Tensor>>, String> {
        let Some(name) = node.given(at) else { return Ok(None) };
        if let Some(tensor) = self.constant(name) {
            return Ok(Some(tensor));
        }
        Err(match self.items.get(name) {
            Some(Item::Unknown(problem)) => format!("{}: {problem}", describe(node)),
            _ => format!("{}: tensor {name} is no constant, so it cannot be a parameter", describe(node)),
        })
    }

    /// Input `at` of a node, which must be there and constant.
    pub(super) fn needed(&mut self, node: &NodeProto, at: usize) -> Result<Rc<Tensor>, String> {
        self.optional(node, at)?.ok_or_else(|| format!("{}: input {at} is missing", describe(node)))
    }

    /// The tensor of that name, where it is none of the constants.
    pub(super) fn data(&self, name: &str) -> Option<&View> {
        if let Some(Item::Data(view)) = self.items.get(name) { Some(view) } else { None }
    }

    /// Input `at` of a node as it stands.
    pub(super) fn view(&self, node: &NodeProto, at: usize) -> Result<View, String> {
        let name = node.given(at).unwrap_or_default();
        let view = self.data(name).ok_or_else(|| format!("{}: its input {at} is a constant", describe(node)))?;
        if let Some(softmax) = &view.behind_softmax {
            return Err(format!("{softmax} has {} behind it; a Softmax is supported at the end", describe(node)));
        }
        Ok(view.clone())
    }

    /// Input `at` of a node as one of our values, with nothing left to be done to it.
    pub(super) fn settled(&mut self, node: &NodeProto, at: usize) -> Result<View, String> {
        let view = self.unpadded(node, at)?;
        self.builder.settled(&view, &describe(node))
    }

    /// Input `at` of a node, of any but a convolution or a pool.
    pub(super) fn unpadded(&self, node: &NodeProto, at: usize) -> Result<View, String> {
        let view = self.view(node, at)?;
        if view.padding.is_some() {
            return Err(format!("{} reads what a Pad gives; only a convolution or a pool may", describe(node)));
        }
        Ok(view)
    }

    /// Names what a node gives.
    pub(super) fn define(&mut self, name: &'a str, view: View, of: &str) -> Result<(), String> {
        let once = self.graph.is_read_once(name);
        // What two nodes read is made once, and by itself.
        let view = if once { view } else { self.builder.settled(&view, of)? };
        self.items.insert(name, Item::Data(View { alone: view.alone && once, ..view }));
        Ok(())
    }

    /// Walks all nodes.
    ///
    /// # Errors
    /// The first node that is not supported.
    pub(super) fn nodes(&mut self) -> Result<(), Refusal> {
        for node in self.graph.order.clone() {
            if self.items.contains_key(node.result()) {
                continue;
            }
            if node.input.iter().any(|name| self.data(name).is_some()) {
                if !is_standard(node) {
                    let (of, domain) = (describe(node), node.domain());
                    return Err(format!("{of} is of the operators of {domain}; {SUPPORTED}").into());
                }
                self.node(node)?;
            } else {
                self.fold(node);
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), Refusal> {
        if node.op_type() == "Shape" {
            self.shape(node);
            return Ok(());
        }
        if let Some(tensor) =
            node.given(0).and_then(|name| self.constant(name)).filter(|_| node.op_type() == "CastLike")
        {
            // What a network computes is float.
            self.keep(node, Ok(Tensor { integer: false, ..(*tensor).clone() }));
            return Ok(());
        }
        let view = match node.op_type() {
            "Identity" | "Dropout" | "Cast" | "CastLike" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze"
            | "Transpose" | "Pad" => self.look(node)?,
            "Conv" => self.convolution(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.product(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "AveragePool" | "MaxPool" => self.pool(node)?,
            "GlobalAveragePool" => self.global_pool(node, Op::GlobalAvgPool)?,
            "GlobalMaxPool" => self.global_pool(node, Op::GlobalMaxPool)?,
            "ReduceMean" | "ReduceMax" | "ReduceSum" => self.reduction(node)?,
            "Relu" => self.limited(node, 0.0, f64::INFINITY)?,
            "Clip" | "Min" | "Max" => self.clip(node)?,
            "HardSigmoid" => self.hard_sigmoid(node)?,
            "HardSwish" => {
                let view = self.settled(node, 0)?;
                View { function: Function::HardSwish { scale: 1.0 }, ..view }
            }
            "LeakyRelu" | "PRelu" => self.leaky_relu(node)?,
            "Sigmoid" => self.activation(node, Activation::Sigmoid)?,
            "Tanh" => self.activation(node, Activation::Tanh)?,
            "Add" | "Sum" | "Sub" | "Mul" | "Div" | "Neg" => self.arithmetic(node)?,
            "Softmax" | "LogSoftmax" => self.softmax(node)?,
            _ => return Err(format!("{} is not supported; {SUPPORTED}", describe(node)).into()),
        };
        Ok(self.define(node.result(), view, &describe(node))?)
    }

    fn activation(&mut self, node: &NodeProto, activation: Activation) -> Result<View, String> {
        let view = self.settled(node, 0)?;
        let value = self.builder.push(Op::Activation(activation), view.value, vec![], &describe(node))?;
        Ok(View { value, alone: true, ..view })
    }

    fn leaky_relu(&mut self, node: &NodeProto) -> Result<View, String> {
        let slope = if node.op_type() == "PRelu" {
            let several = || format!("{} has several slopes; one is supported", describe(node));
            self.needed(node, 1)?.uniform().ok_or_else(several)? as f32
        } else {
            node.float("alpha").unwrap_or(0.01)
        };
        self.activation(node, Activation::LeakyRelu { slope })
    }

    /// A softmax changes no order of classes; it is left out where nothing follows.
    fn softmax(&mut self, node: &NodeProto) -> Result<View, String> {
        let view = self.settled(node, 0)?;
        self.notes.push(format!("{} is left out: the outputs are the logits in front of it", describe(node)));
        Ok(View { behind_softmax: Some(describe(node)), ..view })
    }

    /// The last value.
    ///
    /// # Errors
    /// If the graph's output is a constant, or no row of values for each example.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        let Some(Item::Data(view)) = self.items.get(self.graph.output).cloned() else {
            return Err("its output is a constant".into());
        };
        let view = self.builder.settled(&view, "its output")?;
        if view.padding.is_some() {
            return Err("its output is what a Pad gives; only a convolution or a pool may read that".into());
        }
        if view.axes.first().is_none_or(|first| *first != [BATCH]) {
            return Err("its output does not count examples along its first axis".into());
        }
        let row = view.axes.len() == 2;
        let result = if row { self.builder.flat(view.value, "its output")? } else { view.value };
        self.builder.keep(result);
        if !view.is_in_order() {
            self.notes.push("its output has another order of axes; here it is channel, row, column".into());
        }
        Ok(())
    }

    /// Whether a value is never below zero.
    pub(super) fn is_positive(&self, mut value: Value) -> bool {
        while let Value::Node(at) = value {
            let node = self.builder.nodes[at];
            match node.op {
                Op::Activation(
                    Activation::Relu | Activation::Relu6 | Activation::Sigmoid | Activation::HardSigmoid { .. },
                ) => {
                    return true;
                }
                Op::AvgPool2d { .. } | Op::MaxPool2d(_) | Op::Flatten => value = node.input,
                _ => return false,
            }
        }
        false
    }
}

fn is_standard(node: &NodeProto) -> bool {
    matches!(node.domain(), "" | "ai.onnx")
}

fn of_constant_node(path: &Path, node: &NodeProto) -> Result<Tensor, String> {
    let damaged = |problem| format!("{} {problem}", describe(node));
    let number = |value: f64, integer| Tensor { shape: vec![], values: vec![value], integer };
    let list = |values: Vec<f64>, integer| Tensor { shape: vec![values.len()], values, integer };
    for attribute in &node.attribute {
        let (i, f) = (attribute.i.unwrap_or_default(), attribute.f.unwrap_or_default());
        return Ok(match attribute.name.as_deref() {
            Some("value") => {
                let Some(stored) = attribute.t.as_ref() else { break };
                return Tensor::unpack(path, stored).map_err(damaged);
            }
            Some("value_int") => number(i as f64, true),
            Some("value_float") => number(f64::from(f), false),
            Some("value_ints") => list(attribute.ints.iter().map(|&i| i as f64).collect(), true),
            Some("value_floats") => list(attribute.floats.iter().map(|&f| f64::from(f)).collect(), false),
            _ => continue,
        });
    }
    Err(format!("{} is of a kind that is not supported", describe(node)))
}
