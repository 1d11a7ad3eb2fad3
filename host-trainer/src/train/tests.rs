//! The loop on an engine that remembers the order it was shown: same seed, same bits, wherever the run was cut.

use super::*;
use crate::engine::{Moments, Steps};
use crate::model::parameters::{Parameters, Variance};
use crate::train::recipe::SEED;

/// An engine whose one weight is a hash of every example it was trained on, in order, and whose loss depends on it in a way
/// that notices the smallest change in the order of additions.
struct Recorder {
    parameters: Parameters,
    diverges_at_step: Option<usize>,
    steps: usize,
}

impl Recorder {
    fn new() -> Self {
        Self { parameters: Parameters::zero(&Network::lenet(), Variance::Biased), diverges_at_step: None, steps: 0 }
    }

    fn weight(&mut self) -> &mut f64 {
        &mut self.parameters.get_mut("0.bias")[0]
    }
}

impl Engine for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn device(&self, _: usize) -> String {
        "memory".into()
    }

    fn parameters(&self) -> Parameters {
        self.parameters.clone()
    }

    fn set_parameters(&mut self, parameters: &Parameters) {
        self.parameters = parameters.clone();
    }

    fn moments(&self) -> Option<Moments<f64>> {
        None
    }

    fn set_moments(&mut self, _: &Moments<f64>) {
        unreachable!("it has none")
    }

    fn train_steps(&mut self, split: &Split, order: &[u32], steps: &Steps<'_>) -> Result<Totals> {
        steps.check(order);
        let mut totals = Totals::default();
        for (batch, lr) in order.chunks(steps.batch_size).zip(steps.lrs) {
            self.steps += 1;
            for &example in batch {
                let label = f64::from(split.labels[example as usize]);
                *self.weight() = f64::from((*self.weight() * 0.9 + lr * (f64::from(example) + label).sin()) as f32);
                totals.loss += (*self.weight()).abs() / 3.0;
            }
            totals.examples += batch.len();
            totals.correct += usize::from(*self.weight() > 0.0);
            if self.diverges_at_step == Some(self.steps) {
                totals.loss = f64::NAN;
                *self.weight() = f64::NAN;
                break;
            }
        }
        Ok(totals)
    }

    fn evaluate(&mut self, split: &Split) -> Result<Totals> {
        Ok(Totals { examples: split.len(), loss: (*self.weight()).abs(), correct: split.len() / 2 })
    }

    fn gradients(&mut self, _: &Split, _: &[u32]) -> Result<(Vec<f64>, Parameters)> {
        unreachable!("the loop needs no gradients")
    }
}

/// Stops after so many calls of `chunk`, and counts epochs.
struct StopAfter {
    chunks: usize,
    epochs: usize,
}

impl Watcher for StopAfter {
    fn chunk(&mut self, _: &TrainingState, _: &Timing) -> ControlFlow<()> {
        match self.chunks.checked_sub(1) {
            None => ControlFlow::Break(()),
            Some(left) => {
                self.chunks = left;
                ControlFlow::Continue(())
            }
        }
    }

    fn epoch(&mut self, _: &dyn Engine, _: &TrainingState, _: &Timing) -> Result<ControlFlow<()>> {
        self.epochs += 1;
        Ok(ControlFlow::Continue(()))
    }
}

const NEVER: StopAfter = StopAfter { chunks: usize::MAX, epochs: 0 };

fn dataset() -> Dataset {
    let split = |n: usize, shift: usize| {
        Split::of_images(vec![[[7; 28]; 28]; n], (0..n).map(|i| ((i + shift) % 10) as u8).collect())
    };
    Dataset {
        name: "toy".into(),
        source: "a test".into(),
        train: split(203, 0),
        test: split(20, 3),
        classes: vec![],
        rule: None,
    }
}

/// 203 examples in batches of 5 are 40 steps, five chunks, an epoch.
fn start(seed: u64) -> TrainingState {
    begin("recorder", &dataset(), seed, Recipe { name: "toy".into(), epochs: 3, batch_size: 5, lr: 0.25, ..SEED })
        .unwrap()
}

fn uninterrupted(seed: u64) -> (Parameters, TrainingState) {
    let (mut engine, mut state) = (Recorder::new(), start(seed));
    let end = run(&mut engine, &dataset(), &mut state, &mut { NEVER }).unwrap();
    assert_eq!(end, End::Finished);
    (engine.parameters, state)
}

#[test]
fn an_order_is_a_permutation_that_seed_and_epoch_fix() {
    let order = epoch_order(0, 1, 1000);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
    assert_eq!(order, epoch_order(0, 1, 1000));
    assert_ne!(order, epoch_order(0, 2, 1000));
    assert_ne!(order, epoch_order(1, 1, 1000));
}

#[test]
fn an_order_is_the_same_in_every_version_of_the_program() {
    assert_eq!(epoch_order(0, 1, 10), ORDER_OF_SEED_0_EPOCH_1);
}

const ORDER_OF_SEED_0_EPOCH_1: [u32; 10] = [0, 6, 4, 3, 8, 9, 7, 2, 5, 1];

#[test]
fn a_run_counts_what_it_did() {
    let (_, state) = uninterrupted(0);
    assert_eq!((state.epoch, state.step, state.partial), (3, 0, Totals::default()));
    assert!(state.history.iter().all(|e| e.train.examples == 200 && e.test.is_some_and(|test| test.examples == 20)));
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    assert_eq!(uninterrupted(4), uninterrupted(4));
    assert_ne!(uninterrupted(4).0, uninterrupted(5).0);
}

#[test]
fn a_run_cut_anywhere_and_resumed_gives_the_bits_of_an_uninterrupted_one() {
    let whole = uninterrupted(9);
    for chunks in 0..15 {
        let (mut engine, mut state) = (Recorder::new(), start(9));
        let end = run(&mut engine, &dataset(), &mut state, &mut StopAfter { chunks, epochs: 0 }).unwrap();
        assert_eq!(end, End::Stopped, "{chunks}");
        let json = serde_json::to_string(&state).unwrap();
        let mut state: TrainingState = serde_json::from_str(&json).unwrap();
        let mut resumed = Recorder::new();
        resumed.set_parameters(&engine.parameters());
        check_resumable(&dataset(), &state).unwrap();
        assert_eq!(run(&mut resumed, &dataset(), &mut state, &mut { NEVER }).unwrap(), End::Finished);
        assert_eq!((resumed.parameters, state), whole, "{chunks}");
    }
}

#[test]
fn more_epochs_can_be_asked_of_a_finished_run() {
    let (parameters, mut state) = uninterrupted(2);
    state.recipe.epochs = 5;
    let mut engine = Recorder::new();
    engine.set_parameters(&parameters);
    let mut watcher = NEVER;
    run(&mut engine, &dataset(), &mut state, &mut watcher).unwrap();
    assert_eq!((watcher.epochs, state.history.len()), (2, 5));
}

#[test]
fn a_loss_that_is_not_finite_stops_at_its_step() {
    let (mut engine, mut state) = (Recorder::new(), start(0));
    engine.diverges_at_step = Some(53); // the 13th of the second epoch
    let error = run(&mut engine, &dataset(), &mut state, &mut { NEVER }).unwrap_err();
    assert!(matches!(error, Error::Diverged { epoch: 2, step: 13, lr: 0.25 }), "{error}");
}

#[test]
fn other_data_and_too_little_data_are_refused() {
    let mut other = dataset();
    other.train.images_mut()[100][3][3] = 8;
    let error = check_resumable(&other, &start(0)).unwrap_err();
    assert!(error.to_string().contains("not the data that this run was started on"), "{error}");
    let recipe = Recipe { name: "toy".into(), epochs: 1, batch_size: 204, ..SEED };
    assert_eq!(begin("recorder", &dataset(), 0, recipe).unwrap_err().exit_code(), 2);
}
