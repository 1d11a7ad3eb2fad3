//! Networks of other kinds than LeNet on every emulated machine: each layer's every output is the host's, a difference has its
//! place, and a network that a machine cannot hold is refused with those that can. Needs QEMU for Arm and RISC-V, Node.js, and
//! the targets.

use std::ffi::OsString;
use std::sync::Arc;

use bn_core::file::WeightsFile;
use bn_core::plan::{Family, Goal};
use clap::{Parser as _, ValueEnum as _};
use host_trainer::Result;
use host_trainer::cli::{Cli, run};
use host_trainer::data::{Inputs, Split};
use host_trainer::device::board::Board;
use host_trainer::device::emulate::{EmulateReport, EmulateRequest, Machine, emulate, emulate_built};
use host_trainer::device::firmware::{self, Build, Program};
use host_trainer::engine::init::kaiming_parameters;
use host_trainer::export::{Channels, ExportRequest, export_weights};
use host_trainer::model::parameters::Variance;
use host_trainer::network::text;

use crate::emulator::prepare;

/// Every family of kernels, with channels that fill no whole word, a residual and tables.
const EVERY_FAMILY: &str = "network every_family
input 3x8x8
preprocess scale 1/255 mean 0.25 std 0.5

conv2d 6 3x3 pad 1 | batch_norm | leaky_relu slope 0.1
depthwise 3x3 pad 1 | batch_norm | sigmoid
conv2d 6 1x1 | batch_norm | relu6 as before
conv2d 6 3x3 pad 1 | add before | relu as again
depthwise 3x3 pad 1 | batch_norm | relu
conv2d 6 1x1 | add again | relu6 as wide
conv2d 6 5x5 pad 2 | add wide | relu
conv2d 5 3x3 pad 0,1,2,0 | relu as third
avg_pool2d 3x3 stride 1 pad 1 | add third | relu
conv2d 7 3x3 stride 2 pad 1 | relu
depthwise 3x3 stride 2 pad 1 | relu
max_pool2d 2x2 stride 1
flatten | relu | linear 7
";
/// Few layers on a large map.
const LARGE: &str = "network large
input 1x160x160

conv2d 4 1x1 | relu | max_pool2d 8x8 stride 8
flatten | linear 2
";

/// An untrained network's integers, and noise.
fn made(network: &str, seed: u64) -> (WeightsFile, Split) {
    let (file, calibration) = exported(network, seed, Channels::Live);
    (file.expect("integers"), calibration.first(16))
}

/// Likewise, with those channels.
fn exported(network: &str, seed: u64, channels: Channels<'_>) -> (Result<WeightsFile>, Split) {
    let network = Arc::new(text::parse(network).expect("a network"));
    let inputs = Inputs::noise(&network, seed);
    let parameters = kaiming_parameters(&network, seed, Variance::Biased);
    let calibration = Split { inputs, labels: Vec::new() };
    let request = ExportRequest {
        calibration: &calibration,
        accuracy_limit: 100.0,
        fine_tuning: None,
        channels,
        goal: Goal::default(),
    };
    (export_weights(&parameters, &request), calibration)
}

/// A run on a machine whose every output is the host's.
fn checked(machine: Machine, weights: &WeightsFile, images: &Split) -> EmulateReport {
    let report = emulate(&EmulateRequest { weights, machine, images, build: Build::Default }).expect("it runs");
    report.verdict().unwrap_or_else(|error| panic!("{machine}: {error}"));
    assert_eq!((report.images, report.accuracy, report.layers.len()), (images.len(), None, weights.steps().len()));
    for (step, layer) in report.layers.iter().enumerate() {
        assert_eq!(layer.outputs_compared, images.len() * weights.step_shape(step).len(), "{machine} {}", layer.name);
        assert_eq!(layer.instructions.is_some(), machine.counts(), "{machine} {}", layer.name);
    }
    println!("{machine}: {:?}", report.cost.as_ref().map(|cost| (cost.instructions_range, cost.scratch_bytes)));
    report
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn every_family_gives_the_hosts_bits_on_every_machine() {
    let (file, images) = made(EVERY_FAMILY, 1);
    let general = Family::ALL.into_iter().filter(|family| family.is_general());
    let missing: Vec<&str> =
        general.filter(|&family| file.steps().iter().all(|step| step.family != family)).map(Family::name).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // This one is a Netduino of another name.
    for &machine in Machine::value_variants().iter().filter(|machine| **machine != Machine::OlimexStm32H405) {
        prepare(machine);
        checked(machine, &file, &images);
    }
}

#[test]
fn a_retrained_model_keeps_the_plan_of_the_old_one_or_is_refused() {
    let (old, _) = made(EVERY_FAMILY, 1);
    let new = exported(EVERY_FAMILY, 4, Channels::Of(&old)).0.expect("the same network");
    assert_eq!((old.header().plan, new.steps().len()), (new.header().plan, old.steps().len()));
    assert_ne!(old.checksum(), new.checksum());
    let wider = EVERY_FAMILY.replace("conv2d 5 3x3", "conv2d 8 3x3");
    let refused = exported(&wider, 4, Channels::Of(&old)).0.unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    let text = refused.to_string();
    assert!(text.starts_with("refused: layer ") && text.contains("and in the file of --plan 5x"), "{text}");
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_large_network_runs_where_it_fits_and_is_refused_elsewhere() {
    let (file, images) = made(LARGE, 2);
    let images = images.first(2);
    for machine in [Machine::Mps2An386, Machine::Mps2Armv6M].into_iter().inspect(|&machine| prepare(machine)) {
        checked(machine, &file, &images);
    }
    prepare(Machine::Netduinoplus2);
    let request =
        EmulateRequest { weights: &file, machine: Machine::Netduinoplus2, images: &images, build: Build::Default };
    let refused = emulate(&request).unwrap_err();
    let text = refused.to_string();
    assert_eq!(refused.exit_code(), 2);
    assert!(text.starts_with("large takes ") && text.contains("netduinoplus2 has 131072 and 1048576"), "{text}");
    assert!(
        text.ends_with(
            "it fits --machine mps2-an385, mps2-armv6m, mps2-an386, mps2-an500, mps2-an505, riscv32, wasm32"
        ),
        "{text}"
    );
    let small = emulate(&EmulateRequest { build: Build::Small, machine: Machine::Mps2An386, ..request }).unwrap_err();
    assert_eq!(
        (small.exit_code(), small.to_string()),
        (2, "the small build is LeNet's alone; leave out --small".into())
    );
    let inputs = firmware::Inputs { weights: Some(&file), board: Some(Board::Stm32f405), ..Default::default() };
    let text = firmware::build_programs(&inputs, &[Program::Demo]).unwrap_err().to_string();
    assert!(text.ends_with("it fits --board pico, pico-2"), "{text}");
}

/// There is no data set for every network: one without a flag that names data is refused in one line.
#[test]
fn a_network_of_another_input_wants_its_data_named() {
    let (file, _) = made(EVERY_FAMILY, 1);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("weights.bin");
    std::fs::write(&path, file.to_bytes()).expect("a writable file");
    let cli = ["host-trainer", "emulate", "--weights"].map(OsString::from).into_iter().chain([path.into()]);
    let refused = run(Cli::try_parse_from(cli).expect("a command line"), &mut Vec::new()).unwrap_err();
    assert_eq!((refused.exit_code(), refused.to_string().contains("--inputs")), (2, true), "{refused}");
}

/// A device with another model of the same plan differs first in the first layer.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_difference_has_its_layer_and_its_place() {
    let machine = Machine::default();
    prepare(machine);
    let ((file, images), (other, _)) = (made(EVERY_FAMILY, 1), made(EVERY_FAMILY, 4));
    assert_eq!(file.header().plan, other.header().plan);
    let inputs = firmware::Inputs { weights: Some(&file), machine, ..Default::default() };
    let built = firmware::build_programs(&inputs, &[Program::Evaluate]).expect("it builds");
    let elf = built.elf(Program::Evaluate);
    firmware::replace_weights(&elf, Build::Default, &other).expect("a program with weights");
    let images = images.first(3);
    let request = EmulateRequest { weights: &file, machine, images: &images, build: Build::Default };
    let report = emulate_built(&elf, &request).expect("it runs");
    let first = report.first_difference.as_ref().expect("a difference");
    let place = first.place.expect("a second run shows it");
    assert_eq!((&first.layer, first.input), (&file.step_name(0), 0));
    assert!(place.channel < 6 && place.row < 9 && place.column < 9 && place.device != place.host, "{first}");
    assert!(report.layers.iter().all(|layer| layer.outputs_differing > 0), "{:?}", report.layers);
    let text = report.verdict().unwrap_err().to_string();
    assert!(text.contains(&format!("first in {first}")), "{text}");
}
