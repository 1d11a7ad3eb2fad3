//! Every core and every path gives the host's bits on the shipped model, within its budget of instructions and of memory.
//! Needs QEMU for Arm and RISC-V, Node.js, and the targets.

use std::path::Path;

use bn_core::file::WeightsFile;
use chacha20::ChaCha8Rng;
use host_trainer::data::Split;
use host_trainer::device::emulate::{EmulateReport, EmulateRequest, Machine, emulate, emulate_built};
use host_trainer::device::firmware::{Build, workspace_root};
use host_trainer::device::footprint::footprint;
use host_trainer::device::setup;
use host_trainer::process::{Command, Shown};
use rand::SeedableRng;

use crate::emulator::{prepare, random_images};

/// Fewest and most instructions of an inference on these images. Counts are deterministic: another one is a change that
/// somebody made. On an Armv6-M core they depend a little on the image.
const EXACT: [(Machine, Build, [u32; 2]); 8] = [
    (Machine::Netduinoplus2, Build::Default, [148_446; 2]),
    (Machine::Mps2An500, Build::Default, [148_453; 2]),
    (Machine::Mps2An505, Build::Default, [148_447; 2]),
    (Machine::Netduinoplus2, Build::Small, [195_328; 2]),
    (Machine::Mps2An500, Build::Small, [195_328; 2]),
    (Machine::Mps2An505, Build::Small, [195_453; 2]),
    (Machine::Mps2An385, Build::Default, [296_000; 2]),
    (Machine::Microbit, Build::Default, [566_631, 571_269]),
];
/// By how much the compiler's code around the call moves a count: the assembly's own is the same to one.
const AROUND: u32 = 4;
/// Most instructions of the portable path, where the compiler decides.
const PORTABLE: [(Machine, Build, u32); 2] =
    [(Machine::Mps2An386, Build::Portable, 540_000), (Machine::Riscv32, Build::Default, 607_000)];
/// Bytes of RAM besides the image and of flash that an inference may take.
const RAM: u64 = 5_120;

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn every_core_gives_the_hosts_bits_within_its_budget() {
    prepare(Machine::default());
    let weights = tests::shipped();
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(3), 64);
    let counted = EXACT.map(|(machine, build, _)| {
        let report = checked(&weights, machine, build, &images);
        (machine, build, report.cost.expect("it was counted").instructions_range)
    });
    let as_said = |counted: [u32; 2], said: [u32; 2]| counted.iter().zip(said).all(|(&c, s)| c.abs_diff(s) <= AROUND);
    // All of them at once, to be copied.
    let same = counted.iter().zip(EXACT).all(|(counted, exact)| as_said(counted.2, exact.2));
    assert!(same, "counted {counted:?}, not {EXACT:?}");
    for (machine, build, budget) in PORTABLE {
        prepare(machine);
        let report = checked(&weights, machine, build, &images);
        let most = report.cost.expect("it was counted").instructions_range[1];
        assert!(most <= budget, "portable on {machine}: {most} instructions, more than {budget}");
    }
}

/// WebAssembly has nothing to count.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_webassembly_module_gives_the_hosts_bits() {
    prepare(Machine::Wasm32);
    let weights = tests::shipped();
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(3), 64);
    let report = checked(&weights, Machine::Wasm32, Build::Default, &images);
    assert_eq!((report.logits_compared, report.cost.is_none()), (640, true));
}

/// A run whose logits are the host's, in no more memory than there may be.
fn checked(weights: &WeightsFile, machine: Machine, build: Build, images: &Split) -> EmulateReport {
    let report = emulate(&EmulateRequest { weights, machine, images, build }).expect("the emulator runs");
    report.verdict().unwrap_or_else(|error| panic!("{machine} {build:?}: {error}"));
    let ram = report.cost.as_ref().map_or(0, |cost| cost.scratch_bytes + cost.stack_bytes);
    assert!(ram <= RAM, "{machine}: {ram} bytes of RAM");
    report
}

/// A Cortex-M33 may lack the DSP extension; then it gets the Armv7-M path, and gives the same bits.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn an_armv8m_core_without_the_dsp_extension_gives_the_hosts_bits() {
    prepare(Machine::default());
    let machine = Machine::Mps2An505;
    setup::ensure_target_of(machine.target()).expect("a target");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without-dsp");
    let command = Command::cargo()
        .directory(&workspace_root().expect("a checkout"))
        .args(["build", "--quiet", "--profile", "firmware", "--package", "firmware-demo", "--bin", "evaluate"])
        .args(["--no-default-features", "--features", machine.board(), "--target", machine.target(), "--target-dir"])
        .args([&folder])
        // The emulated chip has the extension, and the board's feature says so.
        .env("CARGO_ENCODED_RUSTFLAGS", "--cfg\x1fbn_lenet_arch=\"armv7m\"");
    command.finish(Shown::Nothing).and_then(|built| built.succeeded("the build")).unwrap();
    let elf = folder.join(machine.target()).join("firmware/evaluate");
    let symbols = footprint(&elf, "firmware_demo10classifier5infer").expect("an inference").functions;
    let named = |part: &str| symbols.iter().any(|(name, _)| name.contains(part));
    assert!(named("bn_lenet_conv1_channel") && !named("bn_lenet_conv1_rows"), "{symbols:?}");
    let weights = tests::shipped();
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(5), 64);
    let request = EmulateRequest { weights: &weights, machine, images: &images, build: Build::Default };
    emulate_built(&elf, &request).expect("it runs").verdict().unwrap();
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
        let check = Command::cargo()
            .directory(&workspace_root().expect("a checkout"))
            .args(["check", "--quiet", "--package", "bn-core", "--target", target])
            .env(variable, format!("--cfg bn_lenet_arch=\"{path}\""));
        let finished = check.finish(Shown::Nothing).expect("cargo runs");
        assert!(!finished.status.success() && finished.stderr.contains(words), "{target} {path}: {}", finished.stderr);
    }
}
