//! Counts what an inference costs, in the unit that [`choice`](crate::choice) names. One file for each kind of core, with the same
//! names.

#[cfg(target_arch = "arm")]
mod cortex_m;
#[cfg(target_arch = "riscv32")]
mod riscv;

#[cfg(target_arch = "arm")]
pub use cortex_m::Counter;
#[cfg(target_arch = "riscv32")]
pub use riscv::Counter;
