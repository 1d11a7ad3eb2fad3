//! Which models are exported, and which are refused.

use std::sync::Arc;

use bn_core::Image;
use bn_core::plan::Goal;

use super::*;
use crate::data::Inputs;
use crate::engine::init::kaiming_parameters;
use crate::model::parameters::Variance;
use crate::network::text::parse;

/// A network with statistics that belong to it, roughly, and a split whose labels it gets right.
fn model() -> (Parameters, Split) {
    let mut parameters = Parameters::zero(&Network::lenet(), Variance::Biased);
    for (seed, tensor) in parameters.tensors.iter_mut().enumerate() {
        for (i, value) in tensor.iter_mut().enumerate() {
            *value += (((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.0 - 1.0) * 0.2;
        }
    }
    let image =
        |seed: usize| std::array::from_fn(|y| std::array::from_fn(|x| ((y * 31 + x * 17) * (seed + 3) % 256) as u8));
    let images: Vec<Image> = (0..64).map(image).collect();
    let logits = inference::unfolded(&to_lenet(&parameters).unwrap(), &images);
    let labels = inference::classes(&logits).into_iter().map(|class| class as u8).collect();
    (parameters, Split::of_images(images, labels))
}

fn refusal(change: impl FnOnce(&mut Parameters)) -> String {
    let (mut parameters, split) = model();
    change(&mut parameters);
    let error = export(
        &parameters,
        &ExportRequest {
            calibration: &split,
            accuracy_limit: 1.0,
            fine_tuning: None,
            channels: Channels::Live,
            goal: Goal::default(),
        },
    )
    .unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(!text.contains('\n') && text.contains("; "), "{text}");
    text
}

#[test]
fn a_good_model_exports_and_parses() {
    let (parameters, split) = model();
    let exported = export(
        &parameters,
        &ExportRequest {
            calibration: &split,
            accuracy_limit: 5.0,
            fine_tuning: None,
            channels: Channels::Live,
            goal: Goal::default(),
        },
    )
    .unwrap();
    assert_eq!(exported.weights.steps().len(), 5);
    assert_eq!(exported.report.calibration.accuracy_f32_folded, Some(1.0));
    assert!(exported.report.calibration.fold_difference < 1e-4);
}

#[test]
fn each_reason_to_refuse_is_named() {
    let untouched = refusal(|p| {
        p.get_mut("5.running_mean").fill(0.0);
        p.get_mut("5.running_var").fill(1.0);
    });
    assert!(untouched.contains("5 were never updated"), "{untouched}");
    assert!(refusal(|p| p.get_mut("10.running_var")[3] = -1e-9).contains("10.running_var is negative"));
    assert!(refusal(|p| p.get_mut("13.running_mean")[3] = f64::NAN).contains("not finite"));
    assert!(refusal(|p| p.get_mut("9.weight")[3] = f64::INFINITY).contains("not finite"));
    assert!(refusal(|p| p.get_mut("12.weight")[3] = 1e9).contains("too large"));
}

#[test]
fn folding_that_f32_cannot_carry_is_refused() {
    // A mean a million deviations away: the unfolded subtraction cancels, the folded bias cannot.
    let text = refusal(|p| {
        p.get_mut("0.bias").fill(3e6);
        p.get_mut("1.running_mean").fill(3e6);
    });
    assert!(text.contains("folding changes a logit"), "{text}");
}

#[test]
fn a_loss_of_accuracy_beyond_the_limit_is_refused() {
    let (parameters, mut split) = model();
    split.labels = split.labels.iter().map(|l| (l + 1) % 10).collect();
    // Nothing to lose at accuracy 0; a negative limit asks for a gain that cannot be.
    let request = ExportRequest {
        calibration: &split,
        accuracy_limit: -50.0,
        fine_tuning: None,
        channels: Channels::Live,
        goal: Goal::default(),
    };
    assert!(export(&parameters, &request).unwrap_err().to_string().contains("points of accuracy"));
}

/// An untrained network of two convolutions that two families compute, exported within budgets.
fn within(goal: Goal, channels: Channels<'_>) -> Result<Exported> {
    let text = "network two\ninput 3x12x12\npreprocess scale 1/255\n\nconv2d 16 3x3 pad 1 | batch_norm | relu\n\
                conv2d 16 3x3 pad 1 | relu\nglobal_avg_pool\nflatten | linear 4\n";
    let network = Arc::new(parse(text).unwrap());
    let parameters = kaiming_parameters(&network, 1, Variance::Biased);
    let calibration = Split { inputs: Inputs::noise(&network, 1), labels: Vec::new() };
    let calibration = calibration.first(16);
    export(
        &parameters,
        &ExportRequest { calibration: &calibration, accuracy_limit: 100.0, fine_tuning: None, channels, goal },
    )
}

#[test]
fn a_file_keeps_to_its_budgets_or_is_refused_with_the_least() {
    for channels in [Channels::Live, Channels::All] {
        let bytes = |exported: &Exported| {
            [exported.weights.model_bytes().len(), exported.weights.arena_words() * bn_core::plan::WORD]
        };
        let fastest = bytes(&within(Goal::default(), channels).unwrap());
        let flash = within(Goal { flash: Some(fastest[0] - 1), ..Goal::default() }, channels).unwrap();
        assert!(bytes(&flash)[0] < fastest[0], "{fastest:?}");
        // As much as the fastest takes is enough for it.
        let same = Goal { flash: Some(fastest[0]), ram: Some(fastest[1]), ..Goal::default() };
        assert_eq!(bytes(&within(same, channels).unwrap()), fastest);
        for (goal, words) in [
            (Goal { flash: Some(1000), ..Goal::default() }, " bytes of flash, "),
            (Goal { ram: Some(1000), ..Goal::default() }, " bytes of RAM, for layer "),
            (
                Goal { ram: Some(1000), flash: Some(100_000), ..Goal::default() },
                " bytes of RAM within --flash 100000, for layer ",
            ),
        ] {
            let text = within(goal, channels).unwrap_err().to_string();
            let least = text.strip_prefix("refused: two takes at least ").unwrap_or_else(|| panic!("{text}"));
            assert!(least.contains(words) && least.contains(" is 1000; give it more"), "{text}");
            // What it says is enough.
            let least = least.split(' ').next().and_then(|bytes| bytes.parse().ok());
            let enough =
                Goal { flash: goal.flash.and(least).filter(|_| goal.ram.is_none()), ram: goal.ram.and(least), ..goal };
            within(enough, channels).unwrap();
        }
    }
}
