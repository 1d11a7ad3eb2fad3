//! The groups of a batch shared among threads, and a step of Adam.
//!
//! Groups belong to bunches, fixed by the order of the examples. A bunch has a gradient of its own, and these are summed in order:
//! which thread does what never shows.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bn_core::quant::SIGMOID_LEN;
use pulp::Simd;

use super::super::super::lanes::{Kernel, Lanes, enter};
use super::layer::{Layer, Learned};
use super::program::{Program, Step, Work};
use super::tensors::Tensors;
use super::walk::Walk;
use super::{Aim, Backend, Codes, Lesson};
use crate::engine::steps::{ADAM_EPS, BETA1, BETA2, Coefficients};

/// Groups of a bunch.
const BUNCH: usize = 2;
/// Entries of a table on both sides of one that its slope is taken over: so many that the rounding of entries counts for little.
const REACH: usize = 16;

/// Training for one instruction set.
pub(super) struct Trainer<S: Simd> {
    simd: S,
    program: Program,
    layers: Vec<Option<Layer>>,
    slopes: Vec<Option<Vec<f32>>>,
    learned: Learned,
    /// What Adam remembers: means of gradients and of their squares.
    moments: [Vec<f32>; 2],
    /// One a thread.
    tensors: Vec<Mutex<Tensors<Lanes<S>>>>,
    /// One a bunch.
    gradients: Vec<Mutex<Vec<f32>>>,
}

/// How fast a table's codes rise with the index.
fn slopes(table: &[u8]) -> Vec<f32> {
    let of = |i: usize| {
        let (low, high) = (i.saturating_sub(REACH), (i + REACH).min(SIGMOID_LEN - 1));
        (f32::from(table[high]) - f32::from(table[low])) / (high - low) as f32
    };
    (0..SIGMOID_LEN).map(of).collect()
}

impl<S: Simd> Trainer<S> {
    /// As [`super::IntegerTrainer::new`].
    pub(super) fn new(simd: S, program: Program, threads: usize) -> Self {
        let mut learned = Learned::default();
        let layer = |step: &Step| match &step.work {
            Work::Sums(sums) => Some(Layer::new(sums, step.shape, &mut learned)),
            _ => None,
        };
        let layers = program.steps.iter().map(layer).collect();
        let moments = [(); 2].map(|()| vec![0.0; learned.values.len()]);
        let slopes = program.steps.iter().map(|step| step.table.as_deref().map(slopes)).collect();
        let tensors = (0..threads.max(1)).map(|_| Mutex::new(Tensors::new(&program, S::F32_LANES))).collect();
        Self { simd, program, layers, slopes, learned, moments, tensors, gradients: Vec::new() }
    }

    fn walk(&self) -> Walk<'_> {
        Walk { program: &self.program, layers: &self.layers, slopes: &self.slopes }
    }

    /// Does some pieces of work, each thread in tensors of its own.
    fn share(&self, pieces: usize, work: impl Fn(usize, &mut Tensors<Lanes<S>>) + Sync) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for tensors in self.tensors.iter().take(pieces) {
                let (next, work) = (&next, &work);
                scope.spawn(move || {
                    let mut tensors = tensors.lock().expect("no thread has panicked");
                    loop {
                        let piece = next.fetch_add(1, Ordering::Relaxed);
                        if piece >= pieces {
                            break;
                        }
                        work(piece, &mut tensors);
                    }
                });
            }
        });
    }

    /// Runs a group forward, lanes without an example on codes of 0.
    fn forward(&self, codes: &Codes<'_>, examples: &[u32], tensors: &mut Tensors<Lanes<S>>) {
        let lanes: &mut [f32] = bytemuck::cast_slice_mut(&mut tensors.codes[0]);
        lanes.fill(0.0);
        for (lane, &example) in examples.iter().enumerate() {
            let to = lanes[lane..].iter_mut().step_by(S::F32_LANES);
            to.zip(&*codes(example as usize)).for_each(|(to, &code)| *to = code.into());
        }
        enter(self.simd, Forward { walk: &self.walk(), tensors });
    }

    /// The gradient of the loss by the output's integers.
    fn aim(&self, lesson: &Lesson<'_, '_>, examples: &[u32], tensors: &mut Tensors<Lanes<S>>) {
        let (outputs, lanes, (scale, zero)) = (self.program.outputs(), S::F32_LANES, lesson.output);
        let d: &mut [f32] = bytemuck::cast_slice_mut(tensors.d.last_mut().expect("there is an output"));
        for (lane, &example) in examples.iter().enumerate() {
            let given = tensors.words[lane..].iter().step_by(lanes);
            let mut given: Vec<f32> = given.map(|&word| word.wrapping_sub(zero) as f32 * scale).collect();
            if lesson.aim == Aim::Probabilities {
                softmax(&mut given);
            }
            let wanted = &lesson.wanted[example as usize * outputs..][..outputs];
            for (at, (given, wanted)) in given.iter().zip(wanted).enumerate() {
                d[at * lanes + lane] = (given - wanted) * scale;
            }
        }
    }
}

impl<S: Simd> Backend for Trainer<S> {
    fn program(&self) -> Option<Program> {
        let mut program = self.program.clone();
        for (step, layer) in program.steps.iter_mut().zip(&self.layers) {
            if let (Work::Sums(sums), Some(layer)) = (&mut step.work, layer) {
                sums.rows = layer.rows(&sums.rows, &self.learned.values)?;
            }
        }
        Some(program)
    }

    fn outputs(&mut self, codes: &Codes<'_>, examples: &[u32]) -> Vec<i32> {
        let (outputs, lanes) = (self.program.outputs(), S::F32_LANES);
        let groups: Vec<_> = examples.chunks(lanes).collect();
        let found: Vec<Mutex<Vec<i32>>> = groups.iter().map(|_| Mutex::default()).collect();
        self.share(groups.len(), |group, tensors| {
            self.forward(codes, groups[group], tensors);
            let value = |at: usize| tensors.words[at % outputs * lanes + at / outputs];
            *found[group].lock().expect("no thread has panicked") =
                (0..groups[group].len() * outputs).map(value).collect();
        });
        found.into_iter().flat_map(|found| found.into_inner().expect("no thread has panicked")).collect()
    }

    fn gradient(&mut self, lesson: &Lesson<'_, '_>) -> Vec<f32> {
        let bunches: Vec<_> = lesson.examples.chunks(BUNCH * S::F32_LANES).collect();
        self.gradients.resize_with(bunches.len().max(self.gradients.len()), Mutex::default);
        let this = &*self;
        this.share(bunches.len(), |bunch, tensors| {
            let mut gradient = this.gradients[bunch].lock().expect("no thread has panicked");
            gradient.clear();
            gradient.resize(this.learned.values.len(), 0.0);
            for examples in bunches[bunch].chunks(S::F32_LANES) {
                this.forward(lesson.codes, examples, tensors);
                this.aim(lesson, examples, tensors);
                enter(this.simd, Backward { walk: &this.walk(), tensors, gradient: &mut gradient });
            }
        });
        let mut sum = vec![0.0; self.learned.values.len()];
        for gradient in &mut self.gradients[..bunches.len()] {
            let gradient = gradient.get_mut().expect("no thread has panicked");
            sum.iter_mut().zip(gradient).for_each(|(sum, part)| *sum += *part);
        }
        sum
    }

    fn advance(&mut self, gradient: &[f32], with: &Coefficients) {
        let [beta1, beta2, eps] = [BETA1, BETA2, ADAM_EPS].map(|v| v as f32);
        let (rate, root) = (with.rate as f32, with.root as f32);
        let [first, second] = &mut self.moments;
        let Learned { values, moves, most } = &mut self.learned;
        for (at, &gradient) in gradient.iter().enumerate().filter(|(at, _)| moves[*at]) {
            first[at] = beta1 * first[at] + (1.0 - beta1) * gradient;
            second[at] = beta2 * second[at] + (1.0 - beta2) * gradient * gradient;
            let moved = values[at] - rate * first[at] / (root * second[at].sqrt() + eps);
            values[at] = moved.clamp(-most[at], most[at]);
        }
        self.layers.iter_mut().flatten().for_each(|layer| layer.pack(values));
    }
}

struct Forward<'a, 'b, V> {
    walk: &'a Walk<'b>,
    tensors: &'a mut Tensors<V>,
}

impl<S: Simd> Kernel<S> for Forward<'_, '_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        self.walk.forward(simd, self.tensors);
    }
}

struct Backward<'a, 'b, V> {
    walk: &'a Walk<'b>,
    tensors: &'a mut Tensors<V>,
    gradient: &'a mut [f32],
}

impl<S: Simd> Kernel<S> for Backward<'_, '_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        self.walk.backward(simd, self.tensors, self.gradient);
    }
}

/// Probabilities of logits.
pub(crate) fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|p| *p /= sum);
}
