//! Finds out where the program runs, and ends it there.

#[cfg(place = "either")]
use crate::arch::chip;

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, defmt::Format)]
pub enum Place {
    /// A chip.
    Board,
    /// A model of the chip: semihosting always answers, the cycle counter stands still, instructions can be counted.
    Emulator,
}

impl Place {
    /// What this is linked for decides; where that can be either, the chip's debug unit, which emulators lack.
    pub fn here() -> Self {
        #[cfg(place = "board")]
        return Place::Board;
        #[cfg(place = "emulator")]
        return Place::Emulator;
        #[cfg(place = "either")]
        if chip::device_id() == 0 { Place::Emulator } else { Place::Board }
    }
}

/// Whether somebody listens on the debug port. Without one, semihosting would be a fault.
#[cfg(target_arch = "arm")]
pub fn debugger_attached() -> bool {
    cortex_m::peripheral::DCB::is_debugger_attached()
}

/// Ends the program with this exit code.
#[cfg(target_arch = "riscv32")]
pub fn exit(code: i32) -> ! {
    semihosting::process::exit(code)
}

/// Ends the program. The emulator, or `probe-rs run`, ends with this exit code; a board on its own sleeps.
#[cfg(target_arch = "arm")]
pub fn exit(code: i32) -> ! {
    if Place::here() == Place::Emulator || debugger_attached() {
        semihosting::process::exit(code);
    }
    loop {
        cortex_m::asm::wfi();
    }
}
