//! The operations of LeNet in inference mode, f32 the textbook way, and the transform of its integer convolutions.
//!
//! Shapes are types: an input of the wrong size does not compile, so nothing here can fail. These are the oracle of every
//! faster version.

mod avg_pool2d;
mod conv2d;
mod linear;
mod sigmoid;
pub mod winograd;

pub use avg_pool2d::avg_pool2d_f32;
pub use conv2d::conv2d_f32;
pub use linear::linear_f32;
pub use sigmoid::sigmoid_f32;
