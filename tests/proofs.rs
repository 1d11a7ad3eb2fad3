//! What is proved of the inference from its machine code, for each kind of core: no panic is reachable, the stack has a bound
//! that painting finds exactly, and code, weights and memory stay within their budgets. Needs QEMU and the thumb targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bn_core::Scratch;
use bn_core::format::WEIGHTS_BYTES;
use host_trainer::emulate::{EmulateRequest, Machine, emulate};
use host_trainer::firmware::{shipped_weights, workspace_root};
use host_trainer::footprint::{Footprint, footprint};
use host_trainer::setup;
use host_trainer::weights::AlignedBytes;
use object::{Object, ObjectSection, SectionFlags};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::emulator::{random_images, ready};

/// A core: the machine that stands for it, and the most that an inference may take on it.
struct Core {
    machine: Machine,
    /// Bytes of code. With the weights they are the inference in flash.
    code: u64,
    /// Bytes of stack.
    stack: u64,
}

/// What the compiler makes is deterministic: one byte more is a change that somebody made.
const CORES: [Core; 4] = [
    Core { machine: Machine::Netduinoplus2, code: 9_218, stack: 368 },
    Core { machine: Machine::Mps2An505, code: 9_218, stack: 368 },
    Core { machine: Machine::Mps2An385, code: 5_898, stack: 472 },
    Core { machine: Machine::Microbit, code: 5_988, stack: 588 },
];

/// Bytes of flash that code, weights and tables may take on any core, and of RAM besides the image.
const FLASH: u64 = 84 * 1024;
const RAM: u64 = 5_120;

/// Links the inference alone, as its linker script and these arguments say, and hands back what cargo said.
fn link(machine: Machine, arguments: &[&str]) -> (bool, String) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace_root().expect("a checkout"));
    cargo.args(["rustc", "--profile", "firmware", "--package", "firmware-demo", "--bin", "inference"]);
    cargo.args(["--no-default-features", "--features", machine.board(), "--target", machine.target(), "--"]);
    cargo.args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    let output = cargo.output().expect("cargo runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Links the inference alone, with all the roots, into a file of its own.
fn linked(machine: Machine, roots: &[&str], directory: &Path) -> PathBuf {
    let elf = directory.join("inference");
    let roots = roots.iter().map(|root| format!("--undefined={root}"));
    let arguments: Vec<String> = roots.chain([format!("-o{}", elf.display())]).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (success, words) = link(machine, &arguments);
    assert!(success, "{machine}: {words}");
    elf
}

/// Bytes that a program has in flash: everything that is loaded.
fn loaded(elf: &Path) -> u64 {
    let bytes = fs::read(elf).expect("an ELF");
    let file = object::File::parse(&*bytes).expect("an ELF");
    let is_loaded = |section: &object::Section<'_, '_>| {
        matches!(section.flags(), SectionFlags::Elf { sh_flags } if sh_flags & u64::from(object::elf::SHF_ALLOC) != 0)
            // Two bytes that tell the host how logs are encoded.
            && section.name().is_ok_and(|name| !name.starts_with(".defmt"))
    };
    file.sections().filter(is_loaded).map(|section| section.size()).sum()
}

#[test]
fn no_panic_is_reachable_in_inference_or_parser() {
    if !ready() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    for Core { machine, .. } in CORES {
        setup::ensure_target_of(machine.target()).expect("a target");
        linked(machine, &["bn_lenet_parse"], directory.path());
        // The same program must not link once it holds a function that can panic.
        let (success, words) = link(machine, &["--undefined=bn_lenet_can_panic"]);
        assert!(!success && words.contains("undefined symbol: a_panic_is_reachable"), "{machine}: {words}");
    }
}

#[test]
fn code_and_stack_stay_within_their_budgets() {
    if !ready() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    for Core { machine, code: most_code, stack: most_stack } in CORES {
        setup::ensure_target_of(machine.target()).expect("a target");
        let elf = linked(machine, &[], directory.path());
        let Footprint { code, stack, functions } = footprint(&elf, "bn_lenet_predict").expect("a bound");
        let whole = loaded(&elf);
        // Nothing is loaded that the call graph does not reach, but for padding between functions.
        let rest = whole.checked_sub(code + WEIGHTS_BYTES as u64).expect("all of it is loaded");
        assert!(rest < 4 * functions.len() as u64, "{machine}: {rest} bytes besides {functions:#?}");
        assert!(whole <= FLASH && code <= most_code, "{machine}: {code} bytes of code, {whole} with the weights");
        assert!(stack <= most_stack, "{machine}: {stack} bytes of stack in {functions:#?}");
        assert!(size_of::<Scratch>() as u64 + stack <= RAM);
    }
}

#[test]
fn painting_the_stack_finds_the_bound() {
    if !ready() {
        return;
    }
    let path = shipped_weights().expect("a checkout");
    let bytes = AlignedBytes::read(&path).expect("shipped weights");
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(6), 1);
    for Core { machine, .. } in CORES {
        let weights = bytes.model(&path).expect("good weights");
        let report = emulate(&EmulateRequest { weights, machine, images: &images, portable: false }).expect("it runs");
        assert!(report.stack_bytes <= report.stack_bound_bytes, "{machine}: the stack is deeper than its bound");
        let slack = report.stack_bound_bytes - report.stack_bytes;
        assert!(slack <= 16, "{machine}: painted {}, bound {}", report.stack_bytes, report.stack_bound_bytes);
        assert_eq!(report.scratch_bytes, size_of::<Scratch>() as u64);
    }
}
