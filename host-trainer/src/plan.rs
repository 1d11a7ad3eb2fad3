//! What the device will run: by which family each layer, what it takes, and where its tensors lie.

use bn_core::file::{FileStep, WeightsFile};
use bn_core::kernels::Core;
use bn_core::network::Shape;
use bn_core::plan::{Family, Goal, NoPlan, Step, WORD, flash_bytes, read_until};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::network::Network;

/// A plan, for people and for JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Name of the network.
    pub network: String,
    /// Short name of the core whose instructions are told.
    pub core: &'static str,
    /// Multiply-accumulates of one example.
    pub macs: usize,
    /// Bytes of all streams of weights.
    pub stream_bytes: usize,
    /// Bytes of the file that a firmware links: streams, tables, the description; code comes on top.
    pub flash_bytes: usize,
    /// Memory of an inference in bytes; the input and the stack come on top.
    pub arena_bytes: usize,
    /// One entry a layer, in the order of their work.
    pub layers: Vec<PlannedLayer>,
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
    /// About how many instructions it takes on the core; nothing of LeNet's own families.
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
    /// As [`steps`].
    pub fn of_network(network: &Network, goal: &Goal) -> Result<Self> {
        Ok(Self::new(network, &steps(network, goal)?, goal.core))
    }

    /// The plan of a file of a network, with the instructions of a core.
    ///
    /// # Errors
    /// [`Error::Refused`] where it needs more than the budgets.
    pub fn of_file(network: &Network, file: &WeightsFile, goal: &Goal) -> Result<Self> {
        let steps: Vec<Step> = file.steps().iter().map(|step| step.step).collect();
        check_budgets(network, file, goal)?;
        Ok(Self::new(network, &steps, goal.core))
    }

    fn new(network: &Network, steps: &[Step], core: Core) -> Self {
        let topology = network.topology();
        let ends: Vec<usize> = steps.iter().map(|step| step.last.into()).collect();
        let layers: Vec<PlannedLayer> = steps
            .iter()
            .enumerate()
            .map(|(at, step)| {
                let family = Family::of_number(step.family).expect("a plan's families are known");
                let first = step.first.into();
                let shapes = family.takes(&topology, first).expect("the plan's family takes it");
                PlannedLayer {
                    name: network.module(first).into_owned(),
                    family: family.name(),
                    macs: step.macs(&topology),
                    stream_bytes: WORD * shapes.stream,
                    instructions: family.layer(&topology, first).map(|layer| layer.kernel.cost(core)),
                    output: Place::of(step.output, shapes.output),
                    scratch: (shapes.scratch > 0).then(|| Place::of(step.scratch, shapes.scratch)),
                    read_until: read_until(&topology, &ends, at),
                }
            })
            .collect();
        let places = layers.iter().flat_map(|layer| [Some(layer.output), layer.scratch]).flatten();
        Self {
            network: network.texts().network,
            core: core.name(),
            macs: layers.iter().map(|layer| layer.macs).sum(),
            stream_bytes: layers.iter().map(|layer| layer.stream_bytes).sum(),
            flash_bytes: flash_bytes(&network.view(), steps),
            arena_bytes: places.map(Place::end).max().unwrap_or(0),
            layers,
        }
    }

    /// What other layers gave and this one, or one behind it, still reads.
    pub fn kept(&self, layer: usize) -> impl Iterator<Item = Place> + '_ {
        self.layers[..layer].iter().filter(move |before| before.read_until >= layer).map(|before| before.output)
    }
}

/// Checks that a file keeps to budgets.
///
/// # Errors
/// [`Error::Refused`] with what it needs.
pub fn check_budgets(network: &Network, file: &WeightsFile, goal: &Goal) -> Result<()> {
    let needs = [(file.model_bytes().len(), goal.flash, "flash"), (WORD * file.arena_words(), goal.ram, "ram")];
    match needs.into_iter().find(|(bytes, most, _)| most.is_some_and(|most| *bytes > most)) {
        Some((bytes, Some(most), flag)) => Err(Error::Refused {
            problem: format!("{} takes {bytes} bytes, and --{flag} is {most}", network.name()),
            remedy: "give it more".into(),
        }),
        _ => Ok(()),
    }
}

/// The steps of a network.
///
/// # Errors
/// [`Error::Refused`] with the first layer that no family computes, or with the least that a budget must be and the layer that
/// stands in the way.
pub fn steps(network: &Network, goal: &Goal) -> Result<Vec<Step>> {
    let of = |first: usize| network.module(first);
    bn_core::plan::plan(&network.view(), goal).map_err(|no| {
        let (problem, remedy) = match no {
            NoPlan::Node(node) => {
                (format!("no kernel computes node {} of {}", of(node), network.name()), "change that layer")
            }
            NoPlan::Flash { least, first, bytes } => (
                format!(
                    "{} takes at least {least} bytes of flash, {bytes} of them for layer {}, and --flash is {}",
                    network.name(),
                    of(first),
                    goal.flash.unwrap_or(0)
                ),
                "give it more, or make that layer smaller",
            ),
            NoPlan::Ram { least, first } => {
                let within = goal.flash.map_or(String::new(), |flash| format!(" within --flash {flash}"));
                (
                    format!(
                        "{} takes at least {least} bytes of RAM{within}, for layer {}, and --ram is {}",
                        network.name(),
                        of(first),
                        goal.ram.unwrap_or(0)
                    ),
                    if goal.flash.is_some() {
                        "give it more of either, or make that layer smaller"
                    } else {
                        "give it more, or make that layer smaller"
                    },
                )
            }
            other => (format!("{}: {other}", network.name()), "change that layer"),
        };
        Error::Refused { problem, remedy: remedy.into() }
    })
}

/// Checks that a file has another's plan, so that a device that was made for that one takes it.
///
/// # Errors
/// [`Error::Refused`] with the first layer that differs.
pub fn check_same(file: &WeightsFile, old: &WeightsFile) -> Result<()> {
    if file.header().plan == old.header().plan {
        return Ok(());
    }
    let steps =
        |file: &WeightsFile| (0..file.steps().len()).map(|at| (file.steps()[at], file.step_shape(at))).collect();
    let (ours, theirs): (Vec<(FileStep, Shape)>, Vec<_>) = (steps(file), steps(old));
    let differs = ours.iter().zip(&theirs).position(|((ours, shape), (theirs, old_shape))| {
        (ours.step, ours.family, shape) != (theirs.step, theirs.family, old_shape)
    });
    let problem = match differs {
        Some(at) if ours[at].1 != theirs[at].1 => {
            format!("layer {} gives {} and in the file of --plan {}", file.step_name(at), ours[at].1, theirs[at].1)
        }
        Some(at) => format!("layer {} has another kernel or place than in the file of --plan", file.step_name(at)),
        None => format!("the network has {} layers and the file of --plan {}", ours.len(), theirs.len()),
    };
    Err(Error::Refused { problem, remedy: "export it without --plan and build the firmware with that file".into() })
}
