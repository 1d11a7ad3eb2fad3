//! What is in a model's file, tensor by tensor or field by field, and what a network is made of.

use bn_core::file::{FileStep, WeightsFile};
use bn_core::format::{FIELDS, Field};
use bn_core::network::{Node, Value};
use bn_core::plan::WORD;
use serde::Serialize;

use crate::model::parameters::Variance;
use crate::model_file::ModelFile;
use crate::network::{Network, text};
use crate::train::checkpoint::{Checkpoint, Origin, TrainingState};

/// The content of a file, for people and for JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Inspection {
    /// A checkpoint.
    Checkpoint(Box<CheckpointInspection>),
    /// A `weights.bin`.
    Weights(WeightsInspection),
    /// A description.
    Network(NetworkInspection),
}

/// What follows from a description.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkInspection {
    /// The network as text.
    pub network: String,
    /// Digest of nodes and shapes, in hexadecimal.
    pub topology: String,
    /// Digest of topology, preprocessing and class names, in hexadecimal.
    pub identity: String,
    /// Numbers that gradient descent changes.
    pub trained_parameters: usize,
    /// Multiply-accumulates of one example.
    pub macs: usize,
    /// One entry a node.
    pub nodes: Vec<NodeSummary>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeSummary {
    /// Its name, or its position.
    pub name: String,
    /// What it does, as in the text form.
    pub op: String,
    /// Shape of its output: channels, rows, columns.
    pub output: [usize; 3],
    /// Numbers of its tensors.
    pub parameters: usize,
    /// Multiply-accumulates of one example.
    pub macs: usize,
}

/// Summarises a description.
pub fn inspect_network(network: &Network) -> NetworkInspection {
    let name = |value| match value {
        Value::Input => "input".to_owned(),
        Value::Node(at) => network.module(at).into_owned(),
    };
    let summary = |(at, node): (usize, &Node)| NodeSummary {
        name: network.module(at).into_owned(),
        op: text::op(&node.op, network.input_of(at).channels, name),
        output: network.shape(Value::Node(at)).dims(),
        parameters: network.parameters().iter().filter(|p| p.node == at).map(|p| p.dims.len()).sum(),
        macs: node.op.macs(network.input_of(at)),
    };
    NetworkInspection {
        network: text::print(network),
        topology: format!("{:08x}", network.topology().digest()),
        identity: format!("{:08x}", network.view().identity()),
        trained_parameters: network.topology().trained_parameters(),
        macs: network.topology().macs(),
        nodes: network.nodes().iter().enumerate().map(summary).collect(),
    }
}

/// A checkpoint's tensors and metadata.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointInspection {
    /// The network as text.
    pub network: String,
    /// Numbers that gradient descent changes.
    pub trained_parameters: usize,
    /// Multiply-accumulates of one example.
    pub macs: usize,
    /// What `running_var` holds.
    pub variance: Variance,
    /// Batches that the statistics have seen.
    pub batches_tracked: u64,
    /// Name of the imported file, if it was imported.
    pub imported_from: Option<String>,
    /// The state of its training, if it was trained.
    pub training: Option<TrainingState>,
    /// The tensors.
    pub tensors: Vec<TensorSummary>,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorSummary {
    /// PyTorch's name.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Mean value.
    pub mean: f64,
}

/// A `weights.bin`: its header and its plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightsInspection {
    /// The network as text.
    pub network: String,
    /// Length of the file.
    pub bytes: usize,
    /// Length of what a firmware has of it, without names.
    pub model_bytes: usize,
    /// Memory of an inference's tensors, in bytes.
    pub arena_bytes: usize,
    /// One entry a field of the header, in the order of the file.
    pub fields: Vec<FieldSummary>,
    /// One entry a step of the plan.
    pub steps: Vec<StepSummary>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepSummary {
    /// Name of its first node, or that node's position.
    pub name: String,
    /// The family of kernels that computes it.
    pub family: &'static str,
    /// Positions of its first and last node.
    pub nodes: [u16; 2],
    /// Multiply-accumulates.
    pub macs: usize,
    /// Bytes of its weights, without its table.
    pub stream_bytes: usize,
    /// Bytes of its output.
    pub output_bytes: usize,
    /// Bytes that it works in.
    pub scratch_bytes: usize,
    /// The value of a step of its output.
    pub scale: f32,
    /// CRC-32 of its output for the golden input, in hexadecimal.
    pub golden: String,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldSummary {
    /// Its name.
    pub name: &'static str,
    /// Its Rust type.
    pub kind: &'static str,
    /// Bytes from the start of the file.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
    /// Its value, or the smallest and largest of an array's.
    pub value: String,
    /// What it holds.
    pub meaning: &'static str,
}

/// Summarises a file.
pub fn inspect(model: &ModelFile) -> Inspection {
    match model {
        ModelFile::Checkpoint(checkpoint) => Inspection::Checkpoint(Box::new(of_checkpoint(checkpoint))),
        ModelFile::Weights(file) => Inspection::Weights(of_weights(file)),
    }
}

fn of_checkpoint(checkpoint: &Checkpoint) -> CheckpointInspection {
    let network = &checkpoint.parameters.network;
    let tensors =
        network.parameters().iter().zip(&checkpoint.parameters.tensors).map(|(parameter, values)| TensorSummary {
            name: network.tensor_name(parameter),
            shape: parameter.dims.as_slice().to_vec(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean: values.iter().sum::<f64>() / values.len() as f64,
        });
    let imported_from = match &checkpoint.origin {
        Origin::Imported(name) => Some(name.clone()),
        Origin::Trained(_) | Origin::Initial(_) => None,
    };
    CheckpointInspection {
        network: text::print(network),
        trained_parameters: network.topology().trained_parameters(),
        macs: network.topology().macs(),
        variance: checkpoint.parameters.variance,
        batches_tracked: checkpoint.batches_tracked,
        imported_from,
        training: checkpoint.training().cloned(),
        tensors: tensors.collect(),
    }
}

fn of_weights(file: &WeightsFile) -> WeightsInspection {
    let bytes = file.to_bytes();
    let summary = |field: &Field| FieldSummary {
        name: field.name,
        kind: field.kind,
        offset: field.offset,
        bytes: field.bytes,
        value: value(field, &bytes[field.offset..field.offset + field.bytes]),
        meaning: field.meaning,
    };
    let step = |at: usize| {
        let FileStep { step, family, shapes, .. } = file.steps()[at];
        StepSummary {
            name: file.step_name(at),
            family: family.name(),
            nodes: [step.first, step.last],
            macs: file.step_macs(at),
            stream_bytes: WORD * shapes.stream,
            output_bytes: WORD * shapes.output,
            scratch_bytes: WORD * shapes.scratch,
            scale: file.step_scale(at).scale,
            golden: format!("{:08x}", file.goldens()[at]),
        }
    };
    WeightsInspection {
        // A forger may have given it names that no text can hold.
        network: Network::of_weights(file).map_or_else(|fault| format!("# {fault}\n"), |network| text::print(&network)),
        bytes: bytes.len(),
        model_bytes: file.model_bytes().len(),
        arena_bytes: WORD * file.arena_words(),
        fields: FIELDS.iter().map(summary).collect(),
        steps: (0..file.steps().len()).map(step).collect(),
    }
}

/// A field's value by its type: a scalar, the text of the magic, or the range of an array.
fn value(field: &Field, bytes: &[u8]) -> String {
    if field.name == "magic" {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let element = field.kind.trim_start_matches('[').split([';', ']']).next().unwrap_or_default();
    let width = element.trim_start_matches(['i', 'u']).parse::<usize>().map_or(1, |bits| bits / 8);
    let signed = element.starts_with('i');
    let values: Vec<i64> = bytes.chunks_exact(width).map(|chunk| integer(chunk, signed)).collect();
    match (values.as_slice(), values.iter().min(), values.iter().max()) {
        ([one], ..) if matches!(field.name, "checksum" | "topology" | "identity" | "plan" | "text_checksum") => {
            format!("{one:08x}")
        }
        ([one], ..) => one.to_string(),
        (_, Some(min), Some(max)) if min == max => format!("all {min}"),
        (_, Some(min), Some(max)) => format!("{min} to {max}"),
        _ => String::new(),
    }
}

/// A little-endian integer of up to four bytes.
fn integer(bytes: &[u8], signed: bool) -> i64 {
    let unsigned = bytes.iter().rev().fold(0_i64, |value, &byte| value << 8 | i64::from(byte));
    let bits = 8 * bytes.len() as u32;
    if signed && unsigned >> (bits - 1) == 1 { unsigned - (1 << bits) } else { unsigned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_little_endian_and_signed_where_their_type_is() {
        assert_eq!(integer(&[0xFE, 0xFF], true), -2);
        assert_eq!(integer(&[0xFE, 0xFF], false), 0xFFFE);
        assert_eq!(integer(&[1, 2, 3, 4], true), 0x0403_0201);
        assert_eq!(integer(&[0x80], true), -128);
    }

    #[test]
    fn fields_are_read_by_their_type() {
        let field = |name, kind| Field { name, kind, offset: 0, bytes: 0, meaning: "" };
        assert_eq!(value(&field("magic", "[u8; 8]"), b"BN-LENET"), "BN-LENET");
        assert_eq!(value(&field("checksum", "u32"), &[0xEF, 0xBE, 0xAD, 0xDE]), "deadbeef");
        assert_eq!(value(&field("w", "[[i16; KERNEL]; 2]"), &[0xFF, 0xFF, 2, 0]), "-1 to 2");
        assert_eq!(value(&field("reserved", "[u8; 39]"), &[0; 39]), "all 0");
        assert_eq!(value(&field("length", "u32"), &[0, 1, 0, 0]), "256");
    }
}
