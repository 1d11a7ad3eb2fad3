//! `host-trainer demo`.

use std::io::Write;

use bn_core::CLASS_NAMES;

use super::args::DemoArgs;
use super::output::{self, Table, percent, thousands};
use super::shared_args::DataArgs;
use super::{emulate, train};
use crate::data::{Dataset, DatasetName};
use crate::demo::{DemoReport, DemoRequest, check_outputs, demo};
use crate::draw::{Captioned, Raster, Shades, columns_of_stdout, draw};
use crate::engine::Totals;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::train::recipe::{Recipe, Reestimate, SEED};
use crate::train::run::TrainReport;

pub(super) fn run(args: DemoArgs, out: &mut dyn Write) -> Result<()> {
    check_outputs(&args.out)?;
    let dataset = dataset(&args.data)?;
    let epochs = args.epochs.map_or(SEED.epochs, |n| n as usize);
    let recipe = Recipe { epochs, reestimate: Reestimate::Plain, ..SEED };
    let images = args.images.map(|n| n as usize);
    let request = DemoRequest { recipe, images, out: args.out, quiet: args.console.quiet };
    let notice = |line: &str| {
        if !args.console.quiet {
            output::notice(line);
        }
    };
    let report = demo(&request, &dataset, &notice)?;
    if args.console.json {
        return output::json(out, &report);
    }
    output::text(out, &figures(&report))?;
    output::text(out, &pictures(&report, &dataset))?;
    output::text(out, &files(&report))
}

/// Fashion-MNIST; where nobody asked for it by name and it cannot be had, garments with a notice.
fn dataset(args: &DataArgs) -> Result<Dataset> {
    match args.load(None, &Network::lenet()) {
        Err(error @ Error::Missing { .. }) if args.dataset.is_none() && args.data_dir.is_none() => {
            output::notice(&format!("notice: {error}"));
            output::notice("going on with the built-in garments instead: THE FIGURES BELOW ARE NOT FASHION-MNIST'S");
            DataArgs { dataset: Some(DatasetName::Garments), ..args.clone() }.load(None, &Network::lenet())
        }
        other => other,
    }
}

fn figures(report: &DemoReport) -> String {
    let DemoReport { train: training, evaluate, emulate: emulated, .. } = report;
    let title = format!("accuracy on {} test images of {}", thousands(evaluate.images), evaluate.dataset);
    let mut accuracies = Table::default();
    for (label, accuracy) in [
        ("  f32, BatchNorm unfolded", evaluate.accuracy_f32_unfolded),
        ("  f32, BatchNorm folded", evaluate.accuracy_f32_folded),
        ("  int8 on the host", evaluate.accuracy_int8),
        ("  int8 in the emulator", emulated.accuracy),
    ] {
        accuracies.row(label, accuracy.map(percent).unwrap_or_default());
    }
    format!(
        "\n{}\n{}\n{title}\n{}\n{}\n",
        train::learned(training),
        statistics(training),
        accuracies.render(),
        emulate::figures(emulated)
    )
}

/// Both statistics that BatchNorm can predict with, and why they differ.
fn statistics(training: &TrainReport) -> String {
    let Some(changed) = &training.reestimated else { return String::new() };
    let accuracy = |test: Option<Totals>| test.map(|test| percent(test.accuracy())).unwrap_or_default();
    let mut table = Table::default();
    table.row("  moving averages over the batches", accuracy(changed.test_before)).row(
        format!("  exact, of all {} training images", thousands(changed.after.examples)),
        accuracy(changed.test_after),
    );
    format!(
        "test accuracy by the statistics that BatchNorm predicts with\n{}\
         The moving averages are of weights that each step has changed since, by much at a learning rate of {}.\n\
         The chapter predicts with the statistics of the whole data set: those of the final weights are exported.\n",
        table.render(),
        training.recipe.lr
    )
}

fn pictures(report: &DemoReport, dataset: &Dataset) -> String {
    let picture = |shown: &crate::demo::Shown| {
        let mark = if shown.prediction == usize::from(shown.label) { "✓" } else { "✗" };
        let image = dataset.test.images()[shown.index].as_flattened();
        Captioned {
            raster: Raster::new(dataset.test.inputs.shape(), image),
            caption: vec![
                format!("label      {}", CLASS_NAMES[usize::from(shown.label)]),
                format!("prediction {} {mark}", CLASS_NAMES[shown.prediction]),
            ],
        }
    };
    let pictures: Vec<_> = report.shown.iter().map(picture).collect();
    draw(&pictures, Shades::of_stdout(), columns_of_stdout())
}

fn files(report: &DemoReport) -> String {
    let mut table = Table::default();
    table
        .row("checkpoint", report.train.checkpoint.display().to_string())
        .row("curves", report.train.curves.display().to_string())
        .row("metrics", report.train.metrics.display().to_string())
        .row("weights", format!("{} ({} bytes)", report.weights.display(), thousands(report.export.bytes)))
        .row("firmware", format!("{} (with the images above)", report.firmware.display()));
    table.render()
}
