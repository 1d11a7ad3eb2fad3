//! Flashes the demo onto a connected board and shows its log: a build, then `probe-rs run`.

use crate::device::board::Board;
use crate::device::firmware::{self, Inputs, Program};
use crate::device::setup;
use crate::error::{Error, Result};
use crate::notice::notice;
use crate::process::Command;

/// Builds the demo, flashes it and shows its log until it ends. Needs probe-rs and the board on a debug probe (ST-Link,
/// J-Link or CMSIS-DAP).
///
/// # Errors
/// [`Error::Missing`] without probe-rs, what [`firmware::build`] gives, [`Error::Tool`] when flashing or the demo fails.
pub fn flash(board: Board, inputs: &Inputs<'_>) -> Result<()> {
    setup::ensure_probe_rs()?;
    let firmware = firmware::build_programs(&Inputs { board: Some(board), ..*inputs }, &[Program::Demo])?;
    let (elf, chip) = (firmware.elf(Program::Demo), board.chip());
    notice(&format!("flashing: probe-rs run --chip {chip} {}", elf.display()));
    let probe_rs = Command::new("probe-rs").args(["run", "--chip", chip]).args([&elf]);
    let status = probe_rs.finish_in_the_open()?.status;
    if status.success() {
        return Ok(());
    }
    let needs = format!("it needs a {chip} on a debug probe: see `probe-rs list`, and its udev rules on Linux");
    Err(Error::Tool {
        tool: format!("probe-rs run --chip {chip} {}", elf.display()),
        problem: format!("{status}; {needs}"),
    })
}
