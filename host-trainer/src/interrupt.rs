//! Ctrl-C. While something is running that can be saved, the first asks it to stop there and the second ends the program at
//! once; at any other time the first ends it.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Exit code of a program that was interrupted: 128 + SIGINT.
pub const EXIT_CODE: u8 = 130;

static DEFERRED: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// While it lives, Ctrl-C (and SIGTERM, SIGHUP) is a request that [`requested`] tells of.
#[derive(Debug)]
pub struct Deferred(());

impl Deferred {
    /// Takes Ctrl-C over from the system.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn new() -> Result<Self> {
        let handler = || {
            if !DEFERRED.load(Ordering::SeqCst) || REQUESTED.swap(true, Ordering::SeqCst) {
                std::process::exit(EXIT_CODE.into());
            }
            // A closed stderr is no reason not to save.
            let _ = writeln!(std::io::stderr(), "\nstopping where it can be saved; press again to quit at once");
        };
        match ctrlc::set_handler(handler) {
            Ok(()) | Err(ctrlc::Error::MultipleHandlers) => {}
            Err(e) => return Err(Error::io("listen for", "Ctrl-C")(std::io::Error::other(e))),
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
