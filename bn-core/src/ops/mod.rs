//! The operations of the network in inference mode: f32 the textbook way, and what the integer network is made of.
//!
//! Shapes are types: an input of the wrong size does not compile, so nothing here can fail. These are the oracle of every
//! faster version.

mod avg_pool2d;
pub(crate) mod conv2d;
pub mod linear;
mod sigmoid;
pub mod winograd;

pub use avg_pool2d::avg_pool2d_f32;
pub use conv2d::{Conv1Int8, Conv2Int8, conv2d_f32};
pub use linear::{LinearInt8, linear_f32, linear_int8};
pub use sigmoid::sigmoid_f32;
