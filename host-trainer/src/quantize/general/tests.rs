//! Networks of every kind, with weights as training begins with them: their integers say what f32 says, and what the file holds is
//! what was calibrated.

use std::sync::Arc;

use bn_core::plan::{Goal, plan};

use super::*;
use crate::engine::init::kaiming_parameters;
use crate::model::inference::{dequantized, int8, outputs};
use crate::model::parameters::Variance;
use crate::network::{Network, shipped, text};

/// Nodes of every kind, for inputs of 3x9x9.
pub(super) const KINDS: [&str; 9] = [
    "conv2d 6 3x3 pad 1 | batch_norm | leaky_relu slope 0.1\nglobal_avg_pool | linear 3",
    "conv2d 6 3x2 pad 0,1,2,0 stride 2x1 | hard_swish\nmax_pool2d 2x2 pad 1 | flatten | linear 4",
    "batch_norm | conv2d 4 3x3 | tanh\navg_pool2d 3x3 stride 2 pad 1 | flatten | batch_norm | linear 3",
    "conv2d 4 3x3 | relu6\navg_pool2d 3x3 stride 2 pad 1 exclude_pad | flatten | linear 3 | relu",
    "depthwise 3x3 pad 1 multiplier 3 | batch_norm | sigmoid\nconv2d 5 1x1 as a | relu as b\nconv2d 5 3x3 pad 1 | add b | hard_sigmoid\nglobal_max_pool | linear 2",
    "relu | batch_norm | relu\nflatten | relu6 | linear 5 | batch_norm",
    "max_pool2d 2x2 | avg_pool2d 2x2 | conv2d 3 3x3 pad 1 | global_avg_pool",
    "conv2d 3 3x3 | flatten",
    "conv2d 4 1x1 as a | add a | batch_norm\nflatten | linear 3",
];

fn quantized(parameters: &Parameters, steps: &[Step], inputs: &Inputs) -> General {
    quantize(&Request { parameters, steps, inputs, keep_dead: false, fine_tuning: None }).unwrap()
}

/// Share of the outputs' squares that the integers' squared errors are.
fn relative_error(network: Network, seed: u64) -> f64 {
    let network = Arc::new(network);
    let parameters = kaiming_parameters(&network, seed, Variance::Biased);
    let inputs = Inputs::noise(&network, seed);
    let steps = plan(&network.view(), &Goal::default()).unwrap();
    let General { file, layers, activations, .. } = quantized(&parameters, &steps, &inputs);
    assert_eq!(activations.len(), steps.len());
    assert!(layers.iter().all(|layer| layer.weight_snr_db > 10.0), "{layers:?}");
    let (given, wanted) = (dequantized(&file, &int8(&file, &inputs)), outputs(&parameters, &inputs));
    let errors = given.values().iter().zip(wanted.values()).map(|(a, b)| f64::from(a - b).powi(2));
    errors.sum::<f64>() / wanted.values().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>()
}

#[test]
fn shipped_networks_keep_their_outputs() {
    // Of the deepest, untrained, noise is all that noise leaves; the trained one stands among the public networks.
    for name in ["ds_cnn", "autoencoder", "small28", "sequence"] {
        let network = shipped::get(name).unwrap();
        let error = relative_error((*network).clone(), 3);
        assert!(error < 0.02, "{name}: {error:.2e}");
    }
}

#[test]
fn every_kind_of_node_keeps_its_outputs() {
    for nodes in KINDS {
        let network = text::parse(&format!("input 3x9x9\npreprocess scale 1/255 mean 0.25 std 0.5\n{nodes}"));
        let network = network.unwrap_or_else(|fault| panic!("{nodes}: {fault}"));
        let error = relative_error(network, 5);
        assert!(error < 0.02, "{nodes}: {error:.2e}");
    }
}
