//! What a model says of a test split: f32 with BatchNorm unfolded, f32 folded, and, of LeNet, the integers that run on the
//! device. Of a network without classes the error of its reconstruction takes the place of accuracy.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bn_core::file::WeightsFile;
use bn_core::plan::Goal;
use serde::Serialize;

use crate::by_class::{ClassFigures, ClassMean, by_class, mean};
use crate::data::{Dataset, Split};
use crate::engine::Task;
use crate::error::{Error, Result};
use crate::export::{Channels, ExportRequest, export_weights};
use crate::model::fold::fold;
use crate::model::inference::{self, Outputs};
use crate::model::input::check;
use crate::model::parameters::Parameters;
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
    /// Share correct in f32, BatchNorm on its own.
    pub accuracy_f32_unfolded: Option<f64>,
    /// Share correct in f32, BatchNorm folded.
    pub accuracy_f32_folded: Option<f64>,
    /// Share correct in integers.
    pub accuracy_int8: Option<f64>,
    /// Share of images that integers and folded f32 classify differently.
    pub disagree_int8: Option<f64>,
    /// Mean squared error of the reconstruction in f32, BatchNorm on its own; of a network without classes.
    pub error_f32_unfolded: Option<f64>,
    /// Mean squared error of the reconstruction in f32, BatchNorm folded; of a network without classes.
    pub error_f32_folded: Option<f64>,
    /// Figures of each class, of the file itself: f32 unfolded of a checkpoint, integers of a `weights.bin`.
    pub classes: Vec<ClassFigures>,
    /// Their means.
    pub class_mean: Option<ClassMean>,
    /// Largest difference of an output between folded and unfolded f32.
    pub fold_difference: Option<f64>,
    /// Largest difference of an output between integers and folded f32.
    pub int8_difference: Option<f64>,
    /// Why there are no integers, where the exporter refuses the model.
    pub int8_refused: Option<String>,
    /// What to look at first where the model does far worse than one would keep.
    pub hint: Option<String>,
    /// Wall-clock seconds of calibration and classification.
    pub seconds: f64,
}

/// A report, and the outputs of the file itself: f32 unfolded of a checkpoint, dequantised of a `weights.bin`.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The figures.
    pub report: EvaluateReport,
    /// One row an input.
    pub outputs: Outputs,
}

/// Looks at the test split. The integers of a checkpoint are those that `export` would write.
///
/// # Errors
/// [`Error::BadArgument`] if the split has no example, or not the network's; [`Error::BadFile`] if a `weights.bin` does not
/// parse.
pub fn evaluate(request: &Request<'_>, dataset: &Dataset) -> Result<Evaluated> {
    let started = Instant::now();
    let test = dataset.test.first(request.images.unwrap_or(usize::MAX));
    if test.is_empty() {
        return Err(Error::BadArgument {
            problem: format!("{} has no test images", dataset.source),
            remedy: "name other data with --data-dir".into(),
        });
    }
    let network = request.model.network(request.file)?;
    let mut report = EvaluateReport {
        file: request.file.to_owned(),
        dataset: dataset.name.clone(),
        data_source: dataset.source.clone(),
        images: test.len(),
        accuracy_f32_unfolded: None,
        accuracy_f32_folded: None,
        accuracy_int8: None,
        disagree_int8: None,
        error_f32_unfolded: None,
        error_f32_folded: None,
        classes: Vec::new(),
        class_mean: None,
        fold_difference: None,
        int8_difference: None,
        int8_refused: None,
        hint: None,
        seconds: 0.0,
    };
    let outputs = match (request.model, request.checkpoint) {
        (ModelFile::Checkpoint(checkpoint), _) => {
            let forms = report.f32(&checkpoint.parameters, &test)?;
            let calibration = ExportRequest {
                calibration: &dataset.train,
                accuracy_limit: 100.0,
                fine_tuning: None,
                channels: Channels::Live,
                goal: Goal::default(),
            };
            report.hint(checkpoint);
            match export_weights(&checkpoint.parameters, &calibration) {
                Ok(file) => {
                    report.int8(&file, &test, Some(&forms.folded));
                }
                Err(refusal @ Error::Refused { .. }) => report.int8_refused = Some(refusal.to_string()),
                Err(other) => return Err(other),
            }
            forms.unfolded
        }
        (ModelFile::Weights(file), alongside) => {
            check(&network, &test)?;
            let forms = alongside.map(|checkpoint| report.f32(&checkpoint.parameters, &test)).transpose()?;
            report.int8(file, &test, forms.as_ref().map(|forms| &forms.folded))
        }
    };
    if Task::of(&network) == Task::Classes {
        report.classes = by_class(&network, &outputs.classes(), &test.labels);
        report.class_mean = mean(&report.classes);
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(Evaluated { report, outputs })
}

/// Both forms in f32.
struct Forms {
    unfolded: Outputs,
    folded: Outputs,
}

impl EvaluateReport {
    /// Computes both forms in f32, and writes down how good they are.
    fn f32(&mut self, parameters: &Parameters, test: &Split) -> Result<Forms> {
        let network = &parameters.network;
        check(network, test)?;
        let forms = Forms {
            unfolded: inference::outputs(parameters, &test.inputs),
            folded: inference::folded_outputs(&fold(parameters), &test.inputs),
        };
        if Task::of(network) == Task::Reconstruction {
            let error = |outputs| Some(inference::reconstruction_error(network, outputs, &test.inputs));
            (self.error_f32_unfolded, self.error_f32_folded) = (error(&forms.unfolded), error(&forms.folded));
        } else {
            let accuracy = |outputs: &Outputs| Some(inference::accuracy(&outputs.classes(), &test.labels));
            (self.accuracy_f32_unfolded, self.accuracy_f32_folded) =
                (accuracy(&forms.unfolded), accuracy(&forms.folded));
        }
        self.fold_difference = Some(forms.folded.largest_difference(&forms.unfolded));
        Ok(forms)
    }

    /// Runs the integers, and writes down how good they are, and how near to f32 folded. Returns their dequantised outputs.
    fn int8(&mut self, file: &WeightsFile, test: &Split, folded: Option<&Outputs>) -> Outputs {
        let predictions = inference::int8(file, &test.inputs);
        let classes: Vec<_> = predictions.iter().map(|p| p.class).collect();
        let outputs = inference::dequantized(file, &predictions);
        let is_classified = Task::of_description(&file.network()) == Task::Classes;
        self.accuracy_int8 = is_classified.then(|| inference::accuracy(&classes, &test.labels));
        if let Some(folded) = folded {
            self.disagree_int8 = is_classified.then(|| inference::disagreement(&classes, &folded.classes()));
            self.int8_difference = Some(outputs.largest_difference(folded));
        }
        outputs
    }

    /// An imported model that does little better than guessing was most likely fed in another way.
    fn hint(&mut self, checkpoint: &Checkpoint) {
        let (network, is_trained_here) = (&checkpoint.parameters.network, checkpoint.training().is_some());
        let poor = 0.5 * (1.0 + 1.0 / network.output().len() as f64);
        if !is_trained_here && self.accuracy_f32_unfolded.is_some_and(|accuracy| accuracy < poor) {
            self.hint = Some(format!(
                "it takes its input with preprocessing {}; if it was trained with another, `import` it again with --scale, --mean and --std",
                network.preprocessing().describe()
            ));
        }
    }
}
