//! What the device will run: by which family each layer, what it takes, and where its tensors lie.

use bn_core::file::WeightsFile;
use bn_core::network::Value;
use bn_core::plan::{Family, Shapes, Step, WORD};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::network::Network;

/// A plan, for people and for JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Name of the network.
    pub network: String,
    /// Multiply-accumulates of one example.
    pub macs: usize,
    /// Bytes of all streams of weights; tables and the description come on top.
    pub stream_bytes: usize,
    /// Memory of an inference in bytes; the input and the stack come on top.
    pub arena_bytes: usize,
    /// One entry a layer, in the order of their work.
    pub layers: Vec<PlannedLayer>,
}

impl Plan {
    /// What other layers gave and this one, or one behind it, still reads.
    pub fn kept(&self, layer: usize) -> impl Iterator<Item = Place> + '_ {
        self.layers[..layer].iter().filter(move |before| before.read_until >= layer).map(|before| before.output)
    }
}

/// A layer of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedLayer {
    /// Name of its first node, or that node's position.
    pub name: String,
    /// What computes it.
    pub family: &'static str,
    /// Multiply-accumulates of one example, BatchNorm folded.
    pub macs: usize,
    /// Bytes of its weights as they lie in flash.
    pub stream_bytes: usize,
    /// About how many instructions it takes on a Cortex-M4; nothing of LeNet's own families.
    pub instructions: Option<usize>,
    /// Where its results lie.
    pub output: Place,
    /// Where it works, if it needs memory.
    pub scratch: Option<Place>,
    /// Position of the last layer that reads its results.
    pub read_until: usize,
}

/// Bytes of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The first of them.
    pub at: usize,
    /// How many.
    pub bytes: usize,
}

impl Place {
    fn of(at: u32, words: usize) -> Self {
        Self { at: WORD * at as usize, bytes: WORD * words }
    }

    /// The byte behind the last.
    pub fn end(self) -> usize {
        self.at + self.bytes
    }
}

impl Plan {
    /// The plan that `export` would take for a network.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first layer that no family computes.
    pub fn of_network(network: &Network) -> Result<Self> {
        let topology = network.topology();
        let steps = steps(network)?;
        let planned = steps.iter().map(|step| {
            let family = Family::of_number(step.family).expect("a plan's families are known");
            (*step, family, family.takes(&topology, step.first.into()).expect("the plan's family takes it"))
        });
        Ok(Self::new(network, planned))
    }

    /// The plan of a file of a network.
    pub fn of_file(network: &Network, file: &WeightsFile) -> Self {
        Self::new(network, file.steps().iter().map(|step| (step.step, step.family, step.shapes)))
    }

    fn new(network: &Network, steps: impl Iterator<Item = (Step, Family, Shapes)>) -> Self {
        let topology = network.topology();
        let steps: Vec<_> = steps.collect();
        let last_reader = |node: u16| {
            let readers = topology.readers(Value::Node(node.into()));
            readers.filter_map(|node| steps.iter().position(|(step, ..)| node <= step.last.into())).max()
        };
        let layers: Vec<PlannedLayer> = steps
            .iter()
            .enumerate()
            .map(|(at, &(step, family, shapes))| {
                let nodes = usize::from(step.first)..=usize::from(step.last);
                let layer = family.layer(&topology, step.first.into());
                PlannedLayer {
                    name: network.module(step.first.into()).into_owned(),
                    family: family.name(),
                    macs: nodes.map(|node| topology.nodes[node].op.macs(topology.input_of(node))).sum(),
                    stream_bytes: WORD * shapes.stream,
                    instructions: layer.map(|layer| layer.kernel.cost()),
                    output: Place::of(step.output, shapes.output),
                    scratch: (shapes.scratch > 0).then(|| Place::of(step.scratch, shapes.scratch)),
                    read_until: last_reader(step.last).unwrap_or(at),
                }
            })
            .collect();
        let ends = layers.iter().flat_map(|layer| [Some(layer.output), layer.scratch]).flatten().map(Place::end);
        Self {
            network: network.texts().network,
            macs: layers.iter().map(|layer| layer.macs).sum(),
            stream_bytes: layers.iter().map(|layer| layer.stream_bytes).sum(),
            arena_bytes: ends.max().unwrap_or(0),
            layers,
        }
    }
}

/// The steps of a network.
///
/// # Errors
/// [`Error::Refused`] with the first layer that no family computes.
pub fn steps(network: &Network) -> Result<Vec<Step>> {
    bn_core::plan::plan(&network.topology()).map_err(|node| Error::Refused {
        problem: format!("no kernel computes node {} of {}", network.module(node), network.name()),
        remedy: "change that layer".into(),
    })
}
