//! What is said on stderr beside the results. Nothing fails when nobody listens, which is what `eprintln!` does.

use std::io::Write;

/// Says a line on stderr.
pub(crate) fn notice(line: &str) {
    if cfg!(test) {
        #[cfg_attr(not(test), expect(clippy::print_stderr, reason = "never reached"))]
        return eprintln!("{line}"); // which the harness shows when the test fails
    }
    // A closed stderr is no reason to stop.
    let _ = writeln!(anstream::stderr(), "{line}");
}
