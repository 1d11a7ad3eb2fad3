//! Writes files. One rule for every output of every verb:
//!
//! | at the place there is | what happens |
//! |---|---|
//! | nothing | the file is made, and its folder where that is missing |
//! | a file | it is replaced in one step: written beside it, flushed to the disk, renamed, so that a crash leaves the old one |
//! | a link | the link stays, and what it points to is made or replaced |
//! | a pipe, or a device of characters | the bytes are written into it |
//! | a directory, a disk, a socket, a link into a folder that is missing, anything that may not be written | refused |
//!
//! A new file has the mode that the umask asks for. [`check_output`] refuses before the work what [`write()`] would refuse after it.

use std::fs::{FileType, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::error::{Error, Result};

/// More links in a row than this are a circle, as Linux counts.
const MAX_LINKS: usize = 40;

/// What writing to a path means.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A file is made or replaced here; links are followed already.
    File(PathBuf),
    /// The bytes go into what is there.
    Device(PathBuf),
}

/// Writes a file, see the table above.
///
/// # Errors
/// [`Error::BadFile`] as [`check_output`], [`Error::Io`] or [`Error::Unsaved`]; what stood there is then untouched.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    match place(path)? {
        Place::File(target) => put(path, &target, stage(path, &target, bytes)?),
        Place::Device(device) => write_into(&device, bytes),
    }
}

/// [`write()`] of a file that is read back and given to `prove` before it takes its place. A device cannot be read back:
/// there `prove` gets `bytes`.
///
/// # Errors
/// As [`write()`], or what `prove` gives; [`Error::Disagreement`] when other bytes are read than were written.
pub fn write_proved(path: &Path, bytes: &[u8], prove: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
    match place(path)? {
        Place::File(target) => {
            let staged = stage(path, &target, bytes)?;
            let there = std::fs::read(staged.path()).map_err(Error::io("read", staged.path()))?;
            prove(&there)?;
            if there != bytes {
                let problem = format!("{}: read other bytes than were written", path.display());
                return Err(Error::Disagreement { problem });
            }
            put(path, &target, staged)
        }
        Place::Device(device) => {
            prove(bytes)?;
            write_into(&device, bytes)
        }
    }
}

/// [`write()`], unless a file with these bytes stands there already.
///
/// # Errors
/// As [`write()`].
pub fn write_if_different(path: &Path, bytes: &[u8]) -> Result<()> {
    let limit = bytes.len() as u64;
    if super::try_read(path, limit).is_some_and(|there| there == bytes) { Ok(()) } else { write(path, bytes) }
}

/// Refuses an output that could not be written, or that would replace one of the `inputs`, before the work whose result it is
/// to hold. Writes nothing.
///
/// # Errors
/// [`Error::BadFile`] with what stands in the way.
pub fn check_output(path: &Path, inputs: &[&Path]) -> Result<()> {
    let denied = |what: String| {
        move |error: std::io::Error| {
            Error::bad_file(path, format!("{what}: {error}"), "change its permissions, or name another place")
        }
    };
    match place(path)? {
        Place::Device(device) if is_pipe(&device) => Ok(()), // opening it would wait for a reader
        Place::Device(device) => {
            OpenOptions::new().write(true).open(device).map(drop).map_err(denied("it cannot be written".into()))
        }
        Place::File(target) => {
            if inputs.iter().any(|input| input.canonicalize().is_ok_and(|input| input == target)) {
                return Err(Error::bad_file(path, "this is what is read", "name another file for what is written"));
            }
            if target.exists() {
                let opened = OpenOptions::new().write(true).open(&target);
                opened.map(drop).map_err(denied("it cannot be replaced".into()))?;
            }
            let folder = nearest_folder(path, folder_of(&target))?;
            let denied = denied(format!("no file can be made in {}", folder.display()));
            tempfile::tempfile_in(folder).map(drop).map_err(denied)
        }
    }
}

/// Deletes a file, where there is one: what a link points to rather than the link, and no device.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(path: &Path) -> Result<()> {
    let Ok(target) = path.canonicalize() else { return Ok(()) };
    if !target.is_file() {
        return Ok(());
    }
    std::fs::remove_file(&target).map_err(Error::io("delete", path))
}

fn place(path: &Path) -> Result<Place> {
    let refuse = |problem: &str, remedy: &str| Err(Error::bad_file(path, problem, remedy));
    if path.as_os_str().is_empty() {
        return Err(Error::BadArgument {
            problem: "the name of an output is empty".into(),
            remedy: "name a file".into(),
        });
    }
    let ends_in_separator = path.to_string_lossy().ends_with(std::path::is_separator);
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => refuse("this is a directory", "name a file in it"),
        Ok(there) if there.is_file() => {
            // What cannot be named, as a deleted file that a descriptor still holds, can only be written into.
            Ok(path.canonicalize().map_or_else(|_| Place::Device(path.to_owned()), Place::File))
        }
        Ok(there) if takes_bytes(there.file_type()) => Ok(Place::Device(path.to_owned())),
        Ok(_) => refuse("this is a disk or a socket, not a file", "name a file"),
        Err(_) if ends_in_separator || path.file_name().is_none() => {
            refuse("this names a directory", "name a file in it")
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            end_of_links(path).map(Place::File)
        }
        Err(error) => refuse(&error.to_string(), "name another place"),
    }
}

/// Whether bytes can be written into what is there: a pipe, a terminal, `/dev/null`.
#[cfg(unix)]
fn takes_bytes(there: FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    there.is_fifo() || there.is_char_device()
}

#[cfg(not(unix))]
fn takes_bytes(_: FileType) -> bool {
    true
}

#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|there| there.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

/// Where a new file goes: `path` itself, or what a link points to that is not there.
fn end_of_links(path: &Path) -> Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(next) = std::fs::read_link(&target) else { return Ok(target) };
        target = folder_of(&target).join(next);
        if !folder_of(&target).is_dir() {
            let problem = format!("this is a link to {}, whose folder is not there", target.display());
            return Err(Error::bad_file(path, problem, "make that folder, or name another place"));
        }
    }
    Err(Error::bad_file(path, "this is a link that leads back to itself", "name another place"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The folder itself where it is there, else the one that it would be made in. `path` is for messages.
fn nearest_folder<'a>(path: &Path, folder: &'a Path) -> Result<&'a Path> {
    let found = folder.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
    if found.is_dir() {
        return Ok(found);
    }
    let problem = format!("{} is no directory", found.display());
    Err(Error::bad_file(path, problem, "name another place"))
}

/// The bytes in a file beside `target`, on the disk. `path` is for messages.
fn stage(path: &Path, target: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    let folder = folder_of(target);
    nearest_folder(path, folder)?;
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let staged = || -> std::io::Result<NamedTempFile> {
        let mut file = temporary_beside(target, folder)?;
        // Not through the temporary file, whose errors name it as well.
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    staged().map_err(Error::io("write", path))
}

fn put(path: &Path, target: &Path, staged: NamedTempFile) -> Result<()> {
    staged.persist(target).map(drop).map_err(|e| Error::io("write", path)(e.error))
}

fn write_into(device: &Path, bytes: &[u8]) -> Result<()> {
    let opened = OpenOptions::new().write(true).open(device);
    match opened.and_then(|mut file| file.write_all(bytes)) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Error::Unsaved {
            problem: format!("cannot write {}: its reader has closed it", device.display()),
            remedy: "start again with a reader that reads to the end".into(),
        }),
        written => written.map_err(Error::io("write", device)),
    }
}

/// What stands before and after the random part of a temporary file's name.
const AROUND: (&str, &str) = (".", ".part");
/// Of the name before the random part: with what is around it a name fits where a file's name of 255 bytes fits.
const MAX_PREFIX: usize = 200;

/// A temporary file that, once renamed, has the permissions of any new file rather than a private one's.
fn temporary_beside(path: &Path, folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666)); // less the umask
    }
    builder.prefix(&before_random_part(path)).suffix(AROUND.1).tempfile_in(folder)
}

fn before_random_part(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}{}.", AROUND.0, &name[..name.floor_char_boundary(MAX_PREFIX)])
}

/// Whether `leftover` has a name as [`write()`] gives to what becomes `path`: of no process that lives, it is left by one
/// that was killed.
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
        check_output(&path, &[]).unwrap();
        assert!(!directory.path().join("deep").exists(), "a check makes nothing");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_of_the_greatest_length_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ä".repeat(127));
        write(&path, b"one").unwrap();
        assert!(is_leftover_of(temporary_beside(&path, directory.path()).unwrap().path(), &path));
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
    fn what_is_no_place_for_a_file_is_refused_before_and_at_the_write() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("file"), b"old").unwrap();
        for (name, problem) in [
            ("folder", "folder: this is a directory; name a file in it"),
            ("new/", "new/: this names a directory; name a file in it"),
            ("file/below", "file is no directory; name another place"),
        ] {
            for error in [check_output(&at(name), &[]).unwrap_err(), write(&at(name), b"x").unwrap_err()] {
                assert!(error.to_string().contains(problem) && error.exit_code() == 2, "{error}");
            }
        }
        assert!(write(Path::new(""), b"x").is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_does_not_prove_itself_never_takes_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_proved(&path, b"old", |bytes| (bytes == b"old").then_some(()).ok_or(unreached())).unwrap();
        write_proved(&path, b"new", |_| Err(unreached())).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    fn unreached() -> Error {
        Error::Disagreement { problem: "other bytes".into() }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_what_they_point_to_is_written() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("folder/old"), b"old").unwrap();
        symlink("folder/old", at("link")).unwrap();
        symlink("link", at("link_to_link")).unwrap();
        symlink("folder/new", at("dangling")).unwrap();
        symlink("nowhere/new", at("lost")).unwrap();
        symlink("circle", at("circle")).unwrap();
        for (link, target) in [("link", "folder/old"), ("link_to_link", "folder/old"), ("dangling", "folder/new")] {
            check_output(&at(link), &[]).unwrap();
            write(&at(link), link.as_bytes()).unwrap();
            assert!(at(link).is_symlink());
            assert_eq!(std::fs::read(at(target)).unwrap(), link.as_bytes());
        }
        let error = check_output(&at("link"), &[&at("folder/old")]).unwrap_err();
        assert!(error.to_string().ends_with("this is what is read; name another file for what is written"), "{error}");
        for (link, problem) in [("lost", "whose folder is not there"), ("circle", "")] {
            let error = check_output(&at(link), &[]).unwrap_err();
            assert!(error.to_string().contains(problem) && error.exit_code() == 2, "{error}");
            assert!(write(&at(link), b"x").is_err());
        }
        remove(&at("link")).unwrap();
        assert!(at("link").is_symlink() && !at("folder/old").exists());
        assert_eq!(std::fs::read_dir(at("folder")).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_written_into() {
        let null = Path::new("/dev/null");
        check_output(null, &[]).unwrap();
        write_if_different(null, b"anything").unwrap();
        remove(null).unwrap();
        assert!(!null.is_file() && null.exists());
        if cfg!(target_os = "linux") {
            let error = write(Path::new("/dev/full"), b"x");
            assert!(matches!(error, Err(Error::Io { .. })), "{error:?}");
        }
    }
}
