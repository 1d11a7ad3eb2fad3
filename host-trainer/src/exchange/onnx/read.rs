//! From an ONNX file to a description and its tensors.

use std::path::Path;

use prost::Message;

use super::graph::{Graph, describe};
use super::proto::{GraphProto, ModelProto};
use super::refusal::Refusal;
use super::source::begin;
use super::{NETWORK_KEY, NEWEST_OPSET, OLDEST_OPSET, VARIANCE_KEY, own};
use crate::error::{Error, Result};
use crate::model::parameters::Variance;
use crate::network::{Description, NamedNode, Network, Preprocessing};

/// What an ONNX file holds.
#[derive(Debug)]
pub(in crate::exchange) struct Read {
    /// The network. Only a file of ours says how it takes its input and what its outputs are called.
    pub(in crate::exchange) description: Description,
    /// Its tensors, in the order of [`Network::parameters`].
    pub(in crate::exchange) tensors: Vec<Vec<f64>>,
    /// What `running_var` holds, where the file says so.
    pub(in crate::exchange) variance: Option<Variance>,
    /// What was left out or is not as in the file, a line each.
    pub(in crate::exchange) notes: Vec<String>,
}

/// Operators of networks that were quantised.
const QUANTISED: [&str; 3] = ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"];

/// Reads a file; `path` is for messages, and for tensors that lie beside it.
///
/// # Errors
/// [`Error::BadFile`] with the first thing that is wrong, or not supported.
pub(in crate::exchange) fn read(path: &Path, bytes: &[u8]) -> Result<Read> {
    let bad = |Refusal { problem, remedy }| Error::bad_file(path, problem, remedy);
    model(path, bytes).map_err(bad)
}

fn model(path: &Path, bytes: &[u8]) -> Result<Read, Refusal> {
    let model = ModelProto::decode(bytes).map_err(|e| format!("it is no ONNX file, or a damaged one ({e})"))?;
    let none = || "it holds no graph: it is no ONNX file, or an empty one".to_owned();
    let graph = model.graph.as_ref().ok_or_else(none)?;
    let opset = model.opset_import.iter().find(|o| matches!(o.domain(), "" | "ai.onnx")).map_or(1, |o| o.version());
    if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&opset) {
        let range = format!("{OLDEST_OPSET} to {NEWEST_OPSET}");
        return Err(format!("its operators are of version {opset}; {range} are supported").into());
    }
    check_numbers(graph)?;
    let stored = model.metadata(VARIANCE_KEY);
    let variance = [Variance::Biased, Variance::Unbiased].into_iter().find(|v| Some(v.name()) == stored);
    let text = model.metadata(NETWORK_KEY);
    if let Some((description, tensors)) = text.and_then(|text| own::read(path, graph, text)) {
        return Ok(Read { description, tensors, variance, notes: vec![] });
    }
    let mut read = walked(path, graph)?;
    if text.is_some() {
        read.notes.insert(0, "its graph is not the one that its metadata describes; the graph counts".into());
    }
    Ok(Read { variance, ..read })
}

/// Networks that were quantised elsewhere.
fn check_numbers(graph: &GraphProto) -> Result<(), Refusal> {
    let quantised = |name: &str| {
        QUANTISED.contains(&name) || name.starts_with("QLinear") || name.ends_with("Integer") || name == "QGemm"
    };
    match graph.node.iter().find(|node| quantised(node.op_type())) {
        Some(node) => Err(Refusal::quantised(format!("{} is of a quantised network", describe(node)))),
        None => Ok(()),
    }
}

/// Any program's graph.
fn walked(path: &Path, graph: &GraphProto) -> Result<Read, Refusal> {
    let mut walk = begin(path, Graph::new(graph)?)?;
    walk.nodes()?;
    walk.finish()?;
    if walk.transposes > 0 {
        walk.notes.push(format!("{} Transpose left out: here a tensor is channel, row, column", walk.transposes));
    }
    let nodes = walk.builder.nodes.iter().map(|&node| NamedNode { node, name: None }).collect();
    let (name, input) = (name(path), walk.builder.input);
    let description = Description { name, input, nodes, preprocessing: Preprocessing::default(), classes: vec![] };
    // Each node was checked by itself; what is left is the whole.
    Network::new(description.clone()).map_err(|fault| format!("its network: {fault}"))?;
    let tensors = walk.builder.tensors.into_iter().flatten().collect();
    Ok(Read { description, tensors, variance: None, notes: walk.notes })
}

/// A name of one word, after the file's.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let sound = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    let name: String = stem.chars().map(sound).collect();
    if name.is_empty() { "imported".into() } else { name }
}
