//! Somebody's own firmware, as docs/own-firmware.md has it: crates outside the workspace with a build script of three lines, one of
//! them for embassy, and C programs with the static library. Each gives the host's logits in the emulator, each mistake one line.
//! Needs QEMU and the thumb targets; for C `arm-none-eabi-gcc` with newlib. Writes into the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use bn_core::file::{Arena, WeightsFile, reseal};
use bn_core::format::golden_input;
use clap::Parser as _;
use host_trainer::cli::{self, Cli};
use host_trainer::device::emulate::Machine;
use host_trainer::device::firmware::{LibraryRequest, build_library, workspace_root};
use host_trainer::process::{Command, Finished, Shown};

use crate::emulator::prepare;

const GCC: &str = "arm-none-eabi-gcc";
/// An emulated program ends long before.
const LIMIT: Duration = Duration::from_secs(60);

/// The folder of an example in the repository.
fn example(name: &str) -> PathBuf {
    workspace_root().expect("a checkout").join("docs/examples").join(name)
}

/// Where this file's programs are made: crates that share one folder of built dependencies.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("own-firmware")
}

/// A copy of an example in a folder elsewhere, as its user would have it, without weights.
fn copied(name: &str, to: &str) -> PathBuf {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("a readable entry");
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            match entry.file_name().to_string_lossy().as_ref() {
                "target" | "weights.bin" => {}
                _ if from.is_dir() => copy(&from, &to),
                _ => drop(fs::copy(&from, &to).expect("a readable file")),
            }
        }
    }
    let copied = folder().join(to);
    let _ = fs::remove_file(copied.join("weights.bin"));
    copy(&example(name), &copied);
    let manifest = copied.join("Cargo.toml");
    if let Ok(text) = fs::read_to_string(&manifest) {
        let (theirs, ours) = ("../../../bn-core", workspace_root().expect("a checkout").join("bn-core"));
        assert_eq!(text.matches(theirs).count(), 2, "a dependency and a build dependency");
        fs::write(&manifest, text.replace(theirs, &ours.display().to_string())).expect("a writable file");
    }
    copied
}

fn cargo(crate_folder: &Path, verb: &str) -> Finished {
    let cargo = Command::cargo().directory(crate_folder).args([verb, "--release", "--locked", "--target-dir"]);
    cargo.args([folder().join("target")]).finish(Shown::Nothing).expect("cargo runs")
}

/// Input `number` of a network.
fn input(file: &WeightsFile, number: usize) -> Vec<u8> {
    let bytes = file.network().topology.input.len();
    (0..bytes).map(|index| golden_input(number * bytes + index)).collect()
}

/// What a program prints of an input if it is right.
fn logits(file: &WeightsFile, input: &[u8]) -> String {
    format!("logits {:?}, in units of", file.run(input, &mut Arena::default(), |_, _| ()))
}

/// Builds a crate with a network and an input, and runs it as its own `.cargo/config.toml` says.
fn run(crate_folder: &Path, file: &WeightsFile) -> String {
    let input = input(file, 0);
    fs::write(crate_folder.join("weights.bin"), file.to_bytes()).expect("a writable file");
    fs::write(crate_folder.join("input.bin"), &input).expect("a writable file");
    let ran = cargo(crate_folder, "run").succeeded("the program").unwrap();
    assert!(ran.stdout.contains(&logits(file, &input)), "{} instead of {}", ran.stdout, logits(file, &input));
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    ran.stdout
}

/// The second network has other sizes: cargo generates its code anew because the file changed.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_crate_with_three_lines_of_build_script_gives_the_hosts_logits() {
    prepare(Machine::Mps2An386);
    let own = copied("own-firmware", "own-firmware");
    run(&own, &tests::any_network().0);
    let said = run(&own, &tests::shipped());
    assert!(bn_core::CLASS_NAMES.iter().any(|name| said.contains(&format!(" ({name})"))), "{said}");
    // Each mistake is one line.
    let (file, weights) = (tests::shipped().to_bytes(), own.join("weights.bin"));
    let [mut older, mut damaged] = [file.clone(), file.clone()];
    older[16] = 2;
    reseal(&mut older);
    damaged[5_000] ^= 1;
    let refused = |line: &str| {
        let words = cargo(&own, "build").stderr;
        assert!(words.contains(&format!("error: own-firmware@0.1.0: weights.bin: {line}")), "{words}");
    };
    for (bytes, line) in [
        (&older, "format version 2, this reads 3; make a new one with `cargo trainer export"),
        (&damaged, "damaged: its checksum is"),
        (&file[..100].to_vec(), "100 bytes where this weights.bin has"),
    ] {
        fs::write(&weights, bytes).expect("a writable file");
        refused(line);
    }
    fs::remove_file(&weights).expect("it is there");
    refused(&format!("no such file in {}; make it with `cargo trainer export", own.display()));
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn an_embassy_task_gives_the_hosts_logits_while_another_has_its_turns() {
    prepare(Machine::Mps2An386);
    let (file, _) = tests::any_network();
    let said = run(&copied("embassy", "embassy"), &file);
    let ticks = said.split(", ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    assert!(ticks.is_some_and(|ticks| ticks >= file.steps().len() - 1), "one between two layers each: {said}");
}

/// A core that a library is built for.
struct Core {
    target: &'static str,
    flags: &'static [&'static str],
    machine: Machine,
}

const CORES: [Core; 2] = [
    Core {
        target: "thumbv7em-none-eabihf",
        flags: &["-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
        machine: Machine::Mps2An386,
    },
    // The smallest core's code, on a machine with room for newlib.
    Core {
        target: "thumbv6m-none-eabi",
        flags: &["-mcpu=cortex-m0", "-mfloat-abi=soft"],
        machine: Machine::Mps2Armv6M,
    },
];

impl Core {
    /// Compiles a program; `sources` lie in its folder.
    fn compile(&self, folder: &Path, sources: &[&str], elf: &str) {
        let warnings = ["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I."];
        let link = ["--specs=rdimon.specs", "-Wl,--gc-sections", "-T", "mps2.ld", "-o", elf];
        let gcc = Command::new(GCC).directory(folder).args(self.flags).args(warnings).args(sources).args(link);
        gcc.finish(Shown::Nothing).and_then(|compiled| compiled.succeeded(GCC)).unwrap();
    }

    fn run(&self, folder: &Path, elf: &str) -> (ExitStatus, String) {
        let semihosting = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config"];
        // Code for Armv6-M runs on the board with a Cortex-M3.
        let board = if self.machine == Machine::Mps2Armv6M { Machine::Mps2An385 } else { self.machine };
        let qemu = Command::new("qemu-system-arm").directory(folder).args(["-machine", board.name()]);
        let qemu = qemu.args(semihosting).args(["enable=on,target=native", "-kernel", elf]);
        let mut running = qemu.start().expect("QEMU runs");
        let said = running.stdout().expect("once");
        let said = thread::spawn(move || std::io::read_to_string(said).expect("text"));
        let status = running.wait_within(LIMIT).expect("it ends");
        (status, said.join().expect("it was read"))
    }
}

/// Writes the library of a network, and its header.
fn library(folder: &Path, file: &WeightsFile, name: &str, target: &str) -> u64 {
    let built = build_library(&LibraryRequest { weights: file, name, target, dsp: false }).expect("a library");
    fs::write(folder.join(format!("lib{name}.a")), &built.archive).expect("a writable file");
    fs::write(folder.join(format!("{name}.h")), &built.header).expect("a writable file");
    built.code_bytes
}

#[test]
#[cfg_attr(
    not(all(emulators, gnu_arm_c)),
    ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them; needs arm-none-eabi-gcc: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"
)]
fn c_programs_give_the_hosts_logits_and_refuse_what_cannot_be() {
    let (any, shipped) = (tests::any_network().0, tests::shipped());
    let interface = workspace_root().expect("a checkout").join("tests/own_firmware/interface.c");
    for core in CORES.iter().inspect(|core| prepare(core.machine)) {
        let own = copied("c", "c");
        fs::copy(&interface, own.join("interface.c")).expect("a readable file");
        let code = library(&own, &any, "model", core.target);
        println!("{}: {code} bytes of code", core.target);
        core.compile(&own, &["main.c", "startup.c", "libmodel.a"], "main.elf");
        for number in 0..4 {
            let input = input(&any, number);
            fs::write(own.join("input.bin"), &input).expect("a writable file");
            let (status, said) = core.run(&own, "main.elf");
            assert!(status.success() && said.contains(&logits(&any, &input)), "{said}: not {}", logits(&any, &input));
        }
        // Two networks in one program, and each answer of the interface.
        library(&own, &shipped, "lenet", core.target);
        core.compile(&own, &["interface.c", "startup.c", "libmodel.a", "liblenet.a"], "interface.elf");
        let (status, said) = core.run(&own, "interface.elf");
        assert!(status.success() && said.ends_with("all of it\n"), "{}: {said}", core.target);
    }
    let cpp = Command::new(GCC).directory(&folder().join("c")).args(["-x", "c++", "-Wall", "-Werror", "-fsyntax-only"]);
    cpp.args(["model.h", "lenet.h"]).finish(Shown::Nothing).and_then(|checked| checked.succeeded("C++")).unwrap();
}

#[test]
fn a_library_that_cannot_be_is_refused() {
    let weights = tests::shipped();
    let request = LibraryRequest { weights: &weights, name: "Model", target: "thumbv7m-none-eabi", dsp: false };
    for (request, words) in [
        (request, "\"Model\" cannot begin the names of a library; take a small letter"),
        (LibraryRequest { name: "m", dsp: true, ..request }, "--dsp says nothing of thumbv7m-none-eabi"),
    ] {
        let refused = build_library(&request).unwrap_err();
        assert!(refused.exit_code() == 2 && refused.to_string().contains(words), "{refused}");
    }
}

/// For tests of somebody's C program, on the machine where it is written.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_c_program_on_this_machine_gives_the_hosts_logits() {
    let (file, own) = (tests::any_network().0, copied("c", "c-here"));
    let (weights, target) = (own.join("weights.bin"), format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
    fs::write(&weights, file.to_bytes()).expect("a writable file");
    let arguments = ["host-trainer".as_ref(), "library".as_ref(), weights.as_os_str(), "--json".as_ref()];
    let options = ["--target".as_ref(), target.as_ref(), "--out".as_ref(), own.as_os_str()];
    let mut said = Vec::new();
    let cli = Cli::try_parse_from(arguments.into_iter().chain(options)).expect("a command line");
    cli::run(cli, &mut said).expect("a library");
    let said: serde_json::Value = serde_json::from_slice(&said).expect("JSON");
    assert_eq!(
        (&said["weights_bytes"], &said["arena_bytes"]),
        (&file.model_bytes().len().into(), &(4 * file.arena_words()).into()),
        "{said}"
    );
    let cc = Command::new("cc").directory(&own).args(["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-I."]);
    let compiled = cc.args(["main.c", "libmodel.a", "-o", "main"]).finish(Shown::Nothing);
    compiled.and_then(|compiled| compiled.succeeded("cc")).unwrap();
    let input = input(&file, 0);
    fs::write(own.join("input.bin"), &input).expect("a writable file");
    let ran = Command::new(own.join("main")).directory(&own).finish(Shown::Nothing).expect("it runs");
    assert!(ran.stdout.contains(&logits(&file, &input)), "{}: not {}", ran.stdout, logits(&file, &input));
}
