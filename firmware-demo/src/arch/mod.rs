//! The only files of the firmware that may contain `unsafe`: each wraps one thing that the safe crates cannot do.

#[cfg(any(feature = "pico", feature = "pico-2"))]
mod boot;
#[cfg(place = "either")]
pub mod chip;
pub mod fault;
pub mod guard;
pub mod logger;
pub mod provoke;
pub mod stack;
pub mod watchdog;
