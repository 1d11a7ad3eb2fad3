//! What the firmware's programs share: where they run, how they log, count and end. Everything but [`choice`],
//! [`protocol`] and [`stream`] exists on the device alone.
//!
//! | program | what it does |
//! |---|---|
//! | `demo` | classifies the images that were baked in and logs what it thinks of each |
//! | `evaluate` | classifies images that an emulator's host streams in, and returns every logit, and a digest of what each layer gave |
//! | `layers` | runs single layers that an emulator's host streams in, of shapes that no network has; feature `layers` |
//! | `float` | runs an f32 network instead, BatchNorm unfolded and folded, to compare what that costs; feature `float` |
//! | `inference` | the inference and nothing else, for the tests that prove what it takes; it is never run |
//! | `crash` | panics, faults or hangs on purpose, to prove that a broken firmware is noticed |
//! | `damage` | flips bits of its weights, to prove that the parser refuses them on the device too |
//!
//! A cargo feature names the board. One ELF serves an STM32F405 and QEMU's models of it: `place` finds out at run time, and the log and the counters
//! follow.
#![no_std]

pub mod choice;
pub mod stream;

pub use firmware_protocol as protocol;

#[cfg(target_os = "none")]
pub mod arch;
#[cfg(target_os = "none")]
pub mod classifier;
#[cfg(target_os = "none")]
pub mod counter;
#[cfg(target_os = "none")]
pub mod device;
#[cfg(target_os = "none")]
pub mod files;
#[cfg(target_os = "none")]
pub mod images;
#[cfg(target_os = "none")]
pub mod model;
#[cfg(target_os = "none")]
pub mod place;

/// Where a program begins.
#[cfg(all(target_os = "none", target_arch = "arm"))]
pub use cortex_m_rt::entry;
/// Where a program begins.
#[cfg(all(target_os = "none", target_arch = "riscv32"))]
pub use riscv_rt::entry;

/// What a program says when it is started on the host by mistake.
pub const HOW_TO_RUN: &str =
    "this program runs on a microcontroller: `cargo emulate` runs it in QEMU, `cargo board` on a connected board";
