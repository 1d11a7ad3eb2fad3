//! Networks of other kinds than LeNet against PyTorch: 20 steps in f64 from the same start on the same batches. See
//! `golden/networks.py`.

use std::sync::Arc;

use host_trainer::data::{Inputs, Split, Values};
use host_trainer::engine::Engine;
use host_trainer::engine::reference::Reference;
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::network::{Network, text};
use safetensors::{Dtype, SafeTensors};
use tests::golden;

/// Of the norm of each tensor, and of each loss.
const TOLERANCE: f64 = 1e-9;
const BATCH: usize = 16;
const LR: f64 = 0.1;

fn f64s(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
        Dtype::F64 => view.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

/// Tensors under `init.` or `after.`, as PyTorch names them behind that.
fn parameters(file: &SafeTensors<'_>, network: &Arc<Network>, when: &str) -> Parameters {
    let tensors = network.tensor_names().iter().map(|name| f64s(file, &format!("{when}.{name}"))).collect();
    Parameters { network: network.clone(), tensors, variance: Variance::Unbiased }
}

fn split(file: &SafeTensors<'_>, network: &Network) -> Split {
    let inputs = file.tensor("inputs").unwrap();
    let values = match inputs.dtype() {
        Dtype::U8 => Values::U8(inputs.data().to_vec()),
        _ => Values::F32(f64s(file, "inputs").into_iter().map(|v| v as f32).collect()),
    };
    let labels = file.tensor("labels").map_or(Vec::new(), |labels| labels.data().to_vec());
    Split { inputs: Inputs::new(network.input(), values), labels }
}

fn twenty_steps_are_pytorchs(name: &str) {
    let description = String::from_utf8(golden(&format!("networks/{name}.net"))).unwrap();
    let network = Arc::new(text::parse(&description).unwrap_or_else(|mistake| panic!("{name}.net: {mistake}")));
    let bytes = golden(&format!("networks/{name}.safetensors"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let order = file.tensor("order").unwrap();
    let order: Vec<u32> = order.data().as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();

    let split = split(&file, &network);
    let mut engine = Reference::<f64>::of(&parameters(&file, &network, "init"));
    for (batch, loss) in order.chunks_exact(BATCH).zip(f64s(&file, "losses")) {
        let found = engine.train(&split, batch, BATCH, LR).unwrap().mean_loss();
        assert!((found / loss - 1.0).abs() < TOLERANCE, "{name}: loss {found} for {loss}");
    }

    let (found, expected) = (engine.parameters(), parameters(&file, &network, "after"));
    for ((tensor, found), expected) in network.tensor_names().iter().zip(&found.tensors).zip(&expected.tensors) {
        assert_eq!(found.len(), expected.len(), "{name} {tensor}");
        let distance = found.iter().zip(expected).map(|(a, e)| (a - e).powi(2)).sum::<f64>().sqrt();
        let norm = expected.iter().map(|e| e.powi(2)).sum::<f64>().sqrt();
        assert!(distance <= TOLERANCE * norm, "{name} {tensor}: {:e} of its norm", distance / norm);
    }
}

#[test]
fn padded_convolutions_with_relu6_and_max_pool() {
    twenty_steps_are_pytorchs("padded");
}

#[test]
fn depthwise_convolutions_with_a_residual_and_hard_swish() {
    twenty_steps_are_pytorchs("depthwise");
}

#[test]
fn pointwise_convolutions_with_a_global_pool() {
    twenty_steps_are_pytorchs("pointwise");
}

#[test]
fn a_sequence_with_strides() {
    twenty_steps_are_pytorchs("strided");
}

#[test]
fn an_autoencoder_with_mean_squared_error() {
    twenty_steps_are_pytorchs("reconstruction");
}
