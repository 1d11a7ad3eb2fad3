//! The only files of the firmware that may contain `unsafe`: each wraps one thing that the safe crates cannot do.

#[cfg(any(feature = "pico", feature = "pico-2"))]
mod boot;
#[cfg(place = "either")]
pub mod chip;
#[cfg(target_arch = "arm")]
pub mod fault;
pub mod guard;
pub mod logger;
pub mod memory;
pub mod provoke;
pub mod stack;
#[cfg(target_arch = "arm")]
pub mod ticks;
#[cfg(target_arch = "riscv32")]
mod trap;
pub mod watchdog;
