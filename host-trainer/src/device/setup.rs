//! Tools that the firmware needs: asks for each, installs it where that works without a password, and otherwise names the
//! exact command. Says on stderr what it runs; nothing else of the system is touched.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::device::checkout::workspace_root;
use crate::error::{Error, Result};
use crate::notice::notice;
use crate::process::{Command, Shown};

/// The compiler's name for the microcontroller: Cortex-M4 with its floating point unit.
pub const TARGET: &str = "thumbv7em-none-eabihf";
/// The targets that networks are built for, as rust-toolchain.toml names them.
pub const CORE_TARGETS: [&str; 6] = [
    "thumbv6m-none-eabi",
    "thumbv7m-none-eabi",
    TARGET,
    "thumbv8m.main-none-eabihf",
    "riscv32imc-unknown-none-elf",
    "wasm32-unknown-unknown",
];
/// How to get probe-rs, which comes from its own sources.
pub const PROBE_RS_COMMAND: &str = "cargo install probe-rs-tools --locked";
/// A program of another project, and how to get it.
#[derive(Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name on the PATH.
    pub name: &'static str,
    /// What people call it.
    what: &'static str,
    /// The package of Debian's that has it.
    apt: &'static str,
    /// The package of Homebrew's that has it.
    brew: &'static str,
    /// Where it comes from.
    page: &'static str,
}

/// The emulator of Arm machines.
pub const QEMU_ARM: Tool = Tool {
    name: "qemu-system-arm",
    what: "QEMU's Arm system emulator",
    apt: "qemu-system-arm",
    brew: "qemu",
    page: "https://www.qemu.org/download",
};
/// The emulator of RISC-V machines.
pub const QEMU_RISCV: Tool = Tool {
    name: "qemu-system-riscv32",
    what: "QEMU's RISC-V system emulator",
    apt: "qemu-system-misc",
    brew: "qemu",
    page: "https://www.qemu.org/download",
};
/// What downloads.
pub const CURL: Tool =
    Tool { name: "curl", what: "curl", apt: "curl", brew: "curl", page: "https://curl.se/download.html" };
/// What runs WebAssembly modules.
pub const NODE: Tool =
    Tool { name: "node", what: "Node.js", apt: "nodejs", brew: "node", page: "https://nodejs.org/en/download" };

/// Makes sure that the compiler has the libraries of a target; installs them through rustup.
///
/// # Errors
/// [`Error::Missing`] without rustup, or when it fails.
pub fn ensure_target_of(target: &str) -> Result<()> {
    if target_is_installed(target) {
        return Ok(());
    }
    let what = format!("the compiler has no libraries for {target}");
    let add = ["rustup", "target", "add", target];
    if !is_there("rustup") {
        return Err(Error::Missing {
            what,
            remedy: format!("install rustup from https://rustup.rs, then: {}", add.join(" ")),
        });
    }
    match run(&add) {
        Ok(()) if target_is_installed(target) => Ok(()),
        tried => {
            Err(Error::Missing { what: format!("{what}, and {}", why(tried, &add)), remedy: "try it by hand".into() })
        }
    }
}

/// Makes sure that a tool is there; installs it through apt-get when root, or through Homebrew.
///
/// # Errors
/// [`Error::Missing`] with the command to type.
pub fn ensure_tool(tool: &Tool) -> Result<()> {
    /// Two threads that install at once would be in each other's way.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    if is_whole(tool.name)? {
        return Ok(());
    }
    let system = System::of_this();
    let what = format!("{} is not on the PATH", tool.name);
    match plan(tool, system) {
        Plan::Ask(remedy) => Err(Error::Missing { what, remedy }),
        Plan::Run(command) => {
            let tried = match run(&command) {
                // A fresh container has no package lists: the first try fails there.
                Err(_) if system.apt => run(&["apt-get", "update"]).and_then(|()| run(&command)),
                tried => tried,
            };
            if tried.is_ok() && is_whole(tool.name)? {
                return Ok(());
            }
            let what = format!("{what}, and {}", why(tried, &command));
            Err(Error::Missing { what, remedy: format!("install {} by hand", tool.what) })
        }
    }
}

/// Makes sure that probe-rs is there. It comes from its own installer, so this only says how.
///
/// # Errors
/// [`Error::Missing`] with the command to type.
pub fn ensure_probe_rs() -> Result<()> {
    if is_whole("probe-rs")? {
        return Ok(());
    }
    Err(Error::Missing {
        what: "probe-rs, which flashes the board, is not on the PATH".into(),
        remedy: format!("type: {PROBE_RS_COMMAND} (or see https://probe.rs/docs/getting-started/installation)"),
    })
}

const APT_INSTALL: [&str; 4] = ["apt-get", "install", "-y", "--no-install-recommends"];

/// What decides how a package can be installed.
#[derive(Clone, Copy)]
struct System {
    root: bool,
    apt: bool,
    brew: bool,
}

impl System {
    fn of_this() -> Self {
        Self { root: is_root(), apt: is_there("apt-get"), brew: is_there("brew") }
    }
}

/// The command that installs a tool here, or what to do where there is none.
pub fn command_for(tool: &Tool) -> String {
    match plan(tool, System::of_this()) {
        Plan::Run(command) => command.join(" "),
        Plan::Ask(words) => words.trim_start_matches("type: ").to_owned(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Run(Vec<&'static str>),
    Ask(String),
}

fn plan(tool: &Tool, system: System) -> Plan {
    let apt = [&APT_INSTALL[..], &[tool.apt]].concat();
    let brew = vec!["brew", "install", tool.brew];
    match system {
        System { apt: true, root: true, .. } => Plan::Run(apt),
        System { brew: true, root: false, .. } => Plan::Run(brew),
        System { apt: true, .. } => Plan::Ask(format!("type: sudo {}", apt.join(" "))),
        System { brew: true, .. } => {
            Plan::Ask(format!("Homebrew refuses root; type as a normal user: {}", brew.join(" ")))
        }
        _ => Plan::Ask(format!("install {} with your package manager ({})", tool.what, tool.page)),
    }
}

/// Whether a program of that name answers to `--version`.
fn is_there(program: &str) -> bool {
    is_whole(program).unwrap_or(false)
}

/// As [`is_there`], but a program that is there and does not answer, as where a library of its own is missing, is an error with
/// its words.
fn is_whole(program: &str) -> Result<bool> {
    match Command::new(program).args(["--version"]).finish(Shown::Nothing) {
        Ok(finished) => match finished.succeeded(program) {
            Ok(_) => Ok(true),
            Err(error) => Err(Error::Missing {
                what: format!("{program} is on the PATH, but does not work: {error}"),
                remedy: "mend or reinstall it".into(),
            }),
        },
        Err(Error::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_root() -> bool {
    output(Command::new("id").args(["-u"])).is_some_and(|id| id.trim() == "0")
}

/// Whether the compiler has the libraries of a target.
pub fn target_is_installed(target: &str) -> bool {
    let mut rustc = Command::new("rustc").args(["--print", "sysroot"]);
    if let Ok(root) = workspace_root() {
        // There rustup finds the pinned toolchain.
        rustc = rustc.directory(&root);
    }
    output(rustc).is_some_and(|sysroot| {
        let libraries: PathBuf = [sysroot.trim(), "lib", "rustlib", target, "lib"].iter().collect();
        libraries.is_dir()
    })
}

fn output(command: Command) -> Option<String> {
    let finished = command.finish(Shown::Nothing).ok()?;
    finished.status.success().then_some(finished.stdout)
}

/// Runs a command that the user sees, with both of its outputs on our stderr.
fn run(command: &[&str]) -> Result<()> {
    let words = command.join(" ");
    notice(&format!("installing: {words}"));
    let root = workspace_root().unwrap_or_else(|_| ".".into());
    let program = Command::new(command[0]).args(&command[1..]).env("DEBIAN_FRONTEND", "noninteractive");
    program.directory(&root).finish(Shown::Everything)?.succeeded(command[0]).map(drop)
}

/// Why a command did not help.
fn why(tried: Result<()>, command: &[&str]) -> String {
    match tried {
        Ok(()) => format!("`{}` changed nothing", command.join(" ")),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_installed_only_where_no_password_is_needed() {
        let plan = |root, apt, brew| plan(&QEMU_RISCV, System { root, apt, brew });
        let apt = vec!["apt-get", "install", "-y", "--no-install-recommends", "qemu-system-misc"];
        assert_eq!(plan(true, true, false), Plan::Run(apt));
        assert_eq!(plan(false, false, true), Plan::Run(vec!["brew", "install", "qemu"]));
        for (system, command) in [
            (plan(false, true, false), "sudo apt-get install -y --no-install-recommends qemu-system-misc"),
            (plan(true, false, true), "brew install qemu"),
        ] {
            assert!(matches!(system, Plan::Ask(text) if text.contains(command)));
        }
        assert!(matches!(plan(false, false, false), Plan::Ask(_)));
    }

    #[test]
    fn a_tool_that_does_not_exist_is_not_there() {
        assert!(!is_whole("a-tool-that-does-not-exist").unwrap());
    }

    #[test]
    fn a_tool_that_is_there_and_fails_is_not_called_missing() {
        let error = is_whole("false").unwrap_err().to_string();
        assert!(error.starts_with("false is on the PATH, but does not work: "), "{error}");
    }
}
