//! The directory of a training run: what lies in it under which name, and who may write there.
//!
//! | file | what it holds |
//! |---|---|
//! | `checkpoint.safetensors` | the model after the last epoch (or where Ctrl-C stopped it), and all that `--resume` needs |
//! | `checkpoint.previous.safetensors` | the one that was written before it, for when it is damaged |
//! | `metrics.jsonl` | one JSON object an epoch |
//! | `curves.svg` | train loss, train accuracy and test accuracy, as d2l draws them |
//! | `report.html` | everything about the run, where `report` wrote it |
//! | `weights.bin`, `firmware.elf` | the quantised model and the firmware with it, where `demo` made them |
//! | `run.lock` | the number of the process that trains there; whether it still does is the lock's to say, see [`crate::train::claim`] |

use std::path::{Path, PathBuf};

use crate::engine::Task;
use crate::error::{Error, Result};
use crate::files;
use crate::train::checkpoint::EpochTotals;
use crate::train::curves;
use crate::train::metrics::EpochMetrics;

/// Bytes of `metrics.jsonl` beyond which it is none of ours: a line has some two hundred.
const MAX_METRICS: u64 = 64 << 20;

/// A run's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// A directory for a new run; nothing is made yet.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if a run lies there already and `replace` is false; as [`Self::check_outputs`].
    pub fn new(path: &Path, replace: bool) -> Result<Self> {
        let run = Self { path: path.to_owned() };
        if run.holds_a_run() && !replace {
            return Err(Error::BadArgument {
                problem: format!("{} holds a training run already", path.display()),
                remedy: format!(
                    "continue it with --resume {}, keep it and choose another --out, or replace it with --force",
                    path.display()
                ),
            });
        }
        run.check_outputs()?;
        Ok(run)
    }

    /// Refuses a directory that could not take what `train` writes into it.
    ///
    /// # Errors
    /// As [`files::check_output`] for the first such file.
    pub fn check_outputs(&self) -> Result<()> {
        let outputs = [self.checkpoint(), self.previous_checkpoint(), self.metrics(), self.curves()];
        outputs.iter().try_for_each(|path| files::check_output(path, &[]))
    }

    /// The directory of a run that is there.
    ///
    /// # Errors
    /// [`Error::BadFile`] if there is none.
    pub fn existing(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_owned() };
        if !run.holds_a_run() {
            let problem = "there is no checkpoint.safetensors in it, so no run";
            return Err(Error::bad_file(path, problem, "name a directory that `train` wrote"));
        }
        Ok(run)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model and the state of its training.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    /// The checkpoint before that.
    pub fn previous_checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.previous.safetensors")
    }

    fn holds_a_run(&self) -> bool {
        self.checkpoint().exists() || self.previous_checkpoint().exists()
    }

    /// The epochs' figures.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The curves.
    pub fn curves(&self) -> PathBuf {
        self.path.join("curves.svg")
    }

    /// Everything about the run, where `report` wrote it.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The quantised model, where `demo` made one.
    pub fn weights(&self) -> PathBuf {
        self.path.join("weights.bin")
    }

    /// The firmware with that model, where `demo` made one.
    pub fn firmware(&self) -> PathBuf {
        self.path.join("firmware.elf")
    }

    /// Brings `metrics.jsonl` and `curves.svg` to these epochs; without one there is nothing to show.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_figures(&self, title: &str, epochs: &[EpochMetrics]) -> Result<()> {
        if epochs.is_empty() {
            files::remove(&self.metrics())?;
            return files::remove(&self.curves());
        }
        let line = |m| serde_json::to_string(m).expect("plain data is JSON") + "\n";
        files::write_if_different(&self.metrics(), epochs.iter().map(line).collect::<String>().as_bytes())?;
        files::write_if_different(&self.curves(), curves::svg(title, epochs).as_bytes())
    }

    /// The figures of the epochs in `history`: the checkpoint's, with the speeds that `metrics.jsonl` remembers.
    pub fn metrics_of(&self, history: &[EpochTotals], task: Task) -> Vec<EpochMetrics> {
        let file = files::try_read(&self.metrics(), MAX_METRICS).unwrap_or_default();
        let file = String::from_utf8_lossy(&file);
        let lines: Vec<EpochMetrics> = file.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let with_speed = |(i, totals)| {
            let metrics = EpochMetrics::new(i + 1, totals, task, None);
            let same = lines.iter().find(|l| EpochMetrics { examples_per_second: None, ..**l } == metrics);
            same.copied().unwrap_or(metrics)
        };
        history.iter().enumerate().map(with_speed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Totals;

    fn history() -> [EpochTotals; 2] {
        let totals = |loss, correct| Totals { examples: 30, loss, correct };
        [
            EpochTotals { train: totals(70.1, 10), test: Some(totals(50.3, 12)) },
            EpochTotals { train: totals(40.7, 20), test: None },
        ]
    }

    #[test]
    fn a_run_is_not_overwritten_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDir::new(directory.path(), false).unwrap();
        assert!(RunDir::existing(directory.path()).is_err());
        std::fs::write(run.checkpoint(), b"").unwrap();
        let error = RunDir::new(directory.path(), false).unwrap_err();
        assert!(error.to_string().contains("or replace it with --force"), "{error}");
        assert_eq!(RunDir::new(directory.path(), true).unwrap(), RunDir::existing(directory.path()).unwrap());
    }

    #[test]
    fn metrics_are_a_json_line_an_epoch_and_remember_speeds() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDir::new(directory.path(), false).unwrap();
        let measured: Vec<_> =
            (0..2).map(|i| EpochMetrics::new(i + 1, &history()[i], Task::Classes, Some(1234.5))).collect();
        run.write_figures("a run", &measured).unwrap();
        let text = std::fs::read_to_string(run.metrics()).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with(r#"{"epoch":1,"train_loss":2.33"#), "{text}");
        assert_eq!(run.metrics_of(&history(), Task::Classes), measured);
        assert_eq!(
            run.metrics_of(&history()[..1], Task::Classes),
            measured[..1],
            "a resumed run forgets what came after its checkpoint"
        );
        run.write_figures("a run", &[]).unwrap();
        assert!(!run.metrics().exists() && !run.curves().exists());
    }

    #[test]
    fn metrics_that_are_lost_or_another_runs_come_from_the_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDir::new(directory.path(), false).unwrap();
        let from_checkpoint: Vec<_> =
            (0..2).map(|i| EpochMetrics::new(i + 1, &history()[i], Task::Classes, None)).collect();
        assert_eq!(run.metrics_of(&history(), Task::Classes), from_checkpoint);
        std::fs::write(run.metrics(), "{\"epoch\":1}\nnot json").unwrap();
        assert_eq!(run.metrics_of(&history(), Task::Classes), from_checkpoint);
    }
}
