//! A network as an ONNX file: operators of version 17, explicit padding, any number of examples, and PyTorch's names for the
//! tensors. The input is what the first node reads; the metadata hold the whole description.

use std::collections::HashSet;

use bn_core::network::{Activation, Conv2d, Op, Pads, Pool, Shape, Value};
use prost::Message;

use super::proto::*;
use super::{NETWORK_KEY, VARIANCE_KEY};
use crate::model::parameters::Variance;
use crate::network::{Network, text};

/// Version of the operators.
const OPSET: i64 = 17;
/// Version of the file format that belongs to them.
const IR_VERSION: i64 = 8;
/// Name of the graph's input, of its output, and of the examples' axis.
const INPUT: &str = "input";
const OUTPUT: &str = "output";
const EXAMPLES: &str = "n";

/// The bytes of a file.
pub(in crate::exchange) fn to_bytes(network: &Network, tensors: &[Vec<f64>], variance: Variance) -> Vec<u8> {
    let mut graph = graph(network);
    for (parameter, values) in network.parameters().iter().zip(tensors) {
        graph.initializer.push(TensorProto {
            dims: parameter.dims.as_slice().iter().map(|&d| d as i64).collect(),
            data_type: Some(FLOAT),
            name: Some(network.tensor_name(parameter)),
            raw_data: Some(values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()),
            ..TensorProto::default()
        });
    }
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some(env!("CARGO_PKG_NAME").into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: vec![entry(VARIANCE_KEY, variance.name().into()), entry(NETWORK_KEY, text::print(network))],
    };
    model.encode_to_vec()
}

/// The graph, with the constants of its operations, but without the network's tensors.
pub(super) fn graph(network: &Network) -> GraphProto {
    let graph = GraphProto { name: Some(network.name().into()), ..GraphProto::default() };
    let mut writer = Writer { network, graph, rows: HashSet::new(), constants: HashSet::new() };
    for at in 0..network.nodes().len() {
        writer.node(at);
    }
    writer.finish()
}

struct Writer<'a> {
    network: &'a Network,
    graph: GraphProto,
    /// Names of the tensors that are `[n, values]`; all others are `[n, channels, height, width]`.
    rows: HashSet<String>,
    constants: HashSet<&'static str>,
}

impl Writer<'_> {
    fn name(&self, value: Value) -> String {
        match value {
            Value::Input => INPUT.into(),
            Value::Node(at) => format!("{}.output", self.network.module(at)),
        }
    }

    fn node(&mut self, at: usize) {
        let (node, module) = (self.network.nodes()[at], self.network.module(at).into_owned());
        let (operation, mut attributes) = operator(&node.op);
        let own = node.op.roles().iter().map(|role| format!("{module}.{}", role.name()));
        let wants_row = match node.op {
            Op::Linear { .. } => Some(true),
            Op::Conv2d(_) | Op::AvgPool2d { .. } | Op::MaxPool2d(_) | Op::GlobalAvgPool | Op::GlobalMaxPool => {
                Some(false)
            }
            Op::Add { other } => Some(self.is_row(node.input) || self.is_row(other)),
            _ => None,
        };
        let arranged = |writer: &mut Self, value| match wants_row {
            Some(row) => writer.arranged(value, row, &module),
            None => writer.name(value),
        };
        let mut inputs = vec![arranged(self, node.input)];
        if let Op::Add { other } = node.op {
            inputs.push(arranged(self, other));
        }
        inputs.extend(own);
        if let Op::Activation(Activation::Relu6) = node.op {
            inputs.extend([self.constant("zero", &[], 0.0), self.constant("six", &[], 6.0)]);
        }
        let is_row = match node.op {
            Op::Flatten => true,
            _ => wants_row.unwrap_or_else(|| self.is_row(node.input)),
        };
        let output = self.name(Value::Node(at));
        if is_row {
            self.rows.insert(output.clone());
        }
        if let Op::Conv2d(conv) = node.op {
            attributes.push(int("group", conv.groups as i64));
        }
        self.push(operation, &module, inputs, output, attributes);
    }

    fn is_row(&self, value: Value) -> bool {
        match value {
            Value::Input => self.network.input().is_flat(),
            Value::Node(_) => self.rows.contains(&self.name(value)),
        }
    }

    /// The value with two or with four axes, for a reader of that name.
    fn arranged(&mut self, value: Value, row: bool, reader: &str) -> String {
        let name = self.name(value);
        if self.is_row(value) == row {
            return name;
        }
        let output = format!("{name}.for.{reader}");
        if self.graph.node.iter().any(|node| node.output[0] == output) {
            return output;
        }
        if row {
            self.push("Flatten", &output.clone(), vec![name], output.clone(), vec![int("axis", 1)]);
        } else {
            let axes = self.axes();
            self.push("Unsqueeze", &output.clone(), vec![name, axes], output.clone(), vec![]);
        }
        output
    }

    fn constant(&mut self, name: &'static str, dims: &[i64], value: f32) -> String {
        if self.constants.insert(name) {
            self.graph.initializer.push(TensorProto {
                dims: dims.to_vec(),
                data_type: Some(FLOAT),
                name: Some(name.into()),
                raw_data: Some(value.to_le_bytes().into()),
                ..TensorProto::default()
            });
        }
        name.into()
    }

    /// The axes that make a map of a row.
    fn axes(&mut self) -> String {
        let name = "height_and_width";
        if self.constants.insert(name) {
            self.graph.initializer.push(TensorProto {
                dims: vec![2],
                data_type: Some(INT64),
                name: Some(name.into()),
                raw_data: Some([2_i64, 3].iter().flat_map(|axis| axis.to_le_bytes()).collect()),
                ..TensorProto::default()
            });
        }
        name.into()
    }

    fn push(
        &mut self,
        operation: &str,
        name: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.graph.node.push(NodeProto {
            input,
            output: vec![output],
            name: Some(name.into()),
            op_type: Some(operation.into()),
            attribute,
            domain: None,
        });
    }

    fn finish(mut self) -> GraphProto {
        let (network, result) = (self.network, self.network.topology().result());
        // A row of values is what other programs expect of a row of values.
        let last = self.arranged(result, network.output().is_flat(), OUTPUT);
        if let Some(node) = self.graph.node.iter_mut().find(|node| node.output[0] == last) {
            node.output[0] = OUTPUT.into();
        }
        self.graph.input = vec![value(INPUT, network.input())];
        self.graph.output = vec![value(OUTPUT, network.output())];
        self.graph
    }
}

/// Name and attributes of the operator, a convolution's groups aside.
fn operator(op: &Op) -> (&'static str, Vec<AttributeProto>) {
    match *op {
        Op::Conv2d(Conv2d { kernel, stride, pads, .. }) => ("Conv", window(kernel, stride, pads)),
        Op::Linear { .. } => ("Gemm", vec![int("transB", 1)]),
        Op::BatchNorm { eps } => ("BatchNormalization", vec![float("epsilon", eps)]),
        Op::Activation(activation) => activation_operator(activation),
        Op::AvgPool2d { pool: Pool { kernel, stride, pads }, count_pad } => {
            let counts = int("count_include_pad", count_pad.into());
            ("AveragePool", [window(kernel, stride, pads), vec![counts]].concat())
        }
        Op::MaxPool2d(Pool { kernel, stride, pads }) => ("MaxPool", window(kernel, stride, pads)),
        Op::GlobalAvgPool => ("GlobalAveragePool", vec![]),
        Op::GlobalMaxPool => ("GlobalMaxPool", vec![]),
        Op::Add { .. } => ("Add", vec![]),
        Op::Flatten => ("Flatten", vec![int("axis", 1)]),
        other => unreachable!("{other:?} has no ONNX operator"),
    }
}

fn activation_operator(activation: Activation) -> (&'static str, Vec<AttributeProto>) {
    match activation {
        Activation::Relu => ("Relu", vec![]),
        Activation::Relu6 => ("Clip", vec![]),
        Activation::LeakyRelu { slope } => ("LeakyRelu", vec![float("alpha", slope)]),
        Activation::Sigmoid => ("Sigmoid", vec![]),
        Activation::Tanh => ("Tanh", vec![]),
        Activation::HardSigmoid { slope } => ("HardSigmoid", vec![float("alpha", slope), float("beta", 0.5)]),
        Activation::HardSwish => ("HardSwish", vec![]),
        other => unreachable!("{other:?} has no ONNX operator"),
    }
}

fn window(kernel: [usize; 2], stride: [usize; 2], Pads { top, left, bottom, right }: Pads) -> Vec<AttributeProto> {
    vec![ints("kernel_shape", &kernel), ints("strides", &stride), ints("pads", &[top, left, bottom, right])]
}

/// An f32 tensor of any number of examples.
fn value(name: &str, shape: Shape) -> ValueInfoProto {
    let inner = if shape.is_flat() { vec![shape.channels] } else { shape.dims().to_vec() };
    let examples = DimensionProto { dim_value: None, dim_param: Some(EXAMPLES.into()) };
    let fixed = inner.iter().map(|&d| DimensionProto { dim_value: Some(d as i64), dim_param: None });
    let shape = TensorShapeProto { dim: std::iter::once(examples).chain(fixed).collect() };
    let tensor = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(shape) };
    ValueInfoProto { name: Some(name.into()), kind: Some(TypeProto { tensor: Some(tensor) }) }
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), kind: Some(kind), ..AttributeProto::default() }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, ATTRIBUTE_INT) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, ATTRIBUTE_FLOAT) }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto { ints: values.iter().map(|&v| v as i64).collect(), ..attribute(name, ATTRIBUTE_INTS) }
}
