//! Small BatchNorm networks on machines without a heap: description, folding, integers, kernels, and the `weights.bin` format.
//!
//! Everything that a device needs is of fixed size, nothing allocates, and after a `weights.bin` was accepted nothing can fail.
//!
//! | module | what it holds |
//! |---|---|
//! | [`network`] | what a network is: nodes as plain data, and all that follows from them |
//! | [`batch_norm`] | batch normalization in inference mode, and folding it into the layer before it |
//! | [`quant`] | the integer arithmetic: scales, sizes and the one rounding rule |
//! | [`kernels`] | the integer layers, a folder a family: portable Rust, assembly, proofs |
//! | [`plan`] | by which family each layer runs, and where its tensors lie |
//! | [`format`](mod@format) | the `weights.bin` file, as a device reads it |
//! | `file` | the same on a host: read, written and interpreted (feature `build`) |
//! | `build` | from a `weights.bin` to Rust: what a firmware's build script calls (feature `build`) |
//! | [`lenet`], [`infer`], [`ops`] | the first network with types of fixed size, and its inference in f32 |
//! | [`small`] | LeNet's bits in less flash and RAM, for small parts |
//! | `wide` | LeNet on a host's vector units (feature `wide`) |
#![no_std]

#[cfg(any(test, feature = "build"))]
extern crate std;

/// The README's code, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod batch_norm;
#[cfg(feature = "build")]
pub mod build;
#[cfg(feature = "build")]
pub mod file;
pub mod format;
#[doc(hidden)]
pub mod generated;
pub mod infer;
pub mod kernels;
pub mod lenet;
pub mod network;
pub mod ops;
pub mod plan;
pub mod quant;
pub mod small;
#[cfg(feature = "wide")]
pub mod wide;

pub use format::FormatError;
pub use infer::Prediction;
pub use lenet::{CLASS_NAMES, CLASSES, FoldedLeNet, Image, LeNet};

/// Brings in the module that `build::model` generated in a build script, as `pub mod model`, or that of `build::model_as` under its
/// name: `include_model!(name)`. `docs/own-firmware.md` says what it holds.
#[macro_export]
macro_rules! include_model {
    () => {
        $crate::include_model!(model);
    };
    ($name:ident) => {
        /// A network's code, generated for one plan.
        #[allow(dead_code, unreachable_pub, reason = "a program takes what it needs of it")]
        #[allow(
            clippy::nursery,
            clippy::pedantic,
            clippy::restriction,
            reason = "it keeps to the lints of its own crate"
        )]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
        }
    };
}
