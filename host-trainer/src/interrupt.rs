//! Ctrl-C. The first asks the training loop to stop where it can save; the second ends the program at once.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a program that was interrupted: 128 + SIGINT.
pub const EXIT_CODE: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Takes Ctrl-C (and SIGTERM, SIGHUP) over from the system for the rest of the program.
///
/// # Errors
/// [`Error::Io`] if the system refuses.
pub fn listen() -> Result<()> {
    let handler = || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE.into());
        }
    };
    match ctrlc::set_handler(handler) {
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(()),
        Err(e) => Err(Error::io("listen for", "Ctrl-C")(std::io::Error::other(e))),
    }
}

/// Whether Ctrl-C was pressed since [`listen`].
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
