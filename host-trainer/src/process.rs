//! Starts every other program: cargo, emulators, installers, flashers. One way for all of them:
//!
//! - Of cargo's and the compiler's variables a program gets only those that `KEPT` lists, so that nothing of the host's flags
//!   reaches a firmware build. All else of the environment is passed on.
//! - A program ends with us, its own children included, whatever ends us. On Unix it runs in a process group of its own, and a
//!   guard, a shell that waits at a pipe from us, ends the group when the pipe closes. Elsewhere only a panic or an error ends
//!   it.
//! - It reads nothing: its standard input is empty. What it says is shown as it comes, or kept for the message when it fails,
//!   and the message says what it was asked.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read};
#[cfg(unix)]
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::notice::notice;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Beginnings of names of variables that bend what cargo, rustc, Node.js or the firmware's build script does.
const DROPPED: [&str; 5] = ["CARGO", "RUST", "NODE_", "DEFMT_", "BN_LENET_"];
/// Beginnings of those among them that are passed on: where tools and packages are, which toolchain, how many at a time.
const KEPT: [&str; 10] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_BUILD_JOBS",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "RUSTUP_",
    "NODE_EXTRA_CA_CERTS",
];

/// A program that is about to start.
#[derive(Debug)]
pub struct Command {
    command: process::Command,
}

/// What is shown of a program's words, on our standard error, as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// What it writes to its standard error; its standard output is its result.
    Errors,
    /// Both.
    Everything,
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    asked: String,
}

/// A program that runs. It is ended with this value.
#[derive(Debug)]
pub struct Running {
    child: Child,
    guard: Guard,
    asked: String,
    ended: bool,
}

impl Command {
    /// A program by its name on the PATH, or by its path.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        let mut command = process::Command::new(name);
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| !is_passed_on(&variable.to_string_lossy())) {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null());
        Self { command }
    }

    /// The cargo that started this program, or the one on the PATH.
    pub fn cargo() -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The directory that it runs in.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Starts it; the caller reads both of its outputs.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such program, [`Error::Tool`] when it cannot be started.
    pub fn start(mut self) -> Result<Running> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.spawn()
    }

    /// Runs it to its end and keeps what it says.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn finish(self, shown: Shown) -> Result<Finished> {
        let mut running = self.start()?;
        let stdout = running.stdout();
        let stdout = thread::spawn(move || lines(stdout, shown == Shown::Everything));
        let stderr = lines(running.stderr(), shown != Shown::Nothing);
        let status = running.wait()?;
        let stdout = stdout.join().unwrap_or_default();
        Ok(Finished { status, stdout, stderr, asked: std::mem::take(&mut running.asked) })
    }

    /// Runs it to its end with our standard output and error for its own.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn finish_in_the_open(self) -> Result<Finished> {
        let mut running = self.spawn()?;
        let (stdout, stderr) = (String::new(), String::new());
        Ok(Finished { status: running.wait()?, stdout, stderr, asked: std::mem::take(&mut running.asked) })
    }

    fn spawn(mut self) -> Result<Running> {
        let name = self.command.get_program().to_string_lossy().into_owned();
        let asked = asked(&self.command);
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Error::Missing {
                what: format!("{name} is not on the PATH"),
                remedy: format!("install it; it was to run: {asked}"),
            },
            _ => Error::Tool { tool: format!("`{asked}`"), problem: error.to_string() },
        };
        let guard = Guard::new().map_err(failed)?;
        guard.take(&mut self.command);
        let child = self.command.spawn().map_err(failed)?;
        Ok(Running { child, guard, asked, ended: false })
    }
}

impl Finished {
    /// An error unless the program ended well. `what` is what failed then, for people.
    ///
    /// # Errors
    /// [`Error::Tool`] with the program's own reason, and what it was asked.
    pub fn succeeded(self, what: &str) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        let said = reason(&self.stderr).or_else(|| reason(&self.stdout));
        let problem = format!(
            "{} ({}; it was asked: {})",
            said.unwrap_or_else(|| "it said nothing".into()),
            self.status,
            self.asked
        );
        Err(Error::Tool { tool: what.into(), problem })
    }
}

impl Running {
    /// What it was asked, as one would type it.
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// What it writes to its standard output; once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// What it writes to its standard error; once.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Tool`] when the system cannot say how it ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().map_err(|error| self.lost(&error.to_string()))?;
        self.ended = true;
        Ok(status)
    }

    /// Waits for its end, which must come within `limit`.
    ///
    /// # Errors
    /// [`Error::Tool`] when it does not; it is ended then.
    pub fn wait_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.ended = true;
                    return Ok(status);
                }
                Ok(None) if start.elapsed() > limit => {
                    return Err(self.lost(&format!("it did not end within {} s and was stopped", limit.as_secs_f32())));
                }
                Ok(None) => thread::sleep(POLL),
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
    }

    fn lost(&self, problem: &str) -> Error {
        Error::Tool { tool: format!("`{}`", self.asked), problem: problem.into() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // Both fail when it has ended by itself in the meantime.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.guard.leave(self.ended);
    }
}

/// Ends a group of processes when the pipe to it closes without a word, which the system does when we end: first as a
/// terminal would, for those that have something to put away, then for good.
#[cfg(unix)]
const GUARD: &str = "trap '' TERM INT HUP; read -r _ && exit; kill -TERM 0; sleep 1; kill -KILL 0";

/// What ends a program that we leave behind.
#[derive(Debug)]
struct Guard {
    #[cfg(unix)]
    shell: Child,
}

#[cfg(unix)]
impl Guard {
    fn new() -> std::io::Result<Self> {
        let mut shell = process::Command::new("/bin/sh");
        shell.args(["-c", GUARD]).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { shell: shell.spawn()? })
    }

    /// Lets a program, and all that it starts, run in the guard's group.
    fn take(&self, command: &mut process::Command) {
        command.process_group(self.shell.id() as i32);
    }

    /// Ends the guard, and unless all is well whatever is left of the group.
    fn leave(&mut self, all_is_well: bool) {
        let pipe = self.shell.stdin.take();
        if let Some(mut pipe) = pipe.filter(|_| all_is_well) {
            // It fails when somebody has ended the guard, which does no harm now.
            let _ = std::io::Write::write_all(&mut pipe, b"\n");
        }
        let _ = self.shell.wait();
    }
}

#[cfg(not(unix))]
impl Guard {
    fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    fn take(&self, _: &mut process::Command) {}

    fn leave(&mut self, _: bool) {}
}

/// Whether a program gets a variable of our environment.
fn is_passed_on(variable: &str) -> bool {
    let begins_with_one_of = |names: &[&str]| names.iter().any(|name| variable.starts_with(name));
    begins_with_one_of(&KEPT) || !begins_with_one_of(&DROPPED)
}

/// What a program is asked, as one would type it.
fn asked(command: &process::Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// All that is said on a stream, line by line.
fn lines(stream: Option<impl Read>, shown: bool) -> String {
    let mut text = String::new();
    for line in stream.into_iter().flat_map(|stream| BufReader::new(stream).split(b'\n')).map_while(|line| line.ok()) {
        let line = String::from_utf8_lossy(&line);
        if shown {
            notice(&line);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The line that says why a program failed: the first error, else the last words.
fn reason(words: &str) -> Option<String> {
    let words = anstream::adapter::strip_str(words).to_string();
    let mut said = words.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = said.clone().find(|line| line.starts_with("error"));
    error.or_else(|| said.next_back()).map(|line| line.trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests;
