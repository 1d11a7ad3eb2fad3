//! A training run: the loop of [`crate::train`] with an engine, a directory, progress on stderr, and Ctrl-C.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum as _;
use serde::Serialize;

use crate::data::{Dataset, DatasetName};
use crate::engine::select::{EngineName, create};
use crate::engine::{Engine, Task, Totals};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::model::parameters::Variance;
use crate::network::Network;
use crate::train::checkpoint::{Checkpoint, Origin, Teaching, TrainingState, first_batch_norm};
use crate::train::metrics::EpochMetrics;
use crate::train::progress::Progress;
use crate::train::recipe::Recipe;
use crate::train::reestimate::Reestimated;
use crate::train::run_dir::RunDir;
use crate::train::saves::{Saved, Saves};
use crate::train::teacher::Teacher;
use crate::train::{self, End, Timing, Watcher, steps_per_epoch};

/// What a new run needs to know.
pub struct NewRun {
    /// Seed of everything random; the engine was made with it.
    pub seed: u64,
    /// The schedule.
    pub recipe: Recipe,
    /// Training images that were held out, see [`Dataset::hold_out`].
    pub holdout: usize,
    /// Its directory; `None` is [`default_directory`].
    pub out: Option<PathBuf>,
    /// Whether a run that lies there may be replaced.
    pub replace: bool,
    /// Whom the network learns from.
    pub teacher: Option<Teacher>,
}

/// What of a run that is continued may be other than it was.
#[derive(Clone, Debug, Default)]
pub struct ResumedRun {
    /// The engine; `None` is its own.
    pub engine: Option<EngineName>,
    /// How many epochs it is to have; `None` is its own number.
    pub epochs: Option<usize>,
    /// Where its teacher lies now; `None` is where it lay.
    pub teacher: Option<PathBuf>,
}

/// A run, ready to train.
pub struct Run {
    engine: Box<dyn Engine>,
    state: TrainingState,
    variance: Variance,
    saves: Saves,
}

/// Every figure of a finished run. The keys of `train --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainReport {
    /// Name of the engine.
    pub engine: String,
    /// What it ran on.
    pub device: String,
    /// Name of the data set.
    pub dataset: String,
    /// Where the data was found.
    pub data_source: String,
    /// Seed of everything random.
    pub seed: u64,
    /// How it was trained.
    pub recipe: Recipe,
    /// Training images that were held out and stand in for the test images; 0 without `--holdout`.
    pub holdout: usize,
    /// What `running_var` holds.
    pub variance: Variance,
    /// Whole epochs of the model, those before a `--resume` included.
    pub epochs: usize,
    /// Mean loss of the last epoch's training steps.
    pub train_loss: f64,
    /// Accuracy of the last epoch's training steps; null of a network without classes.
    pub train_accuracy: Option<f64>,
    /// Mean loss on the test split.
    pub test_loss: f64,
    /// Accuracy on the test split; null likewise.
    pub test_accuracy: Option<f64>,
    /// What re-estimating the statistics changed, where that was done.
    pub reestimated: Option<Reestimated>,
    /// Training examples a second of this program's training time, evaluation left out.
    pub examples_per_second: f64,
    /// Wall-clock seconds of training and evaluation, of this program.
    pub seconds: f64,
    /// Name of the network.
    pub network: String,
    /// Learned scale of the first BatchNorm layer, one a channel.
    pub gamma: Vec<f64>,
    /// Learned shift of the first BatchNorm layer, one a channel.
    pub beta: Vec<f64>,
    /// The model.
    pub checkpoint: PathBuf,
    /// The epochs' figures.
    pub metrics: PathBuf,
    /// The figure.
    pub curves: PathBuf,
}

fn taught(teaching: Option<&Teaching>) -> String {
    teaching.map_or(String::new(), |Teaching { place, temperature, weight, .. }| {
        format!(", learning from {} (temperature {temperature}, weight {weight})", place.display())
    })
}

/// Where a run goes that was given no `--out`.
pub fn default_directory(network: &Network, dataset: &Dataset, engine: &str, seed: u64, variance: Variance) -> PathBuf {
    let name = Path::new(&dataset.name);
    let folder = name.file_name().unwrap_or("data".as_ref()).to_string_lossy();
    // A folder may have the name of a data set that is built in.
    let own = name.is_absolute() && DatasetName::from_str(&folder, true).is_ok();
    let dataset = if own { format!("own-{folder}") } else { folder.into_owned() };
    let suffix = if variance == Variance::Unbiased { "-unbiased" } else { "" };
    let network =
        if network.name() == Network::lenet().name() { String::new() } else { format!("-{}", network.name()) };
    Path::new("runs").join(format!("{dataset}{network}-{engine}-seed{seed}{suffix}"))
}

impl Run {
    /// A new run; its directory is made and claimed.
    ///
    /// # Errors
    /// A directory that holds a run, that another process is training in or that cannot be written; too little data.
    pub fn new(engine: Box<dyn Engine>, request: NewRun, dataset: &Dataset) -> Result<Self> {
        let (variance, teaching) =
            (engine.parameters().variance, request.teacher.as_ref().map(|teacher| teacher.teaching().clone()));
        let engine = match request.teacher {
            Some(teacher) => teacher.teach(engine)?,
            None => engine,
        };
        let default =
            || default_directory(&engine.parameters().network, dataset, engine.name(), request.seed, variance);
        request.recipe.check_engine(engine.name())?;
        let state = train::begin(engine.name(), dataset, request.seed, request.recipe)?;
        let saves = Saves::of_new_run(&request.out.unwrap_or_else(default), request.replace)?;
        Ok(Self {
            engine,
            state: TrainingState { holdout: request.holdout, teacher: teaching, ..state },
            variance,
            saves,
        })
    }

    /// Continues a run.
    ///
    /// # Errors
    /// An imported checkpoint, other data than the run's, another teacher, an engine this build lacks, or nothing
    /// left to do.
    pub fn resume(saved: Saved, dataset: &Dataset, request: ResumedRun) -> Result<Self> {
        let ResumedRun { engine, epochs, .. } = request;
        let Saved { checkpoint, saves, .. } = saved;
        let directory = saves.directory();
        let path = directory.checkpoint();
        let Origin::Trained(mut state) = checkpoint.origin else {
            return Err(Error::bad_file(path, "it was imported, so there is no training to resume", "start a new run"));
        };
        train::check_resumable(dataset, &state)?;
        // A run that was killed between its last checkpoint and these has nothing left to train, but these to write.
        let title = title(&checkpoint.parameters.network, dataset, &state);
        let task = Task::of(&checkpoint.parameters.network);
        directory.write_figures(&title, &directory.metrics_of(&state.history, task))?;
        if epochs.is_some_and(|epochs| epochs != state.recipe.epochs) && !state.recipe.is_open_ended() {
            return Err(Error::BadArgument {
                problem: format!("recipe {} is laid out for its {} epochs", state.recipe.name, state.recipe.epochs),
                remedy: "resume it without --epochs, or start a new run with them".into(),
            });
        }
        state.recipe.epochs = epochs.unwrap_or(state.recipe.epochs);
        if state.epoch >= state.recipe.epochs {
            return Err(Error::BadArgument {
                problem: format!("{} has its {} epochs", directory.path().display(), state.epoch),
                remedy: if state.recipe.is_open_ended() {
                    format!("give more with --epochs {} or above", state.epoch + 1)
                } else {
                    "start a new run with more --epochs".into()
                },
            });
        }
        let name = match engine {
            Some(name) => name,
            None => EngineName::of_run(&state.engine)
                .ok_or_else(|| Error::bad_file(&path, "its engine is unknown", "name one with --engine"))?,
        };
        let mut engine = create(name, &checkpoint.parameters)?;
        state.recipe.check_engine(engine.name())?;
        if let Some(moments) = &checkpoint.moments {
            engine.set_moments(moments);
        } else if state.recipe.optimizer.has_moments() && state.epoch + state.step > 0 {
            return Err(Error::bad_file(path, "it lacks what the optimiser remembers", "start a new run"));
        }
        if let Some(teaching) = &mut state.teacher {
            let teacher = Teacher::reopen(teaching, request.teacher.as_deref())?;
            *teaching = teacher.teaching().clone();
            engine = teacher.teach(engine)?;
        } else if request.teacher.is_some() {
            return Err(Error::BadArgument {
                problem: "this run was started without a teacher".into(),
                remedy: "resume it without --teacher, or start a new run".into(),
            });
        }
        state.engine = engine.name().into();
        Ok(Self { engine, state: *state, variance: checkpoint.parameters.variance, saves })
    }

    /// What the network is trained for.
    fn task(&self) -> Task {
        Task::of(&self.engine.parameters().network)
    }

    /// The run's directory.
    pub fn directory(&self) -> &RunDir {
        self.saves.directory()
    }

    /// One line that says what is about to be trained, on what and how.
    pub fn describe(&self, dataset: &Dataset) -> String {
        let from = match (self.state.epoch, self.state.step) {
            (0, 0) => String::new(),
            (epoch, 0) => format!(", going on after epoch {epoch}"),
            (epoch, step) => format!(", going on in epoch {} after step {step}", epoch + 1),
        };
        // Own data is called what it is found at.
        let found = if dataset.name == dataset.source { String::new() } else { format!(" ({})", dataset.source) };
        format!(
            "training {} on {}{found} with engine {} ({}), seed {}, recipe {}: {}, {} running variance{}{}{from}",
            self.engine.parameters().network.name(),
            dataset.name,
            self.engine.name(),
            self.engine.device(self.state.recipe.batch_size),
            self.state.seed,
            self.state.recipe.name,
            self.state.recipe.describe(),
            self.variance.name(),
            taught(self.state.teacher.as_ref()),
            held_out(self.state.holdout),
        )
    }

    /// What to change where the user's own data is little; nobody needs it of data that is built in.
    pub fn hint(&self, dataset: &Dataset) -> Option<String> {
        let is_own = Path::new(&dataset.name).is_absolute();
        self.state.recipe.hint(dataset.train.len()).filter(|_| is_own)
    }

    /// Trains to the end of the recipe. The directory stays claimed as long as the run lives.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after Ctrl-C, when the run is saved; [`Error::Diverged`]; [`Error::Unsaved`]; what devices
    /// refuse.
    pub fn train(&mut self, dataset: &Dataset, quiet: bool) -> Result<TrainReport> {
        let _deferred = interrupt::Deferred::new()?;
        let started = Instant::now();
        let steps = steps_per_epoch(&dataset.train, &self.state.recipe);
        let task = self.task();
        let mut keeper = Keeper {
            progress: Progress::new(&self.state, steps, task, quiet),
            metrics: self.saves.directory().metrics_of(&self.state.history, task),
            task,
            title: title(&self.engine.parameters().network, dataset, &self.state),
            saves: &mut self.saves,
            examples_per_second: 0.0,
        };
        let end = train::run(&mut *self.engine, dataset, &mut self.state, &mut keeper);
        keeper.progress.finish();
        let examples_per_second = keeper.examples_per_second;
        match end.map_err(|error| self.unsaved(error))? {
            End::Finished => Ok(self.report(dataset, examples_per_second, started.elapsed().as_secs_f64())),
            End::Stopped => {
                let checkpoint = checkpoint(&*self.engine, &self.state, steps);
                self.saves.write(&checkpoint).map_err(|error| self.unsaved(error))?;
                Err(self.interrupted(steps))
            }
        }
    }

    /// Says of a file that could not be written what is left.
    fn unsaved(&self, error: Error) -> Error {
        if !matches!(error, Error::Io { .. }) {
            return error;
        }
        let path = self.directory().path().display();
        let remedy = if self.saves.any() {
            format!("mend that, then continue what was saved with `host-trainer train --resume {path}`")
        } else {
            "nothing was saved yet; mend that, then start again".into()
        };
        Error::Unsaved { problem: error.to_string(), remedy }
    }

    fn interrupted(&self, steps: usize) -> Error {
        let TrainingState { epoch, step, .. } = self.state;
        let at = if step == 0 {
            format!("after epoch {epoch}")
        } else {
            format!("in epoch {}, step {step} of {steps}", epoch + 1)
        };
        let path = self.directory().path().display();
        Error::Interrupted { saved: format!("saved {at}; continue with `host-trainer train --resume {path}`") }
    }

    fn report(&self, dataset: &Dataset, examples_per_second: f64, seconds: f64) -> TrainReport {
        let parameters = self.engine.parameters();
        let (gamma, beta) = first_batch_norm(&parameters);
        let last = self.state.history.last().expect("a finished run has an epoch");
        let test = last.test.expect("a run ends with the test images");
        TrainReport {
            engine: self.engine.name().into(),
            device: self.engine.device(self.state.recipe.batch_size),
            dataset: dataset.name.clone(),
            data_source: dataset.source.clone(),
            seed: self.state.seed,
            recipe: self.state.recipe.clone(),
            holdout: self.state.holdout,
            variance: self.variance,
            epochs: self.state.epoch,
            train_loss: last.train.mean_loss(),
            train_accuracy: (self.task() == Task::Classes).then(|| last.train.accuracy()),
            test_loss: test.mean_loss(),
            test_accuracy: (self.task() == Task::Classes).then(|| test.accuracy()),
            reestimated: self.state.reestimated,
            examples_per_second,
            seconds,
            network: parameters.network.name().into(),
            gamma: gamma.to_vec(),
            beta: beta.to_vec(),
            checkpoint: self.directory().checkpoint(),
            metrics: self.directory().metrics(),
            curves: self.directory().curves(),
        }
    }
}

fn held_out(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", tested on the last {count} training images, held out") }
}

/// What stands above the curves.
fn title(network: &Network, dataset: &Dataset, state: &TrainingState) -> String {
    format!("{} on {}, engine {}, seed {}", network.name(), dataset.name, state.engine, state.seed)
}

/// The model and state as they stand.
fn checkpoint(engine: &dyn Engine, state: &TrainingState, steps_per_epoch: usize) -> Checkpoint {
    let batches_tracked = (state.epoch * steps_per_epoch + state.step) as u64;
    let moments = if state.epoch < state.recipe.epochs { engine.moments() } else { None };
    Checkpoint {
        parameters: engine.parameters(),
        batches_tracked,
        origin: Origin::Trained(Box::new(state.clone())),
        moments,
    }
}

/// Keeps the directory and the terminal up to date.
struct Keeper<'a> {
    task: Task,
    progress: Progress,
    metrics: Vec<EpochMetrics>,
    title: String,
    saves: &'a mut Saves,
    examples_per_second: f64,
}

impl Watcher for Keeper<'_> {
    fn chunk(&mut self, state: &TrainingState, timing: &Timing) -> ControlFlow<()> {
        self.progress.update(state, timing);
        stop_if_requested()
    }

    fn epoch(&mut self, engine: &dyn Engine, state: &TrainingState, timing: &Timing) -> Result<ControlFlow<()>> {
        let totals = state.history.last().expect("an epoch was done");
        let Totals { examples, .. } = totals.train;
        self.examples_per_second = timing.examples_per_second();
        // An epoch that was continued has a part that this program did not time.
        let speed = (timing.epoch_examples == examples).then(|| timing.epoch_examples_per_second());
        let metrics = EpochMetrics::new(state.epoch, totals, self.task, speed);
        self.metrics.push(metrics);
        self.saves.write(&checkpoint(engine, state, examples / state.recipe.batch_size))?;
        self.saves.directory().write_figures(&self.title, &self.metrics)?;
        let finished = state.epoch == state.recipe.epochs;
        self.progress.epoch(&metrics, finished && state.reestimated.is_some());
        Ok(stop_if_requested())
    }
}

fn stop_if_requested() -> ControlFlow<()> {
    if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
