//! ONNX files that were never a network: graphs put together from the operators that are known and some that are not, with
//! attributes and tensors that may or may not fit, as arbitrary bytes choose them. What is accepted is sound: it computes, and
//! reads back as itself when it is exported. The messages are encoded by hand, field by field, as protobuf does. Touches no file.

use std::path::Path;

use bn_core::network::MAX_VALUES;
use host_trainer::data::{Inputs, Values};
use host_trainer::exchange::{self, Form, Format, ImportOptions};
use host_trainer::model::inference::outputs;

use super::edits::sampled;
use super::memory::within;
use super::one_line;

/// Bytes that reading may hold for each of a file's, and besides: constants that are computed.
const MEMORY: (usize, usize) = (64, 4 << 20);
/// What is accepted computes and travels, one in so many.
const TRIED_ONE_IN: u32 = 16;
/// Values of an example up to which it computes.
const SMALL: usize = 1 << 12;
const MOST_NODES: usize = 24;

/// Operators: the first ones more often.
const OPERATORS: [&str; 52] = [
    "Conv",
    "Relu",
    "BatchNormalization",
    "Add",
    "Mul",
    "Transpose",
    "Reshape",
    "Gemm",
    "MatMul",
    "Clip",
    "Pad",
    "MaxPool",
    "AveragePool",
    "Flatten",
    "Div",
    "Sub",
    "GlobalAveragePool",
    "ReduceMean",
    "Squeeze",
    "Unsqueeze",
    "HardSigmoid",
    "Shape",
    "Gather",
    "Concat",
    "Slice",
    "Identity",
    "Conv",
    "Relu",
    "Add",
    "Mul",
    "Transpose",
    "Cast",
    "Dropout",
    "Min",
    "Max",
    "HardSwish",
    "LeakyRelu",
    "PRelu",
    "Sigmoid",
    "Tanh",
    "GlobalMaxPool",
    "ReduceMax",
    "ReduceSum",
    "Sqrt",
    "Neg",
    "Sum",
    "Softmax",
    "Expand",
    "ConstantOfShape",
    "ReduceProd",
    "Resize",
    "QuantizeLinear",
];

/// Nodes that exporters write: an operator, what it reads besides the one before, and its attributes by position in
/// [`ATTRIBUTES`].
const PLAUSIBLE: [(&str, &str, &[usize]); 44] = [
    ("Conv", "f0", &[]),
    ("Conv", "f0 f3", &[5]),
    ("Conv", "f1", &[]),
    ("Conv", "f2", &[17]),
    ("Conv", "f15", &[]),
    ("BatchNormalization", "f3 f3 f3 f3", &[]),
    ("BatchNormalization", "f4 f4 f4 f4", &[]),
    ("Add", "f7", &[]),
    ("Add", "f5", &[]),
    ("Add", "f6", &[]),
    ("Add", "f3", &[]),
    ("Mul", "f7", &[]),
    ("Mul", "f8", &[]),
    ("Mul", "f5", &[]),
    ("Div", "f7", &[]),
    ("Div", "f6", &[]),
    ("Sub", "f7", &[]),
    ("Relu", "", &[]),
    ("Relu", "", &[]),
    ("Clip", "zero f6", &[]),
    ("Min", "f6", &[]),
    ("Max", "zero", &[]),
    ("HardSigmoid", "", &[]),
    ("HardSwish", "", &[]),
    ("LeakyRelu", "", &[]),
    ("PRelu", "f6", &[]),
    ("Tanh", "", &[]),
    ("Transpose", "", &[9]),
    ("Transpose", "", &[10]),
    ("Reshape", "i5", &[]),
    ("Reshape", "i7", &[]),
    ("Flatten", "", &[]),
    ("Gemm", "f10", &[]),
    ("Gemm", "f11 f3", &[22]),
    ("MatMul", "f9", &[]),
    ("Pad", "i9", &[]),
    ("MaxPool", "", &[0]),
    ("AveragePool", "", &[1, 19]),
    ("AveragePool", "", &[0, 5, 20]),
    ("GlobalAveragePool", "", &[]),
    ("ReduceMean", "i8", &[]),
    ("Squeeze", "i8", &[]),
    ("Unsqueeze", "i8", &[]),
    ("Identity", "", &[]),
];

/// Tensors of floats by their dimensions, each with values of its own.
const FLOATS: [&[u64]; 16] = [
    &[4, 3, 3, 3],
    &[4, 4, 1, 1],
    &[4, 1, 3, 3],
    &[4],
    &[3],
    &[],
    &[1],
    &[4, 1, 1],
    &[1, 3, 1, 1],
    &[3, 4],
    &[48, 4],
    &[4, 48],
    &[16, 3],
    &[0],
    &[1 << 40, 0, 1 << 40],
    &[4, 3, 3],
];

/// Rows of whole numbers.
const INTS: [&[i64]; 14] = [
    &[0],
    &[1],
    &[-1],
    &[2],
    &[0, -1],
    &[-1, 48],
    &[1, 3, 4, 4],
    &[0, 3, 16],
    &[2, 3],
    &[0, 0, 1, 1, 0, 0, 1, 1],
    &[1, 1, 1, 1],
    &[0, 2, 3, 1],
    &[i64::MAX, i64::MIN],
    &[],
];

/// So many of the attributes are lists.
const LISTS: usize = 15;

/// Names and values of attributes.
const ATTRIBUTES: [(&str, &[i64]); 28] = [
    ("kernel_shape", &[3, 3]),
    ("kernel_shape", &[1, 1]),
    ("kernel_shape", &[2]),
    ("strides", &[2, 2]),
    ("strides", &[i64::MAX, 1]),
    ("pads", &[1, 1, 1, 1]),
    ("pads", &[0, 1, 2, 1 << 31]),
    ("pads", &[0, 0, 1, 1, 0, 0, 1, 1]),
    ("dilations", &[2, 2]),
    ("perm", &[0, 2, 3, 1]),
    ("perm", &[0, 3, 1, 2]),
    ("perm", &[1, 0]),
    ("axes", &[2, 3]),
    ("axes", &[1]),
    ("axes", &[-1, 0]),
    ("axis", &[1]),
    ("axis", &[-9]),
    ("group", &[4]),
    ("group", &[3]),
    ("ceil_mode", &[1]),
    ("count_include_pad", &[1]),
    ("keepdims", &[0]),
    ("transB", &[1]),
    ("transA", &[1]),
    ("to", &[1]),
    ("to", &[7]),
    ("allowzero", &[1]),
    ("training_mode", &[1]),
];

/// The input's dimensions; 0 is any number.
const INPUTS: [&[u64]; 8] = [
    &[0, 3, 4, 4],
    &[0, 4, 4, 3],
    &[1, 3, 4, 4],
    &[2, 3, 16],
    &[0, 48],
    &[0, 4, 1, 1],
    &[5, 1 << 20, 1 << 20],
    &[0, 3, 0, 4],
];

/// The file that the choices describe: opset and input, then nodes that exporters write, and nodes of anything.
fn forged_onnx(choices: &[u8]) -> Vec<u8> {
    let mut choices = choices.iter().copied();
    let (opset, input) = (choices.next().unwrap_or(0), usize::from(choices.next().unwrap_or(0)));
    let opset = if opset < 200 { 17 } else { opset % 20 + 6 };
    let input = if input < 200 { INPUTS[input % 6] } else { INPUTS[input % INPUTS.len()] };
    let mut graph = Vec::new();
    let mut names = vec!["x".to_owned()];
    while let Some(choice) = choices.next().filter(|_| names.len() <= MOST_NODES) {
        let name = format!("n{}", names.len());
        let mut node = if choice < 220 {
            plausible(usize::from(choice), &names, &mut choices)
        } else {
            anything(usize::from(choice), &names, &mut choices)
        };
        field(&mut node, 2, name.as_bytes());
        field(&mut graph, 1, &node);
        names.push(name);
    }
    tensors(&mut graph);
    field(&mut graph, 11, &value("x", Some(input)));
    field(&mut graph, 12, &value(names.last().map_or("", String::as_str), None));
    let mut operators = Vec::new();
    number(&mut operators, 2, opset.into());
    let mut model = Vec::new();
    number(&mut model, 1, 8);
    field(&mut model, 7, &graph);
    field(&mut model, 8, &operators);
    model
}

/// A node of [`PLAUSIBLE`], or the sum or product of two tensors.
fn plausible(choice: usize, names: &[String], choices: &mut impl Iterator<Item = u8>) -> Vec<u8> {
    let mut node = Vec::new();
    let from = |choice: usize| &names[names.len() - 1 - choice % names.len().min(4)];
    let source = usize::from(choices.next().unwrap_or(0));
    // Mostly the one before: where the flow branches, two must fit.
    field(&mut node, 1, from(if source < 230 { 0 } else { source }).as_bytes());
    if choice >= 200 {
        field(&mut node, 1, from(usize::from(choices.next().unwrap_or(1))).as_bytes());
        field(&mut node, 4, if choice.is_multiple_of(2) { b"Add" } else { b"Mul" });
        return node;
    }
    let (operator, others, attributes) = PLAUSIBLE[choice % PLAUSIBLE.len()];
    others.split_whitespace().for_each(|other| field(&mut node, 1, other.as_bytes()));
    field(&mut node, 4, operator.as_bytes());
    attributes.iter().for_each(|&at| attribute(&mut node, at));
    node
}

/// A node of any operator, inputs and attributes.
fn anything(choice: usize, names: &[String], choices: &mut impl Iterator<Item = u8>) -> Vec<u8> {
    let mut node = Vec::new();
    let operator = OPERATORS[(choice + usize::from(choices.next().unwrap_or(0))) % OPERATORS.len()];
    for position in 0..1 + choices.next().unwrap_or(1) % 5 {
        let choice = usize::from(choices.next().unwrap_or(0));
        let input = match (choice, position) {
            (0..200, 0) => names[names.len() - 1].clone(),
            (0..90, _) => format!("f{}", choice % FLOATS.len()),
            (90..160, _) => format!("i{}", choice % INTS.len()),
            (160..240, _) => names[choice % names.len()].clone(),
            (240..250, _) => String::new(),
            _ => format!("n{choice}"),
        };
        field(&mut node, 1, input.as_bytes());
    }
    field(&mut node, 4, operator.as_bytes());
    for _ in 0..choices.next().unwrap_or(0) % 4 {
        attribute(&mut node, usize::from(choices.next().unwrap_or(0)) % ATTRIBUTES.len());
    }
    node
}

fn attribute(node: &mut Vec<u8>, at: usize) {
    let (name, values) = ATTRIBUTES[at];
    let mut attribute = Vec::new();
    field(&mut attribute, 1, name.as_bytes());
    if at < LISTS {
        values.iter().for_each(|&value| number(&mut attribute, 8, value as u64));
        number(&mut attribute, 20, 7);
    } else {
        number(&mut attribute, 3, values[0] as u64);
        number(&mut attribute, 20, 2);
    }
    field(node, 5, &attribute);
}

/// Every tensor that a node may name.
fn tensors(graph: &mut Vec<u8>) {
    let mut tensor = |name: String, dims: &[u64], kind: u64, raw: &[u8]| {
        let mut tensor = Vec::new();
        dims.iter().for_each(|&dim| number(&mut tensor, 1, dim));
        number(&mut tensor, 2, kind);
        field(&mut tensor, 8, name.as_bytes());
        field(&mut tensor, 9, raw);
        field(graph, 5, &tensor);
    };
    for (i, dims) in FLOATS.iter().enumerate() {
        let count = if dims.contains(&0) { 0 } else { dims.iter().product::<u64>() };
        // Above zero where it may be a variance; 3 and 6 are what hard activations are made of.
        let number = |at: u64| [0.5_f32, 1.5, 6.0, 3.0, 0.25, 2.0][(at as usize + i) % 6];
        tensor(format!("f{i}"), dims, 1, &(0..count).flat_map(|at| number(at).to_le_bytes()).collect::<Vec<_>>());
    }
    tensor("zero".into(), &[], 1, &[0; 4]);
    for (i, values) in INTS.iter().enumerate() {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensor(format!("i{i}"), &[values.len() as u64], 7, &raw);
    }
}

/// Name and, where it is given, shape of what goes in or comes out.
fn value(name: &str, dims: Option<&[u64]>) -> Vec<u8> {
    let mut value = Vec::new();
    field(&mut value, 1, name.as_bytes());
    if let Some(dims) = dims {
        let (mut shape, mut tensor, mut kind) = (Vec::new(), Vec::new(), Vec::new());
        for &dim in dims {
            let mut length = Vec::new();
            if dim == 0 {
                field(&mut length, 2, b"n");
            } else {
                number(&mut length, 1, dim);
            }
            field(&mut shape, 1, &length);
        }
        number(&mut tensor, 1, 1);
        field(&mut tensor, 2, &shape);
        field(&mut kind, 1, &tensor);
        field(&mut value, 2, &kind);
    }
    value
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn number(to: &mut Vec<u8>, tag: u64, value: u64) {
    varint(to, tag << 3);
    varint(to, value);
}

fn field(to: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    varint(to, tag << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

/// A forged file: refused in one line, or a network that computes and comes back as it was.
///
/// # Panics
/// If a property does not hold.
pub fn onnx_forged(choices: &[u8]) -> bool {
    let file = forged_onnx(choices);
    let import =
        |bytes: &[u8]| exchange::from_bytes(Path::new("/nowhere/hostile.onnx"), bytes, &ImportOptions::default());
    let checkpoint = match within(MEMORY.0 * file.len() + MEMORY.1, || import(&file)) {
        Ok(imported) => imported.checkpoint,
        Err(error) => {
            one_line(&error);
            return false;
        }
    };
    let parameters = &checkpoint.parameters;
    let network = &parameters.network;
    let fits = network.parameters().iter().map(|p| p.dims.len()).eq(parameters.tensors.iter().map(Vec::len));
    assert!(fits && network.input().len() <= MAX_VALUES, "tensors that do not fit");
    let largest = network.nodes().iter().enumerate().map(|(node, _)| network.input_of(node).len()).max();
    if sampled(choices, TRIED_ONE_IN) && largest.is_some_and(|largest| largest <= SMALL) {
        let inputs = Inputs::new(network.input(), Values::F32(vec![0.5; 2 * network.input().len()]));
        assert_eq!(outputs(parameters, &inputs).rows().len(), 2);
        match exchange::to_bytes(&checkpoint, Format::Onnx, Form::Unfolded) {
            Ok(bytes) => {
                assert!(import(&bytes).expect("our own file").checkpoint.parameters == *parameters, "another model");
            }
            Err(error) => one_line(&error),
        }
    }
    true
}
