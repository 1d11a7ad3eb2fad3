//! What the kernels are told at compile time: the shapes of [`bn_core::lenet`], where each tensor lies, and how every kernel
//! is launched. [`definitions`] writes it as the header that all of `kernels/` is compiled with.

use std::fmt::Write;

use bn_core::lenet::{
    CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, IMAGE_SIDE, KERNEL, LINEAR1, LINEAR2,
    PIXELS, POOL, POOL1_SIDE, POOL2_SIDE, TENSORS,
};
use bn_core::network::Role;

use crate::data::augment::{DOWN_AT, FLIP, RIGHT_AT, SHIFT_BITS};
use crate::engine::MOMENTUM;
use crate::engine::steps::{ADAM_EPS, BETA1, BETA2, Treatment, treatments as of_network};
use crate::network::Network;

/// Threads of a warp.
pub(super) const LANES: usize = 32;
/// Neighbouring outputs that a thread of a convolution computes.
const VECTOR: usize = 4;
/// Examples whose gradients a block of a convolution's backward pass adds up.
pub(super) const EXAMPLES_PER_BLOCK: usize = 2;
/// Blocks of the persistent kernel that share the linear layers of their examples.
pub(super) const BLOCKS_PER_TEAM: usize = 8;
/// Threads a block of `conv2d_1_forward`: four neighbours each, whole warps.
pub(super) const CONV1_THREADS: usize = (CONV1_SIDE * CONV1_SIDE / VECTOR).next_multiple_of(LANES);
/// Threads a block of `conv2d_2_forward` and of `infer`.
pub(super) const CONV2_THREADS: usize = CONV2_CHANNELS * CONV2_SIDE * CONV2_SIDE / VECTOR;
/// Threads a block of `conv2d_1_backward`.
pub(super) const CONV1_BACKWARD_THREADS: usize = 256;
/// Threads a block of `conv2d_2_backward`: one for each row of each kernel.
pub(super) const CONV2_BACKWARD_THREADS: usize = CONV2_CHANNELS * CONV1_CHANNELS * KERNEL;
/// Threads a block of the linear layers, and how many examples are in flight.
pub(super) const LINEAR_THREADS: usize = 256;
/// Threads a block of what sums slots or walks over the parameters.
pub(super) const SUM_THREADS: usize = 256;
/// Threads a block of `persistent_train`: those of conv2 for each of its examples.
pub(super) const PERSISTENT_THREADS: usize = EXAMPLES_PER_BLOCK * CONV2_THREADS;
/// Bytes of shared memory a block of `persistent_train` asks for, all that consumers' GPUs have; the kernel's structure fits in.
pub(super) const PERSISTENT_SHARED: usize = 99 * 1024;
/// Likewise in clusters: pairs of floats of a team's flat features and of the gradient of a block's own ones come on top.
pub(super) const CLUSTER_SHARED: usize = PERSISTENT_SHARED + (BLOCKS_PER_TEAM + 1) * FLAT * 2 * size_of::<f32>();
/// Floats of the persistent kernel's workspace an example: what the gradients of the linear layers are made of.
pub(super) const WORKSPACE_PER_EXAMPLE: usize = FLAT + 2 * (LINEAR1 + LINEAR2) + CLASSES.next_multiple_of(VECTOR);
/// The most blocks of `persistent_train`: the exchange has room for as many.
pub(super) const PERSISTENT_BLOCKS: usize = 128;
/// Pairs of floats that blocks exchange: the barriers' counters, slots of BatchNorm forward and backward a block or a team, the
/// teams' losses, and values of each block's examples in the linear layers.
pub(super) const EXCHANGE_PAIRS: usize = 2
    + PERSISTENT_BLOCKS * (2 * (CONV1_CHANNELS + CONV2_CHANNELS) + 2 * FLAT + 2 * LINEAR1 + LINEAR2)
    + PERSISTENT_BLOCKS / BLOCKS_PER_TEAM * (2 * (LINEAR1 + LINEAR2) + 1);
/// Weights of both convolutions. (A bias before a BatchNorm has no gradient.)
pub(super) const CONV_WEIGHTS: usize = (CONV1_CHANNELS + CONV2_CHANNELS * CONV1_CHANNELS) * KERNEL * KERNEL;
/// Channels of all BatchNorms.
pub(super) const BN_CHANNELS: usize = CONV1_CHANNELS + CONV2_CHANNELS + LINEAR1 + LINEAR2;
/// Values of all tensors, the moving statistics among them.
pub(super) const PARAMETERS: usize = parameters();

/// Floats that the host sets for every call: `eps`, 1 for unbiased statistics, label smoothing, a teacher's weight (0: none) and its
/// temperature.
pub(super) const SETTING_COUNT: usize = 5;
/// Floats that the host sets for every step: `rate`, `decay` and `root` of [`Coefficients`](crate::engine::steps::Coefficients).
pub(super) const COEFFICIENT_COUNT: usize = 3;
/// Doubles that the host reads after every call.
pub(super) const TOTAL_COUNT: usize = 4;
/// Position of the sum of losses.
pub(super) const TOTAL_LOSS: usize = 0;
/// Position of the number of hits.
pub(super) const TOTAL_CORRECT: usize = 1;
/// Position of the number of examples.
pub(super) const TOTAL_EXAMPLES: usize = 2;
/// Position of the flag that a loss was not finite.
pub(super) const TOTAL_STOPPED: usize = 3;

const fn parameters() -> usize {
    let mut sum = 0;
    let mut i = 0;
    while i < TENSORS.len() {
        sum += TENSORS[i].len();
        i += 1;
    }
    sum
}

/// The module of a tensor's name as the kernels call it.
const MODULES: [(&str, &str); 9] = [
    ("0", "CONV1"),
    ("1", "BN1"),
    ("4", "CONV2"),
    ("5", "BN2"),
    ("9", "LINEAR1"),
    ("10", "BN3"),
    ("12", "LINEAR2"),
    ("13", "BN4"),
    ("15", "LINEAR3"),
];

/// Dimensions, counts and launch sizes.
const SIZES: [(&str, usize); 31] = [
    ("IMAGE_SIDE", IMAGE_SIDE),
    ("PIXELS", PIXELS),
    ("KERNEL", KERNEL),
    ("POOL", POOL),
    ("CONV1_CHANNELS", CONV1_CHANNELS),
    ("CONV1_SIDE", CONV1_SIDE),
    ("POOL1_SIDE", POOL1_SIDE),
    ("CONV2_CHANNELS", CONV2_CHANNELS),
    ("CONV2_SIDE", CONV2_SIDE),
    ("POOL2_SIDE", POOL2_SIDE),
    ("FLAT", FLAT),
    ("LINEAR1", LINEAR1),
    ("LINEAR2", LINEAR2),
    ("CLASSES", CLASSES),
    ("CONV_WEIGHTS", CONV_WEIGHTS),
    ("EXAMPLES_PER_BLOCK", EXAMPLES_PER_BLOCK),
    ("BLOCKS_PER_TEAM", BLOCKS_PER_TEAM),
    ("CONV1_THREADS", CONV1_THREADS),
    ("CONV2_THREADS", CONV2_THREADS),
    ("CONV1_BACKWARD_THREADS", CONV1_BACKWARD_THREADS),
    ("CONV2_BACKWARD_THREADS", CONV2_BACKWARD_THREADS),
    ("LINEAR_THREADS", LINEAR_THREADS),
    ("SUM_THREADS", SUM_THREADS),
    ("PERSISTENT_THREADS", PERSISTENT_THREADS),
    ("PERSISTENT_SHARED", PERSISTENT_SHARED),
    ("CLUSTER_SHARED", CLUSTER_SHARED),
    ("WORKSPACE_PER_EXAMPLE", WORKSPACE_PER_EXAMPLE),
    ("PERSISTENT_BLOCKS", PERSISTENT_BLOCKS),
    ("EXCHANGE_PAIRS", EXCHANGE_PAIRS),
    ("TOTAL_COUNT", TOTAL_COUNT),
    ("COEFFICIENT_COUNT", COEFFICIENT_COUNT),
];

/// Positions in buffers that do not follow from the table of tensors.
const POSITIONS: [(&str, usize); 18] = [
    ("PARAMETERS", PARAMETERS),
    ("BN1", 0),
    ("BN2", CONV1_CHANNELS),
    ("BN3", CONV1_CHANNELS + CONV2_CHANNELS),
    ("BN4", CONV1_CHANNELS + CONV2_CHANNELS + LINEAR1),
    ("BN_CHANNELS", BN_CHANNELS),
    ("SETTING_EPS", 0),
    ("SETTING_UNBIASED", 1),
    ("SETTING_LABEL_SMOOTHING", 2),
    ("SETTING_TEACHER_WEIGHT", 3),
    ("SETTING_TEMPERATURE", 4),
    ("COEFFICIENT_RATE", 0),
    ("COEFFICIENT_DECAY", 1),
    ("COEFFICIENT_ROOT", 2),
    ("TOTAL_LOSS", TOTAL_LOSS),
    ("TOTAL_CORRECT", TOTAL_CORRECT),
    ("TOTAL_EXAMPLES", TOTAL_EXAMPLES),
    ("TOTAL_STOPPED", TOTAL_STOPPED),
];

/// How a sample's word is read, see [`crate::data::augment`], and what AdamW does with a parameter.
const CODES: [(&str, u32); 7] = [
    ("SAMPLE_FLIP", FLIP),
    ("SAMPLE_SHIFT_BITS", SHIFT_BITS),
    ("SAMPLE_RIGHT_AT", RIGHT_AT),
    ("SAMPLE_DOWN_AT", DOWN_AT),
    ("TREATMENT_KEEP", Treatment::Keep as u32),
    ("TREATMENT_STEP", Treatment::Step as u32),
    ("TREATMENT_STEP_AND_DECAY", Treatment::StepAndDecay as u32),
];

/// What AdamW does with each of the [`PARAMETERS`], as the kernel reads it.
pub(super) fn treatments() -> Vec<u8> {
    let treatments = of_network(&Network::lenet());
    TENSORS.iter().zip(treatments).flat_map(|(spec, treatment)| vec![treatment as u8; spec.len()]).collect()
}

/// The header `kernels/lenet.h`.
pub fn definitions() -> String {
    let mut text = String::from(
        "// Written by host-trainer/src/engine/cuda/shapes.rs from bn-core/src/lenet.rs; a test compares. Do not edit.\n\
         #pragma once\n\n// Shapes, counts and threads a block.\n",
    );
    for (name, value) in SIZES {
        line(&mut text, "int", name, &value.to_string());
    }
    text.push_str("\n// Weight of the newest batch in the moving statistics.\n");
    line(&mut text, "float", "MOMENTUM", &format!("{MOMENTUM}f"));
    text.push_str("\n// AdamW's weights of the old means, and what keeps it from dividing by zero.\n");
    for (name, value) in [("BETA1", BETA1), ("BETA2", BETA2), ("ADAM_EPS", ADAM_EPS)] {
        line(&mut text, "float", name, &format!("{value:?}f"));
    }
    text.push_str("\n// How a sample's word is read, and what AdamW does with a parameter.\n");
    for (name, value) in CODES {
        line(&mut text, "unsigned", name, &value.to_string());
    }
    text.push_str("\n// Channels in batch_mean and batch_var, and places in settings, coefficients and totals.\n");
    for (name, value) in POSITIONS {
        line(&mut text, "unsigned", name, &value.to_string());
    }
    text.push_str("\n// Where each tensor begins in parameters and gradients.\n");
    let mut position = 0;
    for spec in &TENSORS {
        line(&mut text, "unsigned", &tensor_name(spec.name, spec.role), &position.to_string());
        position += spec.len();
    }
    text
}

fn line(text: &mut String, kind: &str, name: &str, value: &str) {
    writeln!(text, "constexpr {kind} {name} = {value};").expect("a String takes every line");
}

/// `AT_CONV1_WEIGHT` for `0.weight`.
fn tensor_name(name: &str, role: Role) -> String {
    let module = name.split('.').next().expect("module.tensor");
    let module = MODULES.iter().find(|(index, _)| *index == module).expect("every module has a name").1;
    let tensor = match role {
        Role::Weight => "WEIGHT",
        Role::Bias => "BIAS",
        Role::Gamma => "GAMMA",
        Role::Beta => "BETA",
        Role::RunningMean => "RUNNING_MEAN",
        Role::RunningVar => "RUNNING_VAR",
    };
    format!("AT_{module}_{tensor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/lenet.h");

    #[test]
    fn the_header_of_the_kernels_is_current() {
        if std::env::var_os("BN_LENET_WRITE").is_some() {
            std::fs::write(HEADER, definitions()).unwrap();
        }
        let current = std::fs::read_to_string(HEADER).unwrap();
        assert!(current == definitions(), "write it anew: BN_LENET_WRITE=1 cargo test -p host-trainer cuda::shapes");
    }

    #[test]
    fn every_tensor_has_a_place() {
        assert_eq!(PARAMETERS, bn_core::lenet::TRAINED_PARAMETERS + 2 * BN_CHANNELS);
        let header = definitions();
        assert!(header.contains("AT_CONV1_WEIGHT = 0;") && header.contains("AT_CONV1_BIAS = 150;"), "{header}");
    }
}
