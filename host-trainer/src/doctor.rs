//! What this machine has of all that the program may use, and the command that mends what is missing. Looks, and changes nothing.

use serde::Serialize;

use crate::data::{self, Request};
use crate::device::setup::{self, CORE_TARGETS};
use crate::engine::cuda;
use crate::process::{Command, Shown};

/// One thing that was looked for.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is.
    pub what: &'static str,
    /// What it is for.
    pub used_for: &'static str,
    /// What was found; `None` where it is missing.
    pub found: Option<String>,
    /// The command that mends it, or what to do; empty where nothing is missing.
    pub remedy: String,
}

/// Looks for everything.
pub fn doctor() -> Vec<Finding> {
    let missing: Vec<&str> = CORE_TARGETS.into_iter().filter(|target| !setup::target_is_installed(target)).collect();
    let targets = missing.is_empty().then(|| format!("all {}", CORE_TARGETS.len()));
    let mut findings = vec![finding(
        "compiler targets",
        "demo, emulate, board",
        targets,
        format!("rustup target add {}", missing.join(" ")),
    )];
    for (tool, what, used_for) in [
        (&setup::QEMU_ARM, "QEMU for Arm", "demo, emulate"),
        (&setup::QEMU_RISCV, "QEMU for RISC-V", "emulate --machine riscv32"),
        (&setup::NODE, "Node.js", "emulate --machine wasm32"),
    ] {
        findings.push(finding(what, used_for, version(tool.name), setup::command_for(tool)));
    }
    findings.push(finding(
        "curl",
        "data, demo: fetching Fashion-MNIST",
        version("curl"),
        setup::command_for(&setup::CURL),
    ));
    let request = Request { download: false, ..Request::default() };
    let directory =
        data::locate::directory(&request, &data::locate::Places::of_system(), &data::download::Network::official());
    let found = directory.ok().map(|directory| directory.display().to_string());
    findings.push(finding("Fashion-MNIST", "train, evaluate, demo", found, "cargo trainer data".into()));
    let driver = cuda::is_present().then(|| "there is a driver".to_owned());
    findings.push(finding(
        "NVIDIA's driver",
        "train --engine cuda",
        driver,
        "install it; training takes the CPU without".into(),
    ));
    findings.push(finding("probe-rs", "board", version("probe-rs"), setup::PROBE_RS_COMMAND.into()));
    findings.push(finding("debug probes", "board", probes(), "connect a board by USB".into()));
    findings
}

fn finding(what: &'static str, used_for: &'static str, found: Option<String>, remedy: String) -> Finding {
    let remedy = if found.is_some() { String::new() } else { remedy };
    Finding { what, used_for, found, remedy }
}

/// What a program says that it is.
fn version(program: &str) -> Option<String> {
    let said = said(program, "--version")?;
    said.lines().map(str::trim).find(|line| !line.is_empty()).map(|line| line.chars().take(60).collect())
}

/// The probes that probe-rs sees, one a line of its list: `[0]: STLink V2 ...`.
fn probes() -> Option<String> {
    let said = said("probe-rs", "list")?;
    let probes: Vec<&str> = said.lines().filter(|line| line.trim_start().starts_with('[')).map(str::trim).collect();
    (!probes.is_empty()).then(|| probes.join("; "))
}

fn said(program: &str, argument: &str) -> Option<String> {
    let finished = Command::new(program).args([argument]).finish(Shown::Nothing).ok()?;
    finished.status.success().then_some(finished.stdout)
}
