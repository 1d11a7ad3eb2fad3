//! The cargo commands of a firmware build. Every flag is stated here, and the linker in the workspace's `.cargo/config.toml`, so
//! that neither the environment nor a configuration file of cargo's in a directory above bends what is built.

use std::path::{Path, PathBuf};

use super::{Build, Program};
use crate::error::{Error, Result};
use crate::process::{Command, Shown};

/// What to build.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The compiler's name for the core.
    pub target: &'a str,
    /// The firmware's cargo feature for the board.
    pub board: &'a str,
    /// Which build of the network.
    pub build: Build,
    /// The programs.
    pub programs: &'a [Program],
    /// Variables that name files to bake in.
    pub baked: &'a [(&'static str, PathBuf)],
}

/// The build.
pub(super) fn build(root: &Path, request: &Request<'_>) -> Command {
    let Request { target, board, build, programs, baked } = *request;
    let kind = |program| if program == Program::Module { "--example" } else { "--bin" };
    let own = [Program::Float, Program::Layers].into_iter().filter(|program| programs.contains(program));
    let own = own.map(|program| program.name());
    let own: Vec<&str> = own.collect();
    let features = [board].into_iter().filter(|board| !board.is_empty()).chain(build.feature()).chain(own);
    let command = cargo(root)
        .args(["build", "--profile", build.profile(), "--target", target, "--package", "firmware-demo"])
        .args(programs.iter().flat_map(|program| [kind(*program), program.name()]))
        .args(["--message-format=json-render-diagnostics", "--no-default-features"])
        .args(features.flat_map(|feature| ["--features", feature]));
    let command = unbent(command, build.compiler_flags());
    baked.iter().fold(command, |command, (name, path)| command.env(name, path))
}

/// The build of the package `bn-c`.
pub(super) fn library(root: &Path, target: &str, dsp: bool) -> Command {
    let command = cargo(root)
        .args(["rustc", "--profile", Build::Default.profile(), "--target", target, "--package", "bn-c", "--lib"])
        .args(["--crate-type", "staticlib", "--message-format=json-render-diagnostics"])
        .args(dsp.then_some(["--features", "dsp"]).into_iter().flatten());
    unbent(command, &[])
}

/// These compiler's flags and no others.
fn unbent(command: Command, flags: &[&str]) -> Command {
    // Set, even to nothing, it stands in place of all flags that a configuration file has.
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
}

/// Runs a build, with the compiler's words on our stderr, and returns the executables it made.
///
/// # Errors
/// [`Error::Tool`] with the compiler's reason, [`Error::Missing`] without cargo.
pub(super) fn executables(build: Command) -> Result<Vec<PathBuf>> {
    let messages = messages(build, "the build of the firmware")?;
    Ok(messages.iter().filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect())
}

/// The same of [`library`].
///
/// # Errors
/// As [`executables`].
pub(super) fn library_of(build: Command) -> Result<PathBuf> {
    let messages = messages(build, "the build of the library")?;
    let made = messages.iter().filter_map(|message| message["filenames"].as_array()).flatten();
    let mut archives = made.filter_map(|name| name.as_str().filter(|name| name.ends_with(".a")));
    archives
        .next_back()
        .map(PathBuf::from)
        .ok_or_else(|| Error::Tool { tool: "cargo".into(), problem: "it made no library".into() })
}

fn messages(build: Command, what: &str) -> Result<Vec<serde_json::Value>> {
    let finished = build.finish(Shown::Errors)?.succeeded(what)?;
    Ok(finished.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Where cargo builds this workspace; asking respects every way to configure it.
///
/// # Errors
/// [`Error::Tool`] with cargo's reason, [`Error::Missing`] without cargo.
pub(super) fn target_directory(root: &Path) -> Result<PathBuf> {
    let asking = cargo(root).args(["metadata", "--no-deps", "--format-version", "1"]);
    let answer = asking.finish(Shown::Nothing)?.succeeded("cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Error::Tool { tool: "cargo metadata".into(), problem: "it names no target directory".into() })
}

fn cargo(root: &Path) -> Command {
    Command::cargo().directory(root)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::device::machine::Machine;
    use crate::device::setup;

    /// A firmware of one function in `checkout`, below a directory whose configuration would bend each build.
    fn checkout_below_a_configuration(target: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let bent = "rustflags = ['-Ctarget-cpu=native', '--cfg', 'bent', '-Clinker=false']";
        write(
            ".cargo/config.toml",
            &format!("[build]\n{bent}\nrustc-wrapper = 'false'\n[target.'{target}']\nlinker = 'false'\n{bent}\n"),
        );
        // It names the linker, and what lies nearer goes before what lies above.
        write("checkout/.cargo/config.toml", include_str!("../../../../.cargo/config.toml"));
        write(
            "checkout/Cargo.toml",
            "[package]\nname = 'firmware-demo'\nedition = '2024'\n[features]\nboard = []\nsmall = []\n[[bin]]\nname = 'demo'\n\
             [profile.firmware]\ninherits = 'release'\npanic = 'abort'\n[profile.firmware-small]\ninherits = 'firmware'\n",
        );
        write(
            "checkout/src/bin/demo.rs",
            "#![no_std]\n#![no_main]\n#[cfg(bent)]\ncompile_error!(\"bent\");\n\
             #[panic_handler]\nfn end(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n",
        );
        folder
    }

    #[test]
    fn no_flag_of_a_configuration_above_the_checkout_reaches_a_build() {
        for machine in
            [Machine::Netduinoplus2, Machine::Mps2An505, Machine::Microbit, Machine::Riscv32, Machine::Wasm32]
        {
            let target = machine.target();
            setup::ensure_target_of(target).unwrap();
            let folder = checkout_below_a_configuration(target);
            let build = if machine == Machine::Mps2An505 { Build::Portable } else { Build::Default };
            let request = Request { target, board: "board", build, programs: &[Program::Demo], baked: &[] };
            let root = folder.path().join("checkout");
            let built = |command: Command| command.env("CARGO_TARGET_DIR", folder.path().join("target"));
            let plain = cargo(&root).args(["build", "--profile", "firmware", "--target", target]);
            assert!(executables(built(plain)).is_err(), "the configuration bends it");
            assert_eq!(executables(built(super::build(&root, &request))).unwrap().len(), 1, "{target}");
        }
    }
}
