//! The only files of the firmware that may contain `unsafe`: each wraps one thing that the safe crates cannot do.

pub mod chip;
pub mod fault;
pub mod logger;
pub mod stack;
