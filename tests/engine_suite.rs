//! What every engine must do: the trajectory of PyTorch (`trajectory`), steps as the reference takes them (`steps`), and the
//! promises of the trait.

mod steps;
mod trajectory;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bn_core::lenet::{CLASSES, PIXELS, TENSORS};
use bn_core::network::Role;
use chacha20::ChaCha8Rng;
use host_trainer::data::Split;
use host_trainer::data::augment::{self, Augmentation};
use host_trainer::engine::{Engine, MOMENTUM, Totals};
use host_trainer::model::parameters::{Parameters, Variance};
use rand::{RngExt, SeedableRng};
use tests::is_bias_before_batch_norm;

pub(crate) use self::steps::*;
pub(crate) use self::trajectory::*;

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

            $crate::engine_suite::engine_suite!(@of_the_data_set [$(#[$attribute])*] trajectory_from_scratch);
            $crate::engine_suite::engine_suite!(@of_the_data_set [$(#[$attribute])*] trajectory_concise);
            $crate::engine_suite::engine_suite!(@tests [$(#[$attribute])*]
                one_seed_gives_the_same_bits calls_may_be_split
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
    // What has a reason to be ignored already needs no other.
    (@of_the_data_set [] $test:ident) => {
        $crate::engine_suite::engine_suite!(@test
            [#[cfg_attr(not(fashion_mnist), ignore = "needs Fashion-MNIST: `cargo trainer data` fetches it")]] $test);
    };
    (@of_the_data_set $attributes:tt $test:ident) => {
        $crate::engine_suite::engine_suite!(@test $attributes $test);
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

fn assert_tensors(what: &str, actual: &Parameters, expected: &Parameters, relative: f64, absolute: f64) {
    for ((spec, actual), expected) in TENSORS.iter().zip(&actual.tensors).zip(&expected.tensors) {
        assert_close(what, spec.name, actual, expected, relative, absolute);
    }
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
