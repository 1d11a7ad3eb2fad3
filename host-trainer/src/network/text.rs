//! The text form of a network, `.net`: one line a block.
//!
//! ```text
//! network tiny                     # a name
//! input 3x32x32                    # channels x height x width; 640 is a vector, 9x128 a sequence
//! preprocess scale 1/255           # (raw * scale - mean) / std, each optional, one number or one a channel
//! classes cat, dog                 # left away: a network without classes
//!
//! conv2d 16 3x3 pad 1 | batch_norm | relu as stem
//! depthwise 3x3 stride 2 pad 0,0,1,1 | batch_norm eps 0.001 | relu6
//! conv2d 32 1x1 | batch_norm as left
//! conv2d 32 1x1 stride 2 from stem | batch_norm | add left | relu
//! global_avg_pool | linear 2
//! ```
//!
//! Operations are separated by `|` and read the one before, or the node named behind `from`. `as NAME` names a node: for
//! `from` and `add`, and its tensors in checkpoints. What follows `#` is a comment. Pads are one number, or top, left,
//! bottom, right; strides and kernels one number, or height x width; a pool's stride is its kernel unless it is given.
//!
//! | operation | arguments |
//! |---|---|
//! | `conv2d CHANNELS KERNEL` | `stride`, `pad`, `no_bias` |
//! | `depthwise KERNEL` | `multiplier`, `stride`, `pad`, `no_bias` |
//! | `linear OUTPUTS` | `no_bias` |
//! | `batch_norm` | `eps`, 0.00001 |
//! | `relu`, `relu6`, `sigmoid`, `tanh`, `hard_swish` | |
//! | `leaky_relu`, `hard_sigmoid` | `slope`, 0.01 and 1/6 |
//! | `avg_pool2d KERNEL`, `max_pool2d KERNEL` | `stride`, `pad`; `exclude_pad` (average alone) |
//! | `global_avg_pool`, `global_max_pool`, `flatten` | |
//! | `add NAME` | |

mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use parse::parse;
pub(crate) use parse::ratio;
pub(super) use print::preprocessing;
pub use print::{op, print};

/// A mistake in a text, and the line that it is in, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

/// The default slopes of activations that have one.
const LEAKY_SLOPE: f32 = 0.01;
/// PyTorch's.
const HARD_SIGMOID_SLOPE: f32 = 1.0 / 6.0;
