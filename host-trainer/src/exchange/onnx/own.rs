//! Files of ours: the metadata hold the `.net` text, and where the graph is the one that this text makes, its names, classes
//! and preprocessing come back as they were.

use std::collections::HashMap;
use std::path::Path;

use super::proto::{GraphProto, TensorProto};
use super::tensor::Tensor;
use super::write;
use crate::model::state_dict::check_values;
use crate::network::{Description, text};

/// The description and its tensors; `None` where the graph is not what the text makes, or its tensors are not sound: then the
/// graph is read as any other, which says what is wrong.
pub(super) fn read(path: &Path, graph: &GraphProto, text: &str) -> Option<(Description, Vec<Vec<f64>>)> {
    let network = text::parse(text).ok()?;
    let ours = write::graph(&network);
    if graph.node != ours.node || graph.input != ours.input || graph.output != ours.output {
        return None;
    }
    let named = |tensor: &TensorProto| tensor.name().to_owned();
    let stored: HashMap<String, &TensorProto> = graph.initializer.iter().map(|t| (named(t), t)).collect();
    for constant in &ours.initializer {
        if stored.get(constant.name()).copied() != Some(constant) {
            return None;
        }
    }
    let mut tensors = Vec::with_capacity(network.parameters().len());
    for parameter in network.parameters() {
        let name = network.tensor_name(parameter);
        let Tensor { shape, values, .. } = Tensor::unpack(path, stored.get(&name)?).ok()?;
        if shape != parameter.dims.as_slice() || check_values(&name, parameter.role, &values).is_err() {
            return None;
        }
        tensors.push(values.into_iter().map(|value| f64::from(value as f32)).collect());
    }
    Some((network.description(), tensors))
}
