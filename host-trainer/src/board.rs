//! Flashes the demo onto a connected STM32F405 board and shows its log: a build, then `probe-rs run`.

use std::process::Command;

use crate::error::{Error, Result};
use crate::firmware::{self, Inputs, Program};
use crate::setup;

/// The chip's name in probe-rs.
pub const CHIP: &str = "STM32F405RGTx";

/// Builds the demo, flashes it and shows its log until it ends. Needs probe-rs and a board on a debug probe (ST-Link,
/// J-Link or CMSIS-DAP).
///
/// # Errors
/// [`Error::Missing`] without probe-rs, what [`firmware::build`] gives, [`Error::Tool`] when flashing or the demo fails.
pub fn flash(inputs: &Inputs<'_>) -> Result<()> {
    setup::ensure_probe_rs()?;
    let firmware = firmware::build_programs(inputs, &[Program::Demo])?;
    let elf = firmware.elf(Program::Demo);
    eprintln!("flashing: probe-rs run --chip {CHIP} {}", elf.display());
    let failed = |problem| Error::Tool { tool: "probe-rs run".into(), problem };
    let status = Command::new("probe-rs").args(["run", "--chip", CHIP]).arg(&elf).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!(
            "{status}; it needs an STM32F405 board on a debug probe: see `probe-rs list`, and its udev rules on Linux"
        ))),
        Err(error) => Err(failed(error.to_string())),
    }
}
