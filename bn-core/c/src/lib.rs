//! A network as a static library for C, without the standard library and without a heap. `bn_core::build::header` writes its header,
//! `cargo trainer library` makes both; see `docs/own-firmware.md`.
//!
//! Built without a network it is empty.
#![cfg_attr(bn_library, no_std)]

#[cfg(bn_library)]
mod library;
