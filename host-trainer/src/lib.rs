//! The program behind `host-trainer`: trains the BatchNorm LeNet, exports its quantised parameters and runs them in the
//! emulator. `main.rs` only parses the command line, calls in here, and exits.
//!
//! The data's way through: [`data`] → [`engine`] (driven by [`train`]) → checkpoint → [`quantize`] (by [`export`]) →
//! `weights.bin` → [`device`]. A [`model`] is what all of them hand on; [`cli`] prints what they return.
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))] // they panic when nobody reads, see `notice`

pub mod by_class;
mod chart;
pub mod classify;
pub mod cli;
pub mod compare;
mod cores;
pub mod data;
pub mod demo;
pub mod device;
pub mod doctor;
pub mod draw;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod exchange;
pub mod export;
pub mod files;
pub mod inspect;
pub mod interrupt;
pub mod model;
pub mod model_file;
pub mod network;
mod notice;
mod numbers;
pub mod plan;
pub mod process;
pub mod quantize;
pub mod report;
pub mod train;

pub use error::{Error, Result};
