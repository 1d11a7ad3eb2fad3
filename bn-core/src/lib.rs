//! BatchNorm LeNet inference for machines without a heap.
//!
//! What the device runs, and what the host runs to know what the device will say. Everything is of fixed size, nothing
//! allocates, and after [`format::parse`] has accepted a `weights.bin` nothing can fail.
//!
//! | module | what it holds |
//! |---|---|
//! | [`network`] | what a network is: nodes as plain data, and all that follows from them |
//! | [`lenet`] | the first network, and its types of fixed size |
//! | [`batch_norm`] | batch normalization in inference mode, and folding it into the layer before it |
//! | [`ops`] | `conv2d`, `avg_pool2d`, `linear`, `sigmoid`: f32 and integers side by side |
//! | [`quant`] | the integer arithmetic: scales, sizes and the one rounding rule |
//! | [`arch`] | the integer network stage by stage, in portable Rust |
//! | [`format`](mod@format) | the `weights.bin` file: one table for writer, reader and documentation |
//! | [`small`] | the same bits in less flash and RAM, for small parts |
//! | `wide` | the same on a host's vector units, behind the feature of that name |
//! | [`infer`] | whole-network inference: f32 unfolded, f32 folded, integers |
#![no_std]

#[cfg(test)]
extern crate std;

pub mod arch;
pub mod batch_norm;
pub mod format;
pub mod infer;
pub mod lenet;
pub mod network;
pub mod ops;
pub mod quant;
pub mod small;
#[cfg(feature = "wide")]
pub mod wide;

pub use format::{FormatError, Model, parse};
pub use infer::{Prediction, Scratch, predict};
pub use lenet::{CLASS_NAMES, CLASSES, FoldedLeNet, Image, LeNet};
