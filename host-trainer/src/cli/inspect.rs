//! `host-trainer inspect`.

use std::io::Write;
use std::path::{Path, PathBuf};

use bn_core::network::Shape;
use clap::Args;

use super::output::{self, Table, thousands};
use crate::error::Result;
use crate::inspect::{
    CheckpointInspection, Inspection, NetworkInspection, NodeSummary, WeightsInspection, inspect, inspect_network,
};
use crate::model_file::ModelFile;
use crate::network::shipped;
use crate::train::checkpoint::TrainingState;

/// `inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// A checkpoint, a weights.bin, a .net file, or the name of a shipped network
    pub file: PathBuf,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: InspectArgs, out: &mut dyn Write) -> Result<()> {
    let inspection = match described(&args.file) {
        Some(name) => Inspection::Network(inspect_network(&*shipped::find(&name)?)),
        None => inspect(&ModelFile::read(&args.file)?),
    };
    if args.json {
        return output::json(out, &inspection);
    }
    output::text(
        out,
        &match &inspection {
            Inspection::Checkpoint(checkpoint) => of_checkpoint(checkpoint),
            Inspection::Weights(weights) => of_weights(weights),
            Inspection::Network(network) => of_network(network),
        },
    )
}

/// The name of a network, where a file is a description, or is none and has a shipped network's name.
pub(super) fn described(file: &Path) -> Option<String> {
    let name = file.to_string_lossy();
    let is_network = file.extension().is_some_and(|e| e == "net") || (shipped::get(&name).is_some() && !file.exists());
    is_network.then(|| name.into_owned())
}

fn of_checkpoint(checkpoint: &CheckpointInspection) -> String {
    let mut table = Table::default();
    table
        .row("kind", "checkpoint: the unfolded network in f32")
        .row("trained parameters", thousands(checkpoint.trained_parameters))
        .row("multiply-accumulates", thousands(checkpoint.macs))
        .row("running variance", checkpoint.variance.name())
        .row("batches tracked", thousands(checkpoint.batches_tracked as usize));
    if let Some(name) = &checkpoint.imported_from {
        table.row("imported from", name);
    }
    if let Some(training) = &checkpoint.training {
        describe_training(training, &mut table);
    }
    let mut text = format!("{}\n{}", table.render(), checkpoint.network);
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

/// The text, which is a .net file by itself: what follows from it is in comments.
fn of_network(network: &NetworkInspection) -> String {
    let name = |node: &NodeSummary| format!("{} {}", node.name, node.op.split(' ').next().unwrap_or_default());
    let width = network.nodes.iter().map(|node| name(node).len()).max().unwrap_or(0);
    let mut text = format!(
        "{}\n# {:width$}  {:<11} {:>10}  multiply-accumulates\n",
        network.network, "node", "output", "parameters"
    );
    for node in &network.nodes {
        let [channels, height, columns] = node.output;
        let output = Shape::new(channels, height, columns).to_string();
        let (parameters, macs) = (thousands(node.parameters), thousands(node.macs));
        text += &format!("# {:width$}  {output:<11} {parameters:>10}  {macs:>20}\n", name(node));
    }
    let (trained, macs) = (thousands(network.trained_parameters), thousands(network.macs));
    text + &format!(
        "# {trained} trained parameters, {macs} multiply-accumulates, topology {}, identity {}\n",
        network.topology, network.identity
    )
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
    let bytes = |bytes: usize| format!("{} bytes", thousands(bytes));
    let mut table = Table::default();
    table
        .row("kind", "weights.bin: the folded network in integers, and its plan")
        .row("size", format!("{}, {} of them for a firmware", bytes(weights.bytes), thousands(weights.model_bytes)))
        .row("memory of an inference", format!("{}, the stack besides", bytes(weights.arena_bytes)));
    let mut text = format!("{}\n{}", table.render(), weights.network);
    text += &format!("\n{:>6} {:>6}  {:<18} {:<12} {}\n", "offset", "bytes", "header", "value", "meaning");
    for field in &weights.fields {
        text += &format!(
            "{:>6} {:>6}  {:<18} {:<12} {}\n",
            field.offset, field.bytes, field.name, field.value, field.meaning
        );
    }
    text += &format!(
        "\n{:<12} {:<17} {:>9} {:>12} {:>9} {:>9} {:>9}  {:<12} golden\n",
        "step", "family", "nodes", "MAC", "weights", "output", "scratch", "scale"
    );
    for step in &weights.steps {
        let [first, last] = step.nodes;
        text += &format!(
            "{:<12} {:<17} {:>9} {:>12} {:>9} {:>9} {:>9}  {:<12.6e} {}\n",
            step.name,
            step.family,
            format!("{first} to {last}"),
            thousands(step.macs),
            thousands(step.stream_bytes),
            thousands(step.output_bytes),
            thousands(step.scratch_bytes),
            step.scale,
            step.golden
        );
    }
    text
}
