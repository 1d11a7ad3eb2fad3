//! Graphs as exporters write them, each node by node; and graphs that lie. `tests/zoo.rs` has real ones.

mod damage;
mod forms;
mod refusals;

use std::path::Path;

use prost::Message;

use super::proto::*;
use super::{NETWORK_KEY, Read, read, to_bytes};
use crate::model::parameters::Variance;
use crate::network::{Network, shipped, text};

/// A graph in the making.
#[derive(Default)]
pub(super) struct File {
    graph: GraphProto,
    opset: i64,
}

impl File {
    /// That reads `x`, of those lengths; 0 is any number of examples.
    pub(super) fn new(input: &[i64]) -> Self {
        let dim = |&length: &i64| match length {
            0 => DimensionProto { dim_value: None, dim_param: Some("n".into()) },
            length => DimensionProto { dim_value: Some(length), dim_param: None },
        };
        let shape = TensorShapeProto { dim: input.iter().map(dim).collect() };
        let tensor = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(shape) };
        let kind = TypeProto { tensor: Some(tensor) };
        let input = vec![ValueInfoProto { name: Some("x".into()), kind: Some(kind) }];
        Self { graph: GraphProto { input, ..GraphProto::default() }, opset: 17 }
    }

    pub(super) fn opset(self, opset: i64) -> Self {
        Self { opset, ..self }
    }

    /// A node `operation` that reads and gives those names.
    pub(super) fn node(mut self, operation: &str, names: &str, attribute: &[AttributeProto]) -> Self {
        let (input, output) = names.split_once("->").unwrap();
        let words = |text: &str| text.split_whitespace().map(|w| w.trim_matches('-').to_owned()).collect();
        self.graph.node.push(NodeProto {
            input: words(input),
            output: words(output),
            name: Some(format!("{operation}.{}", self.graph.node.len())),
            op_type: Some(operation.into()),
            attribute: attribute.to_vec(),
            domain: None,
        });
        self
    }

    /// A stored tensor of that type.
    fn stored(mut self, name: &str, dims: &[i64], kind: i32, raw: Vec<u8>) -> Self {
        self.graph.initializer.push(TensorProto {
            dims: dims.to_vec(),
            data_type: Some(kind),
            name: Some(name.into()),
            raw_data: Some(raw),
            ..TensorProto::default()
        });
        self
    }

    pub(super) fn floats(self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        assert_eq!(dims.iter().product::<i64>(), values.len() as i64, "{name}");
        self.stored(name, dims, FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// 0, 1, 2, ...
    pub(super) fn counted(self, name: &str, dims: &[i64]) -> Self {
        let values: Vec<f32> = (0..dims.iter().product::<i64>()).map(|i| i as f32).collect();
        self.floats(name, dims, &values)
    }

    pub(super) fn ints(self, name: &str, values: &[i64]) -> Self {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.stored(name, &[values.len() as i64], INT64, raw)
    }

    /// What is read where the graph gives `y`.
    pub(super) fn read(mut self) -> crate::Result<Read> {
        if self.graph.output.is_empty() {
            self.graph.output = vec![ValueInfoProto { name: Some("y".into()), kind: None }];
        }
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(self.opset) }];
        let model = ModelProto { graph: Some(self.graph), opset_import, ..ModelProto::default() };
        read(Path::new("net.onnx"), &model.encode_to_vec())
    }

    /// The text of what is read, behind the network's name, and the tensors.
    pub(super) fn net(self) -> (String, Vec<Vec<f64>>) {
        let read = self.read().unwrap();
        let network = Network::new(read.description).unwrap();
        assert_eq!(network.parameters().len(), read.tensors.len());
        let text = text::print(&network);
        (text.split_once('\n').unwrap().1.replace("\n\n", "\n").trim_end().replace('\n', " / "), read.tensors)
    }

    /// Why it is refused: one line that names the file.
    pub(super) fn refused(self) -> String {
        let error = self.read().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(!text.contains('\n') && text.starts_with("net.onnx: ") && text.contains("; "), "{text}");
        text
    }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), ..AttributeProto::default() }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), f: Some(value), ..AttributeProto::default() }
}

pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), ints: values.to_vec(), ..AttributeProto::default() }
}

pub(super) fn words(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: Some(name.into()), s: Some(value.into()), ..AttributeProto::default() }
}

/// Numbers that a model could have.
fn numbers(network: &Network) -> Vec<Vec<f64>> {
    let value = |i: usize| f64::from(((i * 7919) % 2003) as f32 / 1001.0 + 0.01);
    network.parameters().iter().enumerate().map(|(at, p)| (0..p.dims.len()).map(|i| value(i + at)).collect()).collect()
}

/// A network with every operation, names, and everything else that a description has.
const EVERYTHING: &str = "\
network everything
input 3x12x10
preprocess scale 1/255 mean 0.4,0.5,0.6 std 0.25
classes cat, dog

batch_norm eps 0.25 as first/scale
conv2d 8 3x3 stride 2x1 pad 0,1,1,1 no_bias | batch_norm | hard_swish as stem
depthwise 3x3 multiplier 2 pad 1 | relu6
conv2d 8 1x1 | leaky_relu slope 0.125 as left
conv2d 8 1x1 from stem | hard_sigmoid | add left
avg_pool2d 3x2 stride 1 pad 1,0,1,0 exclude_pad | max_pool2d 2x2 pad 1 | hard_sigmoid slope 0.25
global_max_pool as a | sigmoid as b
tanh from a | add b
conv2d 4 1x1 | relu | flatten | linear 5 no_bias | batch_norm | linear 2
";

fn everything() -> Network {
    text::parse(EVERYTHING).unwrap()
}

#[test]
fn what_was_written_is_read_as_it_was() {
    for network in shipped::all().iter().map(|network| (**network).clone()).chain([everything()]) {
        let tensors = numbers(&network);
        let back = read(Path::new("other.onnx"), &to_bytes(&network, &tensors, Variance::Biased)).unwrap();
        assert_eq!(back.description, network.description());
        assert_eq!((back.tensors == tensors, back.variance), (true, Some(Variance::Biased)), "{}", network.name());
        assert_eq!(back.notes, [""; 0]);
    }
}

/// The same as any other program's file: without names, with a bias for every layer.
fn anonymous(network: &Network, tensors: &[Vec<f64>]) -> Read {
    let mut model = ModelProto::decode(&*to_bytes(network, tensors, Variance::Unbiased)).unwrap();
    model.metadata_props.clear();
    read(Path::new("other.onnx"), &model.encode_to_vec()).unwrap()
}

#[test]
fn what_was_written_is_read_without_the_metadata() {
    for network in shipped::all() {
        let read = anonymous(network, &numbers(network));
        let back = Network::new(read.description).unwrap();
        if network.name() == "small28" {
            // Its layers have no bias; here they have zeros.
            assert_eq!(back.nodes().len(), network.nodes().len());
        } else {
            assert_eq!(back.topology(), network.topology(), "{}", network.name());
            assert_eq!(read.tensors, numbers(network), "{}", network.name());
        }
        assert!(!back.has_classes() && back.preprocessing().is_none() && read.variance.is_none());
    }
    let back = Network::new(anonymous(&everything(), &numbers(&everything())).description).unwrap();
    let text = text::print(&back);
    // A flatten of a row, and names, are all that is not found again.
    assert_eq!(back.nodes().len(), everything().nodes().len() - 1, "{text}");
    assert_eq!(back.output(), everything().output());
}

#[test]
fn a_graph_that_is_not_what_its_metadata_say_counts() {
    let lenet = Network::lenet();
    let mut model = ModelProto::decode(&*to_bytes(&lenet, &numbers(&lenet), Variance::Biased)).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.node[2].op_type = Some("Relu".into());
    let back = read(Path::new("net.onnx"), &model.encode_to_vec()).unwrap();
    assert!(text::print(&Network::new(back.description).unwrap()).contains("batch_norm | relu | avg_pool2d"));
    assert!(back.notes[0].contains("not the one that its metadata describes"), "{:?}", back.notes);
    // As if another network's text had been put in.
    let entry = model.metadata_props.iter_mut().find(|entry| entry.key() == NETWORK_KEY).unwrap();
    entry.value = Some(text::print(&shipped::get("small28").unwrap()));
    let back = read(Path::new("net.onnx"), &model.encode_to_vec()).unwrap();
    assert_eq!(back.description.nodes.len(), lenet.nodes().len());
}
