//! The program behind `host-trainer`: trains the BatchNorm LeNet, exports its quantised parameters and runs them in the
//! emulator. `main.rs` only parses the command line, calls in here, and exits.
//!
//! The data's way through: [`data`] → [`engine`] (driven by [`train`]) → [`checkpoint`] → [`export`] → `weights.bin` →
//! [`emulate`].
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))] // they panic when nobody reads, see `notice`

pub mod augment;
pub mod board;
pub mod builds;
pub mod checkpoint;
pub mod claim;
pub mod cli;
mod cores;
pub mod curves;
pub mod data;
pub mod demo;
pub mod draw;
pub mod emulate;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod exchange;
pub mod export;
pub mod files;
pub mod firmware;
pub mod footprint;
pub mod inference;
pub mod inspect;
pub mod interrupt;
pub mod model_file;
mod notice;
mod numbers;
pub mod parameters;
pub mod progress;
pub mod quantize;
pub mod recipe;
pub mod reestimate;
pub mod report;
pub mod run;
pub mod run_dir;
pub mod saves;
pub mod setup;
mod state_dict;
pub mod train;
pub mod weights;

pub use error::{Error, Result};
