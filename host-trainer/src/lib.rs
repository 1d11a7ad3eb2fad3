//! The program behind `host-trainer`: trains the BatchNorm LeNet, exports its quantised parameters and runs them in the
//! emulator. `main.rs` only parses the command line, calls in here, and exits.
//!
//! The data's way through: [`data`] → [`engine`] (driven by [`train`]) → [`checkpoint`] → [`export`] → `weights.bin` →
//! [`emulate`].

pub mod board;
pub mod checkpoint;
pub mod data;
pub mod emulate;
pub mod engine;
pub mod error;
pub mod export;
pub mod firmware;
pub mod inference;
pub mod parameters;
pub mod quantize;
pub mod setup;
pub mod weights;

pub use error::{Error, Result};
