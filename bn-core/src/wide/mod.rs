//! Inference with the vector unit of a desktop, a phone or a browser, chosen at run time (feature `wide`). Not for devices.
//!
//! The same network as [`infer`](crate::infer), its weights laid out once so that every inner loop reads whole vectors.

mod f32;
mod int8;

pub use self::f32::{WideLeNet, WideScratch};
pub use self::int8::{WideInt8Scratch, WideModel};
