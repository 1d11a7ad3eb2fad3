//! ONNX: the files that PyTorch's exporters write, and files that ONNX Runtime runs. The input is `[n, 1, 28, 28]`, pixels
//! from 0 to 1; the output `[n, 10]`, logits.

mod graph;
mod proto;
mod read;
mod tensor;
mod write;

pub(super) use read::{Read, read};
pub(super) use write::to_bytes;

/// The oldest operators whose BatchNormalization and Gemm mean what they mean today.
const OLDEST_OPSET: i64 = 7;
/// Under this key of our files' metadata stands what `running_var` holds.
const VARIANCE_KEY: &str = "running_var";

#[cfg(test)]
mod tests;
