//! Runs the firmware in QEMU, or as a WebAssembly module in Node.js: streams images through it, compares every logit with the
//! host's, and reports what it took.

mod cortex_m4;
mod cost;
mod float;
mod log;
mod machine;
mod node;
mod profile;
#[path = "../../../../firmware-demo/src/protocol.rs"]
pub mod protocol;
mod qemu;
mod run;
mod shard;
mod trace;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bn_core::file::WeightsFile;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tempfile::TempDir;

use crate::data::Split;
use crate::device::firmware::{self, Build, Inputs, Program, Sizes};
use crate::device::setup;
use crate::error::{Error, Result};
use crate::files;
use crate::model::inference;
use crate::notice::notice;

use shard::{Results, Shard};
use trace::Trace;

pub use cortex_m4::Cycles;
pub use cost::Cost;
pub use float::{FloatCost, FloatReport, FloatRequest, float};
pub use log::{Level, LogLine};
pub use machine::Machine;
pub use profile::{CMSIS_NN, Executed, LayerProfile};
pub use run::{Outcome, Run, run};

/// How often the progress is looked at.
const POLL: Duration = Duration::from_millis(20);
/// The demo takes a fraction of a second.
const DEMO_LIMIT: Duration = Duration::from_secs(60);

/// What to emulate.
#[derive(Clone, Copy, Debug)]
pub struct EmulateRequest<'a> {
    /// The weights.
    pub weights: &'a WeightsFile,
    /// What runs it.
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
    /// What ran it.
    pub machine: Machine,
    /// The build of the network.
    pub build: Build,
    /// Images classified, in all rounds together.
    pub images: usize,
    /// Share that the firmware classified as labelled.
    pub accuracy: f64,
    /// Logits compared with the host's: all of each image.
    pub logits_compared: usize,
    /// Logits of which at least one bit differs.
    pub logits_differing: usize,
    /// Images whose class differs.
    pub classes_differing: usize,
    /// What an inference takes of the device; `None` where nothing can be counted.
    #[serde(flatten)]
    pub cost: Option<Cost>,
    /// The network in f32 on the same machine; only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub float: Option<FloatReport>,
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
/// [`Error::BadArgument`] without images; [`Error::Missing`] without the emulator or the target; [`Error::Tool`] when the build, the
/// emulator or the firmware fails.
pub fn emulate(request: &EmulateRequest<'_>) -> Result<EmulateReport> {
    soak(request, 1)
}

/// As [`emulate`], but each emulator goes through its images `rounds` times without a restart. The report counts every
/// inference of every round; its stack is the deepest that the first inference of a round took.
///
/// # Errors
/// As [`emulate`].
pub fn soak(request: &EmulateRequest<'_>, rounds: u32) -> Result<EmulateReport> {
    check(request)?;
    let EmulateRequest { weights, machine, build, .. } = *request;
    let inputs = Inputs { weights: Some(weights), images: None, machine, board: None, build };
    let program = machine.program();
    let firmware = firmware::build_programs(&inputs, &[program])?;
    soak_built(&firmware.elf(program), request, rounds)
}

/// As [`emulate`], with [`Machine::program`] built before, for the same machine and path and with the same weights
/// ([`firmware::replace_weights`] changes them; a module gets the request's).
///
/// # Errors
/// As [`emulate`].
pub fn emulate_built(elf: &Path, request: &EmulateRequest<'_>) -> Result<EmulateReport> {
    soak_built(elf, request, 1)
}

fn soak_built(elf: &Path, request: &EmulateRequest<'_>, rounds: u32) -> Result<EmulateReport> {
    check(request)?;
    let images = request.images;
    let sizes = if request.machine.counts() { Some(firmware::sizes(elf)?) } else { None };
    let directory = working_directory()?;
    let shards: Vec<_> = shard::split(images.len())
        .into_iter()
        .enumerate()
        .map(|(index, range)| Shard {
            elf,
            machine: request.machine,
            weights: request.weights.model_bytes(),
            outputs: request.weights.outputs(),
            steps: request.weights.steps().len(),
            images,
            range,
            rounds,
            directory: directory.path().join(index.to_string()),
        })
        .collect();
    let times = if rounds == 1 { String::new() } else { format!("{rounds} times ") };
    notice(&format!("classifying {times}{} images on {} x {}", images.len(), shards.len(), request.machine));
    let start = Instant::now();
    let results = run_all(&shards, images.len() * rounds as usize)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(report(request, &results, rounds, sizes, seconds))
}

/// Adds to a report of [`emulate_built`] what QEMU's log of every executed instruction says of one more inference. Nothing
/// unless it is a log of Thumb code.
///
/// # Errors
/// As [`emulate`].
pub fn profile(elf: &Path, request: &EmulateRequest<'_>, report: &mut EmulateReport) -> Result<()> {
    check(request)?;
    let Some(cost) = report.cost.as_mut().filter(|_| request.machine.is_arm()) else { return Ok(()) };
    let directory = working_directory()?;
    let shard = Shard {
        elf,
        machine: request.machine,
        weights: &[],
        outputs: request.weights.outputs(),
        steps: request.weights.steps().len(),
        images: request.images,
        range: 0..1,
        rounds: 1,
        directory: directory.path().to_owned(),
    };
    let trace = shard.run_with(|run| Trace::of_last(run, firmware::INFERENCE))?;
    cost.executed = Some(profile::explain(&mut cost.layers, &trace, request.machine));
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
    ensure(request.machine)
}

/// Makes sure that the firmware can be built for a machine and that the machine is there; installs what is missing where that
/// works without a password.
///
/// # Errors
/// [`Error::Missing`] with the command to type.
pub fn ensure(machine: Machine) -> Result<()> {
    setup::ensure_target_of(machine.target())?;
    setup::ensure_tool(machine.emulator())?;
    if machine == Machine::Wasm32 { Ok(()) } else { qemu::ensure_machine(machine) }
}

/// Runs the demo, with these weights and images or the shipped ones, and returns its log.
///
/// # Errors
/// As [`emulate`]; [`Error::BadArgument`] for a machine that has no demo.
pub fn run_demo(inputs: &Inputs<'_>, machine: Machine) -> Result<Vec<LogLine>> {
    if machine.program() == Program::Module {
        return Err(Error::BadArgument {
            problem: format!("{machine} runs the inference alone, which logs nothing"),
            remedy: "leave out --demo, or name another --machine".into(),
        });
    }
    ensure(machine)?;
    let firmware = firmware::build_programs(&Inputs { machine, ..*inputs }, &[Program::Demo])?;
    run_elf(&firmware.elf(Program::Demo), machine)
}

/// Runs a program that was built before, and returns its log.
///
/// # Errors
/// As [`files::read`] of a program; [`Error::Missing`] without the emulator; [`Error::Tool`] when the emulator or the
/// firmware fails.
pub fn run_elf(elf: &Path, machine: Machine) -> Result<Vec<LogLine>> {
    files::read(elf, &files::ELF)?;
    ensure(machine)?;
    let elf = elf.canonicalize().map_err(Error::io("find", elf))?;
    let directory = working_directory()?;
    let run = Run { elf: &elf, machine, arguments: &[], directory: directory.path(), limit: DEMO_LIMIT };
    let outcome = run::run(&run)?;
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
fn report(
    request: &EmulateRequest<'_>,
    results: &[Results],
    rounds: u32,
    sizes: Option<Sizes>,
    seconds: f64,
) -> EmulateReport {
    let host = inference::int8(request.weights, request.images.images());
    let (mut right, mut logits_differing, mut classes_differing) = (0, 0, 0);
    let (mut start, mut images) = (0, 0);
    for Results { records, .. } in results {
        let share = start..start + records.len() / rounds as usize;
        for (device, index) in records.iter().zip(share.clone().cycle()) {
            let host = &host[index];
            right += usize::from(device.class == u32::from(request.images.labels[index]));
            classes_differing += usize::from(device.class as usize != host.class);
            logits_differing += host.logits.iter().zip(&device.logits).filter(|(host, device)| host != device).count();
        }
        start = share.end;
        images += records.len();
    }
    let counted: Vec<_> = results.iter().filter_map(|results| results.counted.clone()).collect();
    EmulateReport {
        target: request.machine.target(),
        machine: request.machine,
        build: request.build,
        images,
        accuracy: right as f64 / images as f64,
        logits_compared: images * request.weights.outputs(),
        logits_differing,
        classes_differing,
        cost: sizes.and_then(|sizes| Cost::of(&counted, sizes, request.weights, request.build)),
        float: None,
        emulators: results.len(),
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use bn_core::CLASSES;

    use super::protocol::Trailer;
    use super::shard::{Counted, Record};
    use super::*;
    use crate::network::Network;
    use crate::quantize::Quantized;

    /// A comparison that cannot fail proves nothing.
    #[test]
    fn every_difference_is_counted() {
        let mut file: Box<bn_core::lenet::Streams> = bytemuck::zeroed_box();
        for multipliers in [file.linear1_multiplier.as_flattened_mut(), file.linear2_multiplier.as_flattened_mut()] {
            multipliers.fill(1 << 20);
        }
        file.linear3_multiplier.as_flattened_mut()[..CLASSES].fill(i32::MAX);
        for (class, bias) in file.linear3_bias.as_flattened_mut()[..CLASSES].iter_mut().enumerate() {
            *bias = 10 * class as i32;
        }
        let weights = Quantized { streams: file, logit_fraction_bits: 0 }.write(&Network::lenet()).unwrap();
        let images = Split::of_images(vec![[[0; 28]; 28]; 3], vec![9, 9, 1]);
        let request =
            EmulateRequest { weights: &weights, machine: Machine::default(), images: &images, build: Build::default() };
        let host = inference::int8(&weights, images.images());
        let records: Vec<_> = host.into_iter().map(|p| Record { class: p.class as u32, logits: p.logits }).collect();
        let counted = |images, low, high| {
            let trailer = Trailer {
                images,
                instructions: u64::from(low + high),
                instructions_min: low,
                instructions_max: high,
                stack_bytes: 7,
                scratch_bytes: 5,
            };
            Some(Counted { trailer, steps: vec![1; 5] })
        };
        let mut results = [
            Results { records: records[..2].to_vec(), counted: counted(2, 10, 30) },
            Results { records: records[2..].to_vec(), counted: counted(1, 0, 20) },
        ];
        let sizes = Some(Sizes { flash: 100, weights: 50, statics: 3, inference_code: 20, stack_bound: 8 });
        let same = report(&request, &results, 1, sizes, 1.0);
        assert!(same.verdict().is_ok());
        assert_eq!((same.images, same.logits_compared, same.accuracy), (3, 30, 2.0 / 3.0));
        let cost = same.cost.expect("it was counted");
        assert_eq!((cost.instructions_per_inference, cost.instructions_range), (20, [0, 30]));
        assert_eq!((cost.ram_bytes, cost.stack_bytes, cost.flash_bytes), (8, 7, 100));
        assert_eq!((cost.stack_bound_bytes, cost.inference_flash_bytes), (8, 70));

        results[1].records[0].logits[9] ^= 1;
        results[0].records[1].class = 3;
        let other = report(&request, &results, 1, sizes, 1.0);
        assert_eq!((other.logits_differing, other.classes_differing), (1, 1));
        let text = other.verdict().unwrap_err().to_string();
        assert!(text.contains("1 of 30 logits and 1 of 3 classes"), "{text}");

        // The second round of the first share repeats the two differences; the other two logits of it are right.
        for results in &mut results {
            results.records.extend_from_within(..);
        }
        let twice = report(&request, &results, 2, sizes, 1.0);
        assert_eq!((twice.images, twice.logits_differing, twice.classes_differing), (6, 2, 2));
    }
}
