//! A `weights.bin` on disk: read and proved, and written so that a reader never sees half of it.

use std::path::Path;

use bn_core::file::WeightsFile;

use crate::error::{Error, Result};
use crate::files;
use crate::network::Network;

/// Reads and proves a file.
///
/// # Errors
/// As [`files::read`]; [`Error::BadFile`] with the reader's reason.
pub fn read(path: &Path) -> Result<WeightsFile> {
    parse(path, &files::read(path, &files::WEIGHTS)?)
}

/// Proves the bytes of a file; `path` is for the message.
///
/// # Errors
/// [`Error::BadFile`] with the reader's reason.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<WeightsFile> {
    WeightsFile::read(bytes).map_err(|error| {
        let text = error.to_string();
        let (problem, remedy) = text.split_once("; ").unwrap_or((&text, "export it anew"));
        Error::bad_file(path, problem, remedy)
    })
}

/// The network that a `weights.bin` is of; `path` is for the message.
///
/// # Errors
/// [`Error::BadFile`] for names that a forger put there.
pub fn network_of(path: &Path, file: &WeightsFile) -> Result<Network> {
    Network::of_weights(file).map_err(|fault| Error::bad_file(path, fault.to_string(), "export it anew"))
}

/// Writes a `weights.bin` beside `path`, reads and proves that file, and only then renames it to `path`. Returns what was read.
///
/// # Errors
/// As [`files::write_proved`].
pub fn write(path: &Path, weights: &WeightsFile) -> Result<WeightsFile> {
    let mut proved = weights.clone();
    files::write_proved(path, &weights.to_bytes(), |there| {
        proved = parse(path, there)?;
        Ok(())
    })?;
    Ok(proved)
}
