//! A `weights.bin` on disk: reading it into aligned memory, and writing it so that a reader never sees half of it.

use std::path::Path;

use bn_core::Model;

use crate::error::{Error, Result};
use crate::files;

/// A file's bytes at an address that [`bn_core::parse`] takes.
#[derive(Clone, Debug)]
pub struct AlignedBytes {
    words: Vec<u32>,
    length: usize,
}

impl AlignedBytes {
    /// A copy.
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0_u32; bytes.len().div_ceil(4)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { words, length: bytes.len() }
    }

    /// A whole file.
    ///
    /// # Errors
    /// As [`files::read`].
    pub fn read(path: &Path) -> Result<Self> {
        files::read(path, &files::WEIGHTS).map(|bytes| Self::new(&bytes))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }

    /// The bytes as a model; `path` is for the message.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the parser's reason.
    pub fn model(&self, path: &Path) -> Result<Model<'_>> {
        bn_core::parse(self.as_slice()).map_err(|error| {
            let text = error.to_string();
            let (problem, remedy) = text.split_once("; ").unwrap_or((&text, "export it anew"));
            Error::bad_file(path, problem, remedy)
        })
    }
}

/// Writes a `weights.bin` beside `path`, re-reads that file with the device's parser, and only then renames it to `path`.
/// Returns what was read.
///
/// # Errors
/// As [`files::write_proved`].
pub fn write(path: &Path, weights: &[u8]) -> Result<AlignedBytes> {
    let mut proved = AlignedBytes::new(&[]);
    files::write_proved(path, weights, |there| {
        proved = AlignedBytes::new(there);
        proved.model(path).map(drop)
    })?;
    Ok(proved)
}
