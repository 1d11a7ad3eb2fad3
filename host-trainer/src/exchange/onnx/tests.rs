//! Files as exporters write them, one change at a time, and files that lie. `tests/exchange.rs` has real ones.

use std::path::Path;

use prost::Message;

use super::proto::*;
use super::{read, to_bytes};
use crate::exchange::tests::model;
use crate::exchange::{Form, ImportOptions};
use crate::model::parameters::{Parameters, Variance};

/// Our own file, changed and read.
fn changed(form: Form, change: impl FnOnce(&mut ModelProto)) -> crate::Result<Parameters> {
    let mut file = ModelProto::decode(&*to_bytes(&model().parameters, form)).unwrap();
    change(&mut file);
    read(Path::new("net.onnx"), &file.encode_to_vec(), ImportOptions::default()).map(|read| read.parameters)
}

fn refused(change: impl FnOnce(&mut GraphProto)) -> String {
    let error = changed(Form::Unfolded, |file| change(file.graph.as_mut().unwrap())).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(!text.contains('\n') && text.starts_with("net.onnx: ") && text.contains("; write it with"), "{text}");
    text
}

fn node(graph: &mut GraphProto, at: usize) -> &mut NodeProto {
    &mut graph.node[at]
}

fn position(graph: &GraphProto, operation: &str) -> usize {
    graph.node.iter().position(|n| n.op_type() == operation).unwrap()
}

fn attribute<'a>(node: &'a mut NodeProto, name: &str) -> &'a mut AttributeProto {
    node.attribute.iter_mut().find(|a| a.name() == name).unwrap()
}

fn initializer<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut TensorProto {
    graph.initializer.iter_mut().find(|t| t.name() == name).unwrap()
}

/// A tensor's values as bytes, of a matrix that is transposed.
fn transpose(tensor: &mut TensorProto) {
    let [rows, columns] = [tensor.dims[0] as usize, tensor.dims[1] as usize];
    let old = tensor.raw_data.take().unwrap();
    let value = |r: usize, c: usize| &old[4 * (r * columns + c)..][..4];
    let new = (0..columns).flat_map(|c| (0..rows).flat_map(move |r| value(r, c).iter().copied()));
    tensor.raw_data = Some(new.collect());
    tensor.dims.reverse();
}

#[test]
fn a_matrix_product_and_a_sum_are_a_linear_layer() {
    let ours = model().parameters;
    for bias_first in [false, true] {
        let read = changed(Form::Unfolded, |file| {
            let graph = file.graph.as_mut().unwrap();
            transpose(initializer(graph, "12.weight"));
            let at = graph.node.iter().position(|n| n.name() == "12").unwrap();
            let gemm = node(graph, at);
            let bias = gemm.input.pop().unwrap();
            gemm.op_type = Some("MatMul".into());
            gemm.attribute.clear();
            let output = std::mem::replace(&mut gemm.output[0], "product".into());
            let mut input = vec!["product".to_owned(), bias];
            if bias_first {
                input.reverse();
            }
            let sum = NodeProto { input, output: vec![output], op_type: Some("Add".into()), ..NodeProto::default() };
            graph.node.insert(at + 1, sum);
        });
        assert_eq!(read.unwrap().tensors, ours.tensors);
    }
}

#[test]
fn weights_may_be_transposed_constants_and_pass_through_identities() {
    let read = changed(Form::Unfolded, |file| {
        let graph = file.graph.as_mut().unwrap();
        // Gemm without transB takes [in, out]; this one gets it from a Constant through Identity and Transpose.
        let at = graph.initializer.iter().position(|t| t.name() == "15.weight").unwrap();
        let weight = graph.initializer.remove(at);
        let value = AttributeProto { name: Some("value".into()), t: Some(weight), ..AttributeProto::default() };
        let through = |from: &[&str], operation: &str, to: &str| NodeProto {
            input: from.iter().map(|&f| f.into()).collect(),
            output: vec![to.into()],
            op_type: Some(operation.into()),
            ..NodeProto::default()
        };
        graph.node.push(NodeProto { attribute: vec![value], ..through(&[], "Constant", "a") });
        graph.node.push(through(&["a"], "Identity", "b"));
        graph.node.push(through(&["b"], "Transpose", "c"));
        let gemm = graph.node.iter_mut().find(|n| n.name() == "15").unwrap();
        gemm.input[1] = "c".into();
        gemm.attribute.clear();
    });
    assert_eq!(read.unwrap().tensors, model().parameters.tensors);
}

#[test]
fn a_reshape_is_a_flatten_and_what_does_nothing_is_passed_over() {
    let read = changed(Form::Folded, |file| {
        let graph = file.graph.as_mut().unwrap();
        let at = position(graph, "Flatten");
        let flatten = node(graph, at);
        (flatten.op_type, flatten.attribute) = (Some("Reshape".into()), vec![]);
        flatten.input.push("shape".into());
        let output = std::mem::replace(&mut flatten.output[0], "flat".into());
        let dropout = NodeProto {
            input: vec!["flat".into()],
            output: vec![output, "mask".into()],
            op_type: Some("Dropout".into()),
            ..NodeProto::default()
        };
        graph.node.push(dropout);
        let name = Some("shape".to_owned());
        let shape = TensorProto {
            dims: vec![2],
            data_type: Some(INT64),
            int64_data: vec![-1, 256],
            name,
            ..TensorProto::default()
        };
        graph.initializer.push(shape);
    });
    assert!(read.is_ok(), "{read:?}");
}

#[test]
fn a_layer_without_a_bias_has_zeros() {
    let read = changed(Form::Unfolded, |file| {
        file.graph.as_mut().unwrap().node[0].input.pop();
    });
    assert_eq!(read.unwrap().get("0.bias"), [0.0; 6]);
}

#[test]
fn the_convention_of_the_statistics_travels() {
    let plain = |file: &mut ModelProto| file.metadata_props.clear();
    assert_eq!(changed(Form::Unfolded, |_| {}).unwrap().variance, Variance::Biased);
    assert_eq!(changed(Form::Unfolded, plain).unwrap().variance, Variance::Unbiased);
}

#[test]
fn what_is_another_network_is_named() {
    let says = |part: &str, change: &dyn Fn(&mut GraphProto)| {
        let text = refused(change);
        assert!(text.contains(part), "{part}: {text}");
    };
    says("stands where the network has Sigmoid", &|g| g.node[2].op_type = Some("Relu".into()));
    says("node 0.sigmoid (MaxPool) stands where", &|g| {
        g.node[2] = NodeProto { op_type: Some("MaxPool".into()), ..g.node[2].clone() }
    });
    says("stands behind the network's last layer", &|g| {
        let last = g.node.last().unwrap().clone();
        let softmax = NodeProto {
            input: vec!["logits".into()],
            output: vec!["p".into()],
            op_type: Some("Softmax".into()),
            ..last
        };
        g.node.push(softmax);
        g.output[0].name = Some("p".into());
    });
    says("its graph ends where the network has Sigmoid", &|g| g.output[0].name = Some("13.output".into()));
    says("its 0.weight has the shape [6, 25]", &|g| initializer(g, "0.weight").dims = vec![6, 25]);
    says("holds NaN at position 0", &|g| {
        initializer(g, "5.bias").raw_data.as_mut().unwrap()[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    says("negative variance", &|g| {
        initializer(g, "5.running_var").raw_data.as_mut().unwrap()[..4].copy_from_slice(&(-1.0_f32).to_le_bytes());
    });
    says("has strides [2, 2], the network's are 1", &|g| attribute(&mut g.node[0], "strides").ints = vec![2, 2]);
    says("has pads", &|g| attribute(&mut g.node[0], "pads").ints = vec![2; 4]);
    says("is in training mode", &|g| {
        let at = position(g, "BatchNormalization");
        let training = AttributeProto { name: Some("training_mode".into()), i: Some(1), ..AttributeProto::default() };
        g.node[at].attribute.push(training);
    });
    says("a checkpoint holds one", &|g| attribute(&mut g.node[1], "epsilon").f = Some(1e-3));
    says("nothing in its graph makes \"x\"", &|g| g.node[0].input[0] = "x".into());
    says("runs in a circle", &|g| g.node[0].input[0] = "1.output".into());
    says("is no constant", &|g| g.node[0].input[1] = "1.output".into());
    says("has 0 outputs", &|g| g.output.clear());
    says("images are [n, 1, 28, 28]", &|g| {
        let kind = g.input[0].kind.as_mut().unwrap();
        kind.tensor.as_mut().unwrap().shape.as_mut().unwrap().dim[1].dim_value = Some(3);
    });
}

#[test]
fn a_name_with_control_characters_neither_breaks_the_line_nor_commands_a_terminal() {
    let text = refused(|g| g.node[0].input[1] = "a\nb\u{1b}[2J".into());
    assert!(text.contains(r"tensor a\nb\u{1b}[2J is no constant"), "{text}");
}

#[test]
fn a_circle_costs_no_more_than_one_round() {
    // A node that is its own input, with as many constants besides as there are other nodes.
    let text = refused(|g| {
        let many = 200_000;
        g.node[0].input = vec!["0.weight".into(); many];
        g.node[0].input.push("0.output".into());
        g.node.resize(many, NodeProto::default());
    });
    assert!(text.contains("runs in a circle"), "{text}");
}

#[test]
fn an_eps_that_contradicts_the_file_is_refused() {
    let bytes = to_bytes(&model().parameters, Form::Unfolded);
    let with = |eps| read(Path::new("x"), &bytes, ImportOptions { eps: Some(eps), variance: None });
    assert!(with(1e-5).is_ok());
    let error = with(1e-3).err().unwrap().to_string();
    assert!(error.contains("its BatchNorm has the eps 1e-5, not 1e-3; leave --eps away"), "{error}");
}

#[test]
fn no_damage_is_more_than_an_error() {
    let whole = to_bytes(&model().parameters, Form::Unfolded);
    let reads = |bytes: &[u8]| read(Path::new("x"), bytes, ImportOptions::default()).is_ok();
    assert!(reads(&whole));
    for length in (0..whole.len()).step_by(997).chain(0..64) {
        assert!(!reads(&whole[..length]), "{length} bytes");
    }
    // The structure lies in front of, between and behind the tensors; a flipped weight is still a weight.
    for at in (0..1500).chain(whole.len() - 1500..whole.len()) {
        for flip in [0x01, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            reads(&bytes);
        }
    }
}
