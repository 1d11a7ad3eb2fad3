//! `peers.py` as a child process, one line a question and one line of JSON an answer.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use bn_core::Image;

use crate::{Peer, Result};

struct Process {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The running script; ends when the last handle goes.
#[derive(Clone)]
pub(crate) struct Python(Rc<RefCell<Process>>);

impl Python {
    /// Starts `peers.py MODE DIR`, on so many threads, and waits until it is ready. The interpreter is the environment's
    /// `PEERS_PYTHON`, or `python3`.
    pub(crate) fn start(mode: &str, dir: &Path, threads: usize) -> Result<Self> {
        let python = std::env::var_os("PEERS_PYTHON").unwrap_or_else(|| "python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.py");
        let mut command = Command::new(python);
        command.arg(script).arg(mode).arg(dir).env("OMP_NUM_THREADS", threads.to_string());
        if mode == "train" {
            command.arg(threads.to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take().ok_or("the child has no stdin")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the child has no stdout")?);
        let python = Self(Rc::new(RefCell::new(Process { child, questions, answers })));
        python.answer()?;
        Ok(python)
    }

    /// One of the script's models.
    pub(crate) fn peer(&self, name: &'static str) -> PythonPeer {
        PythonPeer { python: self.clone(), name }
    }

    /// Seconds of so many images or steps.
    pub(crate) fn seconds(&self, name: &str, count: usize) -> Result<f64> {
        let answer = self.ask(&format!("time {name} {count}"))?;
        answer.as_f64().ok_or_else(|| format!("{name}: {answer} is no time").into())
    }

    fn ask(&self, question: &str) -> Result<serde_json::Value> {
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
            return Err("peers.py ended; its message stands above".into());
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

/// A model of the script.
pub(crate) struct PythonPeer {
    python: Python,
    name: &'static str,
}

impl Peer for PythonPeer {
    fn name(&self) -> String {
        self.name.into()
    }

    fn logits(&mut self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        let answer = self.python.ask(&format!("logits {} {}", self.name, images.len()))?;
        Ok(serde_json::from_value(answer)?)
    }

    fn seconds(&mut self, images: &[Image]) -> Result<f64> {
        self.python.seconds(self.name, images.len())
    }
}
