//! Networks of other kinds than LeNet against PyTorch: 20 steps from the same start on the same batches. See
//! `golden/networks.py`.

use std::sync::Arc;

use chacha20::ChaCha8Rng;
use host_trainer::data::{Inputs, Split, Values};
use host_trainer::engine::Engine;
use host_trainer::engine::cpu::graph::GraphCpu;
use host_trainer::engine::init::kaiming_parameters;
use host_trainer::engine::reference::Reference;
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::network::{Network, shipped, text};
use rand::{RngExt, SeedableRng};
use safetensors::{Dtype, SafeTensors};
use tests::golden;

/// Of the norm of each tensor, and of each loss: in f64, and in f32 as the engines' suite has it.
const F64: f64 = 1e-9;
const F32: f64 = 1e-3;
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
    let start = parameters(&file, &network, "init");
    let mut engines: Vec<(Box<dyn Engine>, f64)> = vec![(Box::new(Reference::<f64>::of(&start)), F64)];
    engines.extend(GraphCpu::each(&start, None).into_iter().map(|engine| (Box::new(engine) as _, F32)));
    for (mut engine, tolerance) in engines {
        let what = format!("{name}, {}", engine.device(BATCH));
        for (batch, loss) in order.chunks_exact(BATCH).zip(f64s(&file, "losses")) {
            let found = engine.train(&split, batch, BATCH, LR).unwrap().mean_loss();
            assert!((found / loss - 1.0).abs() < tolerance, "{what}: loss {found} for {loss}");
        }
        let (found, expected) = (engine.parameters(), parameters(&file, &network, "after"));
        for ((tensor, found), expected) in network.tensor_names().iter().zip(&found.tensors).zip(&expected.tensors) {
            let off = distance(found, expected);
            assert!(off <= tolerance, "{what} {tensor}: {off:e} of its norm");
        }
    }
}

/// Of the norm of what is expected.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let distance = found.iter().zip(expected).map(|(a, e)| (a - e).powi(2)).sum::<f64>().sqrt();
    let norm = expected.iter().map(|e| e.powi(2)).sum::<f64>().sqrt();
    if distance == 0.0 { 0.0 } else { distance / norm }
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

/// Inputs of any kind for a network, labels in turn.
fn noise(network: &Network, examples: usize) -> Split {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let values = (0..examples * network.input().len()).map(|_| rng.random_range(-1.0..1.0)).collect();
    let labels = (0..examples).map(|i| (i % network.output().len().min(256)) as u8).collect();
    Split { inputs: Inputs::new(network.input(), Values::F32(values)), labels }
}

#[test]
fn every_shipped_network_has_the_references_gradients() {
    shipped::all().iter().for_each(|network| assert_has_the_references_gradients(network, 7));
}

/// On every instruction set: no further from f64 than rounding to f32 takes the reference itself where it takes it furthest, give
/// or take. In a deep network on few examples a rounding that moves one value across a ReLU's kink moves gradients by percents.
fn assert_has_the_references_gradients(network: &Arc<Network>, examples: usize) {
    let (split, batch) = (noise(network, examples), (0..examples as u32).rev().collect::<Vec<_>>());
    let start = kaiming_parameters(network, 3, Variance::Unbiased);
    let (expected_outputs, expected) = Reference::<f64>::of(&start).gradients(&split, &batch).unwrap();
    let (rounded_outputs, rounded) = Reference::<f32>::of(&start).gradients(&split, &batch).unwrap();
    let evaluated = Reference::<f64>::of(&start).evaluate(&split).unwrap().loss;
    // The gradient of a bias before a BatchNorm is zero but for rounding.
    let is_compared = |at: usize| expected.tensors[at].iter().any(|d| d.abs() >= 1e-12);
    let off = |found: &Parameters, at: usize| distance(&found.tensors[at], &expected.tensors[at]);
    let compared: Vec<usize> = (0..network.parameters().len()).filter(|&at| is_compared(at)).collect();
    let allowed = compared.iter().map(|&at| 10.0 * off(&rounded, at)).fold(1e-4, f64::max);
    for mut engine in GraphCpu::each(&start, None) {
        let what = format!("{}, {examples} examples, {}", text::print(network), engine.device(examples));
        let (outputs, gradients) = engine.gradients(&split, &batch).unwrap();
        let outputs_off = distance(&outputs, &expected_outputs);
        let outputs_allowed = 1e-4_f64.max(10.0 * distance(&rounded_outputs, &expected_outputs));
        assert!(outputs_off <= outputs_allowed, "{what}: outputs off by {outputs_off:e}, allowed {outputs_allowed:e}");
        for &at in &compared {
            let (name, off) = (network.tensor_name(&network.parameters()[at]), off(&gradients, at));
            assert!(off <= allowed, "{what}, {name}: {off:e}, allowed {allowed:e}");
        }
        let found = engine.evaluate(&split).unwrap().loss;
        assert!((found / evaluated - 1.0).abs() < 1e-3, "{what}: loss {found} for {evaluated}");
    }
}

/// Networks with what the shipped ones lack: every activation, BatchNorm and activations in odd places, values that are read
/// twice, strides beyond the kernel, pads beyond it, maps of one row.
const ODD: [&str; 7] = [
    "input 3x9x7\nbatch_norm | leaky_relu slope 0.2 | tanh as a\nconv2d 5 3x2 stride 2x1 pad 1,0,2,3 no_bias | sigmoid | \
     batch_norm | batch_norm | hard_swish\navg_pool2d 3x2 stride 2x1 pad 1,1,1,0 | global_max_pool | linear 3 | batch_norm | relu",
    "input 4x11x5\nconv2d 7 1x2 stride 3x2 pad 2,1,4,2 | relu as a\nconv2d 7 1x1 from a | batch_norm as b\nhard_sigmoid from b \
     as c\nleaky_relu from b | add c | add a | relu6 | flatten | batch_norm | linear 4 no_bias | tanh",
    "input 2x8x8\ndepthwise 3x3 multiplier 3 stride 2 pad 1 | batch_norm as a\nrelu from a | add a | max_pool2d 2x2 stride 1x2 pad \
     1,1,0,1 | depthwise 2x1 no_bias | hard_swish | conv2d 2 1x1 | global_avg_pool",
    "input 1x6x6\nmax_pool2d 3x3 stride 2 pad 1 | conv2d 13 3x3 pad 4 | batch_norm as a\nadd a | sigmoid | avg_pool2d 4x3 \
     stride 3x4 pad 2 exclude_pad | flatten | linear 17 | batch_norm | leaky_relu slope -0.5 | linear 5",
    "input 10\nlinear 6 | tanh | batch_norm | linear 10",
    "input 2x1x31\nconv2d 3 1x9 stride 1x4 pad 0,6,0,3 | relu | flatten | flatten as a\nrelu6 from a | add a | batch_norm | linear 2",
    "input 6x5x5\nrelu as a\nconv2d 9 5x5 stride 5 | batch_norm | relu | flatten | linear 6 as b\nglobal_avg_pool from a | \
     flatten | add b",
];

#[test]
fn odd_networks_have_the_references_gradients() {
    for text in ODD {
        let network = Arc::new(text::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}")));
        assert_has_the_references_gradients(&network, 21);
        assert_has_the_references_gradients(&network, 8);
    }
}

/// Groups and their order are fixed: which thread does what must not show, not even with a last group that is not full.
#[test]
fn the_number_of_threads_does_not_show() {
    for name in ["small28", "ds_cnn", "autoencoder"] {
        let network = shipped::get(name).unwrap();
        let (split, order) = (noise(&network, 50), (0..50).collect::<Vec<u32>>());
        let start = kaiming_parameters(&network, 3, Variance::Unbiased);
        for set in 0..GraphCpu::each(&start, Some(1)).len() {
            let run = |threads| {
                let mut engine = GraphCpu::each(&start, Some(threads)).swap_remove(set);
                let totals = engine.train(&split, &order, 25, 0.1).unwrap();
                (totals, engine.evaluate(&split).unwrap(), engine.parameters())
            };
            let one = run(1);
            assert!([2, 3, 7].iter().all(|&threads| run(threads) == one), "{name}");
        }
    }
}
