//! The training step over all groups of a batch: each unit is a phase of work that the threads share, and between two phases
//! stands what has to be known of the whole batch.
//!
//! Groups are fixed by the order of the examples, and everything is summed group by group in that order: which thread does
//! what never shows.

use std::ops::Range;
use std::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use pulp::Simd;

use super::super::lanes::{Kernel, Lanes, enter};
use super::super::team::Team;
use super::plan::{Unit, Work, plan};
use super::state::{BLOCK, BUNCH, Parameter, Stage, parameters};
use crate::data::Split;
use crate::engine::distill::Soft;
use crate::engine::steps::Coefficients;
use crate::engine::{Fixed, Optimizer, Steps, Task, Totals};
use crate::model::parameters::{Parameters, Variance};
use crate::network::Network;

/// Groups that are in memory at least: what [`Trainer::infer_all`] shares out at a time.
const MIN_GROUPS: usize = 8;

/// What makes a step of the gradients.
pub(super) struct Update<'a> {
    pub(super) optimizer: Optimizer,
    pub(super) coefficients: Coefficients,
    pub(super) lesson: Lesson<'a>,
    pub(super) bn_momentum: f64,
    pub(super) bn_fixed: Fixed,
}

/// What a batch is to learn.
#[derive(Clone, Copy, Default)]
pub(super) struct Lesson<'a> {
    pub(super) label_smoothing: f64,
    /// What a teacher says of the batch.
    pub(super) soft: Option<Soft<'a>>,
}

/// What a thread works in.
#[derive(Default)]
pub(super) struct Scratch<V> {
    /// Copies of sources.
    pub(super) copy: Vec<V>,
    /// Gradients, or results on their way.
    pub(super) d: Vec<V>,
}

/// Loss and hits of a group, and its outputs, one row an example.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) totals: Totals,
    pub(super) outputs: Vec<f32>,
}

/// Training for one instruction set.
pub(super) struct Trainer<S: Simd> {
    pub(super) simd: S,
    pub(super) threads: usize,
    pub(super) network: std::sync::Arc<Network>,
    pub(super) task: Task,
    pub(super) stages: Vec<Stage<Lanes<S>>>,
    pub(super) parameters: Vec<RwLock<Parameter>>,
    pub(super) outcomes: Vec<Mutex<Outcome>>,
    pub(super) totals: Mutex<Totals>,
    pub(super) variance: Variance,
    pub(super) has_moments: bool,
}

/// A piece of work, to be done in code compiled for the instruction set.
#[derive(Clone, Copy)]
enum Piece<'a> {
    /// A unit of a group, forward; `true` for what training needs.
    Forward(usize, usize, bool),
    /// A unit of a group, or of a bunch or block of a linear layer, backward.
    Backward(usize, usize),
    /// Loss and hits of a group; gradients too, where there is a lesson.
    Loss(usize, Option<Lesson<'a>>),
}

struct Do<'a, S: Simd> {
    trainer: &'a Trainer<S>,
    piece: Piece<'a>,
    split: &'a Split,
    samples: &'a [u32],
    scratch: &'a mut Scratch<Lanes<S>>,
}

impl<S: Simd> Kernel<S> for Do<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self { trainer, piece, split, samples, scratch } = self;
        let count = samples.len();
        match piece {
            Piece::Forward(unit, group, trains) => match trainer.stages[unit].unit.work {
                Work::Input => trainer.load(simd, split, samples, group, trains),
                Work::Linear => trainer.forward_linear(simd, unit, group, count, scratch, trains),
                _ => trainer.forward(simd, unit, group, trainer.lanes_of(group, count), scratch, trains),
            },
            Piece::Backward(unit, task) => match trainer.stages[unit].unit.work {
                Work::Linear => {
                    let bunches = trainer.groups_of(count).div_ceil(BUNCH);
                    match task.checked_sub(bunches) {
                        None => trainer.backward_linear(simd, unit, task, count, scratch),
                        Some(block) => trainer.linear_weights(simd, unit, block, count, scratch),
                    }
                }
                _ => trainer.backward(simd, unit, task, trainer.lanes_of(task, count), scratch),
            },
            Piece::Loss(group, lesson) => trainer.loss(simd, split, samples, group, lesson),
        }
    }
}

impl<S: Simd> Trainer<S> {
    pub(super) fn new(simd: S, threads: usize, parameters_of: &Parameters) -> Self {
        let network = parameters_of.network.clone();
        let units = plan(&network);
        let shapes: Vec<_> = units.iter().map(|unit| unit.shape).collect();
        let stage = |unit: Unit| {
            let input = unit.reads.first().map(|read| shapes[read.unit]);
            Stage::new(unit, input)
        };
        let trainer = Self {
            simd,
            threads,
            task: Task::of(&network),
            stages: units.into_iter().map(stage).collect(),
            parameters: parameters(&network),
            outcomes: Vec::new(),
            totals: Mutex::default(),
            variance: parameters_of.variance,
            has_moments: false,
            network,
        };
        trainer.set_values(parameters_of);
        trainer
    }

    fn reserve(&mut self, groups: usize, trains: bool) -> Team {
        self.stages.iter_mut().for_each(|stage| stage.reserve(groups, trains));
        self.outcomes.resize_with(groups.max(self.outcomes.len()), Mutex::default);
        *self.totals.get_mut().expect("no thread has panicked") = Totals::default();
        Team::new(self.threads.min(groups))
    }

    pub(super) fn parameter(&self, at: usize) -> RwLockReadGuard<'_, Parameter> {
        self.parameters[at].read().expect("no thread has panicked")
    }

    pub(super) fn parameter_mut(&self, at: usize) -> RwLockWriteGuard<'_, Parameter> {
        self.parameters[at].write().expect("no thread has panicked")
    }

    pub(super) fn bias(&self, unit: &Unit) -> Option<RwLockReadGuard<'_, Parameter>> {
        unit.parameter.filter(|_| unit.bias).map(|at| self.parameter(at + 1))
    }

    pub(super) fn groups_of(&self, count: usize) -> usize {
        count.div_ceil(S::F32_LANES)
    }

    /// Examples of a group.
    pub(super) fn lanes_of(&self, group: usize, count: usize) -> usize {
        (count - group * S::F32_LANES).min(S::F32_LANES)
    }

    /// Groups of a bunch.
    pub(super) fn bunch(&self, bunch: usize, count: usize) -> Range<usize> {
        bunch * BUNCH..(bunch * BUNCH + BUNCH).min(self.groups_of(count))
    }

    fn tasks(&self, unit: usize, groups: usize) -> usize {
        if self.stages[unit].unit.work == Work::Linear { groups.div_ceil(BUNCH) } else { groups }
    }

    /// Everything up to the gradients, and the step if there is one. Every member of the team calls it; false if the loss is
    /// not finite.
    fn step(
        &self,
        team: &Team,
        split: &Split,
        samples: &[u32],
        update: Option<&Update<'_>>,
        scratch: &mut Scratch<Lanes<S>>,
    ) -> bool {
        let (count, groups) = (samples.len(), self.groups_of(samples.len()));
        let mut work = |piece| enter(self.simd, Do { trainer: self, piece, split, samples, scratch });
        for unit in 0..self.stages.len() {
            // Every other phase goes the other way round, for what was last in the cache is there still.
            let tasks = self.tasks(unit, groups);
            let ordered = |task| if unit % 2 == 0 { task } else { tasks - 1 - task };
            team.share(tasks, |task| work(Piece::Forward(unit, ordered(task), true)));
            team.meet(|| self.meet_moments(unit, count));
        }
        let lesson = update.map_or(Lesson::default(), |update| update.lesson);
        team.share(groups, |group| work(Piece::Loss(group, Some(lesson))));
        team.meet(|| {
            self.meet_loss(count);
            self.meet_gradients(self.stages.len() - 1, count);
        });
        if !self.totals().loss.is_finite() {
            return false;
        }
        let last = self.stages.len() - 1;
        for unit in (0..=last).rev().filter(|&unit| self.stages[unit].unit.wants_gradient && unit > 0) {
            let tasks = match self.stages[unit].unit.work {
                Work::Linear => groups.div_ceil(BUNCH) + self.stages[unit].unit.shape.channels.div_ceil(BLOCK),
                _ => groups,
            };
            let ordered = |task| if unit % 2 == 0 { task } else { tasks - 1 - task };
            team.share(tasks, |task| work(Piece::Backward(unit, ordered(task))));
            team.meet(|| {
                for read in self.stages[unit].unit.reads.iter().filter(|read| read.last) {
                    self.meet_gradients(read.unit, count);
                }
            });
        }
        team.share(self.stages.len(), |unit| self.finish(unit, groups, count, update));
        team.meet(|| ());
        true
    }

    pub(super) fn totals(&self) -> Totals {
        *self.totals.lock().expect("no thread has panicked")
    }

    pub(super) fn train_on(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Totals {
        let team = self.reserve(self.groups_of(steps.batch_size), true);
        let outputs = self.network.output().len();
        self.has_moments |= steps.optimizer.has_moments() && !steps.lrs.is_empty();
        team.run(|| {
            let mut scratch = Scratch { copy: Vec::new(), d: Vec::new() };
            for (i, batch) in order.chunks_exact(steps.batch_size).enumerate() {
                let update = Update {
                    optimizer: steps.optimizer,
                    coefficients: steps.coefficients(i),
                    lesson: Lesson { label_smoothing: steps.label_smoothing, soft: steps.soft(i, outputs) },
                    bn_momentum: steps.bn_momentum,
                    bn_fixed: steps.bn_fixed,
                };
                if !self.step(&team, split, batch, Some(&update), &mut scratch) {
                    return;
                }
            }
        });
        self.totals()
    }

    pub(super) fn gradients_of(&mut self, split: &Split, batch: &[u32]) -> Vec<f64> {
        let groups = self.groups_of(batch.len());
        let team = self.reserve(groups, true);
        team.run(|| {
            let mut scratch = Scratch { copy: Vec::new(), d: Vec::new() };
            self.step(&team, split, batch, None, &mut scratch);
        });
        let outcomes =
            self.outcomes[..groups].iter_mut().map(|outcome| outcome.get_mut().expect("no thread has panicked"));
        outcomes.flat_map(|outcome| outcome.outputs.iter().map(|&value| f64::from(value))).collect()
    }

    /// Loss and hits of some samples in inference mode, and their outputs.
    pub(super) fn infer_all(&mut self, split: &Split, all: &[u32]) -> (Totals, Vec<f32>) {
        let groups = self.groups_of(all.len()).min(MIN_GROUPS.max(2 * self.threads)).next_multiple_of(BUNCH);
        let team = self.reserve(groups, false);
        self.set_moving();
        let outputs = Mutex::new(Vec::new());
        team.run(|| {
            let mut scratch = Scratch { copy: Vec::new(), d: Vec::new() };
            for samples in all.chunks(groups * S::F32_LANES) {
                let mut work =
                    |piece| enter(self.simd, Do { trainer: self, piece, split, samples, scratch: &mut scratch });
                let count = self.groups_of(samples.len());
                // A bunch goes through the whole network at once.
                team.share(count.div_ceil(BUNCH), |bunch| {
                    let groups = self.bunch(bunch, samples.len());
                    for unit in 0..self.stages.len() {
                        match self.stages[unit].unit.work {
                            Work::Linear => work(Piece::Forward(unit, bunch, false)),
                            _ => groups.clone().for_each(|group| work(Piece::Forward(unit, group, false))),
                        }
                    }
                    groups.for_each(|group| work(Piece::Loss(group, None)));
                });
                team.meet(|| {
                    self.meet_loss(samples.len());
                    let mut outputs = outputs.lock().expect("no thread has panicked");
                    for outcome in &self.outcomes[..count] {
                        outputs.extend_from_slice(&outcome.lock().expect("no thread has panicked").outputs);
                    }
                });
            }
        });
        (self.totals(), outputs.into_inner().expect("no thread has panicked"))
    }
}
