//! The same weights and images through ours and through others', in turn, on one thread; then the training step. Prints
//! medians, and the median of the ratios of neighbouring measurements, which stands when the machine's speed drifts.
//!
//! `./run` in this directory does everything. Not part of the workspace, and not of CI.

mod python;
mod rust_peers;

use std::path::Path;
use std::time::Instant;

use bn_core::infer::argmax;
use bn_core::lenet::Streams;
use bn_core::plan::Goal;
use bn_core::wide::{WideInt8Scratch, WideLeNet, WideModel, WideScratch};
use bn_core::{FoldedLeNet, Image};
use host_trainer::data::{Dataset, Request, Split, load};
use host_trainer::engine::Engine;
use host_trainer::engine::cpu::Cpu;
use host_trainer::exchange::{ImportOptions, import};
use host_trainer::export::{Channels, ExportRequest, export};
use host_trainer::model::lenet::to_lenet;
use host_trainer::model::parameters::{Parameters, Variance};

use crate::python::{Python, Result};

/// Images whose answers are compared.
const COMPARED: usize = 1000;
/// Images of one measurement, one after the other.
const TIMED: usize = 500;
/// Steps of one measurement of training.
const STEPS: usize = 50;
/// Measurements of everybody.
const ROUNDS: usize = 9;

/// Who is measured.
trait Peer {
    fn name(&self) -> String;

    /// Logits of the first images, in any unit.
    fn logits(&mut self, images: &[Image]) -> Result<Vec<Vec<f32>>>;

    /// Seconds that the first images take, one at a time.
    fn seconds(&mut self, images: &[Image]) -> Result<f64>;
}

/// A peer in this process: one function from an image to its logits.
struct Local<F> {
    name: &'static str,
    infer: F,
}

impl<F: FnMut(&Image) -> Result<Vec<f32>>> Peer for Local<F> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn logits(&mut self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        images.iter().map(&mut self.infer).collect()
    }

    fn seconds(&mut self, images: &[Image]) -> Result<f64> {
        let start = Instant::now();
        for image in images {
            std::hint::black_box((self.infer)(image)?);
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// A model of the script.
struct PythonPeer<'a> {
    python: &'a Python,
    name: &'static str,
}

impl Peer for PythonPeer<'_> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn logits(&mut self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        let answer = self.python.ask(&format!("logits {} {}", self.name, images.len()))?;
        Ok(serde_json::from_value(answer)?)
    }

    fn seconds(&mut self, images: &[Image]) -> Result<f64> {
        self.python.seconds(self.name, images.len())
    }
}

fn main() -> Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/trained.safetensors");
    let parameters = import(&golden, &ImportOptions::default())?.checkpoint.parameters;
    let data_dir = std::env::var_os("FASHION_MNIST_DIR").map(Into::into);
    let dataset = load(&Request { data_dir, ..Request::default() })?;
    let work = tempfile::tempdir()?;
    write_inputs(work.path(), &golden, &dataset)?;

    inference(work.path(), &parameters, &dataset)?;
    for threads in [1, 2] {
        training(work.path(), &dataset.train, threads)?;
    }
    Ok(())
}

/// What the Python side reads.
fn write_inputs(dir: &Path, weights: &Path, dataset: &Dataset) -> Result<()> {
    std::fs::copy(weights, dir.join("trained.safetensors"))?;
    for (name, split) in [("test", &dataset.test), ("train", &dataset.train)] {
        std::fs::write(dir.join(format!("{name}_images.u8")), split.images().as_flattened().as_flattened())?;
        std::fs::write(dir.join(format!("{name}_labels.u8")), &split.labels)?;
    }
    Ok(())
}

fn inference(dir: &Path, parameters: &Parameters, dataset: &Dataset) -> Result<()> {
    let folded: Box<FoldedLeNet> = Box::new(to_lenet(parameters).ok_or("the model is not LeNet")?.fold());
    let exported = export(
        parameters,
        &ExportRequest {
            calibration: &dataset.train,
            accuracy_limit: 100.0,
            fine_tuning: None,
            channels: Channels::Live,
            goal: Goal::default(),
        },
    )?;
    let streams = Streams::of(&exported.weights).ok_or("the model is not LeNet")?;

    let wide = Box::new(WideLeNet::new(&folded));
    let wide_int8 = Box::new(WideModel::new(streams).ok_or("this machine has neither AVX2 nor AVX-512")?);
    let (mut scratch, mut scratch_int8) = (Box::new(WideScratch::new()), Box::new(WideInt8Scratch::new()));
    let ours_f32 = Local { name: "ours f32", infer: move |image: &Image| Ok(wide.infer(image, &mut scratch).to_vec()) };
    let ours_int8 = Local {
        name: "ours int8",
        infer: move |image: &Image| {
            let logits = wide_int8.predict(image, &mut scratch_int8);
            Ok(logits.iter().map(|&logit| logit as f32).collect())
        },
    };

    let python = Python::start("peers.py", &["infer".as_ref(), dir.as_os_str()], 1)?;
    let peer = |name| Box::new(PythonPeer { python: &python, name });
    let mut f32_peers: Vec<Box<dyn Peer + '_>> = vec![
        Box::new(ours_f32),
        peer("tflite-f32"),
        peer("onnxruntime-f32"),
        peer("pytorch-f32"),
        rust_peers::tract(&dir.join("folded.onnx"))?,
        rust_peers::burn(&folded),
        rust_peers::candle(&folded)?,
    ];
    let images = dataset.test.images();
    agree(&mut f32_peers, &images[..COMPARED], 0)?;
    compare("f32, batch 1, one thread", &mut f32_peers, &images[..TIMED])?;

    let mut int8_peers: Vec<Box<dyn Peer + '_>> =
        vec![Box::new(ours_int8), peer("onnxruntime-int8"), peer("tflite-int8")];
    // Every int8 model rounds in its own way: a few images per hundred may differ from ours.
    agree(&mut int8_peers, &images[..COMPARED], COMPARED / 20)?;
    compare("int8, batch 1, one thread", &mut int8_peers, &images[..TIMED])
}

/// Everybody's classes are the first peer's, but for so many images.
fn agree(peers: &mut [Box<dyn Peer + '_>], images: &[Image], allowed: usize) -> Result<()> {
    let mut classes = Vec::new();
    for peer in peers {
        let logits = peer.logits(images)?;
        classes.push((peer.name(), logits.iter().map(|row| argmax(row)).collect::<Vec<_>>()));
    }
    let (_, ours) = &classes[0];
    for (name, theirs) in &classes[1..] {
        let differ = ours.iter().zip(theirs).filter(|(a, b)| a != b).count();
        println!("{name}: {differ} of {} images classified differently from ours", images.len());
        if differ > allowed {
            return Err(format!("{name} does not compute the same network").into());
        }
    }
    Ok(())
}

/// Measures everybody in turn, `ROUNDS` times.
fn compare(what: &str, peers: &mut [Box<dyn Peer + '_>], images: &[Image]) -> Result<()> {
    let mut seconds = vec![Vec::new(); peers.len()];
    for round in 0..=ROUNDS {
        for (peer, seconds) in peers.iter_mut().zip(&mut seconds) {
            let measured = peer.seconds(images)? / images.len() as f64;
            // The first round warms up.
            if round > 0 {
                seconds.push(measured);
            }
        }
    }
    println!("\n{what}: median of {ROUNDS} turns");
    for (peer, theirs) in peers.iter().zip(&seconds) {
        let ratio = median(theirs.iter().zip(&seconds[0]).map(|(theirs, ours)| theirs / ours));
        println!("{:18} {:8.2} us   {ratio:6.2} x ours", peer.name(), 1e6 * median(theirs.iter().copied()));
    }
    println!();
    Ok(())
}

/// The training step at batch 256, data in memory: examples a second.
fn training(dir: &Path, train: &Split, threads: usize) -> Result<()> {
    let count = threads.to_string();
    let python = Python::start("peers.py", &["train".as_ref(), dir.as_os_str(), count.as_ref()], threads)?;
    let mut engine = Cpu::new(0, Variance::Biased, Some(threads));
    let examples = (STEPS * 256) as u32;
    let order: Vec<u32> = (0..examples).collect();
    let mut rates: [Vec<f64>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        engine.train(train, &order, 256, 0.1)?;
        let ours = start.elapsed().as_secs_f64();
        let eager = python.seconds("eager", STEPS)?;
        let compiled = python.seconds("compiled", STEPS)?;
        if round > 0 {
            for (rates, seconds) in rates.iter_mut().zip([ours, eager, compiled]) {
                rates.push(f64::from(examples) / seconds);
            }
        }
    }
    println!("training, {threads} thread(s), {}: median of {ROUNDS} turns", engine.device());
    for (name, theirs) in ["ours", "PyTorch eager", "PyTorch compiled"].iter().zip(&rates) {
        let ratio = median(rates[0].iter().zip(theirs).map(|(ours, theirs)| ours / theirs));
        println!("{name:18} {:8.0} examples/s   ours {ratio:5.2} x", median(theirs.iter().copied()));
    }
    println!();
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
