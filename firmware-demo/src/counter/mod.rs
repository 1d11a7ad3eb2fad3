//! Counts what an inference costs: executed instructions in an emulator, processor cycles on a board. One file for each kind of
//! core, with the same names.

#[cfg(target_arch = "arm")]
mod cortex_m;
#[cfg(target_arch = "riscv32")]
mod riscv;

#[cfg(target_arch = "arm")]
pub use cortex_m::Counter;
#[cfg(target_arch = "riscv32")]
pub use riscv::Counter;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Executed instructions.
    Instructions,
    /// Cycles of the processor's clock.
    Cycles,
}

impl Unit {
    /// For people, in the plural.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Instructions => "instructions",
            Unit::Cycles => "cycles",
        }
    }
}
