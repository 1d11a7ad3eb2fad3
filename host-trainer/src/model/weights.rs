//! A `weights.bin` on disk: reading it into aligned memory, and writing it so that a reader never sees half of it.

use std::path::Path;

use bn_core::Model;

use crate::error::{Error, Result};

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
    /// [`Error::BadFile`] when it is not there, [`Error::Io`] when it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self::new(&bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::bad_file(path, "no such file", "check the name, or make it with `export`"))
            }
            Err(source) => Err(Error::Io { action: "read", path: path.to_owned(), source }),
        }
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
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Disagreement`] when what was read is not what was written.
pub fn write(path: &Path, weights: &[u8]) -> Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(directory).map_err(Error::io("create a file in", directory))?;
    std::fs::write(temporary.path(), weights).map_err(Error::io("write", path))?;
    let bytes = AlignedBytes::read(temporary.path())?;
    bytes.model(path)?;
    if bytes.as_slice() != weights {
        return Err(Error::Disagreement { problem: format!("{}: read other bytes than were written", path.display()) });
    }
    temporary.as_file().sync_all().map_err(Error::io("write", path))?;
    temporary.persist(path).map_err(|e| Error::Io { action: "write", path: path.to_owned(), source: e.error })?;
    Ok(())
}
