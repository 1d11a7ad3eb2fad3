//! The training step over all groups of a batch: phases of work that the threads share, and between two phases what has to
//! be known of the whole batch.
//!
//! Groups are fixed by the order of the examples, and everything is summed group by group in that order, or exactly: which
//! thread does what never shows.

use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bn_core::lenet::{CLASSES, CONV2_CHANNELS, CONV2_SIDE, FLAT, LINEAR1, LINEAR2, LeNet};
use pulp::Simd;

use super::dense::{BLOCK, WeightGradient};
use super::kernels::{
    BackwardConv, BackwardLinear1, BackwardLinear2, ForwardConv, ForwardLinear1, ForwardLinear2, Load, Loss, Network,
    infer,
};
use super::lanes::{Lanes, MAX_LANES, enter};
use super::moments::PATCH;
use super::state::{CLASSES_ROW, Conv, Dense, LINEAR1_ROW, LINEAR2_ROW, Rows};
use super::team::Team;
use crate::data::Split;
use crate::data::augment;
use crate::engine::distill::Soft;
use crate::engine::steps::Coefficients;
use crate::engine::{Fixed, Moments, Optimizer, Steps, Totals};
use crate::model::parameters::Variance;

/// Groups that are in memory at least: what [`Trainer::evaluate`] shares out at a time.
const MIN_GROUPS: usize = 16;

/// Examples side by side.
struct Group<V> {
    conv: Mutex<Box<Conv<V>>>,
    dense: RwLock<Box<Dense<V>>>,
}

/// What is known of the whole batch. Written between two phases, read in them.
pub(super) struct Batch {
    pub(super) network: Box<Network>,
    pub(super) gradient: Box<LeNet>,
    /// Mean and covariance of the batch's patches.
    pub(super) patches: ([f64; PATCH], [[f64; PATCH]; PATCH]),
    pub(super) totals: Totals,
    /// AdamW's, once it has taken a step.
    pub(super) moments: Option<Moments<f32>>,
    pub(super) eps: f64,
    pub(super) variance: Variance,
}

/// What makes a step of the gradients.
pub(super) struct Update<'a> {
    pub(super) optimizer: Optimizer,
    pub(super) coefficients: Coefficients,
    pub(super) label_smoothing: f32,
    pub(super) soft: Option<Soft<'a>>,
    pub(super) bn_momentum: f64,
    pub(super) bn_fixed: Fixed,
}

/// The gradients of the linear layers' weights, by blocks of rows.
pub(super) struct Blocks {
    pub(super) linear1: Vec<Mutex<[[f32; FLAT]; BLOCK]>>,
    pub(super) linear2: Vec<Mutex<[[f32; LINEAR1_ROW]; BLOCK]>>,
    pub(super) linear3: Vec<Mutex<[[f32; LINEAR2_ROW]; BLOCK]>>,
}

/// Training for one instruction set.
pub(super) struct Trainer<S: Simd> {
    pub(super) simd: S,
    threads: usize,
    groups: Vec<Group<Lanes<S>>>,
    batch: RwLock<Batch>,
    pub(super) blocks: Blocks,
}

impl<S: Simd> Trainer<S> {
    /// An engine of that network and of that many threads.
    pub(super) fn new(simd: S, threads: usize, net: LeNet, eps: f64, variance: Variance) -> Self {
        let network = Network::new(net);
        let patches = ([0.0; PATCH], [[0.0; PATCH]; PATCH]);
        let (gradient, totals) = (Box::new(LeNet::zero()), Totals::default());
        let batch = Batch { network: Box::new(network), gradient, patches, totals, moments: None, eps, variance };
        let blocks = Blocks {
            linear1: (0..LINEAR1.div_ceil(BLOCK)).map(|_| Mutex::new([[0.0; FLAT]; BLOCK])).collect(),
            linear2: (0..LINEAR2.div_ceil(BLOCK)).map(|_| Mutex::new([[0.0; LINEAR1_ROW]; BLOCK])).collect(),
            linear3: (0..CLASSES.div_ceil(BLOCK)).map(|_| Mutex::new([[0.0; LINEAR2_ROW]; BLOCK])).collect(),
        };
        Self { simd, threads, groups: Vec::new(), batch: RwLock::new(batch), blocks }
    }

    fn reserve(&mut self, examples: usize) -> Team {
        let groups = examples.div_ceil(S::F32_LANES).max(MIN_GROUPS);
        while self.groups.len() < groups {
            self.groups
                .push(Group { conv: Mutex::new(bytemuck::zeroed_box()), dense: RwLock::new(bytemuck::zeroed_box()) });
        }
        Team::new(self.threads.min(groups))
    }

    pub(super) fn batch(&self) -> RwLockReadGuard<'_, Batch> {
        self.batch.read().expect("no thread has panicked")
    }

    pub(super) fn batch_mut(&self) -> RwLockWriteGuard<'_, Batch> {
        self.batch.write().expect("no thread has panicked")
    }

    pub(super) fn conv(&self, group: usize) -> MutexGuard<'_, Box<Conv<Lanes<S>>>> {
        self.groups[group].conv.lock().expect("no thread has panicked")
    }

    pub(super) fn dense(&self, group: usize) -> RwLockReadGuard<'_, Box<Dense<Lanes<S>>>> {
        self.groups[group].dense.read().expect("no thread has panicked")
    }

    pub(super) fn dense_mut(&self, group: usize) -> RwLockWriteGuard<'_, Box<Dense<Lanes<S>>>> {
        self.groups[group].dense.write().expect("no thread has panicked")
    }

    /// Everything up to the gradients, and the step if there is one. Every member of the team calls it; false if the loss is
    /// not finite.
    fn step(&self, team: &Team, split: &Split, batch: &[u32], update: Option<&Update<'_>>) -> bool {
        let (simd, count) = (self.simd, batch.len());
        let groups = count.div_ceil(S::F32_LANES);
        // Every other phase goes the other way round, for what was last in the cache is there still.
        let reversed = |group: usize| groups - 1 - group;
        let examples = |group: usize| batch.chunks(S::F32_LANES).nth(group).expect("a group of the batch");

        team.share(groups, |group| self.load(split, examples(group), group, true));
        team.meet(|| self.meet_moments(groups, count));
        team.share(groups, |group| {
            let (shared, mut conv) = (self.batch(), self.conv(reversed(group)));
            enter(simd, ForwardConv { network: &shared.network, conv: &mut conv });
        });
        team.meet(|| self.meet_conv2(groups, count));
        team.share(groups, |group| {
            let (shared, mut conv, mut dense) = (self.batch(), self.conv(group), self.dense_mut(group));
            enter(simd, ForwardLinear1 { network: &shared.network, conv: &mut conv, dense: &mut dense });
        });
        team.meet(|| {
            let statistics = self.features(groups, count, |dense| &dense.z3);
            let Batch { network, eps, .. } = &mut *self.batch_mut();
            network.bn3.set(&network.net.bn3, *eps, |c| statistics[c]);
        });
        team.share(groups, |group| {
            let (shared, mut dense) = (self.batch(), self.dense_mut(reversed(group)));
            enter(simd, ForwardLinear2 { network: &shared.network, dense: &mut dense });
        });
        team.meet(|| {
            let statistics = self.features(groups, count, |dense| &dense.z4);
            let Batch { network, eps, .. } = &mut *self.batch_mut();
            network.bn4.set(&network.net.bn4, *eps, |c| statistics[c]);
        });
        team.share(groups, |group| {
            let (shared, mut dense) = (self.batch(), self.dense_mut(group));
            let labels = labels(split, examples(group));
            let smoothing = update.map_or(0.0, |update| update.label_smoothing);
            let first = group * S::F32_LANES;
            let soft = update.and_then(|update| update.soft);
            let soft = soft.map(|soft| soft.part(first..first + examples(group).len(), CLASSES));
            let batch = Some((count, smoothing));
            enter(simd, Loss { network: &shared.network, labels, batch, soft, dense: &mut dense });
        });
        team.meet(|| self.meet_loss(groups, count));
        if !self.batch().totals.loss.is_finite() {
            return false;
        }
        self.backward(team, groups, count, update);
        true
    }

    fn backward(&self, team: &Team, groups: usize, count: usize, update: Option<&Update<'_>>) {
        let simd = self.simd;
        team.share(groups, |group| {
            let (shared, mut dense) = (self.batch(), self.dense_mut(groups - 1 - group));
            enter(simd, BackwardLinear2 { network: &shared.network, dense: &mut dense });
        });
        team.meet(|| {
            let sums = self.gradients_of(groups, &self.batch().network.bn3, (|dense| &dense.z3, |dense| &dense.g3));
            let Batch { network, gradient, .. } = &mut *self.batch_mut();
            network.bn3.set_backward(&mut gradient.bn3, count, |c| sums[c]);
        });
        team.share(groups, |group| {
            let (shared, mut conv, mut dense) = (self.batch(), self.conv(group), self.dense_mut(group));
            enter(simd, BackwardLinear1 { network: &shared.network, conv: &mut conv, dense: &mut dense });
        });
        team.meet(|| {
            let mut sums = [(0.0, 0.0); CONV2_CHANNELS];
            for group in 0..groups {
                for (sum, other) in sums.iter_mut().zip(&self.conv(group).g2_sums) {
                    *sum = (sum.0 + other.0, sum.1 + other.1);
                }
            }
            let Batch { network, gradient, .. } = &mut *self.batch_mut();
            network.bn2.set_backward(&mut gradient.bn2, count * CONV2_SIDE * CONV2_SIDE, |c| sums[c]);
        });
        let Blocks { linear1, linear2, linear3 } = &self.blocks;
        team.share(groups + linear1.len() + linear2.len() + linear3.len(), |task| {
            if let Some(group) = (groups - 1).checked_sub(task) {
                let (shared, mut conv) = (self.batch(), self.conv(group));
                enter(simd, BackwardConv { network: &shared.network, conv: &mut conv });
            } else {
                self.linear_weights(groups, task - groups);
            }
        });
        team.meet(|| self.meet_gradients(groups, count, update));
    }

    fn load(&self, split: &Split, examples: &[u32], group: usize, moments: bool) {
        let mut images = [&[[0; 28]; 28]; MAX_LANES];
        let mut shown = [[[0; 28]; 28]; MAX_LANES];
        for ((image, shown), &sample) in images.iter_mut().zip(&mut shown).zip(examples) {
            let example = augment::example(sample);
            *image = &split.images()[example];
            if sample as usize != example {
                *shown = augment::show(image, sample);
                *image = shown;
            }
        }
        let count = examples.len();
        enter(self.simd, Load { images, count, moments, conv: &mut self.conv(group) });
    }

    /// One block of the linear layers' weight gradients.
    fn linear_weights(&self, groups: usize, task: usize) {
        let dense: Vec<_> = (0..groups).map(|group| self.dense(group)).collect();
        let Blocks { linear1, linear2, linear3 } = &self.blocks;
        if task < linear1.len() {
            let rows: Vec<_> = dense.iter().map(|d| (&d.flat_rows, &d.d_z3_rows, d.count)).collect();
            self.block(&rows, task, &linear1[task]);
        } else if task < linear1.len() + linear2.len() {
            let rows: Vec<_> = dense.iter().map(|d| (&d.s3_rows, &d.d_z4_rows, d.count)).collect();
            let task = task - linear1.len();
            self.block(&rows, task, &linear2[task]);
        } else {
            let rows: Vec<(_, &Rows<CLASSES_ROW>, _)> =
                dense.iter().map(|d| (&d.s4_rows, &d.d_logits_rows, d.count)).collect();
            let task = task - linear1.len() - linear2.len();
            self.block(&rows, task, &linear3[task]);
        }
    }

    fn block<const I: usize, const O: usize>(
        &self,
        groups: &[(&Rows<I>, &Rows<O>, usize)],
        task: usize,
        block: &Mutex<[[f32; I]; BLOCK]>,
    ) {
        let block = &mut *block.lock().expect("no thread has panicked");
        enter(self.simd, WeightGradient { groups, first: task * BLOCK, block });
    }
}

/// The classes of a group.
fn labels(split: &Split, examples: &[u32]) -> [u8; MAX_LANES] {
    let mut labels = [0; MAX_LANES];
    for (label, &example) in labels.iter_mut().zip(examples) {
        *label = split.labels[augment::example(example)];
    }
    labels
}

/// What the engine asks of a trainer, whatever its instruction set.
pub(super) trait Backend: Send {
    /// Lanes of a vector, and so examples of a group.
    fn lanes(&self) -> usize;

    /// Threads that it works with.
    fn threads(&self) -> usize;

    /// A copy of the network, its `eps` and the convention of its statistics.
    fn model(&self) -> (LeNet, f64, Variance);

    /// Replaces them.
    fn set_model(&mut self, net: LeNet, eps: f64, variance: Variance);

    /// AdamW's, once it has taken a step.
    fn moments(&self) -> Option<Moments<f32>>;

    /// Replaces them.
    fn set_moments(&mut self, moments: Moments<f32>);

    /// As [`Engine::train_steps`](crate::engine::Engine::train_steps), arguments checked.
    fn train(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Totals;

    /// As [`Engine::evaluate`](crate::engine::Engine::evaluate).
    fn evaluate(&mut self, split: &Split) -> Totals;

    /// As [`Engine::gradients`](crate::engine::Engine::gradients), arguments checked.
    fn gradients(&mut self, split: &Split, batch: &[u32]) -> (Vec<f64>, LeNet);
}

impl<S: Simd> Backend for Trainer<S> {
    fn lanes(&self) -> usize {
        S::F32_LANES
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn model(&self) -> (LeNet, f64, Variance) {
        let batch = self.batch();
        (batch.network.net.clone(), batch.eps, batch.variance)
    }

    fn set_model(&mut self, net: LeNet, eps: f64, variance: Variance) {
        let mut batch = self.batch_mut();
        (batch.network.net, batch.eps, batch.variance, batch.moments) = (net, eps, variance, None);
    }

    fn moments(&self) -> Option<Moments<f32>> {
        self.batch().moments.clone()
    }

    fn set_moments(&mut self, moments: Moments<f32>) {
        self.batch_mut().moments = Some(moments);
    }

    fn train(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Totals {
        let team = self.reserve(steps.batch_size);
        self.batch_mut().totals = Totals::default();
        team.run(|| {
            for (i, batch) in order.chunks_exact(steps.batch_size).enumerate() {
                let update = Update {
                    optimizer: steps.optimizer,
                    coefficients: steps.coefficients(i),
                    label_smoothing: steps.label_smoothing as f32,
                    soft: steps.soft(i, CLASSES),
                    bn_momentum: steps.bn_momentum,
                    bn_fixed: steps.bn_fixed,
                };
                if !self.step(&team, split, batch, Some(&update)) {
                    return;
                }
            }
        });
        self.batch().totals
    }

    fn evaluate(&mut self, split: &Split) -> Totals {
        let team = self.reserve(1);
        let waves = self.groups.len() * S::F32_LANES;
        {
            let Batch { network, totals, eps, .. } = &mut *self.batch_mut();
            *totals = Totals::default();
            network.set_moving(*eps);
        }
        let all: Vec<u32> = (0..split.len() as u32).collect();
        team.run(|| {
            for wave in all.chunks(waves) {
                let groups = wave.len().div_ceil(S::F32_LANES);
                team.share(groups, |group| {
                    let examples = wave.chunks(S::F32_LANES).nth(group).expect("a group of the wave");
                    self.load(split, examples, group, false);
                    let (shared, mut conv, mut dense) = (self.batch(), self.conv(group), self.dense_mut(group));
                    infer(self.simd, &shared.network, labels(split, examples), &mut conv, &mut dense);
                });
                team.meet(|| {
                    let mut batch = self.batch_mut();
                    for group in 0..groups {
                        let Dense { count: examples, loss, correct, .. } = **self.dense(group);
                        batch.totals += Totals { examples, loss, correct };
                    }
                });
            }
        });
        self.batch().totals
    }

    fn gradients(&mut self, split: &Split, batch: &[u32]) -> (Vec<f64>, LeNet) {
        let team = self.reserve(batch.len());
        self.batch_mut().totals = Totals::default();
        team.run(|| {
            self.step(&team, split, batch, None);
        });
        let mut logits = Vec::with_capacity(batch.len() * CLASSES);
        for group in 0..batch.len().div_ceil(S::F32_LANES) {
            let dense = self.dense(group);
            let values: &[f32] = bytemuck::cast_slice(&dense.logits);
            for lane in 0..dense.count {
                logits.extend((0..CLASSES).map(|class| f64::from(values[class * S::F32_LANES + lane])));
            }
        }
        (logits, (*self.batch().gradient).clone())
    }
}
