//! The accuracies of a model on a test split: f32 with BatchNorm unfolded, f32 folded, and integers. All of it is computed
//! by bn-core, the code that runs on the device.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bn_core::Prediction;
use serde::Serialize;

use crate::data::{Dataset, Split};
use crate::device::builds::Build;
use crate::error::{Error, Result};
use crate::export::{Comparison, ExportRequest, Networks, Outputs, export_weights};
use crate::model::inference;
use crate::model::weights::AlignedBytes;
use crate::model_file::ModelFile;
use crate::train::checkpoint::Checkpoint;

/// What is to be evaluated.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The model's file, for messages.
    pub file: &'a Path,
    /// The model.
    pub model: &'a ModelFile,
    /// With a `weights.bin`: the checkpoint to compare with.
    pub checkpoint: Option<&'a Checkpoint>,
    /// Test images; all if there are fewer.
    pub images: Option<usize>,
    /// Whose integers.
    pub build: Build,
}

/// The keys of `evaluate --json`. What the file does not allow is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluateReport {
    /// The model's file.
    pub file: PathBuf,
    /// Name of the data set.
    pub dataset: String,
    /// Where the data was found.
    pub data_source: String,
    /// Test images that were classified.
    pub images: usize,
    /// The build of the firmware whose integers these are.
    pub build: Build,
    /// Share correct in f32, BatchNorm on its own.
    pub accuracy_f32_unfolded: Option<f64>,
    /// Share correct in f32, BatchNorm folded.
    pub accuracy_f32_folded: Option<f64>,
    /// Share correct in integers.
    pub accuracy_int8: Option<f64>,
    /// Share of images that integers and folded f32 classify differently.
    pub disagree_int8: Option<f64>,
    /// Largest difference of a logit between folded and unfolded f32.
    pub fold_difference: Option<f64>,
    /// Largest difference of a logit between integers and folded f32.
    pub int8_difference: Option<f64>,
    /// Why there are no integers, where the exporter refuses the model.
    pub int8_refused: Option<String>,
    /// Wall-clock seconds of calibration and classification.
    pub seconds: f64,
}

/// A report, and the logits of the file itself, ten an image: f32 unfolded of a checkpoint, dequantised of a `weights.bin`.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The figures.
    pub report: EvaluateReport,
    /// `[images][10]`.
    pub logits: Vec<[f32; 10]>,
}

/// Classifies the test split. The integers of a checkpoint are those that `export` would write.
///
/// # Errors
/// [`Error::BadArgument`] if the split has no image; [`Error::BadFile`] if a `weights.bin` does not parse.
pub fn evaluate(request: &Request<'_>, dataset: &Dataset) -> Result<Evaluated> {
    let started = Instant::now();
    let test = dataset.test.first(request.images.unwrap_or(usize::MAX));
    if test.is_empty() {
        return Err(Error::BadArgument {
            problem: format!("{} has no test images", dataset.source),
            remedy: "name other data with --data-dir".into(),
        });
    }
    let mut report = EvaluateReport {
        file: request.file.to_owned(),
        dataset: dataset.name.clone(),
        data_source: dataset.source.clone(),
        images: test.len(),
        build: request.build,
        accuracy_f32_unfolded: None,
        accuracy_f32_folded: None,
        accuracy_int8: None,
        disagree_int8: None,
        fold_difference: None,
        int8_difference: None,
        int8_refused: None,
        seconds: 0.0,
    };
    let logits = match (request.model, request.checkpoint) {
        (ModelFile::Checkpoint(checkpoint), _) => of_checkpoint(checkpoint, dataset, &test, &mut report)?,
        (ModelFile::Weights(bytes), Some(checkpoint)) => {
            let model = bytes.model(request.file)?;
            let outputs =
                Outputs::of_build(request.build, &Networks::new(&checkpoint.parameters), &model, &test.images);
            report.compare(&outputs.compare(&test.labels));
            dequantized(&outputs.int8, outputs.logit_unit)
        }
        (ModelFile::Weights(bytes), None) => {
            let model = bytes.model(request.file)?;
            let predictions = inference::int8_of(request.build, &model, &test.images);
            let classes: Vec<_> = predictions.iter().map(|p| p.class).collect();
            report.accuracy_int8 = Some(inference::accuracy(&classes, &test.labels));
            dequantized(&predictions, (-f64::from(model.logit_fraction_bits())).exp2())
        }
    };
    report.seconds = started.elapsed().as_secs_f64();
    Ok(Evaluated { report, logits })
}

/// A checkpoint in all three forms; in f32 alone where the exporter refuses it.
fn of_checkpoint(
    checkpoint: &Checkpoint,
    dataset: &Dataset,
    test: &Split,
    report: &mut EvaluateReport,
) -> Result<Vec<[f32; 10]>> {
    let nets = Networks::new(&checkpoint.parameters);
    let request = ExportRequest { calibration: &dataset.train, accuracy_limit: 100.0, fine_tuning: None };
    match export_weights(&checkpoint.parameters, &request) {
        Ok(weights) => {
            let bytes = AlignedBytes::new(&weights);
            let outputs = Outputs::of_build(report.build, &nets, &bytes.model(Path::new("weights.bin"))?, &test.images);
            report.compare(&outputs.compare(&test.labels));
            Ok(outputs.unfolded)
        }
        Err(refusal @ Error::Refused { .. }) => {
            let unfolded = inference::unfolded(&nets.unfolded, &test.images);
            let folded = inference::folded(&nets.folded, &test.images);
            let accuracy = |logits: &[_]| Some(inference::accuracy(&inference::classes(logits), &test.labels));
            report.accuracy_f32_unfolded = accuracy(&unfolded);
            report.accuracy_f32_folded = accuracy(&folded);
            report.int8_refused = Some(refusal.to_string());
            Ok(unfolded)
        }
        Err(other) => Err(other),
    }
}

impl EvaluateReport {
    fn compare(&mut self, comparison: &Comparison) {
        self.accuracy_f32_unfolded = Some(comparison.accuracy_f32_unfolded);
        self.accuracy_f32_folded = Some(comparison.accuracy_f32_folded);
        self.accuracy_int8 = Some(comparison.accuracy_int8);
        self.disagree_int8 = Some(comparison.disagree_int8);
        self.fold_difference = Some(comparison.fold_difference);
        self.int8_difference = Some(comparison.int8_difference);
    }
}

/// Logits as numbers; each is exact in f32 up to 24 bits.
fn dequantized(predictions: &[Prediction], unit: f64) -> Vec<[f32; 10]> {
    predictions.iter().map(|p| p.logits.map(|logit| (f64::from(logit) * unit) as f32)).collect()
}
