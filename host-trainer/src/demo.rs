//! The whole way in one call: data, training, export, firmware, emulator. What [`demo`] returns is what `demo --json` prints.

use std::path::{Path, PathBuf};

use bn_core::plan::Goal;
use serde::Serialize;

use crate::data::{Dataset, Split};
use crate::device::emulate::{self, EmulateReport, EmulateRequest, Machine, emulate};
use crate::device::firmware::{self, Build, Inputs, Program};
use crate::engine::select::create;
use crate::engine::{EngineName, initial_parameters};
use crate::error::Result;
use crate::evaluate::{EvaluateReport, Request, evaluate};
use crate::export::{Channels, DEFAULT_LIMIT, ExportReport, ExportRequest, export};
use crate::files;
use crate::model::inference::{self, Prediction};
use crate::model::parameters::Variance;
use crate::model::weights;
use crate::model_file::ModelFile;
use crate::network::Network;
use crate::train::checkpoint::Checkpoint;
use crate::train::of_data;
use crate::train::recipe::Recipe;
use crate::train::run::{NewRun, Run, TrainReport};
use crate::train::run_dir::RunDir;

/// Right answers that are shown, each of another class, before one that is wrong.
const SHOWN_RIGHT: usize = 5;

/// What to do.
#[derive(Clone, Debug)]
pub struct DemoRequest {
    /// How it is trained; with exact statistics in the end, as the chapter predicts.
    pub recipe: Recipe,
    /// Test images to classify; `None` is all.
    pub images: Option<usize>,
    /// Where everything goes; a demo that lies there is replaced.
    pub out: PathBuf,
    /// Whether to keep progress off stderr.
    pub quiet: bool,
}

/// Every figure of a demo.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// Training.
    pub train: TrainReport,
    /// Quantising.
    pub export: ExportReport,
    /// The three forms on the host.
    pub evaluate: EvaluateReport,
    /// The integers in the emulator.
    pub emulate: EmulateReport,
    /// The quantised model.
    pub weights: PathBuf,
    /// The firmware with that model and the images that are shown; `probe-rs run` takes it.
    pub firmware: PathBuf,
    /// A handful of test images and what the integers say of them.
    pub shown: Vec<Shown>,
}

/// One classified image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Place in the test split.
    pub index: usize,
    /// Its class.
    pub label: u8,
    /// What the integers say.
    pub prediction: usize,
}

/// Trains, exports, builds the firmware, runs it over the test images and compares. `notice` is told of each step.
///
/// # Errors
/// Whatever a step gives; [`crate::Error::Disagreement`] if emulator and host differ in one bit.
pub fn demo(request: &DemoRequest, dataset: &Dataset, notice: &dyn Fn(&str)) -> Result<DemoReport> {
    // What is missing is better known before the training than after it.
    check_outputs(&request.out)?;
    emulate::ensure(Machine::default())?;
    let mut run = Run::new(
        create(EngineName::Auto, &initial_parameters(&of_data(&Network::lenet(), dataset)?, 0, Variance::Biased))?,
        new_run(request),
        dataset,
    )?;
    let directory = run.directory().clone();
    notice(&run.describe(dataset));
    let train = run.train(dataset, request.quiet)?;

    notice("folding BatchNorm and quantising");
    let checkpoint = Checkpoint::read(&directory.checkpoint())?;
    let calibration = ExportRequest {
        calibration: &dataset.train,
        accuracy_limit: DEFAULT_LIMIT,
        fine_tuning: None,
        channels: Channels::Live,
        goal: Goal::default(),
    };
    let exported = export(&checkpoint.parameters, &calibration)?;
    let path = directory.weights();
    let model = weights::write(&path, &exported.weights)?;
    let file = ModelFile::Weights(Box::new(model.clone()));
    let of_test = Request { file: &path, model: &file, checkpoint: Some(&checkpoint), images: request.images };
    let evaluate = evaluate(&of_test, dataset)?.report;

    let test = dataset.test.first(request.images.unwrap_or(usize::MAX));
    let machine = Machine::default();
    let emulate = emulate(&EmulateRequest { weights: &model, machine, images: &test, build: Build::default() })?;
    emulate.verdict()?;
    let shown = choose(&inference::int8(&model, &test.inputs), &test.labels);
    let firmware = keep_firmware(
        &directory,
        &Inputs { weights: Some(&model), images: Some(&select(&test, &shown)), ..Inputs::default() },
    )?;
    Ok(DemoReport { train, export: exported.report, evaluate, emulate, weights: path, firmware, shown })
}

/// Refuses a directory that could not take what a demo writes into it.
///
/// # Errors
/// As [`files::check_output`] for the first such file.
pub fn check_outputs(directory: &Path) -> Result<()> {
    let run = RunDir::new(directory, true)?;
    [run.weights(), run.firmware()].iter().try_for_each(|path| files::check_output(path, &[]))
}

fn new_run(request: &DemoRequest) -> NewRun {
    NewRun {
        seed: 0,
        recipe: request.recipe.clone(),
        holdout: 0,
        out: Some(request.out.clone()),
        replace: true,
        teacher: None,
    }
}

/// Images worth looking at: the first right answers of different classes, then the first wrong one.
fn choose(predictions: &[Prediction], labels: &[u8]) -> Vec<Shown> {
    let all = predictions.iter().zip(labels).enumerate();
    let all = all.map(|(index, (p, &label))| Shown { index, label, prediction: p.class });
    let is_right = |s: &Shown| s.prediction == usize::from(s.label);
    let mut shown: Vec<Shown> = Vec::new();
    for candidate in all.clone().filter(is_right) {
        if shown.len() < SHOWN_RIGHT && shown.iter().all(|s| s.label != candidate.label) {
            shown.push(candidate);
        }
    }
    shown.extend(all.clone().find(|s| !is_right(s)));
    shown
}

fn select(split: &Split, shown: &[Shown]) -> Split {
    let images = shown.iter().map(|s| split.images()[s.index]).collect();
    Split::of_images(images, shown.iter().map(|s| s.label).collect())
}

/// Builds the firmware that a board would be flashed with, and keeps it beside the model.
fn keep_firmware(directory: &RunDir, inputs: &Inputs<'_>) -> Result<PathBuf> {
    // The built files vanish with this value.
    let firmware = firmware::build(inputs)?;
    let elf = files::read(&firmware.elf(Program::Demo), &files::ELF)?;
    let kept = directory.firmware();
    files::write(&kept, &elf)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_classes_are_shown_and_one_mistake() {
        let says = [3, 3, 1, 0, 2, 4, 5, 6];
        let labels = [3, 3, 1, 7, 2, 4, 5, 6];
        let predictions: Vec<_> = says.iter().map(|&class| Prediction { class, logits: vec![0; 10] }).collect();
        let shown = choose(&predictions, &labels);
        assert_eq!(shown.iter().map(|s| s.index).collect::<Vec<_>>(), [0, 2, 4, 5, 6, 3]);
        assert_eq!(choose(&predictions[..2], &labels[..2]).len(), 1);
    }
}
