//! Parses the command line, runs it, and turns the outcome into an exit code. The program is the library.

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;
use host_trainer::cli::{self, Cli};
use host_trainer::error::Error;

fn main() -> ExitCode {
    match cli::run(Cli::parse(), &mut anstream::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the results has seen enough, as in `host-trainer inspect FILE | head`.
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            cli::report_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
