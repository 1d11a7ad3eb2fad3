//! Everything that a report says, computed: the forms of the model on the test split, and the emulated device.

use bn_core::plan::Goal;

use crate::by_class::{ClassFigures, by_class, class_name};
use crate::data::{Dataset, Split};
use crate::device::emulate::{EmulateReport, EmulateRequest, Machine, emulate};
use crate::device::firmware::Build;
use crate::engine::Task;
use crate::error::{Error, Result};
use crate::export::{Channels, ExportReport, ExportRequest, export};
use crate::files;
use crate::model::fold::fold;
use crate::model::inference::{self, Outputs};
use crate::model::input::check;
use crate::numbers::{percent, softmax};
use crate::quantize::fine_tune::FineTuning;
use crate::train::checkpoint::Checkpoint;
use crate::train::metrics::EpochMetrics;
use crate::train::run_dir::RunDir;

/// Mistakes that are shown.
const MISTAKES: usize = 24;

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct ReportRequest<'a> {
    /// The run's directory.
    pub run: &'a RunDir,
    /// Its checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// The data: calibrates the quantiser, is classified.
    pub dataset: &'a Dataset,
    /// Test images; all if there are fewer.
    pub images: Option<usize>,
    /// The emulated machine; `None` leaves the device out.
    pub machine: Option<Machine>,
    /// Fine-tuning of the integers, as `export --qat` does it.
    pub fine_tuning: Option<FineTuning>,
}

/// What one form of the model says of the test split.
#[derive(Clone, Debug)]
pub struct Stage {
    /// One row an input.
    pub outputs: Outputs,
    /// The class of each.
    pub classes: Vec<usize>,
    /// How good it is.
    pub score: Score,
}

/// How good a form of the model is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// Share of inputs that are classified right.
    Accuracy(f64),
    /// Mean squared error, of a network that gives its input back.
    Error(f64),
}

impl Score {
    /// What is scored.
    pub fn name(self) -> &'static str {
        match self {
            Score::Accuracy(_) => "accuracy",
            Score::Error(_) => "mean squared error",
        }
    }

    /// The error, where it is one.
    pub fn error(self) -> Option<f64> {
        if let Score::Error(error) = self { Some(error) } else { None }
    }

    /// The accuracy, where it is one.
    pub fn accuracy(self) -> Option<f64> {
        if let Score::Accuracy(accuracy) = self { Some(accuracy) } else { None }
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Score::Accuracy(share) => f.write_str(&percent(share)),
            Score::Error(error) => write!(f, "{error:.6}"),
        }
    }
}

/// The integers.
#[derive(Clone, Debug)]
pub struct Int8 {
    /// Of the host.
    pub stage: Stage,
    /// The quantiser's.
    pub export: ExportReport,
    /// Whether the run's `weights.bin` is this model; `None` if it has none.
    pub is_the_runs_file: Option<bool>,
}

/// The emulated device.
#[derive(Clone, Debug)]
pub enum Device {
    /// What it took.
    Ran(Box<EmulateReport>),
    /// Why it did not run, and what to do.
    NotRun(String),
}

/// A test image that is classified wrongly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mistake {
    /// Place in the test split.
    pub(super) index: usize,
    /// The right class.
    pub(super) label: usize,
    /// What the model says.
    pub(super) prediction: usize,
    /// The model's probability of that, by softmax.
    pub(super) confidence: f64,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The model.
    pub checkpoint: &'a Checkpoint,
    /// Name of the data set.
    pub dataset: &'a str,
    /// The test images behind every figure.
    pub test: Split,
    /// The epochs.
    pub metrics: Vec<EpochMetrics>,
    /// f32, BatchNorm on its own.
    pub unfolded: Stage,
    /// f32, BatchNorm folded.
    pub folded: Stage,
    /// The integers, or why the exporter refuses the model.
    pub int8: Result<Int8, String>,
    /// The integers on the device.
    pub device: Device,
}

/// Computes everything.
///
/// # Errors
/// [`Error::BadArgument`] without test images; [`Error::Disagreement`] if emulator and host differ. A model that the exporter
/// refuses and a missing emulator are facts, not errors.
pub fn gather<'a>(request: &ReportRequest<'a>) -> Result<Facts<'a>> {
    let ReportRequest { run, checkpoint, dataset, .. } = *request;
    let test = dataset.test.first(request.images.unwrap_or(usize::MAX));
    if test.is_empty() {
        return Err(Error::BadArgument {
            problem: format!("{} has no test images", dataset.source),
            remedy: "name other data with --data-dir".into(),
        });
    }
    let (parameters, network) = (&checkpoint.parameters, &checkpoint.parameters.network);
    check(network, &test)?;
    let stage = |outputs: Outputs| {
        let classes = outputs.classes();
        let score = if Task::of(network) == Task::Reconstruction {
            Score::Error(inference::reconstruction_error(network, &outputs, &test.inputs))
        } else {
            Score::Accuracy(inference::accuracy(&classes, &test.labels))
        };
        Stage { outputs, classes, score }
    };
    let calibration = ExportRequest {
        calibration: &dataset.train,
        accuracy_limit: 100.0,
        fine_tuning: request.fine_tuning,
        channels: Channels::Live,
        goal: Goal::default(),
    };
    let facts = |int8, device| Facts {
        checkpoint,
        dataset: &dataset.name,
        metrics: checkpoint
            .training()
            .map_or(Vec::new(), |training| run.metrics_of(&training.history, Task::of(network))),
        unfolded: stage(inference::outputs(parameters, &test.inputs)),
        folded: stage(inference::folded_outputs(&fold(parameters), &test.inputs)),
        int8,
        device,
        test: test.clone(),
    };
    let exported = match export(parameters, &calibration) {
        Ok(exported) => exported,
        Err(refusal @ Error::Refused { .. }) => {
            return Ok(facts(Err(refusal.to_string()), Device::NotRun("there are no integers to run".into())));
        }
        Err(other) => return Err(other),
    };
    let model = exported.weights;
    let int8 = Int8 {
        stage: stage(inference::dequantized(&model, &inference::int8(&model, &test.inputs))),
        export: exported.report,
        is_the_runs_file: files::try_read(&run.weights(), files::WEIGHTS.limit).map(|file| file == model.to_bytes()),
    };
    let device = match request.machine {
        Some(machine) => {
            on_device(&EmulateRequest { weights: &model, machine, images: &test, build: Build::default() })?
        }
        None => Device::NotRun("it was left out by --host-only".into()),
    };
    Ok(facts(Ok(int8), device))
}

/// A report is worth having without the emulator; it then says so.
fn on_device(request: &EmulateRequest<'_>) -> Result<Device> {
    match emulate(request) {
        Ok(report) => {
            report.verdict()?;
            Ok(Device::Ran(Box::new(report)))
        }
        Err(missing @ Error::Missing { .. }) => Ok(Device::NotRun(missing.to_string())),
        Err(other) => Err(other),
    }
}

impl Facts<'_> {
    /// What is shipped: the integers, or f32 where there are none.
    pub(super) fn shipped(&self) -> &Stage {
        self.int8.as_ref().map_or(&self.unfolded, |int8| &int8.stage)
    }

    /// Name of a class: the network's, or its number.
    pub(super) fn class_name(&self, class: usize) -> String {
        class_name(&self.checkpoint.parameters.network, class)
    }

    /// Figures of each class, of what is shipped.
    pub(super) fn by_class(&self) -> Vec<ClassFigures> {
        by_class(&self.checkpoint.parameters.network, &self.shipped().classes, &self.test.labels)
    }

    /// Test inputs by label and by what is said of them.
    pub(super) fn confusion(&self) -> Vec<Vec<usize>> {
        let classes = self.shipped().outputs.width();
        let mut counts = vec![vec![0; classes]; classes];
        for (&label, &class) in self.test.labels.iter().zip(&self.shipped().classes) {
            counts[usize::from(label)][class] += 1;
        }
        counts
    }

    /// The mistakes that the model is surest of, surest first.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let Stage { outputs, classes, .. } = self.shipped();
        let logits: Vec<&[f32]> = outputs.rows().collect();
        let labels = self.test.labels.iter().map(|&label| usize::from(label));
        let wrong = labels.zip(classes).enumerate().filter(|(_, (label, class))| label != *class);
        let mut mistakes: Vec<_> = wrong
            .map(|(index, (label, &prediction))| Mistake {
                index,
                label,
                prediction,
                confidence: softmax(logits[index], prediction),
            })
            .collect();
        // A stable sort: equals stay in the order of the test split.
        mistakes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        mistakes.truncate(MISTAKES);
        mistakes
    }
}
