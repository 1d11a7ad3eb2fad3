//! Runs the firmware in QEMU, or as a WebAssembly module in Node.js: streams images through it, compares every output of every
//! layer with the host's, and reports what it took.

mod compare;
mod cortex_m4;
mod cost;
mod float;
mod log;
mod node;
mod profile;
mod qemu;
mod report;
mod run;
mod shard;
mod trace;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bn_core::file::WeightsFile;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::data::Split;
use crate::device::codes::Codes;
use crate::device::firmware::{self, Build, Inputs, Program, Sizes};
use crate::device::setup;
use crate::engine::Task as Learned;
use crate::error::{Error, Result};
use crate::files;
use crate::notice::notice;

use compare::{Comparison, compare};
use shard::{Model, Results, Shard, Task};
use trace::Trace;

pub use crate::device::machine::Machine;
pub use firmware_protocol as protocol;

pub use compare::{Difference, Place};
pub use cortex_m4::Cycles;
pub use cost::Cost;
pub use float::{FloatCost, FloatReport, FloatRequest, float};
pub use log::{Level, LogLine};
pub use profile::{CMSIS_NN, Executed, LayerProfile};
pub use report::EmulateReport;
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
    /// Inputs, with their labels where there are any.
    pub images: &'a Split,
    /// Which build of the network.
    pub build: Build,
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
    let EmulateRequest { weights, machine, images, .. } = *request;
    let sizes = if machine.counts() { Some(firmware::sizes(elf)?) } else { None };
    let (directory, codes) = (working_directory()?, Codes::of(weights, &images.inputs)?);
    let shard = |index: usize, images, task| {
        let directory = directory.path().join(index.to_string());
        Shard { elf, machine, model: Model::of(weights), images, task, directory }
    };
    let ranges = shard::split(codes.len(), &Model::of(weights)).into_iter().enumerate();
    let shards = ranges.map(|(index, range)| shard(index, codes.part(range).into(), Task::Records(rounds)));
    let shards: Vec<_> = shards.collect();
    let times = if rounds == 1 { String::new() } else { format!("{rounds} times ") };
    notice(&format!("classifying {times}{} images on {} x {machine}", codes.len(), shards.len()));
    let start = Instant::now();
    let results = run_all(&shards, codes.len() * rounds as usize)?;
    let seconds = start.elapsed().as_secs_f64();
    let comparison = compare(weights, &codes, &images.labels, (&results, rounds), |inputs| {
        notice(&format!("looking at every output for {} images that differ", inputs.len()));
        shard(shards.len(), codes.select(inputs).into(), Task::Outputs).outputs()
    })?;
    Ok(report(request, comparison, &results, sizes, seconds))
}

/// Adds to a report of [`emulate_built`] what QEMU's log of every executed instruction says of one more inference. Nothing
/// unless it is a log of Thumb code.
///
/// # Errors
/// As [`emulate`].
pub fn profile(elf: &Path, request: &EmulateRequest<'_>, report: &mut EmulateReport) -> Result<()> {
    check(request)?;
    let Some(cost) = report.cost.as_mut().filter(|_| request.machine.is_arm()) else { return Ok(()) };
    let (directory, codes) = (working_directory()?, Codes::of(request.weights, &request.images.inputs)?);
    let shard = Shard {
        elf,
        machine: request.machine,
        model: Model::of(request.weights),
        images: codes.one(0).into(),
        task: Task::Records(1),
        directory: directory.path().to_owned(),
    };
    let trace = shard.run_with(|run| Trace::of_last(run, firmware::INFERENCE))?;
    cost.executed = Some(profile::explain(&mut report.layers, &trace, request.machine));
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

/// Sums up.
fn report(
    request: &EmulateRequest<'_>,
    comparison: Comparison,
    results: &[Results],
    sizes: Option<Sizes>,
    seconds: f64,
) -> EmulateReport {
    let EmulateRequest { weights, machine, images: inputs, build } = *request;
    let Comparison { images, right, logits_differing, classes_differing, outputs_differing, first } = comparison;
    let counted: Vec<_> = results.iter().filter_map(|results| results.counted.clone()).collect();
    let counts: Vec<u64> =
        (0..weights.steps().len()).map(|step| counted.iter().map(|counted| counted.steps[step]).sum()).collect();
    let counts = (!counted.is_empty()).then_some(&counts[..]);
    let layers = profile::profile(weights, images, counts, &outputs_differing, build);
    let is_labelled = !inputs.labels.is_empty() && Learned::of_description(&weights.network()) == Learned::Classes;
    EmulateReport {
        target: machine.target(),
        machine,
        build,
        images,
        accuracy: is_labelled.then(|| right as f64 / images as f64),
        logits_compared: images * weights.outputs(),
        logits_differing,
        classes_differing,
        outputs_compared: layers.iter().map(|layer| layer.outputs_compared).sum(),
        outputs_differing: outputs_differing.iter().sum(),
        first_difference: first.map(|(_, first)| first),
        layers,
        cost: sizes.and_then(|sizes| Cost::of(&counted, sizes)),
        float: None,
        emulators: results.len(),
        seconds,
    }
}

#[cfg(test)]
mod tests;
