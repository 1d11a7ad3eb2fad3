//! What each layer of an inference takes, beside what CMSIS-NN takes for the same network. No I/O.

use std::collections::BTreeMap;
use std::ops::Range;

use bn_core::file::{FileStep, WeightsFile};
use bn_core::lenet::NETWORK;
use bn_core::plan::{NONE, TABLE_WORDS, WORD};
use serde::Serialize;

use super::cortex_m4::{Cycles, Kind};
use super::trace::{Step, Trace};
use crate::device::firmware::Build;
use crate::device::machine::Machine;

/// CMSIS-NN's inference of this network on a Cortex-M4, as every framework calls it and composed at its best: instructions.
pub const CMSIS_NN: [u32; 2] = [1_538_643, 820_727];

/// What one layer takes, all the nodes that its step computes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerProfile {
    /// Name of its first node, or that node's position.
    pub name: String,
    /// The family of kernels that computes it.
    pub family: &'static str,
    /// Multiply-accumulates of the layer as the network defines it.
    pub macs: usize,
    /// Executed instructions, not cycles, the mean over all images; `None` where nothing can be counted.
    pub instructions: Option<u64>,
    /// Instructions over multiply-accumulates, where there are both.
    pub instructions_per_mac: Option<f64>,
    /// Its outputs that were compared with the host's: all of each image.
    pub outputs_compared: usize,
    /// Outputs of which at least one bit differs.
    pub outputs_differing: usize,
    /// Its weights, biases and multipliers in flash, and its table, where no layer before it has the same.
    pub flash_bytes: usize,
    /// The buffers that it is lent: its input unless that is the network's, its output, and what it works in; not known of the
    /// small build, which has a layout of its own.
    pub ram_bytes: Option<usize>,
    /// CMSIS-NN's instructions on a Cortex-M4, as every framework calls it and composed at its best; of all linear layers
    /// together, beside linear 1.
    pub cmsis_nn: Option<[u32; 2]>,
    /// What QEMU's log of every executed instruction says; only when it was asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub executed: Option<Executed>,
}

/// What QEMU's log of every executed instruction of one inference says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Executed {
    /// Executed instructions: arithmetic, moves, comparisons, and all that is none of the following.
    pub executed_arithmetic: u64,
    /// Executed multiplications, with or without addition, one or two at a time.
    pub executed_multiplications: u64,
    /// Executed loads and stores, of one register or of many.
    pub executed_loads_and_stores: u64,
    /// Executed branches and calls.
    pub executed_branches: u64,
    /// Bytes of the instructions that were executed. Code that layers share counts in each.
    pub code_bytes: u64,
    /// Cycles on a Cortex-M4 by a model, not measured; only for machines with that core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cortex_m4_cycles_modelled: Option<Cycles>,
}

impl Executed {
    fn of(steps: impl Iterator<Item = Step>, machine: Machine) -> Self {
        let (mut sum, mut cycles, mut previous) = (Self::default(), Cycles::default(), None);
        let mut code = BTreeMap::new();
        for Step { address, bytes, kind, jumped } in steps {
            *match kind {
                Kind::Multiply | Kind::FloatMultiplyAdd => &mut sum.executed_multiplications,
                Kind::Load { .. } | Kind::Store | Kind::Block { .. } => &mut sum.executed_loads_and_stores,
                Kind::Branch | Kind::TableBranch => &mut sum.executed_branches,
                _ => &mut sum.executed_arithmetic,
            } += 1;
            code.insert(address, u64::from(bytes));
            cycles += kind.cycles(jumped, previous);
            previous = Some(kind);
        }
        sum.code_bytes = code.values().sum();
        sum.cortex_m4_cycles_modelled = machine.is_cortex_m4().then_some(cycles);
        sum
    }

    /// Of everything in a log.
    pub(super) fn of_all(trace: &Trace, machine: Machine) -> Self {
        Self::of(trace.steps(0..trace.len()), machine)
    }

    /// All executed instructions.
    pub fn instructions(&self) -> u64 {
        self.executed_arithmetic
            + self.executed_multiplications
            + self.executed_loads_and_stores
            + self.executed_branches
    }
}

/// Says of each layer what was executed, and returns it of the whole inference. A layer that is no function of its own in this
/// build, or is called twice, stays without.
pub(super) fn explain(layers: &mut [LayerProfile], trace: &Trace, machine: Machine) -> Executed {
    for (step, layer) in layers.iter_mut().enumerate() {
        let name = format!("step_{step}");
        // As compilers write the last part of a path: its length, itself, the hash of its crate.
        let function = trace.function(&format!("{}{name}17h", name.len()));
        let steps: Option<Range<usize>> = function.and_then(|function| trace.execution_of(&function));
        layer.executed = steps.map(|steps| Executed::of(trace.steps(steps), machine));
    }
    Executed::of_all(trace, machine)
}

/// CMSIS-NN's instructions for the layers of LeNet, see [`LayerProfile::cmsis_nn`].
const CMSIS_NN_LENET: [[u32; 2]; 3] = [[1_025_112, 378_659], [423_338, 351_867], [90_194, 90_202]];

/// Of the steps of a file's plan: instructions of each, where there are any, and outputs of each that differ, over so many
/// images.
pub(super) fn profile(
    file: &WeightsFile,
    images: usize,
    counts: Option<&[u64]>,
    differing: &[usize],
    build: Build,
) -> Vec<LayerProfile> {
    let is_lenet = file.header().topology == NETWORK.topology.digest();
    let of = |(at, step): (usize, &FileStep)| {
        let macs = file.step_macs(at);
        let sum = counts.and_then(|counts| counts.get(at).copied());
        let instructions = sum.map(|sum| (sum + images as u64 / 2) / images.max(1) as u64);
        LayerProfile {
            name: file.step_name(at),
            family: step.family.name(),
            macs,
            instructions,
            instructions_per_mac: instructions.filter(|_| macs > 0).map(|count| count as f64 / macs as f64),
            outputs_compared: images * file.step_shape(at).len(),
            outputs_differing: differing[at],
            flash_bytes: flash_bytes(file, at, build),
            ram_bytes: (build != Build::Small).then(|| ram_bytes(step)),
            cmsis_nn: CMSIS_NN_LENET.get(at).copied().filter(|_| is_lenet),
            executed: None,
        }
    };
    file.steps().iter().enumerate().map(of).collect()
}

/// The stream of a step, and its table where it is the first to read it.
fn flash_bytes(file: &WeightsFile, at: usize, build: Build) -> usize {
    let FileStep { shapes, table_at, .. } = file.steps()[at];
    let is_new = table_at.is_some() && file.steps()[..at].iter().all(|before| before.table_at != table_at);
    // The small build has half of each table.
    let table = if build == Build::Small { TABLE_WORDS / 2 } else { TABLE_WORDS };
    WORD * (shapes.stream + if is_new { table } else { 0 })
}

fn ram_bytes(FileStep { step, shapes, .. }: &FileStep) -> usize {
    let input = if step.input == NONE { 0 } else { shapes.input };
    WORD * (input + shapes.output + shapes.scratch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;
    use crate::quantize::Quantized;

    /// LeNet with weights of zero.
    fn lenet() -> WeightsFile {
        let mut streams: Box<bn_core::lenet::Streams> = bytemuck::zeroed_box();
        streams.linear1_multiplier.as_flattened_mut().fill(1);
        streams.linear2_multiplier.as_flattened_mut().fill(1);
        streams.linear3_multiplier.as_flattened_mut()[..10].fill(1);
        Quantized { streams, logit_fraction_bits: 0 }.write(&Network::lenet()).unwrap()
    }

    #[test]
    fn the_layers_are_the_networks() {
        let file = lenet();
        let layers = profile(&file, 2, Some(&[14; 5]), &[3; 5], Build::Default);
        assert!(layers.iter().all(|layer| (layer.instructions, layer.outputs_differing) == (Some(7), 3)));
        assert_eq!(layers.iter().map(|layer| layer.outputs_compared).sum::<usize>(), 2 * (864 + 256 + 120 + 84 + 10));
        assert_eq!(layers.iter().map(|layer| layer.macs).sum::<usize>(), bn_core::lenet::MACS);
        assert_eq!(layers.iter().map(|layer| layer.flash_bytes).sum::<usize>(), WORD * file.streams().len());
        let of_cmsis_nn = layers.iter().filter_map(|layer| layer.cmsis_nn).map(|[as_called, _]| as_called).sum::<u32>();
        assert!(of_cmsis_nn.abs_diff(CMSIS_NN[0]) < 10, "its layers are all of it");
    }

    #[test]
    fn no_layer_is_lent_more_than_there_is() {
        let file = lenet();
        let most = profile(&file, 1, None, &[0; 5], Build::Default).iter().filter_map(|layer| layer.ram_bytes).max();
        assert_eq!(most, Some(WORD * file.arena_words()));
    }

    #[test]
    fn executed_instructions_are_sorted_and_weighed() {
        let step = |address, kind, jumped| Step { address, bytes: 2, kind, jumped };
        let loop_twice = [
            step(0, Kind::Load { literal: false }, false),
            step(2, Kind::Multiply, false),
            step(4, Kind::Branch, true),
            step(0, Kind::Load { literal: false }, false),
            step(2, Kind::Multiply, false),
            step(4, Kind::Branch, false),
        ];
        let sum = Executed::of(loop_twice.into_iter(), Machine::Netduinoplus2);
        assert_eq!((sum.executed_multiplications, sum.executed_loads_and_stores, sum.executed_branches), (2, 2, 2));
        assert_eq!((sum.instructions(), sum.code_bytes), (6, 6));
        assert_eq!(sum.cortex_m4_cycles_modelled, Some(Cycles { least: 9, most: 11 }));
        assert_eq!(Executed::of([].into_iter(), Machine::Microbit).cortex_m4_cycles_modelled, None);
    }
}
