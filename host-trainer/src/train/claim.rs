//! The right to write into a run's directory, which one process has at a time: a lock on the file `run.lock` there, which
//! holds that process's number for the message to the others. The system drops the lock with the process, however it ends;
//! the file stays. Touches that file, and what a killed process left half written.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::ops::Deref;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::train::run_dir::RunDir;

/// A run's directory that no other process writes into while this value lives.
#[derive(Debug)]
pub struct Claim {
    directory: RunDir,
    _lock: File,
}

impl Deref for Claim {
    type Target = RunDir;

    fn deref(&self) -> &RunDir {
        &self.directory
    }
}

impl Claim {
    /// For a new run; makes the directory.
    ///
    /// # Errors
    /// As [`RunDir::new`]; [`Error::BadArgument`] with the number of the process that has it; [`Error::Io`].
    pub fn new(path: &Path, replace: bool) -> Result<Self> {
        RunDir::new(path, replace)?;
        std::fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let lock = lock(path)?;
        // The run that another process was training in the meantime is one that lies there now.
        let claim = Self { directory: RunDir::new(path, replace)?, _lock: lock };
        claim.clear_leftovers()?;
        Ok(claim)
    }

    /// For the run that lies there.
    ///
    /// # Errors
    /// As [`RunDir::existing`]; [`Error::BadArgument`] with the number of the process that has it; [`Error::Io`].
    pub fn existing(path: &Path) -> Result<Self> {
        let directory = RunDir::existing(path)?;
        directory.check_outputs()?;
        let claim = Self { directory, _lock: lock(path)? };
        claim.clear_leftovers()?;
        Ok(claim)
    }

    /// Deletes what a killed process was writing. Only the lock's owner writes these files, so nobody is writing them now.
    fn clear_leftovers(&self) -> Result<()> {
        let kept = [self.checkpoint(), self.previous_checkpoint(), self.metrics(), self.curves()];
        for entry in std::fs::read_dir(self.path()).map_err(Error::io("read", self.path()))? {
            let path = entry.map_err(Error::io("read", self.path()))?.path();
            if kept.iter().any(|file| files::is_leftover_of(&path, file)) {
                std::fs::remove_file(&path).map_err(Error::io("delete", &path))?;
            }
        }
        Ok(())
    }
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("run.lock");
    // What a link points to would lose its content, and a pipe would wait for a reader.
    if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
        return Err(Error::bad_file(path, "this is no file of `train`'s", "remove it, or choose another --out"));
    }
    let mut file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(occupied(directory, &path)),
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
    }
    let number = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(number.as_bytes())).map_err(Error::io("write", &path))?;
    Ok(file)
}

fn occupied(directory: &Path, lock: &Path) -> Error {
    let number = std::fs::read_to_string(lock).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let process = number.map_or("another process".into(), |number| format!("process {number}"));
    Error::BadArgument {
        problem: format!("{process} is training in {}", directory.display()),
        remedy: "wait until it has ended, or choose another --out".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_after_it_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/run");
        let first = Claim::new(&path, false).unwrap();
        for replace in [false, true] {
            let error = Claim::new(&path, replace).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let expected = format!("process {} is training in {}; wait", std::process::id(), path.display());
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        drop(first);
        let second = Claim::new(&path, false).unwrap();
        std::fs::write(second.checkpoint(), b"").unwrap();
        assert!(Claim::existing(&path).is_err(), "it is still claimed");
        drop(second);
        assert!(Claim::new(&path, false).unwrap_err().to_string().contains("holds a training run already"));
        assert!(Claim::existing(&path).is_ok());
    }

    #[test]
    fn what_killed_processes_left_is_deleted_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let ours = [".checkpoint.safetensors.a1B2c3.part", ".metrics.jsonl.zzzzzz.part", ".curves.svg.000000.part"];
        let others = [".report.html.a1B2c3.part", "checkpoint.safetensors.part", ".part", "notes", ".curves.svg"];
        for name in ours.iter().chain(&others) {
            std::fs::write(directory.path().join(name), b"half").unwrap();
        }
        Claim::new(directory.path(), false).unwrap();
        for name in ours {
            assert!(!directory.path().join(name).exists(), "{name}");
        }
        for name in others {
            assert!(directory.path().join(name).exists(), "{name}");
        }
    }
}
