//! What is proved of the inference from its machine code, for each kind of core: no panic is reachable, the stack has a bound
//! that painting finds exactly, and code, weights and memory stay within their budgets. Needs QEMU and the thumb targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bn_core::format::WEIGHTS_BYTES;
use bn_core::{fast, small};
use host_trainer::emulate::{EmulateRequest, Machine, emulate};
use host_trainer::firmware::{Build, shipped_weights, workspace_root};
use host_trainer::footprint::{Footprint, footprint};
use host_trainer::setup;
use host_trainer::weights::AlignedBytes;
use object::{Object, ObjectSection, SectionFlags};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::emulator::{random_images, ready};

/// A build for a core, as the machine that stands for it runs it, and what an inference takes there.
struct Core {
    machine: Machine,
    build: Build,
    /// Bytes of code. With the weights they are the inference in flash.
    code: u64,
    /// Bytes of stack. With the scratch they are its RAM.
    stack: u64,
}

const fn core(machine: Machine, build: Build, code: u64, stack: u64) -> Core {
    Core { machine, build, code, stack }
}

/// What the compiler makes is deterministic: one byte more or less is a change that somebody made, and these figures with it.
const CORES: [Core; 8] = [
    core(Machine::Netduinoplus2, Build::Default, 9_724, 368),
    core(Machine::Mps2An505, Build::Default, 9_724, 368),
    core(Machine::Mps2An385, Build::Default, 6_860, 440),
    core(Machine::Microbit, Build::Default, 8_034, 472),
    core(Machine::Netduinoplus2, Build::Fast, 11_000, 400),
    core(Machine::Mps2An505, Build::Fast, 11_000, 400),
    core(Machine::Netduinoplus2, Build::Small, 2_646, 304),
    core(Machine::Mps2An505, Build::Small, 2_650, 304),
];

impl Core {
    /// Bytes of the weights and tables in flash, and the most that these and the code may take.
    fn flash(&self) -> (u64, u64) {
        match self.build {
            Build::Small => (small::WEIGHTS_BYTES as u64, 56 * 1024),
            Build::Fast => (fast::WEIGHTS_BYTES as u64, 84 * 1024),
            Build::Default | Build::Portable => (WEIGHTS_BYTES as u64, 84 * 1024),
        }
    }

    /// The most RAM besides the image, in bytes.
    fn ram(&self) -> u64 {
        if self.build == Build::Small { 3_072 } else { 5_120 }
    }

    fn name(&self) -> String {
        format!("{} {:?}", self.machine, self.build)
    }
}

/// Links the inference alone, as its linker script and these arguments say, and hands back what cargo said.
fn link(core: &Core, arguments: &[&str]) -> (bool, String) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace_root().expect("a checkout"));
    cargo.args(["rustc", "--profile", core.build.profile(), "--package", "firmware-demo", "--bin", "inference"]);
    cargo.args(["--no-default-features", "--features", core.machine.board()]);
    cargo.args(core.build.feature().iter().flat_map(|feature| ["--features", feature]));
    cargo.args(["--target", core.machine.target(), "--"]);
    cargo.args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    let output = cargo.output().expect("cargo runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Links the inference alone, with all the roots, into a file of its own.
fn linked(core: &Core, roots: &[&str], directory: &Path) -> PathBuf {
    let elf = directory.join("inference");
    let roots = roots.iter().map(|root| format!("--undefined={root}"));
    let arguments: Vec<String> = roots.chain([format!("-o{}", elf.display())]).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (success, words) = link(core, &arguments);
    assert!(success, "{}: {words}", core.name());
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
    for core in &CORES {
        setup::ensure_target_of(core.machine.target()).expect("a target");
        linked(core, &["bn_lenet_parse"], directory.path());
        // The same program must not link once it holds a function that can panic.
        let (success, words) = link(core, &["--undefined=bn_lenet_can_panic"]);
        assert!(!success && words.contains("undefined symbol: a_panic_is_reachable"), "{}: {words}", core.name());
    }
}

#[test]
fn code_and_stack_stay_within_their_budgets() {
    if !ready() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    for core in &CORES {
        let name = core.name();
        setup::ensure_target_of(core.machine.target()).expect("a target");
        let elf = linked(core, &[], directory.path());
        let Footprint { code, stack, functions, .. } = footprint(&elf, "bn_lenet_predict").expect("a bound");
        let (weights, most) = core.flash();
        let whole = loaded(&elf);
        // Nothing is loaded that the call graph does not reach, but for padding between functions.
        let rest = whole.checked_sub(code + weights).expect("all of it is loaded");
        assert!(rest < 4 * functions.len() as u64, "{name}: {rest} bytes besides {functions:#?}");
        assert!(whole <= most, "{name}: {whole} bytes of flash, more than {most}");
        assert_eq!((code, stack), (core.code, core.stack), "{name}: bytes of code, of stack in {functions:#?}");
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
    for core in &CORES {
        let (weights, name) = (bytes.model(&path).expect("good weights"), core.name());
        let Core { machine, build, .. } = *core;
        let report = emulate(&EmulateRequest { weights, machine, build, images: &images }).expect("it runs");
        let (painted, bound) = (report.stack_bytes, report.stack_bound_bytes);
        assert!((painted..=painted + 16).contains(&bound), "{name}: painted {painted}, bound {bound}");
        let ram = report.scratch_bytes + bound;
        assert!(ram <= core.ram(), "{name}: {ram} bytes of RAM");
    }
}
