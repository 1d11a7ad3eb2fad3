//! Ctrl-C. While something is running that can be saved, the first asks it to stop there and the second ends the program at
//! once; at any other time the first ends it. On Unix so do SIGTERM and a terminal that closes; what the program was started
//! to ignore, as `nohup` does, is ignored.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::error::{Error, Result};
use crate::notice::notice;

/// Exit code of a program that was interrupted: 128 + SIGINT.
pub const EXIT_CODE: u8 = 130;

static LISTENING: AtomicBool = AtomicBool::new(false);
static DEFERRED: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// While it lives, Ctrl-C is a request that [`requested`] tells of.
#[derive(Debug)]
pub struct Deferred(());

impl Deferred {
    /// Takes Ctrl-C over from the system.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn new() -> Result<Self> {
        if !LISTENING.swap(true, Ordering::SeqCst) {
            listen(interrupted).map_err(Error::io("listen for", "Ctrl-C"))?;
        }
        DEFERRED.store(true, Ordering::SeqCst);
        Ok(Self(()))
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        DEFERRED.store(false, Ordering::SeqCst);
    }
}

/// Whether Ctrl-C was pressed while it was deferred.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

fn interrupted() {
    if !DEFERRED.load(Ordering::SeqCst) || REQUESTED.swap(true, Ordering::SeqCst) {
        std::process::exit(EXIT_CODE.into());
    }
    // On a thread of its own: where stderr is a pipe that nobody empties, the next Ctrl-C must still get through.
    thread::spawn(|| notice("\nstopping where it can be saved; press again to quit at once"));
}

/// Calls `handler` for every signal that asks a program to end.
#[cfg(unix)]
fn listen(handler: fn()) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ignored = ignored_signals();
    let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = signal_hook::iterator::Signals::new(heeded)?;
    thread::Builder::new().name("signals".into()).spawn(move || signals.forever().for_each(|_| handler()))?;
    Ok(())
}

/// Bit `n - 1` says that the program was started to ignore signal `n`; without Linux's `/proc` none is known.
#[cfg(unix)]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(not(unix))]
fn listen(handler: fn()) -> io::Result<()> {
    ctrlc::set_handler(handler).map_err(io::Error::other)
}
