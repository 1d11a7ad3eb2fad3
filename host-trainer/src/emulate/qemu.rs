//! One run of one program in QEMU: starts it, waits with a limit, and decodes its log. Touches the working directory it is
//! given alone.

use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::log::{self, Level, LogLine};
use super::protocol::EXIT_OK;
use crate::error::{Error, Result};
use crate::setup::{QEMU, TARGET};

/// How often a running emulator is looked at.
const POLL: Duration = Duration::from_millis(5);

/// QEMU's model of a board. The firmware is built for its core and memory map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// Netduino Plus 2.
    #[default]
    Netduinoplus2,
    /// Olimex STM32-H405; QEMU 8.0 and newer have it.
    #[value(name = "olimex-stm32-h405")]
    #[serde(rename = "olimex-stm32-h405")]
    OlimexStm32H405,
    /// First BBC micro:bit, nRF51822: Armv6-M (Cortex-M0; an M0+ has the same instructions).
    Microbit,
    /// Arm MPS2, Cortex-M3.
    #[value(name = "mps2-an385")]
    #[serde(rename = "mps2-an385")]
    Mps2An385,
    /// Arm MPS2, Cortex-M4.
    #[value(name = "mps2-an386")]
    #[serde(rename = "mps2-an386")]
    Mps2An386,
    /// Arm MPS2, Cortex-M7.
    #[value(name = "mps2-an500")]
    #[serde(rename = "mps2-an500")]
    Mps2An500,
    /// Arm MPS2, Cortex-M33.
    #[value(name = "mps2-an505")]
    #[serde(rename = "mps2-an505")]
    Mps2An505,
}

impl Machine {
    /// The compiler's name for its core.
    pub fn target(self) -> &'static str {
        match self {
            Machine::Netduinoplus2 | Machine::OlimexStm32H405 | Machine::Mps2An386 | Machine::Mps2An500 => TARGET,
            Machine::Microbit => "thumbv6m-none-eabi",
            Machine::Mps2An385 => "thumbv7m-none-eabi",
            Machine::Mps2An505 => "thumbv8m.main-none-eabihf",
        }
    }

    /// The firmware's cargo feature for it.
    pub fn board(self) -> &'static str {
        match self {
            Machine::Netduinoplus2 | Machine::OlimexStm32H405 => "stm32f405",
            Machine::Microbit => "microbit",
            Machine::Mps2An385 | Machine::Mps2An386 | Machine::Mps2An500 => "mps2",
            Machine::Mps2An505 => "mps2-secure",
        }
    }

    /// Whether the model of a Cortex-M4's cycles is its own.
    pub(super) fn is_cortex_m4(self) -> bool {
        matches!(self, Machine::Netduinoplus2 | Machine::OlimexStm32H405 | Machine::Mps2An386)
    }

    /// Whether its core has a floating-point unit.
    pub fn has_float_unit(self) -> bool {
        self.target().ends_with("eabihf")
    }

    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Machine::Netduinoplus2 => "netduinoplus2",
            Machine::OlimexStm32H405 => "olimex-stm32-h405",
            Machine::Microbit => "microbit",
            Machine::Mps2An385 => "mps2-an385",
            Machine::Mps2An386 => "mps2-an386",
            Machine::Mps2An500 => "mps2-an500",
            Machine::Mps2An505 => "mps2-an505",
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The program.
    pub elf: &'a Path,
    /// The board.
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
    /// The firmware's exit code; `None` when QEMU was killed.
    pub code: Option<i32>,
    /// What it logged.
    pub log: Vec<LogLine>,
    /// QEMU's own complaints.
    pub stderr: String,
}

impl Outcome {
    /// An error unless the program ended well.
    ///
    /// # Errors
    /// [`Error::Tool`] with its last logged error, or with QEMU's complaint.
    pub fn succeeded(&self) -> Result<()> {
        if self.code == Some(EXIT_OK) {
            return Ok(());
        }
        let code = self.code.map_or("killed".to_owned(), |code| format!("exit code {code}"));
        let logged = self.log.iter().rev().find(|line| line.level == Level::Error).map(|line| line.text.as_str());
        let words = logged.or_else(|| self.stderr.lines().last()).unwrap_or("it said nothing");
        Err(failed(format!("{words} ({code})")))
    }
}

/// Checks that this QEMU knows the machine: they come and go with its versions.
///
/// # Errors
/// [`Error::Missing`] when it does not, [`Error::Tool`] when QEMU does not answer.
pub(super) fn ensure_machine(machine: Machine) -> Result<()> {
    let help = Command::new(QEMU).args(["-machine", "help"]).stdin(Stdio::null()).output();
    let help = help.map_err(|error| failed(error.to_string()))?;
    let known = String::from_utf8_lossy(&help.stdout).lines().any(|l| l.split(' ').next() == Some(machine.name()));
    if known {
        return Ok(());
    }
    Err(Error::Missing {
        what: format!("this {QEMU} has no machine {machine}"),
        remedy: match machine {
            Machine::OlimexStm32H405 => {
                format!("use --machine {} (the same chip), or QEMU 8.0 or newer", Machine::Netduinoplus2)
            }
            _ => "install QEMU 6.0 or newer".into(),
        },
    })
}

/// Runs a program to its end.
///
/// # Errors
/// [`Error::Tool`] when QEMU does not start, does not end in time, or the log cannot be decoded. An exit code other than 0
/// is no error here: see [`Outcome::succeeded`].
pub fn run(run: &Run<'_>) -> Result<Outcome> {
    let (outcome, stderr) = run_reading(run, &[], read_all)?;
    Ok(Outcome { stderr: String::from_utf8_lossy(&stderr).into_owned(), ..outcome })
}

/// [`run`] with more options, and with what `read` makes of QEMU's stderr, where its own logs go, in place of that.
pub(super) fn run_reading<T: Default + Send + 'static>(
    run: &Run<'_>,
    options: &[&str],
    read: impl FnOnce(ChildStderr) -> T + Send + 'static,
) -> Result<(Outcome, T)> {
    let mut child = Guard(command(run).args(options).spawn().map_err(|error| failed(error.to_string()))?);
    let stdout = child.0.stdout.take().map(|stream| thread::spawn(move || read_all(stream)));
    let stderr = child.0.stderr.take().map(|stream| thread::spawn(move || read(stream)));
    let status = wait(&mut child.0, run.limit)?;
    drop(child);
    let stdout = stdout.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let stderr = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let elf = std::fs::read(run.elf).map_err(Error::io("read", run.elf))?;
    let log = log::decode(&elf, &stdout).map_err(failed)?;
    Ok((Outcome { code: status.code(), log, stderr: String::new() }, stderr))
}

/// `-icount` makes the emulated clock follow the executed instructions, 64 ns each: that is what the firmware counts.
fn command(run: &Run<'_>) -> Command {
    let name = run.elf.file_name().unwrap_or_default().to_string_lossy();
    let mut semihosting = format!("enable=on,target=native,arg={name}");
    for argument in run.arguments {
        semihosting.push_str(",arg=");
        semihosting.push_str(argument);
    }
    let mut command = Command::new(QEMU);
    command.args(["-machine", run.machine.name(), "-icount", "shift=6", "-semihosting-config", &semihosting]);
    command.args(["-display", "none", "-monitor", "none", "-serial", "none", "-parallel", "none"]);
    command.arg("-kernel").arg(run.elf).current_dir(run.directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Stops the emulator when something else fails.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is the normal case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if start.elapsed() > limit => {
                return Err(failed(format!("it did not end within {} s and was stopped", limit.as_secs_f32())));
            }
            Ok(None) => thread::sleep(POLL),
            Err(error) => return Err(failed(error.to_string())),
        }
    }
}

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What a killed emulator did not say is missed by nobody.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

pub(super) fn failed(problem: String) -> Error {
    Error::Tool { tool: format!("the firmware in {QEMU}"), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_qemus() {
        use clap::ValueEnum as _;
        for machine in Machine::value_variants() {
            assert_eq!(machine.to_possible_value().unwrap().get_name(), machine.name());
            assert_eq!(serde_json::to_value(machine).unwrap(), machine.name());
        }
    }

    #[test]
    fn a_failed_run_says_what_the_firmware_logged_last() {
        let line = |level, text: &str| LogLine { level, text: text.into() };
        let log = vec![line(Level::Info, "hello"), line(Level::Error, "hard fault"), line(Level::Info, "bye")];
        let outcome = Outcome { code: Some(102), log, stderr: "qemu\n".into() };
        let text = outcome.succeeded().unwrap_err().to_string();
        assert!(text.contains("hard fault (exit code 102)"), "{text}");
        let outcome = Outcome { code: Some(1), log: Vec::new(), stderr: "no such machine\n".into() };
        let text = outcome.succeeded().unwrap_err().to_string();
        assert!(text.contains("no such machine (exit code 1)"), "{text}");
        assert!(Outcome { code: Some(0), log: Vec::new(), stderr: String::new() }.succeeded().is_ok());
    }
}
