//! The boards that the firmware can be built for, by name, and what each needs. No I/O.

use crate::device::setup::TARGET;

/// A board that the firmware has a memory map for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// Any with an STM32F405: Cortex-M4F
    #[default]
    Stm32f405,
    /// Nordic nRF52840-DK: Cortex-M4F
    #[value(name = "nrf52840-dk")]
    Nrf52840Dk,
    /// BBC micro:bit v2, nRF52833: Cortex-M4F
    MicrobitV2,
    /// Raspberry Pi Pico, RP2040: Cortex-M0+
    Pico,
    /// Raspberry Pi Pico 2, RP2350: Cortex-M33
    #[value(name = "pico-2")]
    Pico2,
}

impl Board {
    /// Its name here, which is also the firmware's cargo feature for it.
    pub fn name(self) -> &'static str {
        match self {
            Board::Stm32f405 => "stm32f405",
            Board::Nrf52840Dk => "nrf52840-dk",
            Board::MicrobitV2 => "microbit-v2",
            Board::Pico => "pico",
            Board::Pico2 => "pico-2",
        }
    }

    /// The compiler's name for its core.
    pub fn target(self) -> &'static str {
        match self {
            Board::Stm32f405 | Board::Nrf52840Dk | Board::MicrobitV2 => TARGET,
            Board::Pico => "thumbv6m-none-eabi",
            Board::Pico2 => "thumbv8m.main-none-eabihf",
        }
    }

    /// Its chip's name in probe-rs.
    pub fn chip(self) -> &'static str {
        match self {
            Board::Stm32f405 => "STM32F405RGTx",
            Board::Nrf52840Dk => "nRF52840_xxAA",
            Board::MicrobitV2 => "nRF52833_xxAA",
            Board::Pico => "RP2040",
            Board::Pico2 => "RP235x",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn boards_are_called_alike_on_the_command_line_and_in_the_firmware() {
        for board in Board::value_variants() {
            assert_eq!(board.to_possible_value().unwrap().get_name(), board.name());
        }
    }
}
