//! Asks a web server through `curl`, which macOS, Windows and most Linux systems have. A TLS stack of the program's own was 23 crates.
//!
//! curl finds the host, speaks TLS, honours the environment's proxy and follows redirects; it writes headers and body to a pipe.
//! How long to wait is decided here.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::process::{Command, Running};
use crate::{Error, Result};

/// The most bytes of headers, those of redirects included.
const MOST_HEADERS: usize = 1 << 16;

/// What is asked, and how much patience to have.
pub(super) struct Request<'a> {
    pub(super) url: &'a str,
    /// First byte that is wanted.
    pub(super) from: u64,
    /// Refuse plain HTTP, also after a redirect; honour the proxy that the environment names.
    pub(super) https_only: bool,
    /// For finding the host and for connecting, together.
    pub(super) connect: Duration,
    /// Between two pieces of an answer.
    pub(super) stall: Duration,
    /// For the whole of it.
    pub(super) total: Duration,
}

/// An answer: its status and headers. The body comes from [`Self::read`].
pub(super) struct Answer {
    /// `404 Not Found`; HTTP/2 leaves the words out.
    pub(super) status: String,
    headers: Vec<(String, String)>,
    transfer: Transfer,
}

impl Request<'_> {
    /// Asks, and reads the headers of the answer behind all redirects.
    ///
    /// # Errors
    /// `Err` when there is no curl; inside it, why there was no answer.
    pub(super) fn send(&self) -> Result<Result<Answer, String>> {
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        // A user's settings for curl may change what it writes, so `--disable` leaves them out.
        let mut curl = Command::new("curl").args(["--disable", "--silent", "--show-error", "--include", "--no-buffer"]);
        curl = curl.args(["--location", "--max-redirs", "5", "--suppress-connect-headers"]);
        curl = curl.args(["--user-agent", concat!("bn-lenet/", env!("CARGO_PKG_VERSION"))]);
        // The files are stored compressed; a server that compressed them once more would hand out other bytes.
        curl = curl.args(["--header", "Accept-Encoding: identity", "--connect-timeout", &seconds(self.connect)]);
        curl = if self.https_only { curl.args(["--proto", "=https"]) } else { curl.args(["--noproxy", "*"]) };
        if self.from > 0 {
            curl = curl.args(["--range", &format!("{}-", self.from)]);
        }
        let mut running = curl.args(["--", self.url]).start().map_err(|error| match error {
            Error::Missing { .. } => Error::Missing {
                what: "curl, which downloads, is not on the PATH".into(),
                remedy: format!("install it from your system's packages, or {}", super::files::REMEDY),
            },
            other => other,
        })?;
        let transfer = Transfer {
            pieces: pieces(running.stdout()),
            words: words(running.stderr()),
            running,
            begun: Instant::now(),
            connect: self.connect,
            stall: self.stall,
            total: self.total,
            kept: Vec::new(),
        };
        Ok(transfer.answer())
    }
}

impl Answer {
    /// The status's number.
    pub(super) fn code(&self) -> u16 {
        self.status.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// A header's value; empty where there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body's next bytes, none at its end; or why it broke off.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, String> {
        if !self.transfer.kept.is_empty() {
            return Ok(std::mem::take(&mut self.transfer.kept));
        }
        match self.transfer.piece(self.transfer.stall)? {
            Some(bytes) => Ok(bytes),
            None => self.transfer.end().map(|()| Vec::new()),
        }
    }
}

/// A curl that runs. It is stopped with this value.
struct Transfer {
    running: Running,
    pieces: Receiver<Vec<u8>>,
    words: Option<JoinHandle<String>>,
    begun: Instant,
    connect: Duration,
    stall: Duration,
    total: Duration,
    /// What has come and is not used yet.
    kept: Vec<u8>,
}

impl Transfer {
    /// Reads headers until those of an answer that curl does not follow elsewhere.
    fn answer(mut self) -> Result<Answer, String> {
        let mut before = 0;
        loop {
            let end = loop {
                if let Some(end) = self.kept.windows(4).position(|window| window == b"\r\n\r\n") {
                    break end;
                }
                if before + self.kept.len() > MOST_HEADERS {
                    return Err("sends headers without an end".into());
                }
                match self.piece(self.connect + self.stall)? {
                    Some(bytes) => self.kept.extend(bytes),
                    None => {
                        self.end()?;
                        return Err("ended within its headers".into());
                    }
                }
            };
            let block: Vec<u8> = self.kept.drain(..end + 4).collect();
            before += block.len();
            let block = String::from_utf8_lossy(&block);
            let mut lines = block.lines();
            let status = lines.next().and_then(|line| line.split_once(' ')).map_or("", |(_, status)| status.trim());
            let status = status.to_owned();
            let header = |line: &str| {
                let (name, value) = line.split_once(':')?;
                Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            };
            let headers: Vec<_> = lines.filter_map(header).collect();
            let elsewhere = status.starts_with('3') && headers.iter().any(|(name, _)| name == "location");
            if !status.starts_with('1') && !elsewhere {
                return Ok(Answer { status, headers, transfer: self });
            }
        }
    }

    /// The next bytes; `None` at the end.
    fn piece(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, String> {
        let left = self.total.saturating_sub(self.begun.elapsed());
        match self.pieces.recv_timeout(patience.min(left)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) if left < patience => Err("too slow".into()),
            Err(RecvTimeoutError::Timeout) => Err("stalled".into()),
        }
    }

    /// Why curl ended, unless it ended well.
    fn end(&mut self) -> Result<(), String> {
        let status = self.running.wait().map_err(|error| error.to_string())?;
        let words = self.words.take().and_then(|words| words.join().ok()).unwrap_or_default();
        match status.code() {
            Some(0) => Ok(()),
            Some(5 | 6) => Err("host not found".into()),
            Some(7) => Err("refused the connection".into()),
            Some(28) => Err("no connection in time".into()),
            Some(47) => Err("too many redirects".into()),
            Some(code) => {
                let words = words.lines().last().unwrap_or("");
                let words = words.strip_prefix(&format!("curl: ({code}) ")).unwrap_or(words);
                Err(if words.is_empty() { format!("curl ended with code {code}") } else { words.to_owned() })
            }
            None => Err("curl was ended".into()),
        }
    }
}

/// Hands over what comes, a few pieces ahead of the reader.
fn pieces(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (send, receive) = sync_channel(4);
    thread::spawn(move || {
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if send.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

fn words(stream: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    stream.map(|mut stream| {
        thread::spawn(move || {
            let mut words = Vec::new();
            // What cannot be read of them is missed by nobody.
            let _ = stream.read_to_end(&mut words);
            String::from_utf8_lossy(&words).into_owned()
        })
    })
}
