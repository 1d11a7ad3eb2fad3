//! From a `weights.bin` to a device: building the firmware with it, running it in an emulator or on a board, and measuring
//! what it takes.
//!
//! | file | what it holds |
//! |---|---|
//! | `checkout` | where the firmware's sources lie |
//! | `builds` | the firmware's programs, the builds of the integer network, and what each puts into flash |
//! | `machine` | the emulators' machines, by name |
//! | `codes` | inputs as a device takes them |
//! | `setup` | the tools that the rest needs: found, installed, or named |
//! | `firmware` | building the firmware, or replacing the weights in a built one |
//! | `footprint` | flash and stack of a function and all that it calls, from the machine code |
//! | `emulate` | images through the firmware in an emulator, every layer's every output compared; the profile of its layers |
//! | `boards` | the firmware's boards, and which networks their memories hold |
//! | `board` | the boards that the firmware can be built for, by name |
//! | `flash` | flashing a board, and its log |

pub mod board;
pub mod builds;
pub mod checkout;
pub(crate) mod codes;
pub mod emulate;
pub mod firmware;
pub mod flash;
pub mod footprint;
pub mod machine;
pub mod setup;

pub use firmware_protocol::boards;
