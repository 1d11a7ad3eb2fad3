//! What each layer of an inference takes, beside what CMSIS-NN takes for the same network. No I/O.

use std::collections::BTreeMap;
use std::ops::Range;

use bn_core::arch::{BLOCK, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_QUADS, LOGIT_BLOCKS, Pooled1, Window};
use bn_core::format::{FIELDS, LAYERS, Layer};
use bn_core::lenet::{CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, KERNEL, LINEAR1, LINEAR2};
use bn_core::quant::Quad;
use serde::Serialize;

use super::cortex_m4::{Cycles, Kind};
use super::machine::Machine;
use super::trace::{Step, Trace};
use crate::device::firmware::Build;

/// CMSIS-NN's inference of this network on a Cortex-M4, as every framework calls it and composed at its best: instructions.
pub const CMSIS_NN: [u32; 2] = [1_538_643, 820_727];

/// What one layer takes, its sigmoid and pool included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerProfile {
    /// Name of the layer.
    pub layer: String,
    /// Executed instructions, not cycles, on the first image.
    pub instructions: u32,
    /// Multiply-accumulates of the layer as the network defines it.
    pub macs: usize,
    /// Instructions over these.
    pub instructions_per_mac: f64,
    /// Its weights, biases, multipliers and convolution's table in flash; the table of the linear layers is theirs in common.
    pub flash_bytes: usize,
    /// The buffers that it is lent: its input unless that is the image, its output, and what it works in.
    pub ram_bytes: usize,
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
    for (layer, (_, prefix, _)) in layers.iter_mut().zip(ALL) {
        let name = prefix.trim_end_matches('_');
        // As compilers write the last part of a path: its length, itself, the hash of its crate.
        let function = trace.function(&format!("{}{name}17h", name.len()));
        let steps: Option<Range<usize>> = function.and_then(|function| trace.execution_of(&function));
        layer.executed = steps.map(|steps| Executed::of(trace.steps(steps), machine));
    }
    Executed::of_all(trace, machine)
}

const ALL: [(Layer, &str, usize); LAYERS] = [
    (Layer::Conv1, "conv1_", CONV1_CHANNELS * CONV1_SIDE * CONV1_SIDE * KERNEL * KERNEL),
    (Layer::Conv2, "conv2_", CONV2_CHANNELS * CONV2_SIDE * CONV2_SIDE * CONV1_CHANNELS * KERNEL * KERNEL),
    (Layer::Linear1, "linear1_", FLAT * LINEAR1),
    (Layer::Linear2, "linear2_", LINEAR1 * LINEAR2),
    (Layer::Linear3, "linear3_", LINEAR2 * CLASSES),
];

/// Of the counts of each layer.
pub(super) fn profile(counts: [u32; LAYERS], build: Build) -> Vec<LayerProfile> {
    ALL.into_iter()
        .zip(counts)
        .map(|((layer, prefix, macs), instructions)| LayerProfile {
            layer: layer.to_string(),
            instructions,
            macs,
            instructions_per_mac: f64::from(instructions) / macs as f64,
            flash_bytes: flash_bytes(prefix, build),
            ram_bytes: ram_bytes(layer, build),
            cmsis_nn: match layer {
                Layer::Conv1 => Some([1_025_112, 378_659]),
                Layer::Conv2 => Some([423_338, 351_867]),
                Layer::Linear1 => Some([90_194, 90_202]),
                _ => None,
            },
            executed: None,
        })
        .collect()
}

/// Of the fields of a weights.bin whose names begin so.
fn flash_bytes(prefix: &str, build: Build) -> usize {
    let fields = FIELDS.iter().filter(|field| field.name.starts_with(prefix));
    // The small build has half of each table.
    let halves = |name: &str| if build == Build::Small && name.ends_with("_sigmoid") { 2 } else { 1 };
    fields.map(|field| field.bytes / halves(field.name)).sum()
}

/// Of the fields of the scratch memory, and of the logits.
fn ram_bytes(layer: Layer, build: Build) -> usize {
    let small = build == Build::Small;
    let window = if small { size_of::<Window>() / 2 } else { size_of::<Window>() };
    let pooled1 = size_of::<Pooled1>();
    let [flat, linear1, linear2] = [FLAT_QUADS, LINEAR1_QUADS, LINEAR2_QUADS].map(|quads| quads * size_of::<Quad>());
    let logits = LOGIT_BLOCKS * BLOCK * size_of::<i32>();
    match layer {
        Layer::Conv1 => window + pooled1,
        // The small build keeps these as bytes, until linear 1 makes quads of them.
        Layer::Conv2 if small => pooled1 + window + FLAT,
        Layer::Conv2 => pooled1 + window + flat,
        Layer::Linear1 if small => FLAT + flat + linear1,
        Layer::Linear1 => flat + linear1,
        Layer::Linear2 => linear1 + linear2,
        Layer::Linear3 => linear2 + logits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_are_the_networks() {
        let layers = profile([7; LAYERS], Build::Default);
        assert_eq!(layers.iter().map(|layer| layer.macs).sum::<usize>(), bn_core::lenet::MACS);
        let header = FIELDS.iter().position(|field| field.name == "conv1_bias").expect("a field");
        let parameters: usize = FIELDS[header..].iter().map(|field| field.bytes).sum();
        let shared = FIELDS.last().expect("a field").bytes;
        assert_eq!(layers.iter().map(|layer| layer.flash_bytes).sum::<usize>(), parameters - shared);
        let of_cmsis_nn = layers.iter().filter_map(|layer| layer.cmsis_nn).map(|[as_called, _]| as_called).sum::<u32>();
        assert!(of_cmsis_nn.abs_diff(CMSIS_NN[0]) < 10, "its layers are all of it");
    }

    #[test]
    fn no_layer_is_lent_more_than_there_is() {
        let most = |build| profile([0; LAYERS], build).iter().map(|layer| layer.ram_bytes).max();
        assert_eq!(most(Build::Default), Some(size_of::<Window>() + size_of::<Pooled1>() + FLAT_QUADS * 8));
        assert_eq!(most(Build::Small), Some(size_of::<Window>() / 2 + size_of::<Pooled1>() + FLAT));
        assert!(most(Build::Default) <= Some(size_of::<bn_core::Scratch>()));
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
