//! 20 steps of PyTorch from the same start on the same batches.

use bn_core::lenet::TENSORS;
use host_trainer::data::Split;
use host_trainer::engine::Engine;
use host_trainer::model::parameters::{Parameters, Variance};
use safetensors::SafeTensors;
use tests::{fashion_mnist, golden, golden_parameters};

use super::{New, Tolerances, assert_close, assert_tensors};

fn assert_parameters(what: &str, actual: &Parameters, golden_file: &str, relative: f64, absolute: f64) {
    let expected = golden_parameters(golden_file, actual.variance);
    assert_tensors(what, actual, &expected, relative, absolute);
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
    let dataset = fashion_mnist();
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
