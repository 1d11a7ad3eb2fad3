//! An ONNX file of the network, with BatchNorm nodes, folded, or folded in part, becomes its parameters. PyTorch's exporters
//! each write it their own way; what is accepted of each operation stands in its function.

use std::path::Path;

use bn_core::lenet::{CLASSES, CONV1_CHANNELS, CONV2_CHANNELS, FLAT, IMAGE_SIDE, KERNEL, POOL, TENSORS, TensorSpec};
use prost::Message;

use super::graph::{Graph, describe};
use super::proto::{ModelProto, NodeProto, ValueInfoProto};
use super::tensor::Tensor;
use super::{OLDEST_OPSET, VARIANCE_KEY};
use crate::error::{Error, Result};
use crate::exchange::{ImportOptions, LAYERS, Layer, REMEDY_EPS, pass_through};
use crate::model::parameters::{Parameters, Variance, index};
use crate::model::state_dict::check_values;

const REMEDY: &str =
    "write it with torch.onnx.export(net.eval(), torch.zeros(1, 1, 28, 28), FILE) from d2l's BatchNorm LeNet";

/// What an ONNX file holds.
pub(in crate::exchange) struct Read {
    pub(in crate::exchange) parameters: Parameters,
    /// BatchNorm modules that the file has folded into the layer before.
    pub(in crate::exchange) folded: Vec<&'static str>,
}

/// Reads a file; `path` is for messages, and for tensors that lie beside it.
///
/// # Errors
/// [`Error::BadFile`] with the first thing that is wrong.
pub(in crate::exchange) fn read(path: &Path, bytes: &[u8], options: ImportOptions) -> Result<Read> {
    let bad = |problem: String| Error::bad_file(path, problem, REMEDY);
    let model = ModelProto::decode(bytes).map_err(|e| bad(format!("it is no ONNX file, or a damaged one ({e})")))?;
    let read = network(path, &model, options.variance).map_err(bad)?;
    let (mut parameters, epsilon, folded) = read;
    let eps = match (epsilon, options.eps) {
        (Some(own), Some(given)) if own != given => {
            return Err(Error::bad_file(path, format!("its BatchNorm has the eps {own:e}, not {given:e}"), REMEDY_EPS));
        }
        (own, given) => own.or(given).unwrap_or(parameters.eps as f32),
    };
    parameters.eps = f64::from(eps);
    folded.iter().for_each(|module| pass_through(&mut parameters, module));
    Ok(Read { parameters, folded })
}

type Network = (Parameters, Option<f32>, Vec<&'static str>);

fn network(path: &Path, model: &ModelProto, variance: Option<Variance>) -> Result<Network, String> {
    let opset = model.opset_import.iter().find(|o| matches!(o.domain(), "" | "ai.onnx")).map_or(1, |o| o.version());
    if opset < OLDEST_OPSET {
        return Err(format!("its operators are of version {opset}, older than {OLDEST_OPSET}"));
    }
    let graph = model.graph.as_ref().ok_or("it holds no graph: it is no ONNX file, or an empty one")?;
    graph.input.iter().try_for_each(check_input)?;
    let graph = Graph::new(path, graph);
    let chain: Vec<_> = graph.chain()?.into_iter().filter(|node| !does_nothing(&graph, node)).collect();
    let stored = model.metadata_props.iter().find(|p| p.key() == VARIANCE_KEY).map(|p| p.value());
    let stored = [Variance::Biased, Variance::Unbiased].into_iter().find(|v| Some(v.name()) == stored);
    let parameters = Parameters::zero(variance.or(stored).unwrap_or(Variance::Unbiased));
    let mut reader = Reader { graph, chain: chain.into_iter(), parameters, eps: None, folded: Vec::new() };
    for (at, layer) in LAYERS.iter().enumerate() {
        reader.layer(layer)?;
        if layer.batch_norm.is_some() {
            reader.expect("Sigmoid")?;
        }
        if at < 2 {
            let pool = reader.expect("AveragePool")?;
            check_window(pool, POOL, POOL)?;
        }
        if at == 1 {
            reader.flatten()?;
        }
    }
    match reader.chain.next() {
        None => Ok((reader.parameters, reader.eps, reader.folded)),
        Some(node) => Err(format!("{} stands behind the network's last layer", describe(node))),
    }
}

/// The nodes that are left, and what those before have given.
struct Reader<'a> {
    graph: Graph<'a>,
    chain: std::vec::IntoIter<&'a NodeProto>,
    parameters: Parameters,
    eps: Option<f32>,
    folded: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// The next node, if it is of that operation.
    fn take(&mut self, operation: &str) -> Option<&'a NodeProto> {
        let next = self.chain.as_slice().first().filter(|node| is(node, operation)).copied();
        if next.is_some() {
            self.chain.next();
        }
        next
    }

    fn expect(&mut self, operation: &str) -> Result<&'a NodeProto, String> {
        self.take(operation).ok_or_else(|| match self.chain.as_slice().first() {
            Some(node) => format!("{} stands where the network has {operation}", describe(node)),
            None => format!("its graph ends where the network has {operation}"),
        })
    }

    /// A convolution or linear layer and, unless it is folded, the BatchNorm behind it.
    fn layer(&mut self, layer: &Layer) -> Result<(), String> {
        if TENSORS[index(layer.weight)].shape.len() == 4 {
            let conv = self.expect("Conv")?;
            check_window(conv, KERNEL, 1)?;
            if conv.int("group").unwrap_or(1) != 1 {
                return Err(format!("{} has groups, the network's has none", describe(conv)));
            }
            self.weight_and_bias(conv, layer, false)?;
        } else if let Some(product) = self.take("MatMul") {
            self.parameter(product, 1, layer.weight, true)?;
            if let Some(sum) = self.take("Add") {
                // A sum has no sides: the bias is whichever is constant.
                let side = usize::from(self.graph.constant(sum, 0).is_err());
                self.parameter(sum, side, layer.bias, false)?;
            }
        } else {
            let gemm = self.expect("Gemm")?;
            let plain = gemm.float("alpha").unwrap_or(1.0) == 1.0 && gemm.float("beta").unwrap_or(1.0) == 1.0;
            if !plain || gemm.int("transA").unwrap_or(0) != 0 {
                return Err(format!("{} scales or transposes its input, the network's does not", describe(gemm)));
            }
            self.weight_and_bias(gemm, layer, gemm.int("transB").unwrap_or(0) == 0)?;
        }
        let Some(module) = layer.batch_norm else { return Ok(()) };
        match self.take("BatchNormalization") {
            Some(node) => self.batch_norm(node, module),
            None => {
                self.folded.push(module);
                Ok(())
            }
        }
    }

    fn batch_norm(&mut self, node: &NodeProto, module: &str) -> Result<(), String> {
        if node.int("training_mode").unwrap_or(0) != 0 {
            return Err(format!("{} is in training mode", describe(node)));
        }
        let eps = node.float("epsilon").unwrap_or(1e-5);
        if *self.eps.get_or_insert(eps) != eps {
            let first = self.eps.unwrap_or(eps);
            return Err(format!(
                "{} has the eps {eps:e}, those before it {first:e}; a checkpoint holds one",
                describe(node)
            ));
        }
        if !(eps > 0.0 && eps < 1.0) {
            return Err(format!("{} has the eps {eps:e}, which is not between 0 and 1", describe(node)));
        }
        for (position, name) in ["weight", "bias", "running_mean", "running_var"].into_iter().enumerate() {
            self.parameter(node, position + 1, &format!("{module}.{name}"), false)?;
        }
        Ok(())
    }

    fn weight_and_bias(&mut self, node: &NodeProto, layer: &Layer, transposed: bool) -> Result<(), String> {
        self.parameter(node, 1, layer.weight, transposed)?;
        if node.input.get(2).is_some_and(|name| !name.is_empty()) {
            self.parameter(node, 2, layer.bias, false)?;
        }
        Ok(())
    }

    /// Takes the tensor `name` of ours from a node's constant.
    fn parameter(&mut self, node: &NodeProto, input: usize, name: &str, transposed: bool) -> Result<(), String> {
        let spec: &TensorSpec = &TENSORS[index(name)];
        let about = |problem: String| format!("{}: {problem}", describe(node));
        let tensor = self.graph.constant(node, input).map_err(about)?;
        let tensor = tensor.ok_or_else(|| about(format!("input {input} is missing")))?;
        let Tensor { shape, values } = if transposed { tensor.transposed().map_err(about)? } else { tensor };
        if shape != spec.shape {
            return Err(about(format!("its {} has the shape {shape:?}, the network's is {:?}", spec.name, spec.shape)));
        }
        check_values(spec.name, spec.role, &values).map_err(about)?;
        // A checkpoint holds f32: round here, so that what was imported is what is read back.
        self.parameters.tensors[index(name)] = values.into_iter().map(|v| f64::from(v as f32)).collect();
        Ok(())
    }

    /// `Flatten`, or a `Reshape` to the same.
    fn flatten(&mut self) -> Result<(), String> {
        if let Some(node) = self.take("Flatten") {
            return match node.int("axis").unwrap_or(1) {
                1 => Ok(()),
                axis => Err(format!("{} begins at axis {axis}, the network's at 1", describe(node))),
            };
        }
        let node = self.expect("Reshape")?;
        // A shape that is computed from the input's can only be right: the layer behind takes nothing else.
        let Ok(Some(shape)) = self.graph.constant(node, 1) else { return Ok(()) };
        match shape.values[..] {
            [_, features] if features == FLAT as f64 || features == -1.0 => Ok(()),
            _ => Err(format!("{} makes the shape {:?}, the network's [n, {FLAT}]", describe(node), shape.values)),
        }
    }
}

fn is(node: &NodeProto, operation: &str) -> bool {
    node.op_type() == operation && matches!(node.domain(), "" | "ai.onnx")
}

/// What changes nothing outside of training.
fn does_nothing(graph: &Graph<'_>, node: &NodeProto) -> bool {
    let zero_pads = || match node.ints("pads") {
        Some(pads) => pads.iter().all(|&p| p == 0),
        None => matches!(graph.constant(node, 1), Ok(Some(pads)) if pads.values.iter().all(|&p| p == 0.0)),
    };
    is(node, "Identity") || is(node, "Dropout") || is(node, "Pad") && zero_pads()
}

/// A square window without padding or holes.
fn check_window(node: &NodeProto, side: usize, stride: usize) -> Result<(), String> {
    let all = |name: &str, absent: usize, wanted: usize| {
        let given = node.ints(name);
        let right = given.map_or(absent == wanted, |values| values.iter().all(|&v| v == wanted as i64));
        let has = given.map_or(format!("no {name}"), |values| format!("{name} {values:?}"));
        if right { Ok(()) } else { Err(format!("{} has {has}, the network's are {wanted}", describe(node))) }
    };
    // Without kernel_shape a convolution takes that of its weights, which are checked.
    all("kernel_shape", side, side)?;
    all("strides", 1, stride)?;
    all("pads", 0, 0)?;
    all("dilations", 1, 1)?;
    match node.text("auto_pad") {
        None | Some(b"NOTSET" | b"VALID" | b"") => Ok(()),
        Some(other) => {
            Err(format!("{} pads by {}, the network does not", describe(node), String::from_utf8_lossy(other)))
        }
    }
}

/// The images, where the file says what they are.
fn check_input(input: &ValueInfoProto) -> Result<(), String> {
    let shape = input.kind.as_ref().and_then(|t| t.tensor.as_ref()).and_then(|t| t.shape.as_ref());
    let wanted = [None, Some(1), Some(IMAGE_SIDE as i64), Some(IMAGE_SIDE as i64)];
    let Some(shape) = shape.filter(|shape| shape.dim.len() == wanted.len()) else { return Ok(()) };
    let given: Vec<_> = shape.dim.iter().map(|d| d.dim_value).collect();
    // Files of version 3 list their tensors among the inputs.
    let is_weight = [CONV1_CHANNELS, CONV2_CHANNELS, CLASSES].map(|n| Some(n as i64)).contains(&given[0])
        && given[2..] == [Some(KERNEL as i64); 2];
    if is_weight || given.iter().zip(wanted).all(|(&g, w)| w.is_none() || g.is_none() || g == w) {
        return Ok(());
    }
    let dims: Vec<_> = given.iter().map(|dim| dim.map_or("n".into(), |dim| dim.to_string())).collect();
    Err(format!("its input {} is [{}], the network's images are [n, 1, 28, 28]", input.name(), dims.join(", ")))
}
