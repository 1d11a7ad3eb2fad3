//! A whole `weights.bin` on a host (feature `build`): read and proved, written, and run step by step by the portable kernels.
//!
//! | file | what it holds |
//! |---|---|
//! | `read` | from bytes to a [`WeightsFile`], proved |
//! | `write` | from [`Contents`] to bytes |
//! | `run` | the integer network, interpreted: what every generated code must give |
//! | `values` | the integers of a step's output, in order |

mod read;
mod run;
#[cfg(all(test, target_endian = "little"))]
pub(crate) mod tests;
mod values;
mod write;

use std::string::String;
use std::vec::Vec;

use crate::format::Header;
use crate::network::{Network, Node, Preprocessing, Shape, Topology, Value};
use crate::plan::{Family, Form, Layer, Shapes, Step};
use crate::quant::Scale;

pub use run::Arena;
pub use write::{Contents, reseal};

/// Names, which a device need not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// Name of the network.
    pub network: String,
    /// Names of the nodes, by position; a node without one is known by its position.
    pub nodes: Vec<Option<String>>,
    /// Names of the classes, one a line; empty for a network without classes.
    pub classes: String,
}

/// One step of a file, with what follows from its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStep {
    /// As it lies in the file.
    pub step: Step,
    /// Its family.
    pub family: Family,
    /// What it takes.
    pub shapes: Shapes,
    /// Where its stream begins, in words from the start of the file.
    pub stream_at: usize,
    /// Where its table begins; nothing without one.
    pub table_at: Option<usize>,
    /// Where the second term of a sum lies in the arena, in words; [`NONE`](crate::plan::NONE) is the network's input.
    pub other: Option<u32>,
}

/// A `weights.bin` that was read and proved.
#[derive(Clone, Debug)]
pub struct WeightsFile {
    /// The file without its texts.
    words: Vec<u32>,
    /// The texts as they lie in the file.
    text: Vec<u8>,
    header: Header,
    input: Shape,
    nodes: Vec<Node>,
    scale: [f32; 2],
    mean_std: [Vec<f32>; 2],
    texts: Texts,
    steps: Vec<FileStep>,
    scales: Vec<Scale>,
    goldens: Vec<u32>,
    streams_at: usize,
}

impl WeightsFile {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The network that it is the integers of.
    pub fn network(&self) -> Network<'_> {
        let [multiply, divide] = self.scale;
        let [mean, std] = &self.mean_std;
        Network {
            topology: Topology { input: self.input, nodes: &self.nodes },
            preprocessing: Preprocessing { multiply, divide, mean, std },
            classes: &self.texts.classes,
        }
    }

    /// The names.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The plan.
    pub fn steps(&self) -> &[FileStep] {
        &self.steps
    }

    /// Name of a step: of its first node, or that node's position.
    pub fn step_name(&self, step: usize) -> String {
        let first = self.steps[step].step.first as usize;
        self.texts.nodes.get(first).cloned().flatten().unwrap_or_else(|| std::format!("{first}"))
    }

    /// Multiply-accumulates of a step, BatchNorm folded.
    pub fn step_macs(&self, step: usize) -> usize {
        self.steps[step].step.macs(&self.network().topology)
    }

    /// Of a step whose family takes any shape: its nodes and sizes.
    pub fn layer(&self, step: usize) -> Option<Layer> {
        let FileStep { step, family, .. } = self.steps[step];
        family.layer(&self.network().topology, step.first.into())
    }

    /// Values that the first node of a step reads and gives.
    pub(crate) fn step_sizes(&self, step: usize) -> (usize, usize) {
        let (topology, node) = (self.network().topology, self.steps[step].step.first.into());
        (topology.input_of(node).len(), topology.shape(Value::Node(node)).len())
    }

    /// What the integers of the input mean.
    pub fn input_scale(&self) -> Scale {
        self.scales[0]
    }

    /// What the integers that a step gives mean.
    pub fn step_scale(&self, step: usize) -> Scale {
        self.scales[step + 1]
    }

    /// What the integers of the output mean.
    pub fn output_scale(&self) -> Scale {
        self.scales[self.steps.len()]
    }

    /// Values of the output.
    pub fn outputs(&self) -> usize {
        self.network().topology.output().len()
    }

    /// CRC-32 of each step's output for [`golden_input`](crate::format::golden_input).
    pub fn goldens(&self) -> &[u32] {
        &self.goldens
    }

    /// The checksum in the file: which model this is.
    pub fn checksum(&self) -> u32 {
        self.header.checksum
    }

    /// The file without its texts: what a firmware links.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The file without its texts: what a firmware links.
    pub fn model_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words)
    }

    /// The whole file.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.model_bytes(), &self.text].concat()
    }

    /// Words of a step's stream.
    pub fn stream(&self, step: usize) -> &[u32] {
        let FileStep { stream_at, shapes, .. } = self.steps[step];
        &self.words[stream_at..stream_at + shapes.stream]
    }

    /// All streams and tables, in the order of the file.
    pub fn streams(&self) -> &[u32] {
        &self.words[self.streams_at..]
    }

    /// Words of the arena: of all tensors and of what steps work in.
    pub fn arena_words(&self) -> usize {
        let ends = self.steps.iter().map(|FileStep { step, shapes, .. }| {
            (step.output as usize + shapes.output).max(step.scratch as usize + shapes.scratch)
        });
        ends.max().unwrap_or(0)
    }

    /// Form of the output of a step.
    pub fn output_form(&self, step: usize) -> Form {
        self.steps[step].shapes.forms[1]
    }
}
