//! The network as an ONNX file: operators of version 13, which every runtime of today has, and PyTorch's names for its tensors.

use bn_core::lenet::{CLASSES, FLAT, IMAGE_SIDE, KERNEL, POOL, TENSORS};
use prost::Message;

use super::VARIANCE_KEY;
use super::proto::*;
use crate::exchange::{Form, LAYERS};
use crate::model::parameters::{Parameters, index};

/// Version of the operators.
const OPSET: i64 = 13;
/// Version of the file format that belongs to them.
const IR_VERSION: i64 = 7;

/// The bytes of a file. Of a folded network, `parameters` has the layers with BatchNorm in them.
pub(in crate::exchange) fn to_bytes(parameters: &Parameters, form: Form) -> Vec<u8> {
    let mut writer = Writer { parameters, graph: GraphProto::default(), at: "pixels".into() };
    for (i, layer) in LAYERS.iter().enumerate() {
        let name = layer.weight.trim_end_matches(".weight");
        if i < 2 {
            let attributes = vec![ints("kernel_shape", &[KERNEL; 2]), ints("strides", &[1; 2]), ints("pads", &[0; 4])];
            writer.node("Conv", name, &[layer.weight, layer.bias], attributes);
        } else {
            writer.node("Gemm", name, &[layer.weight, layer.bias], vec![int("transB", 1)]);
        }
        let Some(module) = layer.batch_norm else { continue };
        if form == Form::Unfolded {
            let tensors = ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{module}.{part}"));
            let attributes = vec![float("epsilon", parameters.eps as f32)];
            writer.node("BatchNormalization", module, &tensors.each_ref().map(String::as_str), attributes);
        }
        writer.node("Sigmoid", &format!("{name}.sigmoid"), &[], vec![]);
        if i < 2 {
            let attributes = vec![ints("kernel_shape", &[POOL; 2]), ints("strides", &[POOL; 2])];
            writer.node("AveragePool", &format!("{name}.avg_pool2d"), &[], attributes);
        }
        if i == 1 {
            writer.node("Flatten", "flatten", &[], vec![int("axis", 1)]);
        }
    }
    writer.finish().encode_to_vec()
}

struct Writer<'a> {
    parameters: &'a Parameters,
    graph: GraphProto,
    /// What the next node takes.
    at: String,
}

impl Writer<'_> {
    /// Adds a node behind the last one, and the tensors that it takes besides.
    fn node(&mut self, operation: &str, name: &str, tensors: &[&str], attributes: Vec<AttributeProto>) {
        let is_last = tensors.contains(&LAYERS[LAYERS.len() - 1].weight);
        let output = if is_last { "logits".into() } else { format!("{name}.output") };
        let input = std::mem::replace(&mut self.at, output.clone());
        self.graph.node.push(NodeProto {
            input: std::iter::once(input).chain(tensors.iter().map(|&t| t.into())).collect(),
            output: vec![output],
            name: Some(name.into()),
            op_type: Some(operation.into()),
            attribute: attributes,
            domain: None,
        });
        for &tensor in tensors {
            let spec = &TENSORS[index(tensor)];
            let values = self.parameters.get(tensor);
            self.graph.initializer.push(TensorProto {
                dims: spec.shape.iter().map(|&d| d as i64).collect(),
                data_type: Some(FLOAT),
                name: Some(tensor.into()),
                raw_data: Some(values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()),
                ..TensorProto::default()
            });
        }
    }

    fn finish(self) -> ModelProto {
        debug_assert_eq!(FLAT, TENSORS[index(LAYERS[2].weight)].shape[1]);
        let side = IMAGE_SIDE as i64;
        let graph = GraphProto {
            name: Some("BatchNorm LeNet".into()),
            input: vec![value("pixels", &[1, side, side])],
            output: vec![value("logits", &[CLASSES as i64])],
            ..self.graph
        };
        let variance = StringStringEntryProto {
            key: Some(VARIANCE_KEY.into()),
            value: Some(self.parameters.variance.name().into()),
        };
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some(env!("CARGO_PKG_NAME").into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
            metadata_props: vec![variance],
        }
    }
}

/// An f32 tensor of any number of examples.
fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let examples = DimensionProto { dim_value: None, dim_param: Some("n".into()) };
    let fixed = shape.iter().map(|&d| DimensionProto { dim_value: Some(d), dim_param: None });
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
