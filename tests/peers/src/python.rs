//! A script of this folder as a child process, one line a question and one line of JSON an answer.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

/// Anything that can go wrong here ends the run.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Process {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The running script; ends when the last handle goes.
#[derive(Clone)]
pub(crate) struct Python(Rc<RefCell<Process>>);

impl Python {
    /// Starts a script of this folder on so many threads and waits until it is ready. The interpreter is the environment's
    /// `PEERS_PYTHON`, or `python3`.
    pub(crate) fn start(script: &str, arguments: &[&OsStr], threads: usize) -> Result<Self> {
        let python = std::env::var_os("PEERS_PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).args(arguments);
        command.env("OMP_NUM_THREADS", threads.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take().ok_or("the child has no stdin")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the child has no stdout")?);
        let python = Self(Rc::new(RefCell::new(Process { child, questions, answers })));
        python.answer()?;
        Ok(python)
    }

    /// Seconds of so many images or steps.
    pub(crate) fn seconds(&self, name: &str, count: usize) -> Result<f64> {
        let answer = self.ask(&format!("time {name} {count}"))?;
        answer.as_f64().ok_or_else(|| format!("{name}: {answer} is no time").into())
    }

    /// The answer to a question.
    pub(crate) fn ask(&self, question: &str) -> Result<serde_json::Value> {
        let process = &mut *self.0.borrow_mut();
        writeln!(process.questions, "{question}")?;
        process.questions.flush()?;
        read(process)
    }

    fn answer(&self) -> Result<serde_json::Value> {
        read(&mut self.0.borrow_mut())
    }
}

/// The next line that is JSON: libraries print what they like.
fn read(process: &mut Process) -> Result<serde_json::Value> {
    loop {
        let mut line = String::new();
        if process.answers.read_line(&mut line)? == 0 {
            return Err("the script ended; its message stands above".into());
        }
        if let Ok(value) = serde_json::from_str(&line) {
            return Ok(value);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
