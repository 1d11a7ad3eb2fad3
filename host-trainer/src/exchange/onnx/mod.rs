//! ONNX: files of PyTorch's exporters and tf2onnx become a description with its tensors; any network becomes a file that ONNX
//! Runtime runs. The input is what the first node reads.
//!
//! | file | what it does |
//! |---|---|
//! | `read` | from a file to a description; `own` knows files of ours again |
//! | `write` | from a description to a file |
//! | `proto`, `tensor` | the messages of the format; the numbers of a tensor |
//! | `graph`, `constant` | the nodes in order; arithmetic on constants |
//! | `walk` | each node, by its operation |
//! | `view`, `look`, `source` | tensors that lie in another order than ours, up to the network's input |
//! | `layer`, `window`, `elementwise`, `function` | what each operation may be |
//! | `builder`, `refusal` | the network while it is read; why it is not |

mod builder;
mod constant;
mod elementwise;
mod function;
mod graph;
mod layer;
mod look;
mod own;
mod proto;
mod read;
mod refusal;
mod source;
mod tensor;
mod view;
mod walk;
mod window;
mod write;

pub(super) use read::{Read, read};
pub(super) use write::to_bytes;

/// The oldest operators whose BatchNormalization and Gemm mean what they mean today.
const OLDEST_OPSET: i64 = 7;
/// The newest operators that were looked at.
const NEWEST_OPSET: i64 = 23;
/// Under this key of our files' metadata stands what `running_var` holds.
const VARIANCE_KEY: &str = "running_var";
/// Under this one stands the network's `.net` text.
const NETWORK_KEY: &str = "network";

#[cfg(test)]
mod tests;
