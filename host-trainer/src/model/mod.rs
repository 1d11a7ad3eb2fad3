//! A model on the host, and what is done with it on every path: its numbers, its files' tensors, inference over many images.
//!
//! | file | what it holds |
//! |---|---|
//! | `parameters` | every number of a model, as it passes between engines, checkpoints and the exporter |
//! | `state_dict` | taking these numbers out of a safetensors file |
//! | `weights` | a `weights.bin` on disk |
//! | `inference` | bn-core's inference over many images, on all cores |

pub mod inference;
pub mod parameters;
pub(crate) mod state_dict;
pub mod weights;
