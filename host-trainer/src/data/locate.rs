//! Finds the directory that holds the four files: the one that was named, the environment's, the cache; else fetches them into
//! the cache. Reads directories; writes only through [`download`].

use std::path::{Path, PathBuf};

use super::Request;
use super::download::{self, Network};
use super::files::{DataFile, FILES};
use crate::notice::notice;
use crate::{Error, Result};

/// The environment variable that names a directory with the four files.
pub const DIRECTORY_VARIABLE: &str = "FASHION_MNIST_DIR";

/// What to do when the files cannot be had.
pub const REMEDY: &str = "put the four files of https://github.com/zalandoresearch/fashion-mnist into a directory and pass \
                          --data-dir or set FASHION_MNIST_DIR, or use --dataset garments";

/// Where files are looked for when no directory is named.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Value of [`DIRECTORY_VARIABLE`].
    pub environment: Option<PathBuf>,
    /// This program's directory in the user's cache, whether it exists or not.
    pub cache: Option<PathBuf>,
}

impl Places {
    /// Those of this process.
    pub fn of_system() -> Self {
        let environment = std::env::var_os(DIRECTORY_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache =
            directories::ProjectDirs::from("", "", "bn-lenet").map(|dirs| dirs.cache_dir().join("fashion-mnist"));
        Self { environment, cache }
    }
}

/// Path of a file in a directory: the `.gz` file, or else the unpacked one.
pub fn path_in(directory: &Path, file: &DataFile) -> Option<PathBuf> {
    [file.name, file.unpacked_name()].map(|name| directory.join(name)).into_iter().find(|path| path.exists())
}

/// The directory to read from.
///
/// # Errors
/// [`Error::BadArgument`] when `--data-dir` lacks a file; [`Error::Missing`] when the files are nowhere and were not to be, or could
/// not be, downloaded.
pub fn directory(request: &Request, places: &Places, network: &Network) -> Result<PathBuf> {
    if let Some(named) = &request.data_dir {
        return match lacking(named) {
            None => Ok(named.clone()),
            Some(problem) => Err(Error::BadArgument {
                problem: format!("--data-dir {problem}"),
                remedy:
                    "put the data set's four files there, or leave --data-dir away to have Fashion-MNIST downloaded"
                        .into(),
            }),
        };
    }
    let mut tried = Vec::new();
    if let Some(directory) = &places.environment {
        let Some(problem) = lacking(directory) else { return Ok(directory.clone()) };
        if request.download {
            notice(&format!("notice: {DIRECTORY_VARIABLE} {problem}; looking in the cache"));
        }
        tried.push(format!("{DIRECTORY_VARIABLE} {problem}"));
    }
    let Some(cache) = &places.cache else {
        tried.push("this account has no cache directory".into());
        return Err(nowhere(&tried));
    };
    match lacking(cache) {
        None => Ok(cache.clone()),
        Some(_) if request.download => download::fetch(cache, network).map(|()| cache.clone()),
        Some(problem) => {
            tried.push(format!("the cache {problem}"));
            Err(nowhere(&tried))
        }
    }
}

/// What a directory lacks, to be read after what the directory is; `None` when the four files are there.
fn lacking(directory: &Path) -> Option<String> {
    let name = directory.display();
    if !directory.exists() {
        return Some(format!("{name} does not exist"));
    }
    if !directory.is_dir() {
        return Some(format!("{name} is not a directory"));
    }
    let missing: Vec<_> =
        FILES.iter().filter(|file| path_in(directory, file).is_none()).map(|file| file.name).collect();
    if missing.is_empty() { None } else { Some(format!("{name} lacks {}", missing.join(", "))) }
}

fn nowhere(tried: &[String]) -> Error {
    Error::Missing { what: format!("Fashion-MNIST was not found: {}", tried.join(", ")), remedy: REMEDY.into() }
}
