//! The operations of the network in inference mode, the textbook way: f32 and integers side by side.
//!
//! Shapes are types: an input of the wrong size does not compile, so nothing here can fail. These are the oracle of every
//! faster version.

mod avg_pool2d;
mod conv2d;
mod linear;
mod sigmoid;

pub use avg_pool2d::{avg_pool2d_f32, sum_pool2d_int8};
pub use conv2d::{Conv2dInt8, conv2d_f32, conv2d_int8};
pub use linear::{LinearInt8, linear_f32, linear_int8};
pub use sigmoid::{sigmoid_f32, sigmoid_int8};
