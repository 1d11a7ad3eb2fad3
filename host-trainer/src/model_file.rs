//! A file that holds a model, of whichever kind: a checkpoint or a `weights.bin`. The content decides, not the name.

use std::path::Path;
use std::sync::Arc;

use bn_core::file::WeightsFile;
use bn_core::format::MAGIC;

use crate::data::Inputs;
use crate::error::Result;
use crate::files;
use crate::model::inference::{self, Outputs};
use crate::model::weights::{self, network_of};
use crate::network::Network;
use crate::train::checkpoint::Checkpoint;

/// A model as it was found, checked.
#[derive(Clone, Debug)]
pub enum ModelFile {
    /// The unfolded network in f32.
    Checkpoint(Box<Checkpoint>),
    /// The integers, proved.
    Weights(Box<WeightsFile>),
}

impl ModelFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`crate::Error::BadFile`] with the first thing that is wrong with it, in terms of the kind that it looks like.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::read(path, &files::MODEL)?;
        if looks_like_weights(path, &bytes) {
            return Ok(ModelFile::Weights(Box::new(weights::parse(path, &bytes)?)));
        }
        Ok(ModelFile::Checkpoint(Box::new(Checkpoint::from_bytes(path, &bytes)?)))
    }

    /// The network that it is of; `path` is for the message.
    ///
    /// # Errors
    /// As [`network_of`].
    pub fn network(&self, path: &Path) -> Result<Arc<Network>> {
        match self {
            ModelFile::Checkpoint(checkpoint) => Ok(Arc::clone(&checkpoint.parameters.network)),
            ModelFile::Weights(file) => Ok(Arc::new(network_of(path, file)?)),
        }
    }

    /// What it says of inputs of its network's shape: f32, BatchNorm on its own, of a checkpoint; what the integers stand for, of
    /// a `weights.bin`.
    ///
    /// # Panics
    /// If they are of another shape.
    pub fn outputs(&self, inputs: &Inputs) -> Outputs {
        match self {
            ModelFile::Checkpoint(checkpoint) => inference::outputs(&checkpoint.parameters, inputs),
            ModelFile::Weights(file) => inference::dequantized(file, &inference::int8(file, inputs)),
        }
    }
}

/// By content where that is clear, by name where the start of the file is damaged.
fn looks_like_weights(path: &Path, bytes: &[u8]) -> bool {
    let is_safetensors = bytes.get(8) == Some(&b'{');
    bytes.starts_with(&MAGIC) || (!is_safetensors && path.extension().is_some_and(|e| e == "bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_in_terms_of_the_kind() {
        let directory = tempfile::tempdir().unwrap();
        let message = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = ModelFile::read(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert!(message("any.name", b"BN-LENETxx").contains("bytes"), "a weights.bin by its magic");
        assert!(!message("erased.bin", &[0xFF; 4096]).contains("safetensors"));
        assert!(message("cut.safetensors", b"abc").contains("safetensors"));
        assert!(message("renamed.bin", b"\x02\0\0\0\0\0\0\0{}").contains("not a checkpoint"));
    }
}
