//! The forward pass is the device's to the bit for networks of every kind, and fine-tuning brings back what was lost.

use std::sync::Arc;

use bn_core::plan::{Goal, plan};

use super::super::tests::KINDS;
use super::super::{Quantizer, Request, quantize};
use super::*;
use crate::data::Inputs;
use crate::engine::cpu::graph::integers::IntegerTrainer;
use crate::engine::init::kaiming_parameters;
use crate::model::inference;
use crate::model::parameters::Variance;
use crate::network::{Network, shipped, text};
use crate::quantize::fine_tune::tests::disturb;

/// A model with its weights moved by some steps, and the program that says the same.
fn disturbed(network: &Arc<Network>, inputs: &Inputs) -> (Parameters, Model, Program) {
    let parameters = kaiming_parameters(network, 3, Variance::Biased);
    let steps = plan(&network.view(), &Goal::default()).unwrap();
    let (model, weights) = Quantizer::new(&parameters, &steps, inputs).integers().unwrap();
    let wanted: Vec<Wanted> = weights.into_iter().map(|w| w.map(|w| w.wanted).unwrap_or_default()).collect();
    let mut program = program(&model, &wanted);
    disturb(&mut program);
    (parameters, with(&model, &program), program)
}

fn assert_the_bits(name: &str, network: Network) {
    let network = Arc::new(network);
    let inputs = Inputs::noise(&network, 3);
    let (_, model, program) = disturbed(&network, &inputs);
    let file = model.file().unwrap();
    let codes = |example: usize| inference::codes(&file, &inputs, example);
    let expected = inference::int8(&file, &inputs).into_iter().flat_map(|prediction| prediction.logits);
    let expected: Vec<i32> = expected.collect();
    for mut trainer in IntegerTrainer::each(&program, 2) {
        let found = trainer.outputs(&codes, &(0..inputs.len() as u32).collect::<Vec<_>>());
        assert!(found == expected, "{name}");
    }
}

#[test]
fn shipped_networks_forward_are_the_devices_to_the_bit() {
    for name in ["ds_cnn", "autoencoder", "small28", "sequence", "resnet8"] {
        assert_the_bits(name, (*shipped::get(name).unwrap()).clone());
    }
}

#[test]
fn every_kind_of_node_forward_is_the_devices_to_the_bit() {
    for nodes in KINDS {
        let network = text::parse(&format!("input 3x9x9\npreprocess scale 1/255 mean 0.25 std 0.5\n{nodes}"));
        assert_the_bits(nodes, network.unwrap());
    }
}

#[test]
fn it_brings_back_what_a_disturbance_took() {
    for nodes in [
        "conv2d 6 3x3 pad 1 | batch_norm | relu as a\ndepthwise 3x3 pad 1 | batch_norm | relu\nconv2d 6 1x1 | add a | relu | max_pool2d 2x2\nglobal_avg_pool | linear 4",
        "conv2d 6 3x3 | batch_norm | tanh\navg_pool2d 3x3 | flatten | linear 12 | sigmoid\nlinear 192",
    ] {
        let network = text::parse(&format!("input 3x8x8\npreprocess scale 1/255 mean 0.5 std 0.25\n{nodes}")).unwrap();
        let network = Arc::new(network);
        let inputs = Inputs::noise(&network, 3);
        let (parameters, mut model, program) = disturbed(&network, &inputs);
        let wanted: Vec<Wanted> = program.steps.iter().map(wanted_of).collect();
        let train = Split { inputs, labels: Vec::new() };
        let request = FineTuning { epochs: 300, seed: 1 };
        let found = fine_tune(&mut model, &wanted, &parameters, (request, &train)).unwrap();
        let (before, after) = (found.agreement[0], found.agreement[found.kept]);
        assert!(after.divergence < 0.6 * before.divergence, "{nodes}: {before:?} {after:?}");
        assert!(found.layers.iter().all(|layer| layer.changed > 0), "{found:?}");
        model.file().unwrap();
    }
}

fn wanted_of(step: &Step) -> Wanted {
    let Work::Sums(sums) = &step.work else { return Wanted::default() };
    Wanted { most: sums.most, rows: sums.rows.iter().map(|row| row.wanted.clone()).collect() }
}

/// The report is of the tuned file, and dead channels leave it as they do without.
#[test]
fn a_tuned_network_is_measured_again() {
    let network = shipped::get("ds_cnn").unwrap();
    let parameters = kaiming_parameters(&network, 3, Variance::Biased);
    let inputs = Inputs::noise(&network, 3);
    let (steps, train) =
        (plan(&network.view(), &Goal::default()).unwrap(), Split { inputs: inputs.clone(), labels: Vec::new() });
    let ask = |fine_tuning| {
        let request =
            Request { parameters: &parameters, steps: &steps, inputs: &inputs, keep_dead: false, fine_tuning };
        quantize(&request).unwrap()
    };
    let (plain, none) = (ask(None), ask(Some((FineTuning { epochs: 0, seed: 0 }, &train))));
    assert_eq!((plain.file.to_bytes(), &plain.activations), (none.file.to_bytes(), &none.activations));
    let tuned = ask(Some((FineTuning { epochs: 40, seed: 0 }, &train)));
    let found = tuned.fine_tuned.unwrap();
    assert!(found.kept > 0 && tuned.activations != plain.activations, "{found:?}");
}

#[test]
fn a_mean_that_f32_cannot_sum_up_is_refused() {
    let network = Arc::new(text::parse("input 1x300x300\nglobal_avg_pool as wide | linear 3").unwrap());
    let parameters = kaiming_parameters(&network, 3, Variance::Biased);
    let inputs = Inputs::noise(&network, 3).first(2);
    let (steps, train) =
        (plan(&network.view(), &Goal::default()).unwrap(), Split { inputs: inputs.clone(), labels: Vec::new() });
    let fine_tuning = Some((FineTuning { epochs: 1, seed: 0 }, &train));
    let request = Request { parameters: &parameters, steps: &steps, inputs: &inputs, keep_dead: false, fine_tuning };
    let refused = quantize(&request).err().unwrap().to_string();
    assert!(refused.starts_with("--qat takes means of at most 65536 values, and "), "{refused}");
}
