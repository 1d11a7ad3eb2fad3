//! `host-trainer inspect`.

use std::io::Write;

use bn_core::lenet::TRAINED_PARAMETERS;

use super::args::InspectArgs;
use super::output::{self, Table, thousands};
use crate::error::Result;
use crate::inspect::{CheckpointInspection, Inspection, WeightsInspection, inspect};
use crate::model_file::ModelFile;
use crate::train::checkpoint::TrainingState;

pub(super) fn run(args: InspectArgs, out: &mut dyn Write) -> Result<()> {
    let inspection = inspect(&ModelFile::read(&args.file)?);
    if args.json {
        return output::json(out, &inspection);
    }
    output::text(
        out,
        &match &inspection {
            Inspection::Checkpoint(checkpoint) => of_checkpoint(checkpoint),
            Inspection::Weights(weights) => of_weights(weights),
        },
    )
}

fn of_checkpoint(checkpoint: &CheckpointInspection) -> String {
    let mut table = Table::default();
    table
        .row("kind", "checkpoint: the unfolded network in f32")
        .row("trained parameters", thousands(TRAINED_PARAMETERS))
        .row("eps", format!("{:e}", checkpoint.eps))
        .row("running variance", checkpoint.variance.name())
        .row("batches tracked", thousands(checkpoint.batches_tracked as usize));
    if let Some(name) = &checkpoint.imported_from {
        table.row("imported from", name);
    }
    if let Some(training) = &checkpoint.training {
        describe_training(training, &mut table);
    }
    let mut text = table.render();
    text += &format!("\n{:<16} {:<14} {:>11} {:>11} {:>11}\n", "tensor", "shape", "min", "max", "mean");
    for tensor in &checkpoint.tensors {
        let shape = format!("{:?}", tensor.shape);
        text += &format!(
            "{:<16} {shape:<14} {:>11.5} {:>11.5} {:>11.5}\n",
            tensor.name, tensor.min, tensor.max, tensor.mean
        );
    }
    text
}

fn describe_training(training: &TrainingState, table: &mut Table) {
    let recipe = &training.recipe;
    let mut progress = format!("{} of {} epochs", training.epoch, recipe.epochs);
    if training.step > 0 {
        progress += &format!(" and {} steps", training.step);
    }
    table
        .row("trained on", format!("{} (digest {})", training.dataset, training.dataset_digest))
        .row("engine", &training.engine)
        .row("seed", training.seed.to_string())
        .row("recipe", format!("{}: {}", recipe.name, recipe.describe()))
        .row("progress", progress);
    for (i, epoch) in training.history.iter().enumerate() {
        let (train, test) = (&epoch.train, &epoch.test);
        let test = test.map(|test| format!(", test acc {:.3}", test.accuracy())).unwrap_or_default();
        let figures = format!("loss {:.3}, train acc {:.3}{test}", train.mean_loss(), train.accuracy());
        table.row(format!("epoch {}", i + 1), figures);
    }
}

fn of_weights(weights: &WeightsInspection) -> String {
    let mut text = format!("kind  weights.bin: the folded network in integers, {} bytes\n\n", thousands(weights.bytes));
    text += &format!("{:>6} {:>6}  {:<20} {:<26} {}\n", "offset", "bytes", "field", "value", "meaning");
    for field in &weights.fields {
        text += &format!(
            "{:>6} {:>6}  {:<20} {:<26} {}\n",
            field.offset, field.bytes, field.name, field.value, field.meaning
        );
    }
    text
}
