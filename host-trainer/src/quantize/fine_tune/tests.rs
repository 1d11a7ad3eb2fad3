//! LeNet's layers are the device's to the bit, and fine-tuning brings back what was lost.

use std::borrow::Cow;

use bn_core::{FoldedLeNet, Image};
use chacha20::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};

use super::*;
use crate::data::Split;
use crate::export::Networks;
use crate::model::inference;
use crate::model::parameters::{Parameters, Variance};
use crate::network::Network;
use crate::quantize::{Calibration, Quantized, quantize};

fn images(count: usize, seed: u64) -> Vec<Image> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut images = vec![[[0; 28]; 28]; count];
    images.iter_mut().for_each(|image| rng.fill_bytes(image.as_flattened_mut()));
    images
}

fn split(count: usize, seed: u64) -> Split {
    Split::of_images(images(count, seed), vec![0; count])
}

fn net(seed: u64) -> (Parameters, Box<FoldedLeNet>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = Parameters::zero(&Network::lenet(), Variance::Biased);
    let mut move_by = |value: &mut f64| *value = f64::from((*value + rng.random_range(-0.3..0.3)) as f32);
    parameters.tensors.iter_mut().flatten().for_each(&mut move_by);
    // Variances are above zero.
    for name in ["1.running_var", "5.running_var", "10.running_var", "13.running_var"] {
        let at = parameters.network.index(name).unwrap();
        parameters.tensors[at].iter_mut().for_each(|var| *var = var.abs() + 0.5);
    }
    let folded = Networks::of(&parameters).unwrap().folded;
    (parameters, folded)
}

fn quantized(net: &FoldedLeNet, split: &Split) -> Quantized {
    quantize(net, &Calibration::new(net, split.images())).unwrap().0
}

/// Weights moved by up to two steps.
pub(in crate::quantize) fn disturb(program: &mut Program) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for step in &mut program.steps {
        let Work::Sums(sums) = &mut step.work else { continue };
        let (most, reach) = (sums.most, 2 * sums.most / 127);
        for row in sums.rows.iter_mut().filter(|row| row.weights.iter().any(|&w| w != 0)) {
            let mut start = i64::from(row.start);
            let taps = row.weights.len() / if sums.is_depthwise { 1 } else { sums.zeros.len() };
            for (k, weight) in row.weights.iter_mut().enumerate() {
                let moved = (*weight + rng.random_range(-reach..=reach)).clamp(-most, most);
                // So that only what differs from zero counts.
                let zero = sums.zeros[if sums.is_depthwise { 0 } else { k / taps }];
                start -= i64::from(sums.unit) * i64::from(moved - *weight) * i64::from(zero);
                *weight = moved;
            }
            row.start = start as i32;
        }
    }
}

fn disturbed(start: &Quantized, net: &FoldedLeNet) -> Quantized {
    let mut program = lenet::program(start, net);
    disturb(&mut program);
    lenet::quantized(start, &program)
}

#[test]
fn the_forward_pass_is_the_devices_to_the_bit() {
    for seed in 0..3 {
        let ((_, net), train) = (net(seed), split(300, seed));
        let integers = disturbed(&quantized(&net, &split(40, 9)), &net);
        let file = integers.write(&Network::lenet()).unwrap();
        let flat = inference::flat(&file, train.images());
        let codes = |example: usize| Cow::Owned(flat[example].map(|v| (i16::from(v) + 128) as u8).to_vec());
        let program = lenet::program(&integers, &net);
        assert_eq!(lenet::quantized(&integers, &program), integers);
        let predictions = inference::int8(&file, &train.inputs);
        let expected: Vec<i32> = predictions.into_iter().flat_map(|prediction| prediction.logits).collect();
        for mut trainer in IntegerTrainer::each(&program, 2) {
            assert_eq!(trainer.outputs(&codes, &(0..300).collect::<Vec<_>>()), expected);
            assert_eq!(trainer.program(), Some(program.clone()));
        }
    }
}

#[test]
fn no_epoch_leaves_the_file_as_it_is() {
    let ((parameters, net), train) = (net(1), split(60, 1));
    let file = quantized(&net, &train);
    let (same, found) =
        lenet::fine_tune(&file, (&parameters, &net), &train, FineTuning { epochs: 0, seed: 0 }).unwrap();
    assert_eq!(same, file);
    assert_eq!((found.kept, found.held_out), (0, 10));
    assert!(found.layers.iter().all(|layer| layer.changed == 0));
}

#[test]
fn it_brings_back_what_a_disturbance_took_and_repeats_itself() {
    let ((parameters, net), train) = (net(2), split(1200, 2));
    let file = disturbed(&quantized(&net, &train), &net);
    let request = FineTuning { epochs: 20, seed: 3 };
    let (tuned, found) = lenet::fine_tune(&file, (&parameters, &net), &train, request).unwrap();
    let (before, after) = (found.agreement[0], found.agreement[found.kept]);
    assert!(after.divergence < 0.5 * before.divergence, "{before:?} {after:?}");
    assert!(found.kept > 0 && found.layers.iter().all(|layer| layer.changed > 0), "{found:?}");
    tuned.write(&Network::lenet()).unwrap();
    let (again, found_again) = lenet::fine_tune(&file, (&parameters, &net), &train, request).unwrap();
    assert_eq!((again, found_again), (tuned, found));
}

#[test]
fn one_example_teaches_nothing() {
    let ((parameters, net), train) = (net(1), split(1, 1));
    let refused =
        lenet::fine_tune(&quantized(&net, &train), (&parameters, &net), &train, FineTuning { epochs: 1, seed: 0 });
    assert!(refused.unwrap_err().to_string().starts_with("--qat learns from two examples or more"));
}
