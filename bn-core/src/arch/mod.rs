//! The integer network, stage by stage, for each instruction set.
//!
//! [`portable`] is the specification. A faster file has the same functions with the same signatures and must give the same
//! bits, stage by stage. A stage ends where a buffer of the [`Scratch`](crate::Scratch) is complete.

use crate::lenet::{CLASSES, CONV1_CHANNELS, FLAT, LINEAR1, LINEAR2, POOL1_SIDE};
use crate::quant::Pair;

#[cfg(any(bn_lenet_arch = "armv6m", bn_lenet_arch = "armv7m"))]
pub mod cortex_m;
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub mod cortex_m_dsp;
pub mod portable;

pub use crate::ops::linear::BLOCK;
#[cfg(any(bn_lenet_arch = "armv6m", bn_lenet_arch = "armv7m"))]
pub use cortex_m::{conv1, conv2, linear1, linear2, linear3};
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use cortex_m_dsp::{conv1, conv2, linear1, linear2, linear3};
#[cfg(bn_lenet_arch = "portable")]
pub use portable::{conv1, conv2, linear1, linear2, linear3};

/// The path that this build uses, by the name that forces it.
pub const NAME: &str = if cfg!(bn_lenet_arch = "cortex_m_dsp") {
    "cortex_m_dsp"
} else if cfg!(bn_lenet_arch = "armv7m") {
    "armv7m"
} else if cfg!(bn_lenet_arch = "armv6m") {
    "armv6m"
} else {
    "portable"
};

/// The first pooled map: `[pair of channels][row][column]`, sums of four activations that are not centred: 0 to 1016.
pub type Pooled1 = [[[Pair; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS / 2];

/// Transformed input of the tiles that a convolution is working on; the larger one, convolution 2's, decides.
pub type Window = [Pair; 384];

/// Quads of linear 1's input.
pub const FLAT_QUADS: usize = FLAT / 4;
/// Quads of linear 2's input, and blocks of linear 1's output.
pub const LINEAR1_QUADS: usize = LINEAR1 / 4;
/// Blocks of linear 2's output.
pub const LINEAR2_BLOCKS: usize = LINEAR2 / 4;
/// Quads of linear 3's input: an even number, so one pads.
pub const LINEAR2_QUADS: usize = LINEAR2_BLOCKS.next_multiple_of(2);
/// Blocks of logits: two logits pad.
pub const LOGIT_BLOCKS: usize = CLASSES.div_ceil(BLOCK);
