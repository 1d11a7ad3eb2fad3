//! A web server for the downloader's tests: one thread, one request a connection, every answer written by the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// With the leading slash.
    pub(super) path: String,
    /// First byte of the range that was asked for.
    pub(super) from: Option<usize>,
}

/// Listens on a port of its own until dropped.
pub(super) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every request with what `answer` writes to the connection; a failed write only ends the connection.
    pub(super) fn new(answer: impl Fn(&Asked, &mut TcpStream) -> std::io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, ended) = (asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let mut stream = stream.unwrap();
                if let Some(request) = read(&stream) {
                    log.lock().unwrap().push(request.clone());
                    let _ = answer(&request, &mut stream);
                }
            }
        });
        Self { address, asked, stop, thread: Some(thread) }
    }

    /// Its address, as a mirror's.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A connection wakes the thread, which then sees that it is to stop.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut from = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    Some(Asked { path, from })
}

/// Writes an answer with these headers, then the body, as much of it as there is.
pub(super) fn send(stream: &mut TcpStream, status: &str, headers: &[&str], body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
    for header in headers {
        write!(stream, "{header}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(body)
}

/// Serves a file as a good server does: with its length, and in part when a range was asked for.
pub(super) fn serve(file: &[u8], asked: &Asked, stream: &mut TcpStream) -> std::io::Result<()> {
    let total = file.len();
    match asked.from {
        Some(from) if from >= total => send(stream, "416 Range Not Satisfiable", &["Content-Length: 0"], b""),
        Some(from) => {
            let range = format!("Content-Range: bytes {from}-{}/{total}", total - 1);
            let length = format!("Content-Length: {}", total - from);
            send(stream, "206 Partial Content", &[&range, &length], &file[from..])
        }
        None => send(stream, "200 OK", &[&format!("Content-Length: {total}")], file),
    }
}
