//! From a trained model to a `weights.bin` that is proved to say the same: check the statistics, fold, calibrate,
//! quantise, re-read with the device's parser, compare. A file that would lie is refused with the reason.

use bn_core::file::WeightsFile;
use bn_core::format::FormatError;
use bn_core::network::Role;
use bn_core::{CLASSES, FoldedLeNet, Image, LeNet};
use serde::Serialize;

use crate::data::Split;
use crate::error::{Error, Result};
use crate::model::inference::{self, Prediction};
use crate::model::lenet::to_lenet;
use crate::model::parameters::Parameters;
use crate::quantize::fine_tune::{FineTuned, FineTuning, fine_tune};
use crate::quantize::measure::{Activations, measure};
use crate::quantize::{Calibration, LayerReport, Quantized, quantize};

/// Folding reorders f32 arithmetic: `|folded - unfolded| <= FOLD_ATOL + FOLD_RTOL * |unfolded|` for every logit.
pub const FOLD_ATOL: f64 = 1e-3;
/// See [`FOLD_ATOL`].
pub const FOLD_RTOL: f64 = 1e-4;
/// Training images that calibrate the quantiser and prove the file.
pub const CALIBRATION_IMAGES: usize = 5_000;
/// Points of accuracy that the integers may lose unless the user says otherwise.
pub const DEFAULT_LIMIT: f64 = 1.0;

/// What the exported file is proved against.
#[derive(Clone, Copy, Debug)]
pub struct ExportRequest<'a> {
    /// Training examples; at most the first [`CALIBRATION_IMAGES`] are used.
    pub calibration: &'a Split,
    /// Points of accuracy (percent) that the integers may lose on them.
    pub accuracy_limit: f64,
    /// Quantisation-aware fine-tuning on all of `calibration`, at least two examples.
    pub fine_tuning: Option<FineTuning>,
}

/// How the three forms of a model compare on some examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Examples.
    pub images: usize,
    /// Share correct in f32, BatchNorm on its own.
    pub accuracy_f32_unfolded: f64,
    /// Share correct in f32, BatchNorm folded.
    pub accuracy_f32_folded: f64,
    /// Share correct in integers.
    pub accuracy_int8: f64,
    /// Share of examples that integers and folded f32 classify differently.
    pub disagree_int8: f64,
    /// Largest difference of a logit between unfolded and folded f32.
    pub fold_difference: f64,
    /// Largest difference of a logit between integers and folded f32.
    pub int8_difference: f64,
}

/// What the exporter did and found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExportReport {
    /// Length of the file.
    pub bytes: usize,
    /// Checksum of the file: which model this is.
    pub checksum: u32,
    /// A logit is its integer times this.
    pub logit_unit: f64,
    /// The quantiser's table: what became of the weights.
    pub layers: Vec<LayerReport>,
    /// What fine-tuning did, where that was asked for; the weights of `layers` are those before it.
    pub fine_tuned: Option<FineTuned>,
    /// And of the activations, on the calibration images; in the order of the layers.
    pub activations: [Activations; 5],
    /// On the calibration images, of the file as it was re-read.
    pub calibration: Comparison,
}

/// A file that passed every check, and what was found.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The `weights.bin`.
    pub weights: WeightsFile,
    /// What to tell the user.
    pub report: ExportReport,
}

/// The unfolded and the folded network of one model, boxed: they are large.
#[derive(Clone, Debug)]
pub struct Networks {
    /// As trained.
    pub unfolded: Box<LeNet>,
    /// As shipped, before quantising.
    pub folded: Box<FoldedLeNet>,
}

impl Networks {
    /// Rounds to f32 and folds.
    ///
    /// # Errors
    /// [`Error::Refused`] for a network that has no integers yet: any but LeNet.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        let unfolded = to_lenet(parameters).ok_or_else(|| {
            refused(
                format!("integers and the device serve LeNet alone, and the network is {}", parameters.network.name()),
                "take it in f32: evaluate, predict, report, export to .onnx or .safetensors",
            )
        })?;
        Ok(Self { folded: Box::new(unfolded.fold()), unfolded })
    }
}

/// Makes and proves a `weights.bin` in memory. [`weights::write`](crate::model::weights::write) puts it on disk.
///
/// # Errors
/// [`Error::Refused`] with the reason when the statistics cannot be folded, a number does not fit its integer, folded and
/// unfolded f32 differ beyond [`FOLD_ATOL`] and [`FOLD_RTOL`], or the integers lose more accuracy than allowed.
pub fn export(parameters: &Parameters, request: &ExportRequest<'_>) -> Result<Exported> {
    check_statistics(parameters)?;
    let nets = Networks::new(parameters)?;
    let sample = request.calibration.first(CALIBRATION_IMAGES);
    let Proved { file, layers, fine_tuned, comparison } = prove(parameters, &nets, &sample, request)?;
    let report = ExportReport {
        bytes: file.to_bytes().len(),
        checksum: file.checksum(),
        logit_unit: file.output_scale().scale.into(),
        activations: measure(&nets.unfolded, &nets.folded, &file, sample.images()),
        layers,
        fine_tuned,
        calibration: comparison,
    };
    Ok(Exported { weights: file, report })
}

/// The `weights.bin` that [`export`] makes and proves, without its report.
///
/// # Errors
/// As [`export`].
pub fn export_weights(parameters: &Parameters, request: &ExportRequest<'_>) -> Result<WeightsFile> {
    check_statistics(parameters)?;
    let sample = request.calibration.first(CALIBRATION_IMAGES);
    Ok(prove(parameters, &Networks::new(parameters)?, &sample, request)?.file)
}

/// A file that passed every check.
struct Proved {
    file: WeightsFile,
    layers: Vec<LayerReport>,
    fine_tuned: Option<FineTuned>,
    comparison: Comparison,
}

/// Quantises with the images of `sample` and proves the file on them.
fn prove(parameters: &Parameters, nets: &Networks, sample: &Split, request: &ExportRequest<'_>) -> Result<Proved> {
    if !sample.inputs.are_images() {
        let problem = "integers are calibrated on pixels, u8 1x28x28, and the data is not";
        return Err(refused(problem.into(), "give pixels as u8, or take the model in f32"));
    }
    let write = |quantized: &Quantized| quantized.write(&parameters.network).map_err(untrusted);
    let (mut quantized, layers) = quantize(&nets.folded, &Calibration::new(&nets.folded, sample.images()))?;
    let mut fine_tuned = None;
    if let Some(fine_tuning) = request.fine_tuning {
        write(&quantized)?;
        let (tuned, found) = fine_tune(&quantized, &nets.folded, request.calibration, fine_tuning);
        (quantized, fine_tuned) = (tuned, Some(found));
    }
    let file = write(&quantized)?;
    let outputs = Outputs::new(nets, &file, sample.images());
    outputs.check_fold()?;
    let comparison = outputs.compare(&sample.labels);
    let lost = 100.0 * (comparison.accuracy_f32_folded - comparison.accuracy_int8);
    if lost > request.accuracy_limit {
        return Err(refused(
            format!("the integers lose {lost:.2} points of accuracy, more than {:.2}", request.accuracy_limit),
            "train longer or with a smaller --lr, or allow it with --limit",
        ));
    }
    Ok(Proved { file, layers, fine_tuned, comparison })
}

/// Logits of a model's three forms, one row an example.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// f32, BatchNorm on its own.
    pub unfolded: Vec<[f32; CLASSES]>,
    /// f32, BatchNorm folded.
    pub folded: Vec<[f32; CLASSES]>,
    /// Integers, in the model's unit.
    pub int8: Vec<Prediction>,
    /// Value of 1 in an integer logit.
    pub logit_unit: f64,
}

impl Outputs {
    /// Runs all three forms over some images.
    pub fn new(nets: &Networks, file: &WeightsFile, images: &[Image]) -> Self {
        Self {
            unfolded: inference::unfolded(&nets.unfolded, images),
            folded: inference::folded(&nets.folded, images),
            int8: inference::int8(file, images),
            logit_unit: file.output_scale().scale.into(),
        }
    }

    /// What the three forms say, against the labels and each other.
    pub fn compare(&self, labels: &[u8]) -> Comparison {
        let unfolded = inference::classes(&self.unfolded);
        let folded = inference::classes(&self.folded);
        let int8: Vec<usize> = self.int8.iter().map(|p| p.class).collect();
        let dequantized = self.int8.iter().flat_map(|p| &p.logits).map(|&logit| f64::from(logit) * self.logit_unit);
        Comparison {
            images: labels.len(),
            accuracy_f32_unfolded: inference::accuracy(&unfolded, labels),
            accuracy_f32_folded: inference::accuracy(&folded, labels),
            accuracy_int8: inference::accuracy(&int8, labels),
            disagree_int8: inference::disagreement(&int8, &folded),
            fold_difference: largest(self.fold_pairs().map(|(folded, unfolded)| (folded - unfolded).abs())),
            int8_difference: largest(
                dequantized.zip(self.fold_pairs()).map(|(int8, (folded, _))| (int8 - folded).abs()),
            ),
        }
    }

    /// Each logit folded and unfolded.
    fn fold_pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        let (folded, unfolded) = (self.folded.as_flattened(), self.unfolded.as_flattened());
        folded.iter().map(|&v| f64::from(v)).zip(unfolded.iter().map(|&v| f64::from(v)))
    }

    /// Folding may reorder roundings, no more.
    fn check_fold(&self) -> Result<()> {
        // Asked this way round, a NaN does not agree either.
        let agree = |(a, b): (f64, f64)| (a - b).abs() <= FOLD_ATOL + FOLD_RTOL * b.abs();
        match self.fold_pairs().find(|&pair| !agree(pair)) {
            None => Ok(()),
            Some((folded, unfolded)) => Err(refused(
                format!("folding changes a logit from {unfolded:.6} to {folded:.6}, more than rounding explains"),
                "the statistics are too extreme for f32; train again with a smaller --lr",
            )),
        }
    }
}

/// The exporter's own output as a device reads it: a refusal here is a number that does not fit.
fn untrusted(error: FormatError) -> Error {
    refused(format!("the device's parser says: {error}"), "train again with a smaller --lr or another --seed")
}

/// A model can be folded only if its statistics were gathered and are numbers.
pub(crate) fn check_statistics(parameters: &Parameters) -> Result<()> {
    check_finite(parameters)?;
    let network = &parameters.network;
    for (i, parameter) in network.parameters().iter().enumerate().filter(|(_, p)| p.role == Role::RunningVar) {
        let (means, variances) = (&parameters.tensors[i - 1], &parameters.tensors[i]);
        if variances.iter().any(|&v| v < 0.0) {
            let problem = format!("{} is negative", network.tensor_name(parameter));
            return Err(refused(problem, "the checkpoint is damaged; train again"));
        }
        if means.iter().all(|&m| m == 0.0) && variances.iter().all(|&v| v == 1.0) {
            return Err(refused(
                format!("the moving statistics of {} were never updated", network.module(parameter.node)),
                "train the model, or import one that was trained",
            ));
        }
    }
    Ok(())
}

/// Every value is a number.
pub(crate) fn check_finite(parameters: &Parameters) -> Result<()> {
    let mut tensors = parameters.network.parameters().iter().zip(&parameters.tensors);
    match tensors.find(|(_, values)| !values.iter().all(|v| v.is_finite())) {
        None => Ok(()),
        Some((parameter, _)) => {
            let name = parameters.network.tensor_name(parameter);
            Err(refused(format!("{name} holds a value that is not finite"), "train again with a smaller --lr"))
        }
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

fn refused(problem: String, remedy: &str) -> Error {
    Error::Refused { problem, remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parameters::Variance;
    use crate::network::shipped;

    /// A network with statistics that belong to it, roughly, and a split whose labels it gets right.
    fn model() -> (Parameters, Split) {
        let mut parameters = Parameters::zero(&crate::network::Network::lenet(), Variance::Biased);
        for (seed, tensor) in parameters.tensors.iter_mut().enumerate() {
            for (i, value) in tensor.iter_mut().enumerate() {
                *value += (((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.0 - 1.0) * 0.2;
            }
        }
        let image = |seed: usize| {
            std::array::from_fn(|y| std::array::from_fn(|x| ((y * 31 + x * 17) * (seed + 3) % 256) as u8))
        };
        let images: Vec<Image> = (0..64).map(image).collect();
        let logits = inference::unfolded(&to_lenet(&parameters).unwrap(), &images);
        let labels = inference::classes(&logits).into_iter().map(|class| class as u8).collect();
        (parameters, Split::of_images(images, labels))
    }

    fn refusal(change: impl FnOnce(&mut Parameters)) -> String {
        let (mut parameters, split) = model();
        change(&mut parameters);
        let error = export(&parameters, &ExportRequest { calibration: &split, accuracy_limit: 1.0, fine_tuning: None })
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
        let exported =
            export(&parameters, &ExportRequest { calibration: &split, accuracy_limit: 5.0, fine_tuning: None })
                .unwrap();
        assert_eq!(exported.weights.steps().len(), 5);
        assert_eq!(exported.report.calibration.accuracy_f32_folded, 1.0);
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
        let small = Parameters::zero(&shipped::get("small28").unwrap(), Variance::Biased);
        let text = Networks::new(&small).unwrap_err().to_string();
        assert!(text.contains("the device serve LeNet alone, and the network is small28"), "{text}");
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
        let request = ExportRequest { calibration: &split, accuracy_limit: -50.0, fine_tuning: None };
        assert!(export(&parameters, &request).unwrap_err().to_string().contains("points of accuracy"));
    }
}
