//! Public networks on emulated cores: a core's own plan runs on it, and the table of docs/results.md is what is measured, to the last
//! digit. This writes the table anew:
//!
//! ```text
//! BN_WRITE_FIGURES=1 cargo test -p tests zoo_device
//! ```
//!
//! Needs QEMU for Arm and RISC-V, Node.js, the targets, and the networks.

use std::fs;
use std::path::Path;

use bn_core::file::WeightsFile;
use bn_core::kernels::Core;
use bn_core::plan::Goal;
use clap::ValueEnum as _;
use host_trainer::data::{Inputs, Split};
use host_trainer::device::emulate::{EmulateReport, EmulateRequest, Machine, emulate};
use host_trainer::device::firmware::{Build, workspace_root};
use host_trainer::export::{Channels, ExportRequest, export_weights};
use host_trainer::model::inference::{dequantized, int8};
use tests::zoo;

use crate::emulator::prepare;
use crate::zoo::{Data, STORED};

/// First columns of the table.
const HEAD: &str = "| network | multiply-accumulates | error, int8 | ONNX Runtime | Cortex-M4 | CMSIS-NN | RAM | file |
|---|---:|---:|---:|---:|---:|---:|---:|
";
const PLACE: &str = "docs/results.md";
/// Inputs that the emulator is given.
pub(crate) const INPUTS: usize = 4;

/// A row: the network's file, what people call it, its channels; the error of ONNX Runtime's integers, as [`crate::zoo`] has it, and
/// the instructions of CMSIS-NN.
struct Row {
    name: &'static str,
    title: &'static str,
    channels: Channels<'static>,
    onnx_runtime: &'static str,
    cmsis_nn: &'static str,
}

const fn row(name: &'static str, title: &'static str, onnx_runtime: &'static str, cmsis_nn: &'static str) -> Row {
    Row { name, title, channels: Channels::Live, onnx_runtime, cmsis_nn }
}

const ROWS: [Row; 8] = [
    row("resnet8", "ResNet8", "3.8e-3", "29,869,831"),
    Row {
        channels: Channels::All,
        ..row("mobilenet_v1_025_vww96", "MobileNetV1 0.25, 96x96, `--keep-dead`", "1.1e-2", "24,710,355")
    },
    row("mobilenet_v1_025_vww96", "the same without its dead channels", "1.1e-2", ""),
    row("ds_cnn", "DS-CNN", "1.7", "7,841,371"),
    row("autoencoder", "AutoEncoder", "1.7e-3", "579,355"),
    row("mnist_valid", "TinyMaix `mnist_valid`", "6.1e-2", ""),
    row("mnist_dw", "TinyMaix `mnist_dw`", "7.9e-2", ""),
    row("burn_mnist", "burn-onnx MNIST", "0.12", ""),
];

impl Row {
    /// The row, measured.
    fn measured(&self) -> String {
        let (file, data) = exported(self.name, self.channels, Core::M4);
        let (images, odd) = (data.inputs.first(INPUTS), halves(&data)[1].clone());
        let given = dequantized(&file, &int8(&file, &data.inputs.select(&odd)));
        let error = relative_error(given.values(), odd.iter().flat_map(|&at| data.outputs(at)));
        let cost = checked(&file, Machine::Mps2An386, images).cost.expect("it counts");
        let [fewest, most] = cost.instructions_range;
        assert_eq!(fewest, most, "{}: its instructions depend on the input", self.name);
        let macs = (0..file.steps().len()).map(|step| file.step_macs(step)).sum();
        let ram = (cost.scratch_bytes + cost.stack_bytes) as usize;
        let [macs, counted, ram, bytes] = [macs, most as usize, ram, file.to_bytes().len()].map(thousands);
        let Self { title, onnx_runtime, cmsis_nn, .. } = self;
        format!("| {title} | {macs} | {error:.1e} | {onnx_runtime} | {counted} | {cmsis_nn} | {ram} | {bytes} |\n")
    }
}

/// Positions of the inputs with even index, which calibrate, and of the odd ones.
fn halves(data: &Data) -> [Vec<usize>; 2] {
    [0, 1].map(|first| (first..data.inputs.len()).step_by(2).collect())
}

/// A network's integers by the plan for a core, and its inputs.
pub(crate) fn exported(name: &str, channels: Channels<'_>, core: Core) -> (WeightsFile, Data) {
    let folder = zoo();
    let stored = STORED.iter().find(|stored| stored.name == name).expect("a network of the folder");
    let parameters = stored.import(&folder.join(format!("{name}.onnx"))).checkpoint.parameters;
    let data = Data::of(&folder, name, &parameters);
    let calibration = Split { inputs: data.inputs.select(&halves(&data)[0]), labels: Vec::new() };
    let goal = Goal { core, ..Goal::default() };
    let request = ExportRequest { calibration: &calibration, accuracy_limit: 100.0, fine_tuning: None, channels, goal };
    (export_weights(&parameters, &request).expect("integers"), data)
}

/// An emulated run whose every output is the host's.
pub(crate) fn checked(weights: &WeightsFile, machine: Machine, inputs: Inputs) -> EmulateReport {
    let images = &Split { inputs, labels: Vec::new() };
    let report = emulate(&EmulateRequest { weights, machine, images, build: Build::Default }).expect("it runs");
    report.verdict().unwrap_or_else(|error| panic!("{machine}: {error}"));
    paints_its_bound(&report, machine);
    report
}

/// The stack that a run used is what its code can use, but for what keeps it aligned.
pub(crate) fn paints_its_bound(report: &EmulateReport, machine: Machine) {
    if let Some(cost) = &report.cost {
        let (painted, bound) = (cost.stack_bytes, cost.stack_bound_bytes);
        assert!(
            (painted..=painted + 16).contains(&bound),
            "{machine}: {painted} bytes of stack painted, bound {bound}"
        );
    }
}

/// Sum of squared differences as a share of the sum of squares.
fn relative_error<'a>(given: &[f32], wanted: impl Iterator<Item = &'a f32>) -> f64 {
    let (mut error, mut all) = (0.0, 0.0);
    for (&given, &wanted) in given.iter().zip(wanted) {
        let wanted = f64::from(wanted);
        error += (f64::from(given) - wanted).powi(2);
        all += wanted * wanted;
    }
    error / all
}

pub(crate) fn thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", thousands(number / 1000), number % 1000) }
}

#[test]
#[cfg_attr(
    not(all(emulators, zoo)),
    ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them; needs the public networks: set BN_ZOO_DIR to their folder"
)]
fn the_table_of_the_public_networks_is_what_is_measured() {
    prepare(Machine::Mps2An386);
    let rows: String = ROWS.iter().map(Row::measured).collect();
    let table = HEAD.to_owned() + &rows;
    let place = workspace_root().expect("a checkout").join(PLACE);
    let document = fs::read_to_string(&place).expect("the document");
    let (before, rest) = document.split_once("| network | multiply-accumulates |").expect("the table");
    let end = rest.find("\n\n").expect("an end of the table") + 1;
    figures_are(&place, &document, format!("{before}{table}{}", &rest[end..]));
}

/// Holds a document to what is measured; writes it where the variable `BN_WRITE_FIGURES` is 1.
pub(crate) fn figures_are(place: &Path, document: &str, measured: String) {
    if std::env::var("BN_WRITE_FIGURES").is_ok_and(|value| value == "1") {
        return fs::write(place, measured).expect("a writable document");
    }
    let differing = measured.lines().filter(|line| !document.lines().any(|old| old == *line)).collect::<Vec<_>>();
    let shown = differing.join("\n");
    assert!(
        measured == document,
        "{} has not these lines; set BN_WRITE_FIGURES=1 to write them:\n{shown}",
        place.display()
    );
}

/// Machines, and the cores that they are.
const CORES: [(Machine, Core); 4] = [
    (Machine::Mps2An385, Core::M3),
    (Machine::Mps2Armv6M, Core::M0),
    (Machine::Riscv32, Core::Riscv),
    (Machine::Wasm32, Core::Wasm),
];

#[test]
#[cfg_attr(
    not(all(emulators, zoo)),
    ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them; needs the public networks: set BN_ZOO_DIR to their folder"
)]
fn a_plan_for_each_core_gives_the_hosts_bits_on_it() {
    for name in ["ds_cnn", "mnist_dw"] {
        for (machine, core) in CORES.into_iter().inspect(|(machine, _)| prepare(*machine)) {
            let (file, data) = exported(name, Channels::Live, core);
            let report = checked(&file, machine, data.inputs.first(INPUTS));
            let families: Vec<&str> = file.steps().iter().map(|step| step.family.name()).collect();
            println!("{name} on {machine}: {:?}; {families:?}", report.cost.map(|cost| cost.instructions_range));
        }
    }
}

#[test]
#[ignore = "takes a quarter of an hour; run it with -- --ignored --show-output zoo_device"]
fn every_stored_input_gives_the_hosts_bits_on_every_machine() {
    // This one is a Netduino of another name.
    let all = Machine::value_variants().iter().copied().filter(|machine| *machine != Machine::OlimexStm32H405);
    let runs: Vec<(Machine, Core)> = all.map(|machine| (machine, Core::M4)).chain(CORES).collect();
    for name in STORED.map(|stored| stored.name) {
        for (machine, core) in runs.iter().copied().inspect(|(machine, _)| prepare(*machine)) {
            let (weights, Data { inputs, .. }) = exported(name, Channels::Live, core);
            let (plan, images) = (core.name(), &Split { inputs, labels: Vec::new() });
            let report = match emulate(&EmulateRequest { weights: &weights, machine, images, build: Build::Default }) {
                Ok(report) => report,
                Err(error) => {
                    // The smaller machines refuse what they cannot hold.
                    assert!(error.to_string().contains("it fits"), "{name} on {machine}: {error}");
                    println!("{name} by the plan for {plan} on {machine}: left out, {error}");
                    continue;
                }
            };
            report.verdict().unwrap_or_else(|error| panic!("{name} by the plan for {plan} on {machine}: {error}"));
            paints_its_bound(&report, machine);
            let compared: usize = report.layers.iter().map(|layer| layer.outputs_compared).sum();
            let counted =
                report.cost.map(|cost| (cost.instructions_per_inference, cost.scratch_bytes, cost.stack_bytes));
            println!("{name} by the plan for {plan} on {machine}: {compared} outputs equal, {counted:?}");
        }
    }
}
