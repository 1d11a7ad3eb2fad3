//! The command line of Node.js, which runs the inference as a WebAssembly module. Starts nothing.

use super::run::Run;
use crate::device::firmware;
use crate::error::Result;
use crate::process::Command;

/// The module is `run`'s program; its arguments are those of `module.mjs`.
pub(super) fn command(run: &Run<'_>) -> Result<Command> {
    let module = firmware::workspace_root()?.join("host-trainer/src/device/emulate/module.mjs");
    Ok(Command::new(run.machine.emulator().name).args([&*module, run.elf]).args(run.arguments))
}
