//! The command line of Node.js, which runs the inference as a WebAssembly module. Starts nothing.

use std::path::Path;

use crate::device::checkout::workspace_root;
use crate::device::machine::Machine;
use crate::error::Result;
use crate::process::Command;

/// The module is the program; its arguments are those of `module.mjs`.
pub(super) fn command(machine: Machine, elf: &Path, arguments: &[&str]) -> Result<Command> {
    let module = workspace_root()?.join("host-trainer/src/device/emulate/module.mjs");
    Ok(Command::new(machine.emulator().name).args([&*module, elf]).args(arguments))
}
