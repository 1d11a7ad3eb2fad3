//! Downloads the four files into a directory, from one mirror after another. Writes there alone: a `.part` file that a broken
//! transfer leaves behind and the next one continues, renamed only when its MD5 is the published one, and a lock file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::curl::{Answer, Request};
use super::files::{DataFile, FILES, REMEDY, looks_like_html, path_in};
use crate::notice::notice;
use crate::{Error, Result};

/// Where to download from, and how much patience to have.
#[derive(Clone, Debug)]
pub struct Network {
    /// Addresses that a file's name is appended to, in the order they are asked.
    pub mirrors: Vec<String>,
    /// Refuse plain HTTP, also after a redirect; honour the proxy the environment names.
    pub https_only: bool,
    /// For finding the host and for connecting, together.
    pub connect: Duration,
    /// For an answer to begin, and between two pieces of it.
    pub stall: Duration,
    /// Bytes a second below which a transfer is given up.
    pub slowest: u64,
}

impl Network {
    /// The places that are known to hold the published files: the publisher's bucket and repository, and the copy of the Keras
    /// project.
    pub fn official() -> Self {
        let mirrors = [
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ];
        Self {
            mirrors: mirrors.map(str::to_owned).to_vec(),
            https_only: true,
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(20),
            slowest: 10_000,
        }
    }
}

/// Transfers that are begun on one mirror as long as each brings the file forward.
const ATTEMPTS: usize = 5;

/// Why a mirror did not give the file.
enum Failure {
    /// The transfer broke off; what has arrived is kept and can be continued.
    Broken(String),
    /// What had been kept does not belong to this mirror's file; it was thrown away.
    Stale(String),
    /// This mirror has something else.
    Refused(String),
    /// This machine's fault: other mirrors would not help.
    Local(Error),
}

/// Downloads those of the four files that the directory lacks.
///
/// # Errors
/// [`Error::Missing`] with every mirror's reason when a file could not be had; [`Error::Io`] when the directory cannot be written.
pub fn fetch(directory: &Path, network: &Network) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let _lock = lock(directory)?;
    // Another process may have fetched them while this one waited for the lock.
    for file in FILES.iter().filter(|file| path_in(directory, file).is_none()) {
        fetch_file(directory, file, network)?;
    }
    Ok(())
}

/// Two processes never write the same `.part` file: the second waits here until the first is done. The system drops the lock with
/// the process, however it ends.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("download.lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            notice(&format!("notice: another process is downloading into {}; waiting for it", directory.display()));
            file.lock().map_err(Error::io("lock", &path))?;
            Ok(file)
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

fn fetch_file(directory: &Path, file: &DataFile, network: &Network) -> Result<()> {
    let part = directory.join(format!("{}.part", file.name));
    let mut reasons = Vec::new();
    for mirror in &network.mirrors {
        let transfer = Transfer { network, url: format!("{mirror}{}", file.name), file, part: &part };
        match transfer.run() {
            Ok(()) => {
                let path = directory.join(file.name);
                return std::fs::rename(&part, &path).map_err(Error::io("rename the download to", path));
            }
            Err(Failure::Local(error)) => return Err(error),
            Err(Failure::Broken(reason) | Failure::Stale(reason) | Failure::Refused(reason)) => {
                let reason = reason.lines().collect::<Vec<_>>().join(" ");
                if reasons.len() + 1 < network.mirrors.len() {
                    notice(&format!("notice: {}: {reason}; asking the next mirror", transfer.url));
                }
                reasons.push((host(mirror), reason));
            }
        }
    }
    let what = format!("{} could not be downloaded from {}", file.name, listed(&reasons));
    Err(Error::Missing { what, remedy: REMEDY.into() })
}

/// Every mirror with its reason; a reason that all of them share is said once.
fn listed(reasons: &[(&str, String)]) -> String {
    match reasons {
        [(_, first), rest @ ..] if !rest.is_empty() && rest.iter().all(|(_, reason)| reason == first) => {
            let hosts: Vec<&str> = reasons.iter().map(|(host, _)| *host).collect();
            format!("{} (each: {first})", hosts.join(", "))
        }
        _ => reasons.iter().map(|(host, reason)| format!("{host} ({reason})")).collect::<Vec<_>>().join(", "),
    }
}

/// `host` of `https://host/path`.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// One file from one mirror.
struct Transfer<'a> {
    network: &'a Network,
    url: String,
    file: &'a DataFile,
    part: &'a Path,
}

impl Transfer<'_> {
    /// Fetches until the `.part` file is complete and its MD5 right.
    fn run(&self) -> Result<(), Failure> {
        let mut result = Err(Failure::Refused("was not asked".into()));
        for _ in 0..ATTEMPTS {
            let before = self.length()?;
            result = self.attempt(before);
            let go_on = match &result {
                Err(Failure::Broken(_)) => self.length()? > before,
                // Begun anew, what arrives is this mirror's alone.
                Err(Failure::Stale(_)) => true,
                _ => false,
            };
            if !go_on {
                break;
            }
        }
        result
    }

    fn attempt(&self, kept: u64) -> Result<(), Failure> {
        let kept = if kept > self.file.bytes { self.discard()? } else { kept };
        if kept < self.file.bytes {
            self.request(kept)?;
        }
        let md5 = self.md5()?;
        if md5 == self.file.md5 {
            return Ok(());
        }
        self.discard()?;
        let reason = format!("not the published file: its MD5 is {md5}");
        Err(if kept > 0 { Failure::Stale(reason) } else { Failure::Refused(reason) })
    }

    /// Asks for what is missing beyond the `kept` bytes, and appends it.
    fn request(&self, kept: u64) -> Result<(), Failure> {
        let network = self.network;
        let request = Request {
            url: &self.url,
            from: kept,
            https_only: network.https_only,
            connect: network.connect,
            stall: network.stall,
            total: network.stall + Duration::from_secs(self.file.bytes / network.slowest.max(1)),
        };
        let mut answer = request.send().map_err(Failure::Local)?.map_err(Failure::Broken)?;
        let start = match answer.code() {
            // A server that knows no ranges begins again at the start.
            200 => 0,
            206 if kept > 0 && continues(&answer, kept, self.file.bytes) => kept,
            206 | 416 => {
                self.discard()?;
                return Err(Failure::Stale("cannot continue a broken download".into()));
            }
            _ => return Err(Failure::Refused(format!("answered {}", answer.status))),
        };
        if answer.header("content-type").starts_with("text/html") {
            return Err(web_page());
        }
        let announced: Option<u64> = answer.header("content-length").parse().ok();
        // A smaller file is fetched all the same, to see whether it is MNIST's, unless that would cost what is kept.
        match announced.map(|length| length.saturating_add(start)) {
            Some(offered) if offered > self.file.bytes || (offered < self.file.bytes && kept > 0) => {
                return Err(Failure::Refused(format!("offers {offered} bytes, not {}", self.file.bytes)));
            }
            _ => {}
        }
        self.receive(&mut answer, start)?;
        match self.length()? {
            length if length == self.file.bytes => Ok(()),
            length if self.file.is_mnist(&self.md5()?) => {
                self.discard()?;
                Err(Failure::Refused(format!("handed out MNIST's file of {length} bytes, not Fashion-MNIST's")))
            }
            length if announced.is_some_and(|announced| start + announced == length) => {
                self.discard()?;
                Err(Failure::Refused(format!("offers {length} bytes, not {}", self.file.bytes)))
            }
            length => Err(Failure::Broken(format!("ended after {length} of {} bytes", self.file.bytes))),
        }
    }

    /// Writes the body to the `.part` file from byte `start` on, never beyond the file's size.
    fn receive(&self, answer: &mut Answer, start: u64) -> Result<(), Failure> {
        let local = |action, error| Failure::Local(Error::io(action, self.part)(error));
        let mut part = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.part)
            .map_err(|error| local("create", error))?;
        let bar = progress_bar(self.file, host(&self.url), start);
        let mut left = self.file.bytes - start;
        let mut first = true;
        while left > 0 {
            let mut bytes = answer.read().map_err(Failure::Broken)?;
            bytes.truncate(left.try_into().unwrap_or(usize::MAX));
            if bytes.is_empty() {
                break;
            }
            if std::mem::take(&mut first) {
                // Only a body that looks right may replace what is kept.
                if start == 0 {
                    check_start(&bytes)?;
                }
                let to_start = part.set_len(start).and_then(|()| part.seek(SeekFrom::Start(start)));
                to_start.map_err(|error| local("write", error))?;
            }
            part.write_all(&bytes).map_err(|error| local("write", error))?;
            bar.inc(bytes.len() as u64);
            left -= bytes.len() as u64;
        }
        bar.finish_and_clear();
        part.sync_all().map_err(|error| local("write", error))
    }

    /// Length of the `.part` file; 0 when there is none.
    fn length(&self) -> Result<u64, Failure> {
        match std::fs::metadata(self.part) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Failure::Local(Error::io("read", self.part)(error))),
        }
    }

    /// Throws the `.part` file away; returns its new length.
    fn discard(&self) -> Result<u64, Failure> {
        match std::fs::remove_file(self.part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::Local(Error::io("delete", self.part)(error)))
            }
            _ => Ok(0),
        }
    }

    fn md5(&self) -> Result<String, Failure> {
        let read = |path: &PathBuf| -> std::io::Result<String> {
            let mut hash = md5::Context::new();
            let mut file = File::open(path)?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(format!("{:x}", hash.finalize())),
                    count => hash.consume(&buffer[..count]),
                }
            }
        };
        let path = self.part.to_owned();
        read(&path).map_err(|error| Failure::Local(Error::io("read", path)(error)))
    }
}

fn web_page() -> Failure {
    Failure::Refused("handed out a web page in place of the file".into())
}

/// Judges a file by its first bytes, before any of them is written.
fn check_start(bytes: &[u8]) -> Result<(), Failure> {
    match bytes {
        _ if looks_like_html(bytes) => Err(web_page()),
        [0x1f, 0x8b, ..] | [0x1f] => Ok(()),
        _ => Err(Failure::Refused("handed out something that is not a gzip file".into())),
    }
}

/// Whether a 206 answer goes on at byte `start` of a file of `total` bytes.
fn continues(answer: &Answer, start: u64, total: u64) -> bool {
    let range = answer.header("content-range").strip_prefix("bytes ");
    let Some((range, size)) = range.and_then(|range| range.split_once('/')) else {
        return false;
    };
    let first = range.split('-').next().and_then(|first| first.parse().ok());
    first == Some(start) && (size == "*" || size.parse() == Ok(total))
}

/// On a terminal a bar, elsewhere one line a file.
fn progress_bar(file: &DataFile, host: &str, start: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(file.bytes), ProgressDrawTarget::stderr());
    if bar.is_hidden() {
        notice(&format!("downloading {} ({} bytes) from {host}", file.name, file.bytes));
    }
    let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    // The template is a constant, and the tests draw it.
    bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
    bar.set_message(file.name);
    bar.set_position(start);
    bar.reset_eta();
    bar
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
