//! The structure that the project promises its readers: who may use whom, where `unsafe` may stand, how a file begins.

use std::fs;
use std::path::{Path, PathBuf};

/// The only places where `unsafe` may be allowed: instruction sets, the launch of CUDA kernels, the interface of C.
const UNSAFE_MAY_STAND_IN: [&str; 5] = [
    "bn-core/c/src/library.rs",
    "bn-core/src/kernels/",
    "bn-core/src/small/",
    "firmware-demo/src/arch/",
    "host-trainer/src/engine/cuda/launch.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// Every Rust source of the workspace, relative to its root, with its text.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["bn-core", "host-trainer", "firmware-demo", "tests"].map(|member| root().join(member)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "peers", "artifacts", "corpus"].contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
                sources.push((relative, fs::read_to_string(&path).expect("a readable source")));
            }
        }
    }
    assert!(sources.len() > 20, "the sources were found");
    sources
}

#[test]
fn every_source_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{path} does not begin with a line that says what it is for");
    }
}

#[test]
fn unsafe_stands_only_where_the_design_allows_it() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path != "tests/house.rs") {
        // Alone or in a list with other lints, on one line as rustfmt writes it, or on a line of its own.
        let allows = text.lines().any(|line| {
            let line = line.trim();
            let names = line.contains("unsafe_code") && !line.starts_with("//");
            names && (line.contains("allow(") || line.contains("expect(") || line.ends_with(','))
        });
        assert!(
            !allows || UNSAFE_MAY_STAND_IN.iter().any(|place| path.starts_with(place)),
            "{path} allows unsafe code"
        );
    }
}

fn manifest(member: &str) -> String {
    fs::read_to_string(root().join(member).join("Cargo.toml")).expect("a manifest")
}

/// That each block stands under a `SAFETY:` is what clippy checks; that it does so everywhere is checked here.
#[test]
fn every_unsafe_block_has_its_reason() {
    assert!(manifest(".").contains("undocumented_unsafe_blocks = \"deny\""));
    for member in ["bn-core", "bn-core/c", "host-trainer", "firmware-demo", "firmware-demo/protocol", "tests"] {
        assert!(manifest(member).contains("[lints]\nworkspace = true"), "{member} has lints of its own");
    }
    for (path, text) in sources() {
        let exempt = ["allow", "expect", "warn"].map(|level| format!("{level}(clippy::undocumented_unsafe_blocks"));
        assert!(!exempt.iter().any(|exempt| text.contains(exempt)), "{path} leaves reasons out");
    }
}

/// The program's own code, without what is compiled for tests alone.
fn program() -> impl Iterator<Item = (String, String)> {
    let is_program = |path: &str| path.starts_with("host-trainer/src/") && !path.ends_with("tests.rs");
    let all = sources().into_iter().filter(move |(path, _)| is_program(path));
    all.map(|(path, text)| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        (path, code)
    })
}

/// Only there is the environment of a program stated, and does it end with us.
#[test]
fn other_programs_are_started_in_one_place() {
    for (path, code) in program().filter(|(path, _)| path != "host-trainer/src/process.rs") {
        let imports = code.lines().filter(|line| line.starts_with("use std::process"));
        assert!(imports.into_iter().all(|line| !line.contains("Command")), "{path} starts programs of its own");
        assert!(!code.contains("process::Command::new"), "{path} starts programs of its own");
    }
}

/// Files of the program's own, which no user names: downloads and locks, working directories, what a killed run left.
const FILES_OF_ITS_OWN: [&str; 6] = [
    "host-trainer/src/data/download.rs",
    "host-trainer/src/device/emulate/float.rs",
    "host-trainer/src/device/emulate/shard.rs",
    "host-trainer/src/device/firmware.rs",
    "host-trainer/src/interrupt.rs",
    "host-trainer/src/train/claim.rs",
];

/// Only there is a file bounded and its kind named, and a place checked and written in one step.
#[test]
fn files_are_opened_in_one_place() {
    let elsewhere = |path: &str| !path.starts_with("host-trainer/src/files/") && !FILES_OF_ITS_OWN.contains(&path);
    for (path, code) in program().filter(|(path, _)| elsewhere(path)) {
        for opens in ["fs::read(", "fs::read_to_string(", "fs::write(", "File::open(", "File::create(", "OpenOptions"] {
            assert!(!code.contains(opens), "{path} opens a file with {opens}..)");
        }
    }
}

/// Durations are taken from a clock that only goes forward, and no file holds a time of day.
#[test]
fn a_clock_that_jumps_changes_nothing() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("tests/")) {
        assert!(!text.contains("SystemTime"), "{path} reads the time of day");
    }
}

#[test]
fn nobody_uses_what_lies_above_it() {
    for above in ["host-trainer", "firmware-demo", "tests"] {
        let names = |member: &str| manifest(member).lines().any(|line| line.starts_with(&format!("{above}.workspace")));
        assert!(!names("bn-core"), "bn-core uses {above}");
        assert!(!names("firmware-demo"), "firmware-demo uses {above}");
        assert!(above == "host-trainer" || !names("host-trainer"), "host-trainer uses {above}");
    }
}

/// Where `.ci/run` asks for them: here and, as no package is made an exception of, everywhere.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "the profile leaves overflow checks out; `.ci/run` asks for them")]
#[should_panic(expected = "attempt to add with overflow")]
fn overflow_checks_are_on() {
    let exceptions = manifest(".").matches("-checks = ").count();
    assert_eq!(exceptions, 2, "a package has checks of its own beside the profiles `dev` and `firmware`");
    let _ = std::hint::black_box(u8::MAX) + std::hint::black_box(1);
}
