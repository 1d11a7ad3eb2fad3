//! The machines that stand in for a device, by name, and what each needs. No I/O.

use serde::Serialize;

use crate::device::builds::Program;
use crate::device::setup::{self, TARGET, Tool};

/// What runs the firmware: QEMU's model of a board, for whose core and memory map it is built, or a WebAssembly engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// Netduino Plus 2.
    #[default]
    Netduinoplus2,
    /// Olimex STM32-H405; QEMU 8.0 and newer have it.
    #[value(name = "olimex-stm32-h405")]
    #[serde(rename = "olimex-stm32-h405")]
    OlimexStm32H405,
    /// First BBC micro:bit, nRF51822: Armv6-M (Cortex-M0; an M0+ has the same instructions).
    Microbit,
    /// Arm MPS2, Cortex-M3.
    #[value(name = "mps2-an385")]
    #[serde(rename = "mps2-an385")]
    Mps2An385,
    /// Armv6-M code on the Cortex-M3 of an Arm MPS2, for networks that are too large for the micro:bit.
    #[value(name = "mps2-armv6m")]
    #[serde(rename = "mps2-armv6m")]
    Mps2Armv6M,
    /// Arm MPS2, Cortex-M4.
    #[value(name = "mps2-an386")]
    #[serde(rename = "mps2-an386")]
    Mps2An386,
    /// Arm MPS2, Cortex-M7.
    #[value(name = "mps2-an500")]
    #[serde(rename = "mps2-an500")]
    Mps2An500,
    /// Arm MPS2, Cortex-M33.
    #[value(name = "mps2-an505")]
    #[serde(rename = "mps2-an505")]
    Mps2An505,
    /// QEMU's RISC-V machine `virt`, with an RV32IMC core.
    Riscv32,
    /// WebAssembly in Node.js: the same bits, but nothing to count.
    Wasm32,
}

impl Machine {
    /// The compiler's name for its core.
    pub fn target(self) -> &'static str {
        match self {
            Machine::Netduinoplus2 | Machine::OlimexStm32H405 | Machine::Mps2An386 | Machine::Mps2An500 => TARGET,
            Machine::Microbit | Machine::Mps2Armv6M => "thumbv6m-none-eabi",
            Machine::Mps2An385 => "thumbv7m-none-eabi",
            Machine::Mps2An505 => "thumbv8m.main-none-eabihf",
            Machine::Riscv32 => "riscv32imc-unknown-none-elf",
            Machine::Wasm32 => "wasm32-unknown-unknown",
        }
    }

    /// The firmware's cargo feature for it; a WebAssembly module needs none.
    pub fn board(self) -> &'static str {
        match self {
            Machine::Netduinoplus2 | Machine::OlimexStm32H405 => "stm32f405",
            Machine::Microbit => "microbit",
            Machine::Mps2An385 | Machine::Mps2Armv6M | Machine::Mps2An386 | Machine::Mps2An500 => "mps2",
            Machine::Mps2An505 => "mps2-secure",
            Machine::Riscv32 => "riscv32-virt",
            Machine::Wasm32 => "",
        }
    }

    /// Whether the model of a Cortex-M4's cycles is its own.
    pub(super) fn is_cortex_m4(self) -> bool {
        matches!(self, Machine::Netduinoplus2 | Machine::OlimexStm32H405 | Machine::Mps2An386)
    }

    /// Whether its core has a floating-point unit.
    pub fn has_float_unit(self) -> bool {
        self.target().ends_with("eabihf")
    }

    /// Whether its executed instructions can be told apart: the log is read as Thumb code.
    pub fn is_arm(self) -> bool {
        self.target().starts_with("thumb")
    }

    /// Its name here.
    pub fn name(self) -> &'static str {
        match self {
            Machine::Netduinoplus2 => "netduinoplus2",
            Machine::OlimexStm32H405 => "olimex-stm32-h405",
            Machine::Microbit => "microbit",
            Machine::Mps2An385 => "mps2-an385",
            Machine::Mps2Armv6M => "mps2-armv6m",
            Machine::Mps2An386 => "mps2-an386",
            Machine::Mps2An500 => "mps2-an500",
            Machine::Mps2An505 => "mps2-an505",
            Machine::Riscv32 => "riscv32",
            Machine::Wasm32 => "wasm32",
        }
    }

    /// QEMU's name for it.
    pub(super) fn qemu(self) -> &'static str {
        match self {
            Machine::Riscv32 => "virt",
            Machine::Mps2Armv6M => Machine::Mps2An385.name(),
            _ => self.name(),
        }
    }

    /// The program that runs it.
    pub fn emulator(self) -> &'static Tool {
        match self {
            Machine::Riscv32 => &setup::QEMU_RISCV,
            Machine::Wasm32 => &setup::NODE,
            _ => &setup::QEMU_ARM,
        }
    }

    /// The program of the firmware that classifies images for it.
    pub fn program(self) -> Program {
        if self == Machine::Wasm32 { Program::Module } else { Program::Evaluate }
    }

    /// Whether it shows what an inference costs.
    pub fn counts(self) -> bool {
        self != Machine::Wasm32
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_command_lines_and_jsons() {
        use clap::ValueEnum as _;
        for machine in Machine::value_variants() {
            assert_eq!(machine.to_possible_value().unwrap().get_name(), machine.name());
            assert_eq!(serde_json::to_value(machine).unwrap(), machine.name());
        }
    }
}
