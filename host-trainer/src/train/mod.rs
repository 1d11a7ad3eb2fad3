//! The training loop: what happens in which order, on any engine. It touches no file and no terminal; a [`Watcher`] is told
//! what happened, saves what it wants, and may ask to stop.
//!
//! One seed fixes everything. The order of epoch `e` is drawn from stream `e` of the seed's generator, so a run can be
//! continued from any step without storing a generator. Totals are added up in chunks of a fixed grid of steps, which the engine chooses, so that a
//! run stopped between two chunks and continued gives the same bits as one that was not.
//!
//! | file | what it holds |
//! |---|---|
//! | `recipe` | how a model is trained, as tables of values |
//! | `reestimate` | exact BatchNorm statistics |
//! | `teacher` | the checkpoint that a run learns from |
//! | `run` | a run: the loop, an engine, a directory, progress, Ctrl-C |
//! | `run_dir` | what lies in a run's directory under which name |
//! | `claim` | one process at a time writes there |
//! | `checkpoint` | a model and where its training stands, as a file |
//! | `saves` | the last two checkpoints |
//! | `metrics` | the figures of an epoch |
//! | `curves` | the curves of a run as a picture |
//! | `progress` | what the user sees of a run while it lasts |

pub mod checkpoint;
pub mod claim;
pub mod curves;
pub mod metrics;
pub mod progress;
pub mod recipe;
pub mod reestimate;
pub mod run;
pub mod run_dir;
pub mod saves;
pub mod teacher;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use crate::data::augment;
use crate::data::{Dataset, Inputs, Split};
use crate::engine::steps::Tensors;
use crate::engine::{Engine, EngineName, Task, Totals};
use crate::error::{Error, Result};
use crate::model::input;
use crate::model::lenet::is_lenet;
use crate::model::parameters::Parameters;
use crate::network::{Network, shipped};
use crate::train::checkpoint::{EpochTotals, TrainingState};
use crate::train::recipe::{Recipe, Reestimate};
use crate::train::reestimate::reestimate_model;

/// Is told how a run goes.
pub trait Watcher {
    /// After every chunk of steps, with the state that would be saved; [`ControlFlow::Break`] stops the run there.
    fn chunk(&mut self, state: &TrainingState, timing: &Timing) -> ControlFlow<()>;

    /// After every epoch. [`ControlFlow::Break`] stops the run there.
    ///
    /// # Errors
    /// What saving needs; an error ends the run.
    fn epoch(&mut self, engine: &dyn Engine, state: &TrainingState, timing: &Timing) -> Result<ControlFlow<()>>;
}

/// Time spent in training steps, evaluation left out, since the program started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Examples trained on.
    pub examples: usize,
    /// Time that took.
    pub training: Duration,
    /// Of these, the examples of the current epoch.
    pub epoch_examples: usize,
    /// And their time.
    pub epoch_training: Duration,
}

impl Timing {
    /// Training examples a second; zero before the first.
    pub fn examples_per_second(&self) -> f64 {
        rate(self.examples, self.training)
    }

    /// Training examples a second in the current epoch.
    pub fn epoch_examples_per_second(&self) -> f64 {
        rate(self.epoch_examples, self.epoch_training)
    }

    fn add(&mut self, examples: usize, time: Duration) {
        self.examples += examples;
        self.training += time;
        self.epoch_examples += examples;
        self.epoch_training += time;
    }
}

fn rate(examples: usize, time: Duration) -> f64 {
    if examples == 0 { 0.0 } else { examples as f64 / time.as_secs_f64().max(1e-9) }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All epochs are done.
    Finished,
    /// The watcher asked to stop; the state says where.
    Stopped,
}

/// A network as it trains on a data set: what it reads must be what the data is. A description that names no classes takes the data's names; a
/// shipped network takes the data's names and their number, with an output for each.
///
/// # Errors
/// [`Error::BadArgument`] with what does not fit.
pub fn of_data(network: &Arc<Network>, dataset: &Dataset) -> Result<Arc<Network>> {
    let is_shipped = is_shipped(network);
    let check = |network: Arc<Network>| {
        let both = input::check(&network, &dataset.train).and_then(|()| input::check(&network, &dataset.test));
        both.map(|()| network).map_err(|error| error.in_data(&dataset.source))
    };
    if Task::of(network) == Task::Reconstruction || (network.has_classes() && !is_shipped) {
        return check(network.clone());
    }
    let outputs = network.output().len();
    let names = match (dataset.classes.is_empty(), is_shipped) {
        (false, _) => dataset.classes.clone(),
        (true, true) => numbers(count_classes(dataset)?.unwrap_or(outputs)),
        (true, false) => numbers(outputs),
    };
    let count = names.len();
    let named = if is_shipped { network.for_classes(names) } else { network.with_classes(names) };
    let named = named.map_err(|_| Error::BadArgument {
        problem: format!("the data has {count} classes, {} has {outputs} outputs", network.name()),
        remedy: "take another --network".into(),
    })?;
    check(Arc::new(named))
}

/// The network with another eps in every BatchNorm.
///
/// # Errors
/// [`Error::BadArgument`] if it cannot be one.
pub fn with_eps(network: &Network, eps: f64) -> Result<Arc<Network>> {
    let changed = network.with_eps(eps as f32).map_err(|fault| Error::BadArgument {
        problem: format!("eps {eps}: {fault}"),
        remedy: "take one between 0 and 1".into(),
    })?;
    Ok(Arc::new(changed))
}

/// The engine that trains a network on a data set when `name` is asked for: LeNet's own engines read pixels, all others what
/// there is.
///
/// # Errors
/// [`Error::BadArgument`] if an engine was named that cannot read the data.
pub fn engine_on(name: EngineName, network: &Network, dataset: &Dataset) -> Result<EngineName> {
    if name == EngineName::Reference || !is_lenet(network) {
        return Ok(name);
    }
    let pixels = [&dataset.train, &dataset.test].into_iter().try_for_each(|split| input::check_images(&split.inputs));
    match (pixels, name) {
        (Ok(()), _) => Ok(name),
        (Err(_), EngineName::Auto) => Ok(EngineName::Reference),
        (Err(error), _) => Err(error),
    }
}

/// Whether it is one that comes with the program, whatever its eps: its classes are those of the data it is trained on.
pub fn is_shipped(network: &Network) -> bool {
    let same = |shipped: Arc<Network>| {
        let eps = network.common_eps().unwrap_or_default();
        *shipped == *network || shipped.with_eps(eps).is_ok_and(|shipped| shipped == *network)
    };
    shipped::get(network.name()).is_some_and(same)
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

/// The number of classes of data whose labels are bare numbers, which must be 0, 1, 2 and so on: one damaged label must not make a network
/// of 256 outputs. None of data without labels.
fn count_classes(dataset: &Dataset) -> Result<Option<usize>> {
    let labels = &dataset.train.labels;
    let Some(&largest) = labels.iter().chain(&dataset.test.labels).max() else { return Ok(None) };
    match (0..=largest).find(|label| !labels.contains(label)) {
        Some(none) => Err(Error::BadArgument {
            problem: format!(
                "{} has the label {largest}, and no training example has the label {none}",
                dataset.source
            ),
            remedy: "number the classes 0, 1, 2 and so on, each with training examples".into(),
        }),
        // One class is nothing to tell apart.
        None => Ok(Some((usize::from(largest) + 1).max(2))),
    }
}

/// A new run's state, before its first step.
///
/// # Errors
/// [`Error::BadArgument`] if the data set is smaller than one batch.
pub fn begin(engine: &str, dataset: &Dataset, seed: u64, recipe: Recipe) -> Result<TrainingState> {
    let state = TrainingState {
        engine: engine.into(),
        dataset: dataset.name.clone(),
        dataset_digest: digest(dataset),
        seed,
        recipe,
        epoch: 0,
        step: 0,
        partial: Totals::default(),
        history: Vec::new(),
        holdout: 0,
        rule: dataset.rule,
        reestimated: None,
        mean: None,
        teacher: None,
    };
    check_batch(dataset, &state.recipe)?;
    Ok(state)
}

/// Whether a state belongs to this data set.
///
/// # Errors
/// [`Error::BadArgument`] if the run was started on other data.
pub fn check_resumable(dataset: &Dataset, state: &TrainingState) -> Result<()> {
    if digest(dataset) != state.dataset_digest {
        let flag = if Path::new(&state.dataset).is_absolute() { "--data" } else { "--data-dir" };
        return Err(Error::BadArgument {
            problem: format!("{} is not the data that this run was started on ({})", dataset.source, state.dataset),
            remedy: format!("name the same data with {flag}, or start a new run"),
        });
    }
    check_batch(dataset, &state.recipe)
}

fn check_batch(dataset: &Dataset, recipe: &Recipe) -> Result<()> {
    if dataset.train.len() < recipe.batch_size || dataset.test.is_empty() {
        return Err(Error::BadArgument {
            problem: format!(
                "{} training and {} test examples are too few for batches of {}",
                dataset.train.len(),
                dataset.test.len(),
                recipe.batch_size
            ),
            remedy: "choose a smaller --batch-size or more data".into(),
        });
    }
    Ok(())
}

/// Steps an epoch; a last partial batch is dropped.
pub fn steps_per_epoch(split: &Split, recipe: &Recipe) -> usize {
    split.len() / recipe.batch_size
}

/// The order of the training examples in epoch `epoch`, counted from 1.
pub fn epoch_order(seed: u64, epoch: usize, examples: usize) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64); // stream 0 draws the initial weights
    let mut order: Vec<u32> = (0..examples as u32).collect();
    order.shuffle(&mut rng);
    order
}

/// Whether a whole data set is the one that a run was trained on, be it the whole or with images held out.
pub fn is_trained_on(dataset: &Dataset, state: &TrainingState) -> bool {
    state.holdout <= dataset.train.len() && held_out_digest(dataset, state.holdout) == state.dataset_digest
}

/// MD5 of both splits' pixels and labels, in hexadecimal: two data sets of one digest are one data set.
pub fn digest(dataset: &Dataset) -> String {
    held_out_digest(dataset, 0)
}

/// The digest of `dataset.hold_out(count)`.
fn held_out_digest(dataset: &Dataset, count: usize) -> String {
    let (train, test) = (&dataset.train, &dataset.test);
    let left = train.len() - count;
    let (held_out, rest) = ((train, left..train.len()), (train, 0..left));
    let test = if count == 0 { (test, 0..test.len()) } else { held_out };
    let mut md5 = md5::Context::new();
    for (split, range) in [rest, test] {
        md5.consume((range.len() as u64).to_le_bytes());
        md5.consume(split.inputs.bytes(range.clone()));
        md5.consume(split.labels.get(range).unwrap_or_default());
    }
    format!("{:x}", md5.finalize())
}

/// Trains from where `state` stands to the end of its recipe, or until the watcher stops it.
///
/// # Errors
/// [`Error::Diverged`] as soon as a loss is not finite; whatever the engine or the watcher gives.
pub fn run(
    engine: &mut dyn Engine,
    dataset: &Dataset,
    state: &mut TrainingState,
    watcher: &mut dyn Watcher,
) -> Result<End> {
    let recipe = state.recipe.clone();
    let batch_size = recipe.batch_size;
    let steps = steps_per_epoch(&dataset.train, &recipe);
    let mut timing = Timing::default();
    while state.epoch < state.recipe.epochs {
        let mut order = epoch_order(state.seed, state.epoch + 1, dataset.train.len());
        augment::draw(recipe.augmentation(), state.seed, state.epoch + 1, &mut order);
        (timing.epoch_examples, timing.epoch_training) = (0, Duration::ZERO);
        while state.step < steps {
            let until = steps.min(state.step.saturating_add(engine.steps_per_call()));
            let chunk = &order[state.step * batch_size..until * batch_size];
            let before = state.epoch * steps + state.step;
            let lrs: Vec<f64> =
                (before..before + until - state.step).map(|step| recipe.lr_at(step, recipe.epochs * steps)).collect();
            let started = Instant::now();
            let totals = engine.train_steps(&dataset.train, chunk, &recipe.steps(before, &lrs))?;
            timing.add(totals.examples, started.elapsed());
            if !totals.loss.is_finite() {
                return Err(diverged(state, state.step + totals.examples / batch_size));
            }
            state.partial += totals;
            state.step = until;
            if watcher.chunk(state, &timing).is_break() {
                return Ok(End::Stopped);
            }
        }
        state.epoch += 1;
        average(engine, state);
        if state.epoch == recipe.epochs {
            finish(engine, dataset, state)?;
        }
        let test = recipe.tests_after(state.epoch).then(|| engine.evaluate(&dataset.test)).transpose()?;
        if test.is_some_and(|test| !test.loss.is_finite()) {
            state.epoch -= 1;
            return Err(diverged(state, steps));
        }
        state.history.push(EpochTotals { train: std::mem::take(&mut state.partial), test });
        state.step = 0;
        if watcher.epoch(engine, state, &timing)?.is_break() && state.epoch < state.recipe.epochs {
            return Ok(End::Stopped);
        }
    }
    Ok(End::Finished)
}

/// Takes the weights after epoch `state.epoch` into the mean, where that is one of the last epochs that the recipe averages.
fn average(engine: &dyn Engine, state: &mut TrainingState) {
    let Recipe { epochs, average, .. } = state.recipe;
    let Some(first) = epochs.checked_sub(average).filter(|&first| average > 1 && state.epoch > first) else { return };
    let weights = engine.parameters().tensors;
    let count = (state.epoch - first) as f64;
    let mean: &mut Tensors<f64> = state.mean.get_or_insert_with(|| Box::new(weights.clone()));
    for (mean, weight) in mean.iter_mut().flatten().zip(weights.iter().flatten()) {
        // Rounded as a checkpoint rounds it, so that a resumed run gives the same bits.
        *mean = f64::from((*mean + (weight - *mean) / count) as f32);
    }
}

/// What a recipe does to the model after its last step: the mean of the weights, exact statistics.
fn finish(engine: &mut dyn Engine, dataset: &Dataset, state: &mut TrainingState) -> Result<()> {
    let mean = state.mean.take();
    if mean.is_none() && state.recipe.reestimate == Reestimate::No {
        return Ok(());
    }
    let parameters = engine.parameters();
    let before = Parameters { tensors: mean.map_or_else(|| parameters.tensors.clone(), |mean| *mean), ..parameters };
    engine.set_parameters(&before);
    let train = &dataset.train;
    state.reestimated = Some(if state.recipe.reestimate == Reestimate::Plain {
        reestimate_model(engine, &train.inputs, dataset)?
    } else {
        reestimate_model(engine, &shown(train, state), dataset)?
    });
    Ok(())
}

/// The training inputs as the last epoch showed them.
fn shown(split: &Split, state: &TrainingState) -> Inputs {
    let mut samples: Vec<u32> = (0..split.len() as u32).collect();
    augment::draw(state.recipe.augmentation(), state.seed, state.epoch, &mut samples);
    augment::shown(&split.inputs, &samples)
}

fn diverged(state: &TrainingState, step: usize) -> Error {
    Error::Diverged { epoch: state.epoch + 1, step, lr: state.recipe.lr }
}

#[cfg(test)]
mod tests;
