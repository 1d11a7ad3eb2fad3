//! What every engine must do: the trajectory of PyTorch, and the promises of the trait.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bn_core::lenet::{CLASSES, PIXELS, TENSORS};
use bn_core::network::Role;
use host_trainer::data::Split;
use host_trainer::data::augment::{self, Augmentation};
use host_trainer::engine::distill::Soft;
use host_trainer::engine::reference::Reference;
use host_trainer::engine::{Engine, MOMENTUM, Optimizer, Steps, Totals};
use host_trainer::model::parameters::{Parameters, Variance};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use tests::{fashion_mnist, golden, golden_parameters, is_bias_before_batch_norm};

/// An engine of that seed.
pub(crate) type New = fn(u64, Variance) -> Box<dyn Engine>;

/// How far an engine may be from PyTorch in f64. Relative to the norm of the tensor unless it says otherwise.
pub(crate) struct Tolerances {
    /// Loss of a step, relative.
    pub(crate) loss: f64,
    /// Correct predictions of a batch of 256, as a count.
    pub(crate) correct: usize,
    /// Logits and gradients of step 1.
    pub(crate) gradient: f64,
    /// Parameters and statistics after step 1.
    pub(crate) after_step1: f64,
    /// Parameters and statistics after step 20.
    pub(crate) after_step20: f64,
    /// Largest difference in a bias before a BatchNorm, or in its gradient, absolute.
    pub(crate) bias_before_batch_norm: f64,
    /// Share of the test images that may be classified differently after step 20.
    pub(crate) test_accuracy: f64,
    /// One operation's rounding, for what can be worked out by hand.
    pub(crate) rounding: f64,
}

impl Tolerances {
    /// An engine in f64 differs by rounding, which 20 steps at learning rate 1 amplify some hundred thousandfold.
    pub(crate) const F64: Self = Self {
        loss: 1e-9,
        correct: 0,
        gradient: 1e-9,
        after_step1: 1e-9,
        after_step20: 1e-9,
        bias_before_batch_norm: 1e-9,
        test_accuracy: 0.0,
        rounding: 1e-12,
    };
    /// PyTorch's own f32 run: weights within 1.9e-6 after step 1 and 1.9e-4 after step 20, losses within 3.4e-4.
    pub(crate) const F32: Self = Self {
        loss: 1e-3,
        correct: 2,
        gradient: 1e-4,
        after_step1: 1e-4,
        after_step20: 1e-3,
        bias_before_batch_norm: 1e-5,
        test_accuracy: 0.002,
        rounding: 1e-4,
    };

    /// [`F32`](Self::F32) with a margin: every relative bound divided by `BN_LENET_MARGIN`, if that is set. Counts of images stay.
    pub(crate) fn f32_with_margin() -> Self {
        let Ok(margin) = std::env::var("BN_LENET_MARGIN") else { return Self::F32 };
        let margin: f64 = margin.parse().expect("BN_LENET_MARGIN is a number");
        Self {
            loss: Self::F32.loss / margin,
            gradient: Self::F32.gradient / margin,
            after_step1: Self::F32.after_step1 / margin,
            after_step20: Self::F32.after_step20 / margin,
            bias_before_batch_norm: Self::F32.bias_before_batch_norm / margin,
            rounding: Self::F32.rounding / margin,
            ..Self::F32
        }
    }
}

/// Stamps the suite onto an engine: `engine_suite!(name, |seed, variance| Box<dyn Engine>, tolerances)`. Attributes in front
/// of the name, `#[ignore = ".."]`, go to every test.
macro_rules! engine_suite {
    ($(#[$attribute:meta])* $name:ident, $new:expr, $tolerances:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use $crate::engine_suite as suite;

            const NEW: suite::New = $new;
            fn tolerances() -> suite::Tolerances {
                $tolerances
            }

            $crate::engine_suite::engine_suite!(@tests [$(#[$attribute])*]
                trajectory_from_scratch trajectory_concise one_seed_gives_the_same_bits calls_may_be_split
                parameters_go_in_and_out only_training_changes_the_model statistics_follow_by_momentum
                unbiased_is_n_over_n_minus_1 batches_of_one_are_refused partial_batches_are_refused
                a_nan_ends_the_call evaluation_counts_every_example_once samples_are_shown_as_they_say
                optimizers_and_smoothing_are_the_references batches_of_any_size_are_the_references
                moments_go_in_and_out a_teacher_is_learnt_from);
        }
    };
    (@tests $attributes:tt $($test:ident)*) => {
        $($crate::engine_suite::engine_suite!(@test $attributes $test);)*
    };
    (@test [$($attributes:tt)*] $test:ident) => {
        #[test]
        $($attributes)*
        fn $test() {
            suite::$test(NEW, &tolerances());
        }
    };
}
pub(crate) use engine_suite;

/// Examples of noise, for what does not depend on the data.
pub(crate) fn noise(seed: u64, examples: usize) -> Split {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut images = vec![[[0; 28]; 28]; examples];
    images.as_flattened_mut().as_flattened_mut().fill_with(|| rng.random());
    debug_assert_eq!(images.as_flattened().as_flattened().len(), examples * PIXELS);
    Split::of_images(images, (0..examples).map(|_| rng.random_range(0..CLASSES as u8)).collect())
}

/// Every index of a split, in order.
pub(crate) fn all(split: &Split) -> Vec<u32> {
    (0..split.len() as u32).collect()
}

fn assert_close(what: &str, name: &str, actual: &[f64], expected: &[f64], relative: f64, absolute: f64) {
    assert_eq!(actual.len(), expected.len(), "{what} {name}");
    let distance = actual.iter().zip(expected).map(|(a, e)| (a - e).powi(2)).sum::<f64>().sqrt();
    let norm = expected.iter().map(|e| e.powi(2)).sum::<f64>().sqrt();
    if is_bias_before_batch_norm(name) {
        let largest = actual.iter().zip(expected).fold(0.0f64, |largest, (a, e)| largest.max((a - e).abs()));
        assert!(largest <= absolute, "{what} {name}: off by {largest:e}, allowed {absolute:e}");
    } else {
        assert!(distance <= relative * norm, "{what} {name}: {:e} of its norm, allowed {relative:e}", distance / norm);
        println!("{what} {name}: {:.3} of the bound", distance / norm / relative);
    }
}

fn assert_parameters(what: &str, actual: &Parameters, golden_file: &str, relative: f64, absolute: f64) {
    let expected = golden_parameters(golden_file, actual.variance);
    for ((spec, actual), expected) in TENSORS.iter().zip(&actual.tensors).zip(&expected.tensors) {
        assert_close(what, spec.name, actual, expected, relative, absolute);
    }
}

/// The step-1 logits and gradients.
fn assert_first_gradients(engine: &mut dyn Engine, split: &Split, batch: &[u32], tolerances: &Tolerances) {
    let (logits, gradients) = engine.gradients(split, batch).unwrap();
    let file = golden("step1_logits_f64.safetensors");
    let file = SafeTensors::deserialize(&file).unwrap();
    let expected = file.tensor("logits").unwrap().data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b));
    assert_close("step 1", "15.weight", &logits, &expected.collect::<Vec<_>>(), tolerances.gradient, 0.0);

    let expected = golden_parameters("scratch_step1_grads_f64.safetensors", Variance::Biased);
    for (position, spec) in TENSORS.iter().enumerate().filter(|(_, spec)| spec.role.is_trained()) {
        let (actual, expected) = (&gradients.tensors[position], &expected.tensors[position]);
        let (relative, absolute) = (tolerances.gradient, tolerances.bias_before_batch_norm);
        assert_close("gradient of step 1:", spec.name, actual, expected, relative, absolute);
    }
}

/// 20 steps of PyTorch from the same start on the same batches: every loss, and the model after steps 1 and 20.
fn trajectory(engine: &mut dyn Engine, variance: Variance, run: &str, tolerances: &Tolerances) {
    let Some(dataset) = fashion_mnist() else { return };
    engine.set_parameters(&golden_parameters("init.safetensors", variance));
    let order: Vec<u32> = golden("batches_u32le.bin").as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
    let expected: serde_json::Value = serde_json::from_slice(&golden("losses_f64.json")).unwrap();
    let expected = &expected[run];

    for (step, batch) in order.chunks_exact(256).enumerate() {
        if step == 0 {
            assert_first_gradients(engine, &dataset.train, batch, tolerances);
        }
        let totals = engine.train(&dataset.train, batch, 256, 1.0).unwrap();
        let loss = expected["losses"][step].as_f64().unwrap();
        let off = (totals.mean_loss() / loss - 1.0).abs();
        assert!(off <= tolerances.loss, "loss of step {}: {} for {loss}, {off:e}", step + 1, totals.mean_loss());
        println!("loss of step {}: {:.3} of the bound", step + 1, off / tolerances.loss);
        let correct = expected["train_correct"][step].as_u64().unwrap() as usize;
        assert!(
            totals.correct.abs_diff(correct) <= tolerances.correct,
            "step {}: {} for {correct}",
            step + 1,
            totals.correct
        );

        let absolute = tolerances.bias_before_batch_norm;
        for (last, relative) in [(1, tolerances.after_step1), (20, tolerances.after_step20)] {
            if step + 1 == last {
                let file = format!("{run}_after_step{last}_f64.safetensors");
                assert_parameters(&format!("after step {last}:"), &engine.parameters(), &file, relative, absolute);
            }
        }
    }
    let accuracy = engine.evaluate(&dataset.test).unwrap().accuracy();
    let expected = expected["test_acc_after20"].as_f64().unwrap();
    assert!((accuracy - expected).abs() <= tolerances.test_accuracy + 1e-12, "{accuracy} for {expected}");
}

/// d2l's own BatchNorm: biased variance in the statistics.
pub(crate) fn trajectory_from_scratch(new: New, tolerances: &Tolerances) {
    trajectory(&mut *new(0, Variance::Biased), Variance::Biased, "scratch", tolerances);
}

/// PyTorch's layers: unbiased variance in the statistics.
pub(crate) fn trajectory_concise(new: New, tolerances: &Tolerances) {
    trajectory(&mut *new(0, Variance::Unbiased), Variance::Unbiased, "concise", tolerances);
}

/// Two engines of one seed agree to the last bit, engines of two seeds do not.
pub(crate) fn one_seed_gives_the_same_bits(new: New, _: &Tolerances) {
    let split = noise(1, 96);
    let run = |seed| {
        let mut engine = new(seed, Variance::Biased);
        let totals = engine.train(&split, &all(&split), 32, 0.5).unwrap();
        (totals, engine.parameters())
    };
    let (first, second) = (run(7), run(7));
    assert!(first == second, "{:?} {:?}", first.0, second.0);
    assert!(first.1 != run(8).1);
}

/// Calls that take the same steps are one call, to the bit: the caller may report progress, or stop, wherever it likes. 18 steps
/// are more than the CUDA engine captures in one graph.
pub(crate) fn calls_may_be_split(new: New, _: &Tolerances) {
    const N: usize = 8;
    let split = noise(2, 18 * N);
    let order = all(&split);
    let mut whole = new(0, Variance::Biased);
    let totals = whole.train(&split, &order, N, 0.5).unwrap();
    for calls in [&[1; 18][..], &[1, 17], &[16, 2], &[3, 1, 2, 5, 7]] {
        let (mut parts, mut sum, mut rest) = (new(0, Variance::Biased), Totals::default(), &order[..]);
        for steps in calls {
            let (part, others) = rest.split_at(steps * N);
            sum += parts.train(&split, part, N, 0.5).unwrap();
            rest = others;
        }
        assert_eq!((totals.examples, totals.correct), (sum.examples, sum.correct), "{calls:?}");
        assert!((totals.loss - sum.loss).abs() <= 1e-12 * totals.loss, "{calls:?}");
        assert!(whole.parameters() == parts.parameters(), "{calls:?}");
    }
}

/// What was set is what is read, and what a second engine computes with.
pub(crate) fn parameters_go_in_and_out(new: New, _: &Tolerances) {
    let split = noise(3, 32);
    let mut engine = new(1, Variance::Unbiased);
    engine.train(&split, &all(&split), 16, 0.5).unwrap();
    let mut copy = new(2, Variance::Biased);
    copy.set_parameters(&engine.parameters());
    assert!(copy.parameters() == engine.parameters());
    for engine in [&mut engine, &mut copy] {
        engine.train(&split, &all(&split), 16, 0.5).unwrap();
    }
    assert!(copy.parameters() == engine.parameters());
}

/// `evaluate` and `gradients` leave every bit of the model, its statistics too; a step of length 0 moves those alone.
pub(crate) fn only_training_changes_the_model(new: New, _: &Tolerances) {
    let split = noise(4, 32);
    let mut engine = new(1, Variance::Biased);
    let before = engine.parameters();
    engine.evaluate(&split).unwrap();
    let (_, gradients) = engine.gradients(&split, &all(&split)).unwrap();
    assert!(before == engine.parameters());

    engine.train(&split, &all(&split), 32, 0.0).unwrap();
    let after = engine.parameters();
    for (position, spec) in TENSORS.iter().enumerate() {
        let same = before.tensors[position] == after.tensors[position];
        assert_eq!(same, spec.role.is_trained(), "{}", spec.name);
        // In theory that of a bias before a BatchNorm is zero: an engine may say so, or show its rounding.
        if !is_bias_before_batch_norm(spec.name) {
            let zero = gradients.tensors[position].iter().all(|&gradient| gradient == 0.0);
            assert_eq!(zero, !spec.role.is_trained(), "gradient of {}", spec.name);
        }
    }
}

/// With a learning rate of 0 each step sees the same batch statistics `s`: from a start `a` two steps lead to
/// `(1 - m)² a + (1 - (1 - m)²) s`, and one step to `(1 - m) a + m s`.
pub(crate) fn statistics_follow_by_momentum(new: New, tolerances: &Tolerances) {
    let split = noise(5, 32);
    let mut engine = new(1, Variance::Biased);
    let mut step = || {
        engine.train(&split, &all(&split), 32, 0.0).unwrap();
        engine.parameters()
    };
    let (once, twice) = (step(), step());
    for (position, spec) in TENSORS.iter().enumerate().filter(|(_, spec)| !spec.role.is_trained()) {
        let start = if spec.role == Role::RunningVar { 1.0 } else { 0.0 };
        for (once, twice) in once.tensors[position].iter().zip(&twice.tensors[position]) {
            let batch = (once - (1.0 - MOMENTUM) * start) / MOMENTUM;
            let expected = 0.81 * start + 0.19 * batch;
            let off = (twice - expected).abs();
            assert!(off <= tolerances.rounding * expected.abs().max(1.0), "{}: {twice} for {expected}", spec.name);
        }
    }
}

/// The tracked variance of a linear layer's BatchNorm at 8 examples: unbiased is 8/7 of biased. All else is the same.
pub(crate) fn unbiased_is_n_over_n_minus_1(new: New, tolerances: &Tolerances) {
    let split = noise(6, 8);
    let [biased, unbiased] = [Variance::Biased, Variance::Unbiased].map(|variance| {
        let mut engine = new(1, variance);
        engine.train(&split, &all(&split), 8, 0.5).unwrap();
        let parameters = engine.parameters();
        assert_eq!(parameters.variance, variance);
        parameters
    });
    for (position, spec) in TENSORS.iter().enumerate() {
        let (biased, unbiased) = (&biased.tensors[position], &unbiased.tensors[position]);
        if spec.role != Role::RunningVar {
            assert!(biased == unbiased, "{}", spec.name);
        } else if ["10.running_var", "13.running_var"].contains(&spec.name) {
            for (biased, unbiased) in biased.iter().zip(unbiased) {
                let expected = 0.9 + (biased - 0.9) * 8.0 / 7.0;
                assert!((unbiased - expected).abs() <= tolerances.rounding, "{}: {unbiased} for {expected}", spec.name);
            }
        }
    }
}

/// BatchNorm has no variance of one value.
pub(crate) fn batches_of_one_are_refused(new: New, _: &Tolerances) {
    let split = noise(7, 2);
    for (order, batch_size) in [(&[0, 1][..], 1), (&[0, 1][..], 0)] {
        let mut engine = new(1, Variance::Biased);
        assert!(catch_unwind(AssertUnwindSafe(|| engine.train(&split, order, batch_size, 0.5))).is_err());
    }
    let mut engine = new(1, Variance::Biased);
    assert!(catch_unwind(AssertUnwindSafe(|| engine.gradients(&split, &[0]))).is_err());
}

/// The caller drops a last partial batch; an engine never sees one.
pub(crate) fn partial_batches_are_refused(new: New, _: &Tolerances) {
    let split = noise(8, 10);
    let mut engine = new(1, Variance::Biased);
    let before = engine.parameters();
    assert!(catch_unwind(AssertUnwindSafe(|| engine.train(&split, &all(&split), 4, 0.5))).is_err());
    assert!(before == engine.parameters());
}

/// A NaN reaches the caller as a loss that is not finite, at the step that met it.
pub(crate) fn a_nan_ends_the_call(new: New, _: &Tolerances) {
    let split = noise(9, 64);
    let mut engine = new(1, Variance::Biased);
    let mut parameters = engine.parameters();
    parameters.get_mut("4.weight")[0] = f64::NAN;
    engine.set_parameters(&parameters);
    let totals = engine.train(&split, &all(&split), 16, 0.5).unwrap();
    assert!(!totals.loss.is_finite());
    assert_eq!(totals.examples, 16);
}

/// The whole split is the sum of its parts, whatever batches an engine makes of it.
pub(crate) fn evaluation_counts_every_example_once(new: New, tolerances: &Tolerances) {
    let split = noise(10, 777);
    let mut engine = new(1, Variance::Biased);
    let whole = engine.evaluate(&split).unwrap();
    let mut sum = Totals::default();
    for part in [0..1, 1..256, 256..777] {
        let part = Split::of_images(split.images()[part.clone()].to_vec(), split.labels[part].to_vec());
        sum += engine.evaluate(&part).unwrap();
    }
    assert_eq!((whole.examples, whole.correct), (777, sum.correct));
    assert!((whole.loss - sum.loss).abs() <= tolerances.rounding * whole.loss, "{whole:?} {sum:?}");
}

/// A step on samples is a step on a split that holds what they show.
pub(crate) fn samples_are_shown_as_they_say(new: New, _: &Tolerances) {
    let split = noise(12, 40);
    let mut samples = all(&split);
    augment::draw(Augmentation { flip: true, shift: 2 }, 12, 1, &mut samples);
    assert!(samples.iter().enumerate().any(|(i, &sample)| sample as usize != i));
    let show = |&sample: &u32| augment::show(&split.images()[augment::example(sample)], sample);
    let shown = Split::of_images(samples.iter().map(show).collect(), split.labels.clone());
    let [on_samples, on_shown] = [(&split, &samples), (&shown, &all(&split))].map(|(split, order)| {
        let mut engine = new(1, Variance::Biased);
        let totals = engine.train(split, order, 20, 0.5).unwrap();
        (totals, engine.parameters())
    });
    assert!(on_samples == on_shown);
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
    let off = (totals.loss / expected_totals.loss - 1.0).abs();
    assert!(off <= tolerances.loss, "loss off by {off:e}");
    for ((spec, ours), expected) in TENSORS.iter().zip(&ours.tensors).zip(&expected.tensors) {
        // What a bias before a BatchNorm starts as, it stays.
        assert_close(
            &format!("after 8 steps of {optimizer:?}:"),
            spec.name,
            ours,
            expected,
            tolerances.after_step20,
            1e-9,
        );
    }
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
        let off = (totals.loss / expected_totals.loss - 1.0).abs();
        assert!(off <= tolerances.loss, "batches of {n}: loss off by {off:e}");
        for ((spec, ours), expected) in TENSORS.iter().zip(&ours.tensors).zip(&expected.tensors) {
            let absolute = tolerances.bias_before_batch_norm;
            assert_close(&format!("batches of {n}:"), spec.name, ours, expected, tolerances.after_step1, absolute);
        }
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
    let off = (totals.loss / expected.loss - 1.0).abs();
    assert!(off <= tolerances.loss, "loss off by {off:e}");
    assert!(totals.correct.abs_diff(expected.correct) <= tolerances.correct, "{totals:?} for {expected:?}");
    for ((spec, ours), exact) in TENSORS.iter().zip(&whole.parameters().tensors).zip(&exact.parameters().tensors) {
        assert_close("with a teacher:", spec.name, ours, exact, tolerances.after_step20, 1e-9);
    }
    train(&mut *halves, 0, 2, 0.75);
    train(&mut *halves, 2, 6, 0.75);
    assert!(halves.parameters() == whole.parameters());
}

fn adamw(lrs: &[f64]) -> Steps<'_> {
    Steps { optimizer: Optimizer::Adamw, weight_decay: 0.1, label_smoothing: 0.1, ..Steps::sgd(16, lrs) }
}

/// For engines in f64: the whole network's gradients are what central differences of its training-mode loss say. A step of
/// length 0 gives that loss.
pub(crate) fn gradients_are_central_differences(engine: &mut dyn Engine) {
    const STEP: f64 = 1e-5;
    let split = noise(11, 12);
    let order = all(&split);
    let start = engine.parameters();
    let (_, gradients) = engine.gradients(&split, &order).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for (position, spec) in TENSORS.iter().enumerate().filter(|(_, spec)| spec.role.is_trained()) {
        for _ in 0..spec.len().min(12) {
            let at = rng.random_range(0..spec.len());
            let mut loss = |offset: f64| {
                let mut moved = start.clone();
                moved.tensors[position][at] += offset;
                engine.set_parameters(&moved);
                engine.train(&split, &order, order.len(), 0.0).unwrap().mean_loss()
            };
            let difference = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
            let gradient = gradients.tensors[position][at];
            assert!((gradient - difference).abs() <= 1e-8, "{}[{at}]: {gradient:e} {difference:e}", spec.name);
        }
    }
}
