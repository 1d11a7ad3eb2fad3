//! Trains what a comparison lacks. A run takes one thread, and as many run at a time as there are cores: that is faster than
//! one run on all of them, and gives the same bits.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::grid::Plan;
use super::{Comparison, Run, Variant, write};
use crate::cores::cores;
use crate::data::Dataset;
use crate::engine::select::{EngineName, create_on};
use crate::engine::{Engine, Task, initial_parameters};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::model::parameters::Variance;
use crate::train::checkpoint::TrainingState;
use crate::train::metrics::EpochMetrics;
use crate::train::{self, Timing, Watcher, begin, digest};

/// What to compare, on which data, and where it goes.
pub struct Request<'a> {
    /// The variants, as they train on the data.
    pub plans: &'a [Plan],
    /// What differs between them.
    pub differ: Vec<String>,
    /// Seeds of each.
    pub seeds: Vec<u64>,
    /// The data.
    pub dataset: &'a Dataset,
    /// The directory: written after every run, so that nothing that was trained is lost.
    pub out: &'a Path,
}

/// One run that is still to be made: its variant, its place among the runs of that, and its seed.
type Todo = (usize, usize, u64);

/// Trains every variant with every seed, but for the runs that `before` has. `notice` is told of each run that ends.
///
/// # Errors
/// [`Error::Interrupted`] after Ctrl-C, when the whole runs are saved; data that does not fit a network; what devices refuse. A run
/// that diverges is no error: the comparison says so.
pub fn compare(
    request: &Request<'_>,
    before: Option<&Comparison>,
    notice: &(dyn Fn(&str) + Sync),
) -> Result<Comparison> {
    let _deferred = interrupt::Deferred::new()?;
    let plans = request.plans;
    let digest = digest(request.dataset);
    let known = before.filter(|before| before.dataset_digest == digest);
    let mut slots: Vec<Vec<Option<Run>>> = plans.iter().map(|plan| found(plan, &request.seeds, known)).collect();
    let todo: Vec<Todo> = missing(&slots, &request.seeds);
    let all = plans.len() * request.seeds.len();
    if todo.len() < all {
        notice(&format!("{} of {all} runs lie in {} already", all - todo.len(), request.out.display()));
    }
    let assemble = |slots: &[Vec<Option<Run>>]| Comparison {
        dataset: request.dataset.name.clone(),
        dataset_digest: digest.clone(),
        differ: request.differ.clone(),
        seeds: request.seeds.clone(),
        variants: plans.iter().zip(slots).map(|(plan, runs)| with_runs(plan, runs)).collect(),
    };
    let done = AtomicUsize::new(all - todo.len());
    let finished = |&(variant, place, seed): &Todo, run: Run, slots: &mut Vec<Vec<Option<Run>>>| {
        let number = done.fetch_add(1, Ordering::SeqCst) + 1;
        notice(&format!("{number}/{all} {}, seed {seed}: {}", plans[variant].label(), outcome(&run)));
        slots[variant][place] = Some(run);
        write(request.out, &assemble(slots))
    };
    share(&todo, &mut slots, |todo| train_one(&plans[todo.0], todo.2, request.dataset), finished)?;
    let comparison = assemble(&slots);
    write(request.out, &comparison)?;
    Ok(comparison)
}

/// Hands the work out to as many threads as there are cores, one piece at a time, and each result to `finished`. The first error
/// stops what has not begun.
fn share<T: Sync, R, S: Send>(
    todo: &[T],
    state: &mut S,
    work: impl Fn(&T) -> Result<R> + Sync,
    finished: impl Fn(&T, R, &mut S) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new((state, Ok(())));
    let lock = || -> MutexGuard<'_, (&mut S, Result<()>)> { outcome.lock().expect("no thread has panicked") };
    std::thread::scope(|scope| {
        for _ in 0..cores().min(todo.len()) {
            scope.spawn(|| {
                while let Some(piece) = todo.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let result = work(piece);
                    let (state, outcome) = &mut *lock();
                    let result = result.and_then(|result| finished(piece, result, state));
                    if let Err(error) = result {
                        next.store(todo.len(), Ordering::SeqCst);
                        if outcome.is_ok() {
                            *outcome = Err(error);
                        }
                    }
                }
            });
        }
    });
    let (_, result) = outcome.into_inner().expect("no thread has panicked");
    result
}

/// Whether an earlier comparison has a run that a new one on that data would not.
pub fn would_lose(before: &Comparison, plans: &[Plan], seeds: &[u64], dataset: &Dataset) -> bool {
    let wanted: Vec<Variant> = plans.iter().map(Plan::variant).collect();
    let stays = |old: &Variant| {
        let known = wanted.iter().any(|new| new.network == old.network && new.recipe == old.recipe);
        old.runs.is_empty() || known && old.runs.iter().all(|run| seeds.contains(&run.seed))
    };
    before.dataset_digest != digest(dataset) || !before.variants.iter().all(stays)
}

/// The runs of a variant that an earlier comparison has, in the order of the seeds.
fn found(plan: &Plan, seeds: &[u64], before: Option<&Comparison>) -> Vec<Option<Run>> {
    let wanted = plan.variant();
    let same = |variant: &&Variant| variant.network == wanted.network && variant.recipe == wanted.recipe;
    let variant = before.and_then(|before| before.variants.iter().find(same));
    let run = |&seed: &u64| variant.and_then(|variant| variant.runs.iter().find(|run| run.seed == seed).cloned());
    seeds.iter().map(run).collect()
}

fn missing(slots: &[Vec<Option<Run>>], seeds: &[u64]) -> Vec<Todo> {
    let of = |(variant, runs): (usize, &Vec<Option<Run>>)| {
        let places = runs.iter().enumerate().filter(|(_, run)| run.is_none());
        places.map(|(place, _)| (variant, place, seeds[place])).collect::<Vec<_>>()
    };
    slots.iter().enumerate().flat_map(of).collect()
}

fn with_runs(plan: &Plan, runs: &[Option<Run>]) -> Variant {
    let variant = Variant { runs: runs.iter().flatten().cloned().collect(), ..plan.variant() };
    Variant { last: variant.after_the_last(), ..variant }
}

/// One run, on one thread.
fn train_one(plan: &Plan, seed: u64, dataset: &Dataset) -> Result<Run> {
    let parameters = initial_parameters(&plan.network, seed, Variance::Biased);
    let name = train::engine_on(EngineName::Auto, &plan.network, dataset)?;
    let mut engine = create_on(name, &parameters, Some(1))?;
    let task = Task::of(&plan.network);
    let mut state = begin(engine.name(), dataset, seed, plan.recipe.clone())?;
    let end = train::run(&mut *engine, dataset, &mut state, &mut Quiet);
    let diverged = match end {
        Ok(train::End::Finished) => None,
        Ok(train::End::Stopped) => {
            let saved = "the runs that had ended are saved; the same command trains the others".into();
            return Err(Error::Interrupted { saved });
        }
        Err(Error::Diverged { epoch, .. }) => Some(epoch),
        Err(error) => return Err(error),
    };
    let epochs = state.history.iter().enumerate().map(|(i, totals)| EpochMetrics::new(i + 1, totals, task, None));
    Ok(Run { seed, engine: engine.name().into(), epochs: epochs.collect(), diverged })
}

fn outcome(run: &Run) -> String {
    let Some(last) = run.epochs.last().filter(|_| run.diverged.is_none()) else {
        return format!("diverged in epoch {}", run.diverged.unwrap_or(0));
    };
    match last.test_accuracy {
        Some(accuracy) => format!("loss {:.3}, test acc {accuracy:.3}", last.train_loss),
        None => format!("loss {:.3}", last.train_loss),
    }
}

/// Says nothing, and stops where Ctrl-C asks for it.
struct Quiet;

impl Watcher for Quiet {
    fn chunk(&mut self, _: &TrainingState, _: &Timing) -> ControlFlow<()> {
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch(&mut self, _: &dyn Engine, _: &TrainingState, _: &Timing) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }
}
