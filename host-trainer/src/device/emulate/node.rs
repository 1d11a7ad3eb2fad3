//! The command line of Node.js, which runs the inference as a WebAssembly module. Starts nothing.

use std::process::Command;

use super::run::Run;
use crate::device::firmware;
use crate::error::Result;

/// The module is `run`'s program; its arguments are those of `module.mjs`.
pub(super) fn command(run: &Run<'_>) -> Result<Command> {
    let mut command = Command::new(run.machine.emulator().name);
    command.arg(firmware::workspace_root()?.join("host-trainer/src/device/emulate/module.mjs"));
    command.arg(run.elf).args(run.arguments);
    Ok(command)
}
