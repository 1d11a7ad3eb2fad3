//! A model on the host, and what is done with it on every path: its numbers, its files' tensors, inference over many images.
//!
//! | file | what it holds |
//! |---|---|
//! | `parameters` | every number of a model, as it passes between engines, checkpoints and the exporter |
//! | `fold` | BatchNorm and preprocessing folded away, for any network |
//! | `half` | numbers of 16 bits |
//! | `real` | the two precisions of the reference engine |
//! | `lenet` | a model as bn-core's LeNet |
//! | `state_dict` | taking these numbers out of a safetensors file |
//! | `weights` | a `weights.bin` on disk |
//! | `input` | from raw examples to what the first node reads |
//! | `inference` | bn-core's inference over many images, on all cores |

pub mod fold;
pub(crate) mod half;
pub mod inference;
pub mod input;
pub mod lenet;
pub mod parameters;
pub mod real;
pub(crate) mod state_dict;
pub mod weights;
