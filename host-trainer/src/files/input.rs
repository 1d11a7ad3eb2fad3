//! Reads files that a user named: regular ones alone, up to a stated size, and of a kind that the reader takes. What is refused
//! is refused by its first bytes, before the rest is read.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::kind::{Kind, LOOKED_AT};
use crate::data::idx::MAX_FILE_BYTES;
use crate::error::{Error, Result};

/// What a reader takes.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What people call it, with its article.
    pub name: &'static str,
    /// Kinds that its parser takes. A file of no known kind goes to the parser too, which knows best what is wrong with it.
    pub kinds: &'static [Kind],
    /// No such file is larger, in bytes.
    pub limit: u64,
    /// What to do about a file of any other kind.
    pub remedy: &'static str,
}

impl Wanted {
    fn is_a_model(&self) -> bool {
        [Kind::Safetensors, Kind::Weights].iter().any(|kind| self.kinds.contains(kind))
    }
}

const MIB: u64 = 1 << 20;

/// A checkpoint: parameters, twice their size for the optimiser, and their mean.
pub const CHECKPOINT: Wanted = Wanted {
    name: "a checkpoint",
    kinds: &[Kind::Safetensors],
    limit: 512 * MIB,
    remedy: "name a checkpoint that `train` or `import` wrote",
};
/// A `weights.bin`: more than the flash of any microcontroller.
pub const WEIGHTS: Wanted = Wanted {
    name: "a weights.bin",
    kinds: &[Kind::Weights, Kind::Zeros],
    limit: 8 * MIB,
    remedy: "name a weights.bin that `export` wrote",
};
/// Either of them.
pub const MODEL: Wanted = Wanted {
    name: "a checkpoint (safetensors) or a weights.bin",
    kinds: &[Kind::Safetensors, Kind::Weights, Kind::Zeros],
    remedy: "name a file that `train`, `import` or `export` wrote",
    ..CHECKPOINT
};
/// What `import` takes.
pub const FOREIGN_MODEL: Wanted = Wanted {
    name: "a state_dict in safetensors or an ONNX file",
    kinds: &[Kind::Safetensors, Kind::Onnx],
    limit: 256 * MIB,
    remedy: "save the model with safetensors.torch.save_file(net.state_dict(), FILE) or torch.onnx.export",
};
/// A description of a network.
pub const NETWORK: Wanted = Wanted {
    name: "a network's description (.net)",
    kinds: &[Kind::Other("a text file"), Kind::Empty],
    limit: MIB,
    remedy: "see `host-trainer inspect lenet` for the form",
};
/// A comparison: a few hundred bytes an epoch of each run.
pub const COMPARISON: Wanted = Wanted {
    name: "a comparison",
    kinds: &[Kind::Other("JSON")],
    limit: 64 * MIB,
    remedy: "compare again, into another --out or with --force",
};
/// Inputs, and labels.
pub const TENSORS: Wanted = Wanted {
    name: "an array",
    kinds: &[Kind::Safetensors, Kind::Numpy],
    limit: 4096 * MIB,
    remedy: "give a .npz, a .npy, or a .safetensors with a tensor `input`",
};
/// A table of examples.
pub const CSV: Wanted = Wanted {
    name: "a CSV file",
    kinds: &[Kind::Other("a text file"), Kind::Empty],
    limit: 4096 * MIB,
    remedy: "give a row an example, `label,value,value,...`: see docs/data.md",
};
/// A picture.
pub const PICTURE: Wanted = Wanted {
    name: "a PNG, JPEG or BMP",
    kinds: &[Kind::Picture("PNG"), Kind::Picture("JPEG"), Kind::Picture("BMP")],
    limit: 256 * MIB,
    remedy: "save it as an RGB or grey PNG, JPEG or BMP, or remove it",
};
/// A file of a data set, gzipped or not.
pub const IDX: Wanted = Wanted {
    name: "an IDX file of images or labels",
    kinds: &[Kind::Idx, Kind::Gzip, Kind::Zeros, Kind::WebPage, Kind::Empty],
    limit: MAX_FILE_BYTES,
    remedy: "put the data set's own file there",
};
/// A built program of the firmware.
pub const ELF: Wanted = Wanted {
    name: "a program of the firmware",
    kinds: &[Kind::Elf, Kind::Wasm],
    limit: 64 * MIB,
    remedy: "name a program that cargo built for the device",
};

/// The whole file.
///
/// # Errors
/// [`Error::BadFile`] if there is no such file or it is not of a kind and size that is wanted, [`Error::Io`] if the disk fails.
pub fn read(path: &Path, wanted: &Wanted) -> Result<Vec<u8>> {
    read_checked(path, wanted, |_, _| Ok(()))
}

/// [`read`] of a file whose beginning and length pass a check before the rest is read.
///
/// # Errors
/// As [`read`], or what `check` gives.
pub fn read_checked(path: &Path, wanted: &Wanted, check: impl FnOnce(&[u8], u64) -> Result<()>) -> Result<Vec<u8>> {
    let (mut file, length) = open(path, wanted)?;
    let failed = || Error::io("read", path);
    let start = part(&mut file, 0, LOOKED_AT as u64).map_err(failed())?;
    let tail = length.saturating_sub(LOOKED_AT as u64);
    // Only an archive has its list at the end.
    let end =
        if start.starts_with(b"PK") { part(&mut file, tail, LOOKED_AT as u64).map_err(failed())? } else { vec![] };
    let kind = Kind::of(&start, &end);
    if let Some(kind) = kind.filter(|kind| !wanted.kinds.contains(kind)) {
        return Err(wrong_kind(path, kind, wanted));
    }
    let too_large = |size: u64| {
        let problem = format!("it has {size} bytes, and {} has at most {}", wanted.name, wanted.limit);
        Error::bad_file(path, problem, wanted.remedy)
    };
    if length > wanted.limit {
        return Err(too_large(length));
    }
    check(&start, length)?;
    // Its length may be unknown, as in /proc, or grow.
    let bytes = part(&mut file, 0, wanted.limit + 1).map_err(failed())?;
    if bytes.len() as u64 > wanted.limit { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// `length` bytes of a file from `offset` on, which a parser has bounded.
///
/// # Errors
/// One line to go into a message about the file that named this one.
pub fn read_part(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, String> {
    let there = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !there.is_file() {
        return Err("it is no regular file".into());
    }
    if offset.checked_add(length as u64).is_none_or(|end| end > there.len()) {
        return Err(format!("it ends after {} bytes", there.len()));
    }
    let read = File::open(path).and_then(|mut file| part(&mut file, offset, length as u64));
    read.map_err(|error| error.to_string())
}

/// The whole file where there is a regular one of at most `limit` bytes: for what this program wrote itself and can do
/// without.
pub fn try_read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let there = std::fs::metadata(path).ok()?;
    let fits = there.is_file() && there.len() <= limit;
    let bytes = fits.then(|| part(&mut File::open(path).ok()?, 0, limit + 1).ok())??;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// The file and its length. A pipe or a device is not opened, which could wait or never end.
fn open(path: &Path, wanted: &Wanted) -> Result<(File, u64)> {
    let there = std::fs::metadata(path).map_err(|error| unreachable_file(path, &error))?;
    if there.is_dir() {
        return Err(Error::bad_file(path, "this is a directory", format!("name {} in it", wanted.name)));
    }
    if !there.is_file() {
        let problem = format!("this is a device or a pipe, not a regular file, and {} is wanted", wanted.name);
        return Err(Error::bad_file(path, problem, "save what comes from it to a file, and name that"));
    }
    Ok((File::open(path).map_err(|error| unreachable_file(path, &error))?, there.len()))
}

fn unreachable_file(path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => match std::fs::read_link(path) {
            Ok(target) => {
                let problem = format!("this is a link to {}, which is not there", target.display());
                Error::bad_file(path, problem, "mend the link, or name another file")
            }
            Err(_) => Error::bad_file(path, "there is no such file", "check the path"),
        },
        ErrorKind::PermissionDenied => {
            Error::bad_file(path, "it may not be read", "change its permissions, or name another file")
        }
        _ => Error::bad_file(path, format!("it cannot be read: {error}"), "check the path"),
    }
}

/// At most `length` bytes from `offset` on.
fn part(file: &mut File, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn wrong_kind(path: &Path, kind: Kind, wanted: &Wanted) -> Error {
    let problem = match kind {
        Kind::Empty | Kind::Zeros => format!("the file is {}", kind.name()),
        _ => format!("this is {}, not {}", kind.name(), wanted.name),
    };
    let takes = |kind: Kind| wanted.kinds.contains(&kind);
    let file = path.display();
    let remedy = match kind {
        Kind::Onnx if takes(Kind::Safetensors) => {
            format!("make a checkpoint of it: host-trainer import {file} --out FILE")
        }
        Kind::Onnx if takes(Kind::Weights) => {
            format!("make a checkpoint of it, then export that: host-trainer import {file} --out FILE")
        }
        Kind::Safetensors if takes(Kind::Weights) => {
            format!("if it is a checkpoint, make one of it: host-trainer export {file} --out weights.bin")
        }
        Kind::Weights if takes(Kind::Safetensors) => "name the checkpoint that it was exported from".into(),
        Kind::LfsPointer | Kind::Archive(_) => kind.remedy(path).unwrap_or_default(),
        _ if !wanted.is_a_model() => wanted.remedy.into(),
        _ => kind.remedy(path).unwrap_or_else(|| wanted.remedy.into()),
    };
    Error::bad_file(path, problem, remedy)
}
