//! The integer network, stage by stage, for each instruction set.
//!
//! [`portable`] is the specification. A faster file has the same functions with the same signatures and must give the same
//! bits, stage by stage. A stage ends where a buffer of the [`Scratch`](crate::Scratch) is complete.

pub mod portable;

pub use portable::{conv1, conv2, linear1, linear2, linear3};
