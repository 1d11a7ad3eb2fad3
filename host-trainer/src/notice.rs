//! What is said on stderr beside the results. Nothing fails when nobody listens, which is what `eprintln!` does.

/// Says a line on stderr.
pub(crate) fn notice(line: &str) {
    #[cfg(test)]
    eprintln!("{line}"); // the harness shows it where the test fails
    #[cfg(not(test))]
    {
        use std::io::Write;
        // A closed stderr is no reason to stop.
        let _ = writeln!(anstream::stderr(), "{line}");
    }
}
