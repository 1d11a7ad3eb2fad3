//! Runs the firmware in QEMU: streams images through it, compares every logit with the host's, and reports what it took.

mod cortex_m4;
mod float;
mod log;
mod profile;
#[path = "../../../firmware-demo/src/protocol.rs"]
pub mod protocol;
mod qemu;
mod shard;
mod trace;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bn_core::Model;
use bn_core::format::LAYERS;
use bn_core::lenet::CLASSES;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tempfile::TempDir;

use crate::data::Split;
use crate::error::{Error, Result};
use crate::firmware::{self, Build, Inputs, Program, Sizes};
use crate::inference;
use crate::notice::notice;
use crate::setup;

use shard::{Results, Shard};
use trace::Trace;

pub use cortex_m4::Cycles;
pub use float::{FloatCost, FloatReport, FloatRequest, float};
pub use log::{Level, LogLine};
pub use profile::{CMSIS_NN, Executed, LayerProfile};
pub use qemu::{Machine, Outcome, Run, run};

/// How often the progress is looked at.
const POLL: Duration = Duration::from_millis(20);
/// The demo takes a fraction of a second.
const DEMO_LIMIT: Duration = Duration::from_secs(60);

/// What to emulate.
#[derive(Clone, Copy, Debug)]
pub struct EmulateRequest<'a> {
    /// The weights, as [`AlignedBytes::model`](crate::weights::AlignedBytes::model) gives them.
    pub weights: Model<'a>,
    /// QEMU's machine.
    pub machine: Machine,
    /// Images to classify, with their labels.
    pub images: &'a Split,
    /// Which build of the network.
    pub build: Build,
}

/// What came out. `machine` and so on are keys of `emulate --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EmulateReport {
    /// The compiler's name for the processor.
    pub target: &'static str,
    /// QEMU's machine.
    pub machine: Machine,
    /// The build of the network.
    pub build: Build,
    /// Images classified.
    pub images: usize,
    /// Share that the firmware classified as labelled.
    pub accuracy: f64,
    /// Logits compared with the host's: ten an image.
    pub logits_compared: usize,
    /// Logits of which at least one bit differs.
    pub logits_differing: usize,
    /// Images whose class differs.
    pub classes_differing: usize,
    /// Executed instructions of an inference, the mean over all images. Instructions, not cycles.
    pub instructions_per_inference: u64,
    /// Fewest and most of one image.
    pub instructions_range: [u32; 2],
    /// What each layer takes.
    pub layers: Vec<LayerProfile>,
    /// What the log of every executed instruction of an inference says; only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed: Option<Executed>,
    /// The network in f32 on the same machine; only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub float: Option<FloatReport>,
    /// Statics of the program and the scratch memory of an inference.
    pub ram_bytes: u64,
    /// The scratch memory alone.
    pub scratch_bytes: u64,
    /// Deepest stack of an inference, measured by painting.
    pub stack_bytes: u64,
    /// Stack that no inference exceeds, computed from the machine code.
    pub stack_bound_bytes: u64,
    /// The inference in flash: its code, the weights and tables.
    pub inference_flash_bytes: u64,
    /// Everything that is flashed.
    pub flash_bytes: u64,
    /// The weights and tables in it.
    pub weights_bytes: u64,
    /// Emulators that ran side by side.
    pub emulators: usize,
    /// Wall time of the emulation, without the build.
    pub seconds: f64,
}

impl EmulateReport {
    /// An error unless every bit agrees.
    ///
    /// # Errors
    /// [`Error::Disagreement`] with the counts.
    pub fn verdict(&self) -> Result<()> {
        if self.logits_differing == 0 && self.classes_differing == 0 {
            return Ok(());
        }
        let Self { logits_differing, logits_compared, classes_differing, images, .. } = self;
        Err(Error::Disagreement {
            problem: format!(
                "emulator and host differ in {logits_differing} of {logits_compared} logits and {classes_differing} of {images} classes"
            ),
        })
    }
}

/// Builds the firmware with these weights, streams the images through it and compares it with the host, bit for bit.
/// Differences are counted, not an error: see [`EmulateReport::verdict`].
///
/// # Errors
/// [`Error::BadArgument`] without images; [`Error::Missing`] without QEMU or the target; [`Error::Tool`] when the build, the
/// emulator or the firmware fails.
pub fn emulate(request: &EmulateRequest<'_>) -> Result<EmulateReport> {
    check(request)?;
    let EmulateRequest { weights, machine, build, .. } = *request;
    let inputs = Inputs { weights: Some(weights), images: None, machine, board: None, build };
    let firmware = firmware::build_programs(&inputs, &[Program::Evaluate])?;
    emulate_built(&firmware.elf(Program::Evaluate), request)
}

/// As [`emulate`], with `evaluate` built before, for the same machine and path and with the same weights
/// ([`firmware::replace_weights`] changes them).
///
/// # Errors
/// As [`emulate`].
pub fn emulate_built(elf: &Path, request: &EmulateRequest<'_>) -> Result<EmulateReport> {
    check(request)?;
    let images = request.images;
    let sizes = firmware::sizes(elf)?;
    let directory = working_directory()?;
    let shards: Vec<_> = shard::split(images.len())
        .into_iter()
        .enumerate()
        .map(|(index, range)| Shard {
            elf,
            machine: request.machine,
            images,
            range,
            directory: directory.path().join(index.to_string()),
        })
        .collect();
    notice(&format!("classifying {} images on {} x {}", images.len(), shards.len(), request.machine));
    let start = Instant::now();
    let results = run_all(&shards, images.len())?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(report(request, &results, sizes, seconds))
}

/// Adds to a report of [`emulate_built`] what QEMU's log of every executed instruction says of one more inference.
///
/// # Errors
/// As [`emulate`].
pub fn profile(elf: &Path, request: &EmulateRequest<'_>, report: &mut EmulateReport) -> Result<()> {
    check(request)?;
    let directory = working_directory()?;
    let shard = Shard {
        elf,
        machine: request.machine,
        images: request.images,
        range: 0..1,
        directory: directory.path().to_owned(),
    };
    let trace = shard.run_with(|run| Trace::of_last(run, firmware::INFERENCE))?;
    report.executed = Some(profile::explain(&mut report.layers, &trace, request.machine));
    Ok(())
}

/// Before anything is built: whether there is something to do, and something to do it with.
fn check(request: &EmulateRequest<'_>) -> Result<()> {
    if request.images.is_empty() {
        return Err(Error::BadArgument {
            problem: "no images to emulate".into(),
            remedy: "ask for one or more".into(),
        });
    }
    setup::ensure_qemu()?;
    qemu::ensure_machine(request.machine)
}

/// Runs the demo, with these weights and images or the shipped ones, and returns its log.
///
/// # Errors
/// As [`emulate`].
pub fn run_demo(inputs: &Inputs<'_>, machine: Machine) -> Result<Vec<LogLine>> {
    let firmware = firmware::build_programs(&Inputs { machine, ..*inputs }, &[Program::Demo])?;
    run_elf(&firmware.elf(Program::Demo), machine)
}

/// Runs a program that was built before, and returns its log.
///
/// # Errors
/// [`Error::Missing`] without QEMU; [`Error::Tool`] when the emulator or the firmware fails.
pub fn run_elf(elf: &Path, machine: Machine) -> Result<Vec<LogLine>> {
    setup::ensure_qemu()?;
    qemu::ensure_machine(machine)?;
    let elf = elf.canonicalize().map_err(Error::io("find", elf))?;
    let directory = working_directory()?;
    let run = Run { elf: &elf, machine, arguments: &[], directory: directory.path(), limit: DEMO_LIMIT };
    let outcome = qemu::run(&run)?;
    outcome.succeeded()?;
    Ok(outcome.log)
}

fn working_directory() -> Result<TempDir> {
    TempDir::new().map_err(Error::io("create a directory in", std::env::temp_dir()))
}

/// Runs every share in a thread of its own, with a progress bar on a terminal.
fn run_all(shards: &[Shard<'_>], images: usize) -> Result<Vec<Results>> {
    let bar = ProgressBar::new(images as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} images, {eta} left") {
        bar.set_style(style);
    }
    let results = thread::scope(|scope| {
        let threads: Vec<_> = shards.iter().map(|shard| scope.spawn(|| shard.run())).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            bar.set_position(shards.iter().map(Shard::done).sum::<usize>() as u64);
            thread::sleep(POLL);
        }
        threads.into_iter().map(|thread| thread.join().expect("a share does not panic")).collect()
    });
    bar.finish_and_clear();
    results
}

/// Compares with the host and sums up.
fn report(request: &EmulateRequest<'_>, results: &[Results], sizes: Sizes, seconds: f64) -> EmulateReport {
    let host = inference::int8_of(request.build, &request.weights, &request.images.images);
    let device = || results.iter().flat_map(|results| &results.records);
    let (mut right, mut logits_differing, mut classes_differing) = (0, 0, 0);
    for ((host, device), &label) in host.iter().zip(device()).zip(&request.images.labels) {
        right += usize::from(device.class == u32::from(label));
        classes_differing += usize::from(device.class as usize != host.class);
        logits_differing += host.logits.iter().zip(&device.logits).filter(|(host, device)| host != device).count();
    }
    let trailers = || results.iter().map(|results| results.trailer);
    let images = device().count();
    let instructions: u64 = trailers().map(|trailer| trailer.instructions).sum();
    let scratch_bytes = trailers().map(|trailer| trailer.scratch_bytes).max().unwrap_or(0).into();
    EmulateReport {
        target: request.machine.target(),
        machine: request.machine,
        build: request.build,
        images,
        accuracy: right as f64 / images as f64,
        logits_compared: images * CLASSES,
        logits_differing,
        classes_differing,
        instructions_per_inference: (instructions + images as u64 / 2) / images as u64,
        instructions_range: [
            trailers().map(|trailer| trailer.instructions_min).min().unwrap_or(0),
            trailers().map(|trailer| trailer.instructions_max).max().unwrap_or(0),
        ],
        layers: profile::profile(results.first().map_or([0; LAYERS], |results| results.trailer.layers), request.build),
        executed: None,
        float: None,
        ram_bytes: sizes.statics + scratch_bytes,
        scratch_bytes,
        stack_bytes: trailers().map(|trailer| trailer.stack_bytes).max().unwrap_or(0).into(),
        stack_bound_bytes: sizes.stack_bound,
        inference_flash_bytes: sizes.inference_code + sizes.weights,
        flash_bytes: sizes.flash,
        weights_bytes: sizes.weights,
        emulators: results.len(),
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use bn_core::format::WeightsFile;
    use bytemuck::Zeroable as _;

    use super::protocol::{Record, Trailer};
    use super::*;

    /// A comparison that cannot fail proves nothing.
    #[test]
    fn every_difference_is_counted() {
        let mut file = Box::new(WeightsFile::zeroed());
        for multipliers in [file.linear1_multiplier.as_flattened_mut(), file.linear2_multiplier.as_flattened_mut()] {
            multipliers.fill(1 << 20);
        }
        file.linear3_multiplier.as_flattened_mut()[..CLASSES].fill(i32::MAX);
        for (class, bias) in file.linear3_bias.as_flattened_mut()[..CLASSES].iter_mut().enumerate() {
            *bias = 10 * class as i32;
        }
        file.seal();
        let weights = bn_core::parse(file.bytes()).unwrap();
        let images = Split { images: vec![[[0; 28]; 28]; 3], labels: vec![9, 9, 1] };
        let request = EmulateRequest { weights, machine: Machine::default(), images: &images, build: Build::default() };
        let host = inference::int8(&weights, &images.images);
        let records: Vec<_> = host.iter().map(|p| Record { class: p.class as u32, logits: p.logits }).collect();
        let trailer = |images, low, high| Trailer {
            images,
            instructions: u64::from(low + high),
            instructions_min: low,
            instructions_max: high,
            stack_bytes: 7,
            scratch_bytes: 5,
            layers: [1; LAYERS],
        };
        let mut results = [
            Results { records: records[..2].to_vec(), trailer: trailer(2, 10, 30) },
            Results { records: records[2..].to_vec(), trailer: trailer(1, 0, 20) },
        ];
        let sizes = Sizes { flash: 100, weights: 50, statics: 3, inference_code: 20, stack_bound: 8 };
        let same = report(&request, &results, sizes, 1.0);
        assert!(same.verdict().is_ok());
        assert_eq!((same.images, same.logits_compared, same.accuracy), (3, 30, 2.0 / 3.0));
        assert_eq!((same.instructions_per_inference, same.instructions_range), (20, [0, 30]));
        assert_eq!((same.ram_bytes, same.stack_bytes, same.flash_bytes), (8, 7, 100));
        assert_eq!((same.stack_bound_bytes, same.inference_flash_bytes), (8, 70));

        results[1].records[0].logits[9] ^= 1;
        results[0].records[1].class = 3;
        let other = report(&request, &results, sizes, 1.0);
        assert_eq!((other.logits_differing, other.classes_differing), (1, 1));
        let text = other.verdict().unwrap_err().to_string();
        assert!(text.contains("1 of 30 logits and 1 of 3 classes"), "{text}");
    }
}
