//! The command line: what the verbs and flags are, and which function does each. A verb's file calls the library, then
//! prints for people or as JSON. Results go to the writer that is handed in (stdout); everything else goes to stderr.

mod args;
mod board;
mod classify;
mod compare;
mod data;
mod demo;
mod doctor;
mod emulate;
mod evaluate;
mod export;
mod goal_args;
mod import;
mod init;
mod inspect;
mod library;
mod output;
mod plan;
mod predict;
mod profile;
mod recipe_args;
mod reestimate;
mod report;
mod shared_args;
mod train;

pub use args::{Cli, Command};
pub use output::report_error;

use std::io::Write;

use crate::error::Result;

/// Does what the command line says.
///
/// # Errors
/// Whatever the verb gives; a closed `out` is [`crate::Error::Io`] of the kind `BrokenPipe`.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<()> {
    match cli.command {
        Command::Train(args) => train::run(*args, out),
        Command::Compare(args) => compare::run(*args, out),
        Command::Import(args) => import::run(args, out),
        Command::Init(args) => init::run(args, out),
        Command::Predict(args) => predict::run(args, out),
        Command::Reestimate(args) => reestimate::run(args, out),
        Command::Classify(args) => classify::run(args, out),
        Command::Evaluate(args) => evaluate::run(args, out),
        Command::Export(args) => export::run(args, out),
        Command::Inspect(args) => inspect::run(args, out),
        Command::Library(args) => library::run(&args, out),
        Command::Plan(args) => plan::run(&args, out),
        Command::Report(args) => report::run(args, out),
        Command::Emulate(args) => emulate::run(args, out),
        Command::Board(args) => board::run(&args),
        Command::Demo(args) => demo::run(args, out),
        Command::Data(args) => data::run(args, out),
        Command::Doctor(args) => doctor::run(&args, out),
    }
}
