//! From a trained model to a `weights.bin` that is proved to say the same: check the statistics, fold, calibrate,
//! quantise, re-read with the device's parser, compare. A file that would lie is refused with the reason.

use bn_core::file::WeightsFile;
use bn_core::network::Role;
use bn_core::plan::{Family, Goal, Step, plan_by};
use bn_core::{CLASSES, FoldedLeNet, LeNet};
use serde::Serialize;

use crate::data::{Inputs, Split};
use crate::engine::Task;
use crate::error::{Error, Result};
use crate::model::fold::fold;
use crate::model::inference::{self, Outputs};
use crate::model::input;
use crate::model::lenet::to_lenet;
use crate::model::parameters::Parameters;
use crate::network::Network;
use crate::plan;
use crate::quantize::fine_tune::lenet::fine_tune;
use crate::quantize::fine_tune::{FineTuned, FineTuning};
use crate::quantize::general::dead::DeadChannels;
use crate::quantize::general::{self, General};
use crate::quantize::measure::{Activations, measure};
use crate::quantize::{Calibration, LayerReport, Quantized, quantize};

/// Folding reorders f32 arithmetic: `|folded - unfolded| <= FOLD_ATOL + FOLD_RTOL * largest` for every output, `largest` being that
/// example's largest magnitude.
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
    /// What becomes of channels that have one integer value for every input.
    pub channels: Channels<'a>,
    /// What its plan is made for; of no use where another file's plan is kept.
    pub goal: Goal,
}

/// Which channels a file has.
#[derive(Clone, Copy, Debug)]
pub enum Channels<'a> {
    /// Those that some input moves.
    Live,
    /// All.
    All,
    /// Those of another file, whose plan is kept: a device that runs it takes the new one.
    Of(&'a WeightsFile),
}

/// How the three forms of a model compare on some examples. Shares are of a network with classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Examples.
    pub images: usize,
    /// Share correct in f32, BatchNorm on its own.
    pub accuracy_f32_unfolded: Option<f64>,
    /// Share correct in f32, BatchNorm folded.
    pub accuracy_f32_folded: Option<f64>,
    /// Share correct in integers.
    pub accuracy_int8: Option<f64>,
    /// Share of examples that integers and folded f32 classify differently.
    pub disagree_int8: Option<f64>,
    /// Largest difference of a logit between unfolded and folded f32.
    pub fold_difference: f64,
    /// Largest difference of a logit between integers and folded f32.
    pub int8_difference: f64,
    /// Sum of the squared differences between integers and folded f32, as a share of the sum of folded f32's squares.
    pub int8_relative_error: f64,
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
    pub activations: Vec<Activations>,
    /// Channels with one integer value for every input, and how many of them are gone; nothing of LeNet, whose kernels have their sizes.
    pub dead_channels: Option<DeadChannels>,
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
    /// Rounds to f32 and folds; nothing for any network but LeNet.
    pub fn of(parameters: &Parameters) -> Option<Self> {
        let unfolded = to_lenet(parameters)?;
        Some(Self { folded: Box::new(unfolded.fold()), unfolded })
    }

    /// As [`of`](Self::of).
    ///
    /// # Errors
    /// [`Error::Refused`] for any network but LeNet.
    pub fn new(parameters: &Parameters) -> Result<Self> {
        Self::of(parameters).ok_or_else(|| {
            refused(
                format!("the firmware's f32 network is LeNet, and the network is {}", parameters.network.name()),
                "leave out the checkpoint",
            )
        })
    }
}

/// Makes and proves a `weights.bin` in memory. [`weights::write`](crate::model::weights::write) puts it on disk.
///
/// # Errors
/// [`Error::Refused`] with the reason when the statistics cannot be folded, a number does not fit its integer, folded and
/// unfolded f32 differ beyond [`FOLD_ATOL`] and [`FOLD_RTOL`], or the integers lose more accuracy than allowed.
pub fn export(parameters: &Parameters, request: &ExportRequest<'_>) -> Result<Exported> {
    let sample = request.calibration.first(CALIBRATION_IMAGES);
    let Proved { made, comparison } = prove(parameters, &sample, request)?;
    let Made { file, layers, fine_tuned, activations, dead } = made;
    let report = ExportReport {
        bytes: file.to_bytes().len(),
        checksum: file.checksum(),
        logit_unit: file.output_scale().scale.into(),
        activations,
        dead_channels: dead,
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
    let sample = request.calibration.first(CALIBRATION_IMAGES);
    Ok(prove(parameters, &sample, request)?.made.file)
}

/// Integers, and what became of them.
struct Made {
    file: WeightsFile,
    layers: Vec<LayerReport>,
    activations: Vec<Activations>,
    fine_tuned: Option<FineTuned>,
    dead: Option<DeadChannels>,
}

/// A file that passed every check.
struct Proved {
    made: Made,
    comparison: Comparison,
}

/// Quantises with the examples of `sample` and proves the file on them.
fn prove(parameters: &Parameters, sample: &Split, request: &ExportRequest<'_>) -> Result<Proved> {
    check_statistics(parameters)?;
    if sample.labels.is_empty() {
        input::check_shape(&parameters.network, &sample.inputs)?;
    } else {
        input::check(&parameters.network, sample)?;
    }
    if sample.is_empty() {
        return Err(refused("there is no example to calibrate with".into(), "give training examples"));
    }
    let made = match Networks::of(parameters) {
        Some(nets) if sample.inputs.are_images() => {
            // It has one plan, which fits or not.
            plan::steps(&parameters.network, &request.goal)?;
            of_lenet(parameters, &nets, sample, request)?
        }
        Some(_) => {
            let problem = "LeNet's integers are calibrated on pixels, u8 1x28x28, and the data is not";
            return Err(refused(problem.into(), "give pixels as u8, or take the model in f32"));
        }
        None => of_any(parameters, sample, request)?,
    };
    if let Channels::Of(old) = request.channels {
        plan::check_same(&made.file, old)?;
    }
    plan::check_budgets(&parameters.network, &made.file, &request.goal)?;
    let forms = Forms::new(parameters, &sample.inputs);
    forms.check_fold()?;
    let comparison = forms.compare(&made.file, sample, &parameters.network);
    let lost =
        100.0 * comparison.accuracy_f32_folded.zip(comparison.accuracy_int8).map_or(0.0, |(f32, int8)| f32 - int8);
    if lost > request.accuracy_limit {
        return Err(refused(
            format!("the integers lose {lost:.2} points of accuracy, more than {:.2}", request.accuracy_limit),
            "train longer or with a smaller --lr, or allow it with --limit",
        ));
    }
    Ok(Proved { made, comparison })
}

/// LeNet's integers, whose families have a form of their own.
fn of_lenet(parameters: &Parameters, nets: &Networks, sample: &Split, request: &ExportRequest<'_>) -> Result<Made> {
    let write = |quantized: &Quantized| quantized.write(&parameters.network).map_err(Error::untrusted);
    let (mut quantized, layers) = quantize(&nets.folded, &Calibration::new(&nets.folded, sample.images()))?;
    let mut fine_tuned = None;
    if let Some(fine_tuning) = request.fine_tuning {
        write(&quantized)?;
        let model = (parameters, &*nets.folded);
        let (tuned, found) = fine_tune(&quantized, model, request.calibration, fine_tuning)?;
        (quantized, fine_tuned) = (tuned, Some(found));
    }
    let file = write(&quantized)?;
    let activations = measure(&nets.unfolded, &nets.folded, &file, sample.images());
    Ok(Made { file, layers, activations, fine_tuned, dead: None })
}

/// Any other network's.
fn of_any(parameters: &Parameters, sample: &Split, request: &ExportRequest<'_>) -> Result<Made> {
    let network = &parameters.network;
    let tuned = request.fine_tuning.map(|fine_tuning| (fine_tuning, request.calibration));
    let quantize = |steps: &[Step], keep_dead, fine_tuning| {
        general::quantize(&general::Request { parameters, steps, inputs: &sample.inputs, keep_dead, fine_tuning })
    };
    let General { file, layers, activations, fine_tuned, dead } = match request.channels {
        Channels::Of(old) if old.network().topology.digest() == network.topology().digest() => {
            quantize(&old.steps().iter().map(|step| step.step).collect::<Vec<_>>(), true, tuned)?
        }
        Channels::All => quantize(&plan::steps(network, &request.goal)?, true, tuned)?,
        Channels::Of(_) | Channels::Live => {
            let fastest = plan::steps(network, &Goal { core: request.goal.core, ..Goal::default() })?;
            let made = quantize(&fastest, false, None)?;
            match by_plan_of_the_rest(network, &made.file, &request.goal)? {
                Some(steps) => quantize(&steps, false, tuned)?,
                None if tuned.is_some() => quantize(&fastest, false, tuned)?,
                None => made,
            }
        }
    };
    Ok(Made { file, layers, activations, fine_tuned, dead: Some(dead) })
}

/// A plan of a network by the families that are best for what its dead channels leave of it, where they are others than those of the
/// file. Budgets are for what is left too.
fn by_plan_of_the_rest(network: &Network, file: &WeightsFile, goal: &Goal) -> Result<Option<Vec<Step>>> {
    let rest = Network::of_weights(file).map_err(|fault| refused(fault.to_string(), "export it with --keep-dead"))?;
    let families: Vec<Family> =
        plan::steps(&rest, goal)?.iter().filter_map(|step| Family::of_number(step.family)).collect();
    if families.iter().eq(file.steps().iter().map(|step| &step.family)) {
        return Ok(None);
    }
    // A family that does not take all channels stays out: then the plan is the one there is.
    Ok(plan_by(&network.topology(), &families).ok())
}

/// Outputs of a model's two forms in f32, one row an example.
struct Forms {
    /// BatchNorm on its own.
    unfolded: Outputs,
    /// BatchNorm folded.
    folded: Outputs,
}

impl Forms {
    /// Runs both: LeNet by code of its own.
    fn new(parameters: &Parameters, inputs: &Inputs) -> Self {
        match Networks::of(parameters) {
            Some(nets) if inputs.are_images() => {
                let rows = |rows: Vec<[f32; CLASSES]>| Outputs::new(CLASSES, rows.as_flattened().to_vec());
                let unfolded = rows(inference::unfolded(&nets.unfolded, inputs.images()));
                Self { unfolded, folded: rows(inference::folded(&nets.folded, inputs.images())) }
            }
            _ => {
                let folded = inference::folded_outputs(&fold(parameters), inputs);
                Self { unfolded: inference::outputs(parameters, inputs), folded }
            }
        }
    }

    /// What all forms say, against the labels and each other.
    fn compare(&self, file: &WeightsFile, sample: &Split, network: &Network) -> Comparison {
        let predictions = inference::int8(file, &sample.inputs);
        let int8: Vec<usize> = predictions.iter().map(|p| p.class).collect();
        let dequantized = inference::dequantized(file, &predictions);
        let is_classified = Task::of(network) == Task::Classes && !sample.labels.is_empty();
        let accuracy = |classes: &[usize]| is_classified.then(|| inference::accuracy(classes, &sample.labels));
        let square = |values: &[f32]| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        let errors = dequantized.values().iter().zip(self.folded.values()).map(|(a, b)| a - b).collect::<Vec<_>>();
        Comparison {
            images: sample.len(),
            accuracy_f32_unfolded: accuracy(&self.unfolded.classes()),
            accuracy_f32_folded: accuracy(&self.folded.classes()),
            accuracy_int8: accuracy(&int8),
            disagree_int8: is_classified.then(|| inference::disagreement(&int8, &self.folded.classes())),
            fold_difference: self.folded.largest_difference(&self.unfolded),
            int8_difference: dequantized.largest_difference(&self.folded),
            int8_relative_error: square(&errors) / square(self.folded.values()).max(f64::MIN_POSITIVE),
        }
    }

    /// Folding may reorder roundings, no more.
    fn check_fold(&self) -> Result<()> {
        // Asked this way round, a NaN does not agree either.
        let agree = |a: f64, b: f64, largest: f64| (a - b).abs() <= FOLD_ATOL + FOLD_RTOL * largest;
        let pairs = self.folded.rows().zip(self.unfolded.rows()).flat_map(|(a, b)| {
            let largest = b.iter().fold(0.0_f64, |max, &v| max.max(f64::from(v).abs()));
            a.iter().zip(b).map(move |(&a, &b)| (f64::from(a), f64::from(b), largest))
        });
        match { pairs }.find(|&(a, b, largest)| !agree(a, b, largest)) {
            None => Ok(()),
            Some((folded, unfolded, _)) => Err(refused(
                format!("folding changes a logit from {unfolded:.6} to {folded:.6}, more than rounding explains"),
                "the statistics are too extreme for f32; train again with a smaller --lr",
            )),
        }
    }
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

fn refused(problem: String, remedy: &str) -> Error {
    Error::Refused { problem, remedy: remedy.into() }
}

#[cfg(test)]
mod tests;
