//! Training steps of shipped networks by `--engine cpu` beside PyTorch's, in turn: eager and compiled, in both memory formats. Prints
//! medians, and the median of the ratios of neighbouring measurements, which stands when the machine's speed drifts.
//!
//! `./run networks [NAME...]` in this directory does everything. Not part of the workspace, and not of CI.

mod python;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bn_core::network::{Activation, Op, Value};
use host_trainer::data::{Inputs, Split, Values};
use host_trainer::engine::cpu::graph::GraphCpu;
use host_trainer::engine::{Engine, initial_parameters};
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::network::{Network, shipped};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use crate::python::{Python, Result};

/// Who is measured without names.
const NETWORKS: [&str; 4] = ["resnet8", "small28", "ds_cnn", "mobilenet_v1_025"];
/// What PyTorch is measured as.
const PEERS: [&str; 4] = ["eager", "compiled", "eager-last", "compiled-last"];
const THREADS: usize = 2;
const BATCH: usize = 64;
/// Batches in memory.
const BATCHES: usize = 16;
/// As the script's.
const LR: f64 = 0.01;
/// Measurements of everybody.
const ROUNDS: usize = 9;
/// About how long one of them takes ours.
const SECONDS: f64 = 0.7;
/// Steps whose losses are compared, and how far they may lie apart.
const COMPARED: (usize, f64) = (5, 1e-3);

fn main() -> Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let names = if names.is_empty() { NETWORKS.map(Into::into).to_vec() } else { names };
    for name in names {
        measure(&shipped::get(&name).ok_or_else(|| format!("no shipped network is called {name}"))?)?;
    }
    Ok(())
}

fn measure(network: &Arc<Network>) -> Result<()> {
    let parameters = initial_parameters(network, 0, Variance::Unbiased);
    let split = examples(network);
    let work = tempfile::tempdir()?;
    write_inputs(work.path(), &parameters, &split)?;
    let threads = THREADS.to_string();
    let python = Python::start("networks.py", &[work.path().as_os_str(), threads.as_ref()], THREADS)?;
    let mut engine = GraphCpu::of(&parameters, Some(THREADS));
    agree(&mut engine, &split, &python)?;

    let mut ours = |steps: usize| -> Result<f64> {
        let order: Vec<u32> = (0..steps * BATCH).map(|sample| (sample % (BATCHES * BATCH)) as u32).collect();
        let start = Instant::now();
        engine.train(&split, &order, BATCH, LR)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let steps = (SECONDS / (ours(BATCHES)? / BATCHES as f64)).ceil() as usize;
    let mut rates = vec![Vec::new(); 1 + PEERS.len()];
    for _ in 0..ROUNDS {
        rates[0].push((steps * BATCH) as f64 / ours(steps)?);
        for (peer, rates) in PEERS.iter().zip(&mut rates[1..]) {
            rates.push((steps * BATCH) as f64 / python.seconds(peer, steps)?);
        }
    }
    let device = engine.device(BATCH);
    println!("{}, batches of {BATCH}, {device}: median of {ROUNDS} turns of {steps} steps", network.name());
    println!("{:22} {:8.0} examples/s", "ours", median(rates[0].iter().copied()));
    for (peer, theirs) in PEERS.iter().zip(&rates[1..]) {
        let ratio = median(rates[0].iter().zip(theirs).map(|(ours, theirs)| ours / theirs));
        println!("PyTorch {peer:14} {:8.0} examples/s   ours {ratio:5.2} x", median(theirs.iter().copied()));
    }
    println!();
    Ok(())
}

/// The first steps' losses are PyTorch's.
fn agree(engine: &mut GraphCpu, split: &Split, python: &Python) -> Result<()> {
    let (steps, allowed) = COMPARED;
    let theirs: Vec<f64> = serde_json::from_value(python.ask(&format!("losses 0 {steps}"))?)?;
    for (step, theirs) in theirs.into_iter().enumerate() {
        let order: Vec<u32> = (step * BATCH..(step + 1) * BATCH).map(|sample| sample as u32).collect();
        let ours = engine.train(split, &order, BATCH, LR)?.mean_loss();
        if (ours / theirs - 1.0).abs() > allowed {
            return Err(format!("step {step}: PyTorch's loss is {theirs}, ours {ours}").into());
        }
    }
    Ok(())
}

/// Noise, and labels by chance.
fn examples(network: &Network) -> Split {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let count = BATCHES * BATCH;
    let values = Values::U8((0..count * network.input().len()).map(|_| rng.random()).collect());
    let classes = network.output().len() as u32;
    let labels = (0..count).map(|_| rng.random_range(0..classes) as u8).collect();
    Split { inputs: Inputs::new(network.input(), values), labels }
}

/// What the script reads: its inputs are preprocessed.
fn write_inputs(dir: &Path, parameters: &Parameters, split: &Split) -> Result<()> {
    let network = &parameters.network;
    let nodes = (0..network.nodes().len()).map(|node| described(network, node)).collect::<Result<Vec<_>>>()?;
    let described = json!({ "batch": BATCH, "input": network.input().dims(), "nodes": nodes });
    std::fs::write(dir.join("network.json"), described.to_string())?;
    let trained =
        network.parameters().iter().zip(&parameters.tensors).filter(|(parameter, _)| parameter.role.is_trained());
    let values: Vec<f32> = trained.flat_map(|(_, values)| values.iter().map(|&value| value as f32)).collect();
    std::fs::write(dir.join("parameters.f32"), bytemuck::cast_slice(&values))?;
    let Values::U8(bytes) = split.inputs.values() else { return Err("the examples are bytes".into()) };
    let plane = network.input().height * network.input().width;
    let inputs: Vec<f32> = bytes
        .chunks(plane)
        .enumerate()
        .flat_map(|(at, plane)| {
            let (scale, shift) = network.preprocessing().affine(at % network.input().channels);
            plane.iter().map(move |&byte| (scale * f64::from(byte) + shift) as f32)
        })
        .collect();
    std::fs::write(dir.join("inputs.f32"), bytemuck::cast_slice(&inputs))?;
    std::fs::write(dir.join("labels.u8"), &split.labels)?;
    Ok(())
}

/// A node as the script reads it.
fn described(network: &Network, at: usize) -> Result<Json> {
    let node = network.nodes()[at];
    let place = |value| match value {
        Value::Input => -1,
        Value::Node(node) => node as i64,
    };
    let reads = [place(node.input)];
    let (inputs, outputs) = (network.input_of(at).channels, network.shape(Value::Node(at)).channels);
    Ok(match node.op {
        Op::Conv2d(conv) => {
            let pads = [conv.pads.top, conv.pads.left, conv.pads.bottom, conv.pads.right];
            json!({ "op": "conv2d", "reads": reads, "inputs": inputs, "outputs": outputs, "kernel": conv.kernel,
                "stride": conv.stride, "pads": pads, "groups": conv.groups, "bias": conv.bias })
        }
        Op::Linear { bias, .. } => {
            json!({ "op": "linear", "reads": reads, "inputs": inputs, "outputs": outputs, "bias": bias })
        }
        Op::BatchNorm { eps } => json!({ "op": "batch_norm", "reads": reads, "outputs": outputs, "eps": eps }),
        Op::Activation(Activation::Relu) => json!({ "op": "relu", "reads": reads }),
        Op::MaxPool2d(pool) if pool.pads.is_none() => {
            json!({ "op": "max_pool2d", "reads": reads, "kernel": pool.kernel, "stride": pool.stride })
        }
        Op::GlobalAvgPool => json!({ "op": "global_avg_pool", "reads": reads }),
        Op::Flatten => json!({ "op": "flatten", "reads": reads }),
        Op::Add { other } => json!({ "op": "add", "reads": [reads[0], place(other)] }),
        _ => return Err(format!("the script does not know what node {at} of {} does", network.name()).into()),
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
