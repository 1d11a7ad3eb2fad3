//! Taking the network's tensors out of a safetensors file. Shared by [`crate::train::checkpoint`], which reads our own files, and
//! [`crate::exchange`], which reads PyTorch's; everything that can be wrong with a file's tensors is named here.

use std::collections::HashMap;
use std::path::Path;

use bn_core::network::{Parameter, Role};
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::half::{bf16, f16};
use crate::error::{Error, Result};

/// A safetensors file whose header is sound.
pub(crate) struct StateDict<'a> {
    path: &'a Path,
    remedy: &'static str,
    file: SafeTensors<'a>,
    /// The file's `__metadata__`.
    pub(crate) metadata: HashMap<String, String>,
}

impl<'a> StateDict<'a> {
    /// Checks the header. `remedy` ends every message about this file.
    pub(crate) fn parse(path: &'a Path, bytes: &'a [u8], remedy: &'static str) -> Result<Self> {
        let damaged = |e| Error::bad_file(path, header_problem(&e, bytes.len()), remedy);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        Ok(Self { path, remedy, file, metadata: header.metadata().clone().unwrap_or_default() })
    }

    /// An error about this file.
    pub(crate) fn damaged(&self, problem: impl Into<String>) -> Error {
        Error::bad_file(self.path, problem, self.remedy)
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.file.names()
    }

    /// Names and shapes of all tensors, by name.
    pub(crate) fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes: Vec<_> =
            self.file.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec())).collect();
        shapes.sort_unstable();
        shapes
    }

    /// The values of tensor `name`, which must have the shape and sense of `parameter`.
    pub(crate) fn values(&self, name: &str, parameter: &Parameter) -> Result<Vec<f64>> {
        let tensor = self.file.tensor(name).map_err(|_| self.damaged(format!("it has no tensor {name}")))?;
        let (found, wanted) = (tensor.shape(), parameter.dims.as_slice());
        if found != wanted {
            return Err(self.damaged(format!("tensor {name} has the shape {found:?}, the network's is {wanted:?}")));
        }
        self.floats(name, parameter.role, &[Dtype::F32])
    }

    /// The values of tensor `name`, whatever its shape, of one of these types.
    pub(crate) fn floats(&self, name: &str, role: Role, dtypes: &[Dtype]) -> Result<Vec<f64>> {
        let tensor = self.file.tensor(name).map_err(|_| self.damaged(format!("it has no tensor {name}")))?;
        if !dtypes.contains(&tensor.dtype()) {
            let wanted: Vec<_> = dtypes.iter().map(Dtype::to_string).collect();
            let problem = format!("tensor {name} holds {}, not {}", tensor.dtype(), wanted.join(" or "));
            return Err(self.damaged(problem));
        }
        let values = match tensor.dtype() {
            Dtype::F64 => tensor.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F16 => tensor.data().as_chunks().0.iter().map(|&b| f16(u16::from_le_bytes(b))).collect(),
            Dtype::BF16 => tensor.data().as_chunks().0.iter().map(|&b| bf16(u16::from_le_bytes(b))).collect(),
            _ => tensor.data().as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect::<Vec<_>>(),
        };
        check_values(name, role, &values).map_err(|problem| self.damaged(problem))?;
        Ok(values)
    }

    /// The scalar that PyTorch's BatchNorm layers count their batches with; `None` where the file has none.
    pub(crate) fn counter(&self, name: &str) -> Result<Option<u64>> {
        let Ok(tensor) = self.file.tensor(name) else { return Ok(None) };
        if tensor.dtype() != Dtype::I64 || !tensor.shape().is_empty() {
            let problem = format!("tensor {name} is {} {:?}, not one I64", tensor.dtype(), tensor.shape());
            return Err(self.damaged(problem));
        }
        let count = tensor.data().try_into().map(i64::from_le_bytes).unwrap_or(-1);
        let count = u64::try_from(count).map_err(|_| self.damaged(format!("tensor {name} is {count}, below zero")))?;
        Ok(Some(count))
    }
}

/// Every value must be a finite f32, and a variance must not be negative.
pub(crate) fn check_values(name: &str, role: Role, values: &[f64]) -> Result<(), String> {
    if let Some(at) = values.iter().position(|&v| !(v as f32).is_finite()) {
        return Err(format!("tensor {name} holds {} at position {at}", values[at]));
    }
    if role == Role::RunningVar
        && let Some(at) = values.iter().position(|&v| v < 0.0)
    {
        return Err(format!("tensor {name} holds a negative variance, {}, at position {at}", values[at]));
    }
    Ok(())
}

fn header_problem(error: &SafeTensorError, length: usize) -> String {
    match error {
        SafeTensorError::HeaderTooSmall => format!("it has {length} bytes, too few for a safetensors file"),
        SafeTensorError::InvalidHeaderLength | SafeTensorError::HeaderTooLarge => {
            "it is truncated, or no safetensors file: its header does not fit into it".into()
        }
        SafeTensorError::InvalidHeader(_) | SafeTensorError::InvalidHeaderDeserialization(_) => {
            format!("its safetensors header is damaged ({error})")
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            format!("its {length} bytes are not what its header says: it is truncated, or something is appended")
        }
        other => format!("its safetensors header contradicts itself ({other})"),
    }
}
