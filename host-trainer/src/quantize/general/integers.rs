//! A network's integers before they are a file: channel by channel, so that channels can still be taken out.

use std::sync::Arc;

use bn_core::file::{Contents, WeightsFile};
use bn_core::kernels::packed::Window;
use bn_core::kernels::{conv, depthwise};
use bn_core::network::Value;
use bn_core::plan::{Family, Kernel, Layer, Step, TABLE_WORDS};
use bn_core::quant::Scale;

use crate::error::{Error, Result};
use crate::network::Network;

/// The integers of a step.
#[derive(Clone, Debug)]
pub(super) enum Integers {
    /// Of a convolution or linear layer.
    Conv(Head, Vec<conv::Channel>),
    /// Of a function of each channel alone.
    Depthwise(Head, Vec<depthwise::Channel>),
    /// The stream of a step that treats all channels alike: of a pool, a sum, a flatten.
    Alike(Vec<u32>),
}

/// What stands before the channels of a stream.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// Smallest and largest result.
    pub(super) range: [i32; 2],
    /// The code of zero by input channel; of packed channels the first is that of all.
    pub(super) zeros: Vec<u8>,
}

impl Head {
    /// The code that padding takes in an input channel.
    pub(super) fn zero(&self, window: &Window, channel: usize) -> i32 {
        self.zeros[if window.bytes { channel } else { 0 }].into()
    }
}

impl Integers {
    /// As the kernel reads them. `None` where the packing of the weights drives a start value out of i32.
    pub(super) fn stream(&self, kernel: &Kernel) -> Option<Vec<u32>> {
        match (self, kernel) {
            (Integers::Conv(head, channels), kernel) => kernel.convolution_stream(head.range, &head.zeros, channels),
            (Integers::Depthwise(head, channels), Kernel::Depthwise3(shape)) => {
                Some(shape.stream(head.range, &head.zeros, channels))
            }
            (Integers::Depthwise(head, channels), Kernel::Depthwise(shape)) => {
                Some(shape.stream(head.range, &head.zeros, channels))
            }
            (Integers::Alike(stream), _) => Some(stream.clone()),
            _ => unreachable!("a step's integers are its kernel's"),
        }
    }
}

/// A network with its plan and its integers.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) network: Arc<Network>,
    pub(super) steps: Vec<Step>,
    /// By step.
    pub(super) integers: Vec<Integers>,
    /// By step, where it has one.
    pub(super) tables: Vec<Option<Vec<u8>>>,
    /// What codes mean: those of the input, then of each step's output.
    pub(super) scales: Vec<Scale>,
}

impl Model {
    /// A step's family.
    pub(super) fn family(&self, step: usize) -> Family {
        Family::of_number(self.steps[step].family).expect("a plan's families are known")
    }

    /// A step's nodes and sizes.
    pub(super) fn layer(&self, step: usize) -> Layer {
        let first = self.steps[step].first.into();
        self.family(step).layer(&self.network.topology(), first).expect("the plan's family takes it")
    }

    /// Name of a step: of its first node.
    pub(super) fn name(&self, step: usize) -> String {
        self.network.module(self.steps[step].first.into()).into_owned()
    }

    /// The number of a tensor: 0 is the network's input, the others are the outputs of the steps.
    pub(super) fn tensor(&self, value: Value) -> usize {
        let Value::Node(node) = value else { return 0 };
        let gives = |step: &Step| usize::from(step.last) == node;
        1 + self.steps.iter().position(gives).expect("a step reads what a step before gave")
    }

    /// The tensors that a step reads: a sum reads two, and so does a convolution with a sum behind it.
    pub(super) fn reads(&self, step: usize) -> impl Iterator<Item = usize> {
        let layer = self.layer(step);
        [Some(layer.reads), layer.other].into_iter().flatten().map(|value| self.tensor(value))
    }

    /// The file.
    ///
    /// # Errors
    /// [`Error::Refused`] for integers that no device could trust.
    pub(super) fn file(&self) -> Result<WeightsFile> {
        let mut streams = Vec::new();
        for (step, integers) in self.integers.iter().enumerate() {
            let stream = integers.stream(&self.layer(step).kernel);
            streams.extend(stream.ok_or_else(|| too_large_a_bias(&self.name(step)))?);
        }
        let tables: Vec<u8> = self.tables.iter().flatten().flatten().copied().collect();
        debug_assert!(tables.len().is_multiple_of(4 * TABLE_WORDS), "whole tables");
        streams.extend(tables.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)));
        let Self { network, steps, scales, .. } = self;
        let contents = Contents { network: network.view(), texts: &network.texts(), steps, scales, streams: &streams };
        contents.write().map_err(Error::untrusted)
    }
}

/// The refusal of a step whose start value does not fit.
pub(super) fn too_large_a_bias(name: &str) -> Error {
    Error::Refused {
        problem: format!("{name} has a bias too large for an integer"),
        remedy: "train again with a smaller --lr".into(),
    }
}
