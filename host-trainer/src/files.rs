//! Reading and writing whole files. A file is replaced in one step or not at all: it is written beside its place, flushed
//! to the disk and renamed, so that a crash or a full disk leaves the old one as it was.

use std::io::Write;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::error::{Error, Result};

/// The whole file.
///
/// # Errors
/// [`Error::BadFile`] if there is no such file, [`Error::Io`] if it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::bad_file(path, "there is no such file", "check the path"))
        }
        Err(e) if path.is_dir() => {
            let _ = e;
            Err(Error::bad_file(path, "this is a directory", "name a file in it"))
        }
        Err(e) => Err(Error::io("read", path)(e)),
    }
}

/// Writes `bytes` to `path` in one step, making its directory if needed. What stood there is replaced.
///
/// # Errors
/// [`Error::Io`]; what stood there is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let write = || -> std::io::Result<()> {
        let mut file = temporary_beside(path, directory)?;
        // Not through the temporary file, whose errors name it as well.
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(Error::io("write", path))
}

/// [`write_atomically`], unless these bytes stand there already.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_if_different(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) { Ok(()) } else { write_atomically(path, bytes) }
}

/// Deletes a file, where there is one.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("delete", path)(e)),
        _ => Ok(()),
    }
}

/// What stands before and after the random part of a temporary file's name.
const AROUND: (&str, &str) = (".", ".part");

/// A temporary file that, once renamed, has the permissions of any new file rather than a private one's.
fn temporary_beside(path: &Path, directory: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666)); // less the umask
    }
    builder.prefix(&before_random_part(path)).suffix(AROUND.1).tempfile_in(directory)
}

fn before_random_part(path: &Path) -> String {
    format!("{}{}.", AROUND.0, path.file_name().unwrap_or_default().to_string_lossy())
}

/// Whether `leftover` has a name as [`write_atomically`] gives to what becomes `path`: of no process that lives, it is left
/// by one that was killed.
pub fn is_leftover_of(leftover: &Path, path: &Path) -> bool {
    let name = leftover.file_name().unwrap_or_default().to_string_lossy();
    let random = name.strip_prefix(&before_random_part(path)).and_then(|rest| rest.strip_suffix(AROUND.1));
    random.is_some_and(|random| !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/file");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_write_leaves_is_known_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.txt");
        let temporary = temporary_beside(&path, directory.path()).unwrap();
        assert!(is_leftover_of(temporary.path(), &path));
        for other in ["file", ".file.txt.a1.part", "other.txt"] {
            assert!(!is_leftover_of(temporary.path(), &directory.path().join(other)), "{other}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_directory_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("occupied");
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(write_atomically(&path, b"x"), Err(Error::Io { .. })));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_and_a_directory_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = read(&directory.path().join("none")).unwrap_err();
        assert!(missing.to_string().ends_with("none: there is no such file; check the path"), "{missing}");
        assert!(read(directory.path()).unwrap_err().to_string().contains("this is a directory"));
    }
}
