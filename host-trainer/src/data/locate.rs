//! Finds the directory that holds the four files: the one that was named, the environment's, the cache; else fetches them into
//! the cache. Reads directories; writes only through [`download`].

use std::path::{Path, PathBuf};

use super::Request;
use super::download::{self, Network};
use super::files::{FILES, REMEDY, path_in};
use crate::notice::notice;
use crate::{Error, Result};

/// The environment variable that names a directory with the four files.
pub const DIRECTORY_VARIABLE: &str = "FASHION_MNIST_DIR";

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
        Self { environment, cache: user_cache().map(|caches| caches.join("bn-lenet").join("fashion-mnist")) }
    }
}

/// Where this system keeps what a user's programs can fetch again.
fn user_cache() -> Option<PathBuf> {
    let named = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|home| home.is_absolute());
    if cfg!(windows) {
        named("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Caches"))
    } else {
        named("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
    }
}

/// Where torchvision keeps its data sets of this format, below its `root`.
const BELOW_ROOT: [&str; 4] = ["raw", "FashionMNIST/raw", "MNIST/raw", "KMNIST/raw"];

/// The directory itself where it holds the four files, else the one below it where torchvision keeps them.
fn with_files(directory: &Path) -> PathBuf {
    let candidates = BELOW_ROOT.iter().map(|below| directory.join(below));
    let found = [directory.to_owned()].into_iter().chain(candidates).find(|candidate| lacking(candidate).is_none());
    found.unwrap_or_else(|| directory.to_owned())
}

/// The directory to read from.
///
/// # Errors
/// [`Error::BadArgument`] when `--data-dir` lacks a file; [`Error::Missing`] when the files are nowhere and were not to be, or could
/// not be, downloaded.
pub fn directory(request: &Request, places: &Places, network: &Network) -> Result<PathBuf> {
    if let Some(named) = &request.data_dir {
        let found = with_files(named);
        return match lacking(&found) {
            None => Ok(found),
            Some(problem) if request.of_a_model => Err(Error::BadArgument {
                problem: format!("what the model was trained on is not where it was: {problem}"),
                remedy: "name where it lies now with --data-dir".into(),
            }),
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
        let found = with_files(directory);
        let Some(problem) = lacking(&found) else { return Ok(found) };
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
