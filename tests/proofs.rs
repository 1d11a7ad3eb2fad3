//! What is proved of the inference from its machine code, for each kind of core: no panic is reachable, the stack has a bound
//! that painting finds exactly, and code, weights and memory stay within their budgets. Needs QEMU and the targets.

use std::fs;
use std::path::{Path, PathBuf};

use bn_core::small;
use chacha20::ChaCha8Rng;
use host_trainer::device::emulate::{EmulateRequest, Machine, emulate};
use host_trainer::device::firmware::{Build, workspace_root};
use host_trainer::device::footprint::{Footprint, footprint};
use host_trainer::process::{Command, Shown};
use object::{Object, ObjectSection, SectionFlags};
use rand::SeedableRng;

use crate::emulator::{prepare, random_images};
use crate::zoo_device::paints_its_bound;

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

/// The most that the compiler has made of the code between the assembly; a few bytes of it move with what surrounds it.
const CORES: [Core; 7] = [
    core(Machine::Netduinoplus2, Build::Default, 9_704, 280),
    core(Machine::Mps2An505, Build::Default, 9_704, 280),
    core(Machine::Mps2An385, Build::Default, 6_818, 368),
    core(Machine::Microbit, Build::Default, 7_984, 440),
    core(Machine::Riscv32, Build::Default, 7_900, 368),
    core(Machine::Netduinoplus2, Build::Small, 2_640, 312),
    core(Machine::Mps2An505, Build::Small, 2_640, 312),
];

impl Core {
    /// Bytes of the weights and tables in flash, and the most that these and the code may take.
    fn flash(&self) -> (u64, u64) {
        match self.build {
            Build::Small => (small::WEIGHTS_BYTES as u64, 56 * 1024),
            Build::Default | Build::Portable => (tests::shipped().model_bytes().len() as u64, 84 * 1024),
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
    let cargo = Command::cargo()
        .directory(&workspace_root().expect("a checkout"))
        .args(["rustc", "--profile", core.build.profile(), "--package", "firmware-demo", "--bin", "inference"])
        .args(["--no-default-features", "--features", core.machine.board()])
        .args(core.build.feature().iter().flat_map(|feature| ["--features", feature]))
        .args(["--target", core.machine.target(), "--"])
        .args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    let finished = cargo.finish(Shown::Nothing).expect("cargo runs");
    (finished.status.success(), finished.stderr)
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
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn no_panic_is_reachable_in_inference_or_parser() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for core in CORES.iter().inspect(|core| prepare(core.machine)) {
        linked(core, &["bn_lenet_parse"], directory.path());
        // The same program must not link once it holds a function that can panic.
        let (success, words) = link(core, &["--undefined=bn_lenet_can_panic"]);
        assert!(!success && words.contains("undefined symbol: a_panic_is_reachable"), "{}: {words}", core.name());
    }
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn code_and_stack_stay_within_their_budgets() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for core in CORES.iter().inspect(|core| prepare(core.machine)) {
        let name = core.name();
        let elf = linked(core, &[], directory.path());
        let Footprint { code, stack, functions, deepest, .. } = footprint(&elf, "bn_lenet_predict").expect("a bound");
        let (weights, most) = core.flash();
        let whole = loaded(&elf);
        // Nothing is loaded that the call graph does not reach, but for padding between functions.
        let rest = whole.checked_sub(code + weights).expect("all of it is loaded");
        assert!(rest < 4 * functions.len() as u64, "{name}: {rest} bytes besides {functions:#?}");
        assert!(whole <= most, "{name}: {whole} bytes of flash, more than {most}");
        assert!(code <= core.code, "{name}: {code} bytes of code, more than {}, in {functions:#?}", core.code);
        assert!(stack <= core.stack, "{name}: {stack} bytes of stack, more than {}, by {deepest:#?}", core.stack);
    }
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn painting_the_stack_finds_the_bound() {
    let weights = tests::shipped();
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(6), 1);
    for core in CORES.iter().inspect(|core| prepare(core.machine)) {
        let name = core.name();
        let Core { machine, build, .. } = *core;
        let report = emulate(&EmulateRequest { weights: &weights, machine, build, images: &images }).expect("it runs");
        paints_its_bound(&report, machine);
        let cost = report.cost.expect("it was counted");
        let ram = cost.scratch_bytes + cost.stack_bound_bytes;
        assert!(ram <= core.ram(), "{name}: {ram} bytes of RAM");
    }
}
