//! What each layer of an inference takes, beside what CMSIS-NN takes for the same network. No I/O.

use bn_core::arch::{LINEAR1_QUADS, LINEAR2_QUADS};
use bn_core::format::{FIELDS, LAYERS, Layer};
use bn_core::lenet::{CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, KERNEL, LINEAR1, LINEAR2};
use bn_core::quant::{Pair, Quad};
use serde::Serialize;

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
    /// Its weights, biases and multipliers in flash; tables are shared by name.
    pub flash_bytes: usize,
    /// The buffer that it fills.
    pub output_bytes: usize,
    /// CMSIS-NN's instructions on a Cortex-M4, as every framework calls it and composed at its best; of all linear layers
    /// together, beside linear 1.
    pub cmsis_nn: Option<[u32; 2]>,
}

const ALL: [(Layer, &str, usize); LAYERS] = [
    (Layer::Conv1, "conv1_", CONV1_CHANNELS * CONV1_SIDE * CONV1_SIDE * KERNEL * KERNEL),
    (Layer::Conv2, "conv2_", CONV2_CHANNELS * CONV2_SIDE * CONV2_SIDE * CONV1_CHANNELS * KERNEL * KERNEL),
    (Layer::Linear1, "linear1_", FLAT * LINEAR1),
    (Layer::Linear2, "linear2_", LINEAR1 * LINEAR2),
    (Layer::Linear3, "linear3_", LINEAR2 * CLASSES),
];

/// Of the counts of each layer.
pub(super) fn profile(counts: [u32; LAYERS]) -> Vec<LayerProfile> {
    ALL.into_iter()
        .zip(counts)
        .map(|((layer, prefix, macs), instructions)| LayerProfile {
            layer: layer.to_string(),
            instructions,
            macs,
            instructions_per_mac: f64::from(instructions) / macs as f64,
            flash_bytes: FIELDS.iter().filter(|field| field.name.starts_with(prefix)).map(|field| field.bytes).sum(),
            output_bytes: match layer {
                Layer::Conv1 => size_of::<bn_core::arch::Pooled1>(),
                Layer::Conv2 => FLAT / 4 * size_of::<Quad>(),
                Layer::Linear1 => LINEAR1_QUADS * size_of::<Quad>(),
                Layer::Linear2 => LINEAR2_QUADS * size_of::<Quad>(),
                Layer::Linear3 => CLASSES * size_of::<Pair>(),
            },
            cmsis_nn: match layer {
                Layer::Conv1 => Some([1_025_112, 378_659]),
                Layer::Conv2 => Some([423_338, 351_867]),
                Layer::Linear1 => Some([90_194, 90_202]),
                _ => None,
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_are_the_networks() {
        let layers = profile([7; LAYERS]);
        assert_eq!(layers.iter().map(|layer| layer.macs).sum::<usize>(), bn_core::lenet::MACS);
        let header = FIELDS.iter().position(|field| field.name == "conv1_bias").expect("a field");
        let parameters: usize = FIELDS[header..].iter().map(|field| field.bytes).sum();
        let shared = FIELDS.last().expect("a field").bytes;
        assert_eq!(layers.iter().map(|layer| layer.flash_bytes).sum::<usize>(), parameters - shared);
    }
}
