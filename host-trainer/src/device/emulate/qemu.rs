//! The command line of QEMU. Asks it which machines it has; starts nothing else.

use std::path::Path;

use crate::device::machine::Machine;
use crate::error::{Error, Result};
use crate::process::{Command, Shown};

/// Checks that this QEMU knows the machine: they come and go with its versions.
///
/// # Errors
/// [`Error::Missing`] when it does not, [`Error::Tool`] when QEMU does not answer.
pub(super) fn ensure_machine(machine: Machine) -> Result<()> {
    let qemu = machine.emulator().name;
    let help = Command::new(qemu).args(["-machine", "help"]).finish(Shown::Nothing)?.succeeded(qemu)?;
    let known = help.stdout.lines().any(|l| l.split(' ').next() == Some(machine.qemu()));
    if known {
        return Ok(());
    }
    Err(Error::Missing {
        what: format!("this {qemu} has no machine {machine}"),
        remedy: match machine {
            Machine::OlimexStm32H405 => {
                format!("use --machine {} (the same chip), or QEMU 8.0 or newer", Machine::Netduinoplus2)
            }
            _ => "install QEMU 6.0 or newer".into(),
        },
    })
}

/// `-icount` makes the emulated clock follow the executed instructions, which is what the firmware counts: 64 ns each for SysTick;
/// RISC-V's `minstret` counts nanoseconds in some versions of QEMU, so there it is one.
pub(super) fn command(machine: Machine, elf: &Path, arguments: &[&str]) -> Command {
    let name = elf.file_name().unwrap_or_default().to_string_lossy();
    let mut semihosting = format!("enable=on,target=native,arg={name}");
    for argument in arguments {
        semihosting.push_str(",arg=");
        semihosting.push_str(argument);
    }
    let core: &[&str] = if machine == Machine::Riscv32 {
        // A core without the extensions that the firmware is not built for, and no boot ROM.
        &["-cpu", "rv32,a=off,f=off,d=off", "-bios", "none", "-icount", "shift=0"]
    } else {
        &["-icount", "shift=6"]
    };
    Command::new(machine.emulator().name)
        .args(core)
        .args(["-machine", machine.qemu(), "-semihosting-config", &semihosting])
        .args(["-display", "none", "-monitor", "none", "-serial", "none", "-parallel", "none", "-kernel"])
        .args([elf])
}
