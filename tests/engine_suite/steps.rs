//! Steps of every optimizer, batch size and teacher: against the reference in f64, and in parts to the same bits.

use bn_core::lenet::CLASSES;
use host_trainer::engine::distill::Soft;
use host_trainer::engine::reference::Reference;
use host_trainer::engine::{Engine, Optimizer, Steps, Totals};
use host_trainer::model::parameters::Variance;

use super::{New, Tolerances, all, assert_tensors, noise};

fn assert_loss(what: &str, totals: Totals, expected: Totals, tolerances: &Tolerances) {
    let off = (totals.loss / expected.loss - 1.0).abs();
    assert!(off <= tolerances.loss, "{what} loss off by {off:e}");
}

/// AdamW and momentum with decay and label smoothing: 8 steps of rates that change, against the reference in f64.
pub(crate) fn optimizers_and_smoothing_are_the_references(new: New, tolerances: &Tolerances) {
    [Optimizer::Adamw, Optimizer::Momentum].iter().for_each(|&optimizer| is_the_references(optimizer, new, tolerances));
}

fn is_the_references(optimizer: Optimizer, new: New, tolerances: &Tolerances) {
    let split = noise(13, 8 * 16);
    let lrs: Vec<f64> = (1..=8).map(|i| 0.002 * f64::from(i)).collect();
    let steps = Steps { optimizer, ..adamw(&lrs) };
    let [(totals, ours), (expected_totals, expected)] =
        [new(1, Variance::Biased), Box::new(Reference::<f64>::new(1, Variance::Biased))].map(|mut engine| {
            let totals = engine.train_steps(&split, &all(&split), &steps).unwrap();
            (totals, engine.parameters())
        });
    let what = format!("after 8 steps of {optimizer:?}:");
    assert_loss(&what, totals, expected_totals, tolerances);
    // What a bias before a BatchNorm starts as, it stays.
    assert_tensors(&what, &ours, &expected, tolerances.after_step20, 1e-9);
}

/// Batches that fill no warp and no block, nor the blocks that work together: two steps each, against the reference in f64.
pub(crate) fn batches_of_any_size_are_the_references(new: New, tolerances: &Tolerances) {
    for n in [9, 17, 50, 131] {
        let split = noise(17, 2 * n);
        let [(totals, ours), (expected_totals, expected)] =
            [new(1, Variance::Biased), Box::new(Reference::<f64>::new(1, Variance::Biased))].map(|mut engine| {
                let totals = engine.train(&split, &all(&split), n, 0.1).unwrap();
                (totals, engine.parameters())
            });
        assert_eq!(totals.examples, 2 * n);
        let what = format!("batches of {n}:");
        assert_loss(&what, totals, expected_totals, tolerances);
        assert_tensors(&what, &ours, &expected, tolerances.after_step1, tolerances.bias_before_batch_norm);
    }
}

/// AdamW goes on where another engine stopped, once it is given what that one remembers; without, it starts anew.
pub(crate) fn moments_go_in_and_out(new: New, _: &Tolerances) {
    let split = noise(14, 64);
    let (order, lrs) = (all(&split), [0.01; 4]);
    let mut whole = new(1, Variance::Biased);
    assert!(whole.moments().is_none());
    whole.train_steps(&split, &order, &adamw(&lrs)).unwrap();

    let mut first = new(1, Variance::Biased);
    first.train_steps(&split, &order[..32], &adamw(&lrs[..2])).unwrap();
    let rest = Steps { before: 2, ..adamw(&lrs[2..]) };
    let [with, without] = [true, false].map(|with| {
        let mut second = new(2, Variance::Biased);
        second.set_parameters(&first.parameters());
        if with {
            second.set_moments(&first.moments().unwrap());
        }
        second.train_steps(&split, &order[32..], &rest).unwrap();
        (second.parameters(), second.moments())
    });
    assert!(with == (whole.parameters(), whole.moments()));
    assert!(without != with);
    first.set_parameters(&with.0);
    assert!(first.moments().is_none(), "another model, nothing to remember");
}

/// What a teacher says is learnt as the reference in f64 learns it, beside decay and smoothing; and in two calls to the same bits. Batches
/// fill no warp and no team of blocks.
pub(crate) fn a_teacher_is_learnt_from(new: New, tolerances: &Tolerances) {
    const N: usize = 21;
    let split = noise(31, 6 * N);
    let order = all(&split);
    let logits: Vec<f32> = (0..split.len() * CLASSES).map(|i| ((i * 37) % 101) as f32 / 20.0 - 2.5).collect();
    let lrs: Vec<f64> = (1..=6).map(|i| 1e-3 * f64::from(i)).collect();
    // The steps from one number up to another.
    let train = |engine: &mut dyn Engine, from: usize, to: usize, weight: f64| {
        let logits = &logits[from * N * CLASSES..to * N * CLASSES];
        let soft = Some(Soft { logits, temperature: 3.0, weight });
        let steps = Steps { batch_size: N, before: from as u64, soft, ..adamw(&lrs[from..to]) };
        engine.train_steps(&split, &order[from * N..to * N], &steps).unwrap()
    };
    let variance = Variance::Biased;
    let (mut exact, mut whole, mut halves) = (Reference::<f64>::new(1, variance), new(1, variance), new(1, variance));
    let expected = train(&mut exact, 0, 6, 0.75);
    let without = train(&mut Reference::<f64>::new(1, variance), 0, 6, 0.0);
    assert!((without.loss / expected.loss - 1.0).abs() > 0.1, "the teacher shows: {expected:?} {without:?}");

    let totals = train(&mut *whole, 0, 6, 0.75);
    assert_loss("with a teacher:", totals, expected, tolerances);
    assert!(totals.correct.abs_diff(expected.correct) <= tolerances.correct, "{totals:?} for {expected:?}");
    assert_tensors("with a teacher:", &whole.parameters(), &exact.parameters(), tolerances.after_step20, 1e-9);
    train(&mut *halves, 0, 2, 0.75);
    train(&mut *halves, 2, 6, 0.75);
    assert!(halves.parameters() == whole.parameters());
}

fn adamw(lrs: &[f64]) -> Steps<'_> {
    Steps { optimizer: Optimizer::Adamw, weight_decay: 0.1, label_smoothing: 0.1, ..Steps::sgd(16, lrs) }
}
