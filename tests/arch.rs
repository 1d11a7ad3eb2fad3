//! Every core and every path gives the host's bits on the shipped model, within its budget of instructions and of memory.
//! Needs QEMU for Arm and RISC-V, Node.js and their targets.

use std::process::Command;

use bn_core::Model;
use host_trainer::data::Split;
use host_trainer::emulate::{EmulateReport, EmulateRequest, Machine, emulate};
use host_trainer::firmware::{Build, shipped_weights, workspace_root};
use host_trainer::weights::AlignedBytes;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::emulator::{random_images, ready_for};

/// Most instructions of an inference. Counts are deterministic: one more is a change that somebody made.
const BUDGETS: [(Machine, Build, u64); 13] = [
    (Machine::Netduinoplus2, Build::Default, 148_540),
    (Machine::Mps2An500, Build::Default, 148_540),
    (Machine::Mps2An505, Build::Default, 148_540),
    (Machine::Mps2An386, Build::Portable, 640_000),
    (Machine::Netduinoplus2, Build::Fast, 141_690),
    (Machine::Mps2An500, Build::Fast, 141_690),
    (Machine::Mps2An505, Build::Fast, 141_690),
    (Machine::Netduinoplus2, Build::Small, 195_500),
    (Machine::Mps2An500, Build::Small, 195_500),
    (Machine::Mps2An505, Build::Small, 195_600),
    (Machine::Mps2An385, Build::Default, 296_063),
    (Machine::Microbit, Build::Default, 572_353),
    (Machine::Riscv32, Build::Default, 603_000),
];
/// Bytes of RAM besides the image and of flash that an inference may take.
const RAM: u64 = 5_120;

fn run(weights: Model<'_>, machine: Machine, build: Build, images: &Split) -> EmulateReport {
    emulate(&EmulateRequest { weights, machine, images, build }).expect("the emulator runs")
}

#[test]
fn every_core_gives_the_hosts_bits_within_its_budget() {
    let path = shipped_weights().expect("a checkout");
    let bytes = AlignedBytes::read(&path).expect("shipped weights");
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(3), 64);
    for (machine, build, budget) in BUDGETS {
        if !ready_for(machine) {
            continue;
        }
        let report = run(bytes.model(&path).expect("good weights"), machine, build, &images);
        report.verdict().unwrap();
        let cost = report.cost.expect("it was counted");
        let instructions = cost.instructions_range[1];
        assert!(
            u64::from(instructions) <= budget,
            "{machine} {build:?}: {instructions} instructions, more than {budget}"
        );
        let ram = cost.scratch_bytes + cost.stack_bytes;
        assert!(ram <= RAM, "{machine}: {ram} bytes of RAM");
    }
}

/// WebAssembly has nothing to count.
#[test]
fn a_webassembly_module_gives_the_hosts_bits() {
    if !ready_for(Machine::Wasm32) {
        return;
    }
    let path = shipped_weights().expect("a checkout");
    let bytes = AlignedBytes::read(&path).expect("shipped weights");
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(3), 64);
    let report = run(bytes.model(&path).expect("good weights"), Machine::Wasm32, Build::Default, &images);
    assert_eq!((report.logits_compared, report.cost.is_none()), (640, true));
    report.verdict().unwrap();
}

/// A path that the target cannot run fails the build, with one line that says what to do.
#[test]
fn an_impossible_path_is_a_build_error() {
    let impossible = [
        ("thumbv6m-none-eabi", "armv7m", "which thumbv6m-none-eabi cannot run; leave it out, or build for thumbv7m-*"),
        (
            "thumbv7m-none-eabi",
            "cortex_m_dsp",
            "which thumbv7m-none-eabi cannot run; leave it out, or build for thumbv7em-*",
        ),
        ("thumbv7m-none-eabi", "neon", "bn_lenet_arch is neon, which is none of"),
    ];
    for (target, path, words) in impossible {
        let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
        let output = Command::new(env!("CARGO"))
            .args(["check", "--quiet", "--package", "bn-core", "--target", target])
            .env(variable, format!("--cfg bn_lenet_arch=\"{path}\""))
            .current_dir(workspace_root().expect("a checkout"))
            .output()
            .expect("cargo runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(words), "{target} {path}: {stderr}");
    }
}
