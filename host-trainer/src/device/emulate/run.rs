//! One run of one program in an emulator: starts it, waits with a limit, and decodes its log. Touches the working directory it
//! is given alone.

use std::io::Read;
use std::path::Path;
use std::process::ChildStderr;
use std::thread;
use std::time::Duration;

use super::log::{self, Level, LogLine};
use super::protocol::EXIT_OK;
use super::{node, qemu};
use crate::device::machine::Machine;
use crate::error::{Error, Result};
use crate::files;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The program.
    pub elf: &'a Path,
    /// What runs it.
    pub machine: Machine,
    /// Its arguments. Without commas, which separate QEMU's options, and without blanks, which separate arguments.
    pub arguments: &'a [&'a str],
    /// The directory in which it opens files.
    pub directory: &'a Path,
    /// After this time it is stopped.
    pub limit: Duration,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What ran it.
    pub machine: Machine,
    /// The firmware's exit code; `None` when the emulator was killed.
    pub code: Option<i32>,
    /// What it logged.
    pub log: Vec<LogLine>,
    /// The emulator's own complaints.
    pub stderr: String,
    /// What the emulator was asked, as one would type it.
    pub asked: String,
}

impl Outcome {
    /// An error unless the program ended well.
    ///
    /// # Errors
    /// [`Error::Tool`] with its last logged error, or with the emulator's complaint.
    pub fn succeeded(&self) -> Result<()> {
        if self.code == Some(EXIT_OK) {
            return Ok(());
        }
        let code = self.code.map_or("killed".to_owned(), |code| format!("exit code {code}"));
        let logged = self.log.iter().rev().find(|line| line.level == Level::Error).map(|line| line.text.as_str());
        let problem = match (logged, self.stderr.lines().last()) {
            (Some(words), _) => format!("{words} ({code})"),
            // Not the firmware's fault, it seems.
            (None, words) => format!("{} ({code}; it was asked: {})", words.unwrap_or("it said nothing"), self.asked),
        };
        Err(failed(self.machine, problem))
    }
}

/// Runs a program to its end.
///
/// # Errors
/// [`Error::Tool`] when the emulator does not start, does not end in time, or the log cannot be decoded. An exit code other than 0
/// is no error here: see [`Outcome::succeeded`].
pub fn run(run: &Run<'_>) -> Result<Outcome> {
    let (outcome, stderr) = run_reading(run, &[], read_all)?;
    Ok(Outcome { stderr: String::from_utf8_lossy(&stderr).into_owned(), ..outcome })
}

/// [`run`] with more options, and with what `read` makes of the emulator's stderr, where QEMU's own logs go, in place of that.
pub(super) fn run_reading<T: Default + Send + 'static>(
    run: &Run<'_>,
    options: &[&str],
    read: impl FnOnce(ChildStderr) -> T + Send + 'static,
) -> Result<(Outcome, T)> {
    let machine = run.machine;
    let failed = |problem| failed(machine, problem);
    let command = match machine {
        Machine::Wasm32 => node::command(machine, run.elf, run.arguments)?,
        _ => qemu::command(machine, run.elf, run.arguments),
    };
    let mut running = command.args(options).directory(run.directory).start()?;
    let stdout = running.stdout().map(|stream| thread::spawn(move || read_all(stream)));
    let stderr = running.stderr().map(|stream| thread::spawn(move || read(stream)));
    let status = running.wait_within(run.limit)?;
    let asked = running.asked().to_owned();
    drop(running);
    let stdout = stdout.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let stderr = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let log = if machine == Machine::Wasm32 {
        Vec::new()
    } else {
        let elf = files::read(run.elf, &files::ELF)?;
        log::decode(&elf, &stdout).map_err(failed)?
    };
    Ok((Outcome { machine, code: status.code(), log, stderr: String::new(), asked }, stderr))
}

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What a killed emulator did not say is missed by nobody.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

pub(super) fn failed(machine: Machine, problem: String) -> Error {
    Error::Tool { tool: format!("the firmware in {}", machine.emulator().name), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_says_what_the_firmware_logged_last() {
        let line = |level, text: &str| LogLine { level, text: text.into() };
        let of = |code, log: &[LogLine], stderr: &str| Outcome {
            machine: Machine::default(),
            code: Some(code),
            log: log.to_vec(),
            stderr: stderr.into(),
            asked: "qemu -kernel demo".into(),
        };
        let log = [line(Level::Info, "hello"), line(Level::Error, "hard fault"), line(Level::Info, "bye")];
        let text = of(102, &log, "qemu\n").succeeded().unwrap_err().to_string();
        assert!(text.ends_with("hard fault (exit code 102)"), "{text}");
        let text = of(1, &[], "no such machine\n").succeeded().unwrap_err().to_string();
        assert!(text.ends_with("no such machine (exit code 1; it was asked: qemu -kernel demo)"), "{text}");
        assert!(of(0, &[], "").succeeded().is_ok());
    }
}
