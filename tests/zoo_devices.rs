//! The public networks on emulated machines: every output of every layer is the host's, and what they take is what
//! `docs/results.md` says. `BN_LENET_FULL=1` runs all stored inputs on every machine, for half an hour; else two inputs on the
//! Cortex-M4.

use bn_core::file::WeightsFile;
use clap::ValueEnum as _;
use host_trainer::data::Split;
use host_trainer::device::emulate::{EmulateRequest, Machine, emulate};
use host_trainer::device::firmware::Build;
use host_trainer::export::{Channels, ExportRequest, export_weights};
use tests::zoo;

use crate::emulator::ready_for;
use crate::zoo::{Data, STORED, Stored};

/// Instructions of one inference on the emulated Cortex-M4, as `docs/results.md` has them.
const COUNTS: [(&str, u64); 7] = [
    ("resnet8", 4_908_078),
    ("mobilenet_v1_025_vww96", 3_979_546),
    ("ds_cnn", 2_282_344),
    ("autoencoder", 250_141),
    ("mnist_valid", 41_531),
    ("mnist_dw", 161_797),
    ("burn_mnist", 1_425_672),
];

/// A network's integers, calibrated on the stored inputs with even index, and all stored inputs.
fn exported(stored: &Stored, folder: &std::path::Path) -> (WeightsFile, Split) {
    let parameters = stored.import(&folder.join(format!("{}.onnx", stored.name))).checkpoint.parameters;
    let data = Data::of(folder, stored.name, &parameters);
    let even: Vec<usize> = (0..data.inputs.len()).step_by(2).collect();
    let calibration = Split { inputs: data.inputs.select(&even), labels: Vec::new() };
    let request =
        ExportRequest { calibration: &calibration, accuracy_limit: 100.0, fine_tuning: None, channels: Channels::Live };
    let file = export_weights(&parameters, &request).unwrap();
    (file, Split { inputs: data.inputs, labels: Vec::new() })
}

#[test]
fn every_layers_bits_are_the_hosts_in_so_many_instructions() {
    let Some(folder) = zoo() else { return };
    let is_full = std::env::var_os("BN_LENET_FULL").is_some_and(|value| value == "1");
    let machines: Vec<Machine> = if is_full {
        // This one is a Netduino of another name.
        let all = Machine::value_variants().iter().copied();
        all.filter(|machine| *machine != Machine::OlimexStm32H405).collect()
    } else {
        vec![Machine::Mps2An386]
    };
    let mut wrong = Vec::new();
    for (stored, (name, wanted)) in STORED.iter().zip(COUNTS) {
        assert_eq!(stored.name, name);
        let (weights, all) = exported(stored, &folder);
        let images = if is_full { all } else { all.first(2) };
        for machine in machines.iter().copied().filter(|&machine| ready_for(machine)) {
            let request = EmulateRequest { weights: &weights, machine, images: &images, build: Build::Default };
            let report = match emulate(&request) {
                Ok(report) => report,
                Err(error) => {
                    // The smaller machines refuse what they cannot hold.
                    assert!(error.to_string().contains("it fits"), "{name} on {machine}: {error}");
                    println!("{name} on {machine}: left out, {error}");
                    continue;
                }
            };
            report.verdict().unwrap_or_else(|error| panic!("{name} on {machine}: {error}"));
            let compared: usize = report.layers.iter().map(|layer| layer.outputs_compared).sum();
            let cost = report.cost.as_ref().map(|cost| (cost.instructions_per_inference, cost.scratch_bytes));
            println!("{name} on {machine}: {compared} outputs of {} inputs equal, {cost:?}", images.len());
            if machine == Machine::Mps2An386 && cost.is_none_or(|(instructions, _)| instructions != wanted) {
                wrong.push(format!("(\"{name}\", {cost:?})"));
            }
        }
    }
    assert!(wrong.is_empty(), "these counts are others now, here and in docs/results.md: {}", wrong.join(", "));
}

#[test]
fn the_results_page_says_so_too() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/results.md");
    let page = std::fs::read_to_string(path).unwrap();
    for (name, count) in COUNTS {
        let digits = count.to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
        assert!(page.contains(&groups.join(",")), "docs/results.md has no {} for {name}", groups.join(","));
    }
}
