//! What the user sees on stderr while a model trains: a bar with loss, accuracies, speed and time left on a terminal, and a
//! line an epoch everywhere.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::Task;
use crate::train::Timing;
use crate::train::checkpoint::TrainingState;
use crate::train::metrics::EpochMetrics;

/// Progress of one training run.
pub struct Progress {
    bar: ProgressBar,
    epochs: usize,
    steps_per_epoch: usize,
    task: Task,
    quiet: bool,
}

impl Progress {
    /// A bar over `epochs * steps_per_epoch` steps, of which `state`'s are done. `quiet` shows nothing.
    pub fn new(state: &TrainingState, steps_per_epoch: usize, task: Task, quiet: bool) -> Self {
        let epochs = state.recipe.epochs;
        let bar = ProgressBar::new((epochs * steps_per_epoch) as u64);
        if quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = "epoch {prefix} [{bar:24.cyan/dim}] {msg}, {eta} left";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is sound").progress_chars("━╸─"));
        bar.set_prefix(format!("{}/{epochs}", state.epoch + 1));
        bar.set_message("starting");
        let progress = Self { bar, epochs, steps_per_epoch, task, quiet };
        progress.bar.set_position((state.epoch * steps_per_epoch + state.step) as u64);
        progress.bar.reset_eta();
        progress
    }

    /// After some steps.
    pub fn update(&self, state: &TrainingState, timing: &Timing) {
        let mut message = format!("loss {:.3}", state.partial.mean_loss());
        if self.task == Task::Classes {
            message += &format!(", train acc {:.3}", state.partial.accuracy());
            if let Some(test) = state.history.last().and_then(|last| last.test) {
                message += &format!(", test acc {:.3}", test.accuracy());
            }
        }
        message += &format!(", {:.0} examples/s", timing.epoch_examples_per_second());
        self.bar.set_prefix(format!("{}/{}", state.epoch + 1, self.epochs));
        self.bar.set_message(message);
        self.bar.set_position((state.epoch * self.steps_per_epoch + state.step) as u64);
    }

    /// After an epoch. `exact`: its test figures are by exact statistics, unlike those of the epochs before.
    pub fn epoch(&self, metrics: &EpochMetrics, exact: bool) {
        let width = self.epochs.to_string().len();
        let EpochMetrics { epoch, train_loss, train_accuracy, test_accuracy, test_loss, .. } = metrics;
        let test_loss = if train_accuracy.is_none() { *test_loss } else { None };
        let figures = [("train acc", *train_accuracy), ("test acc", *test_accuracy), ("test loss", test_loss)];
        let figure = |(name, value): (&str, Option<f64>)| value.map(|value| format!(", {name} {value:.3}"));
        let mut figures: String = figures.into_iter().filter_map(figure).collect();
        if exact && metrics.test_loss.is_some() {
            figures += " by exact statistics";
        }
        let speed = metrics.examples_per_second.map(|s| format!(", {s:.0} examples/s")).unwrap_or_default();
        self.notice(&format!("epoch {epoch:width$}/{}: loss {train_loss:.3}{figures}{speed}", self.epochs));
    }

    /// A line above the bar.
    pub fn notice(&self, line: &str) {
        if !self.quiet {
            // A closed stderr is no reason to stop training.
            self.bar.suspend(|| drop(writeln!(anstream::stderr(), "{line}")));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
