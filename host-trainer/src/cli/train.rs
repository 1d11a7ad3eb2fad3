//! `host-trainer train`.

use std::io::Write;

use super::args::TrainArgs;
use super::output;
use crate::engine::EngineName;
use crate::engine::select::create;
use crate::error::Result;
use crate::train::run::{NewRun, Run, TrainReport};
use crate::train::run_dir::RunDir;
use crate::train::saves::Saves;

pub(super) fn run(args: TrainArgs, out: &mut dyn Write) -> Result<()> {
    let (mut run, dataset) = match &args.resume {
        Some(path) => {
            let saved = Saves::open(path)?;
            if let Some(notice) = &saved.notice {
                output::notice(&format!("notice: {notice}"));
            }
            let training = saved.checkpoint.training();
            let dataset = args.data.load(training)?.hold_out(training.map_or(0, |t| t.holdout))?;
            let epochs = args.recipe.epochs.map(|n| n as usize);
            (Run::resume(saved, &dataset, args.engine, epochs)?, dataset)
        }
        None => {
            // Everything that can be refused at once is, before the data is read.
            let engine = create(args.engine.unwrap_or(EngineName::Auto), args.seed, args.variance)?;
            if let Some(path) = &args.out {
                RunDir::new(path, args.force)?;
            }
            let dataset = args.data.load(None)?.hold_out(args.holdout)?;
            (Run::new(engine, new_run(&args), &dataset)?, dataset)
        }
    };
    if !args.console.quiet {
        output::notice(&run.describe(&dataset));
    }
    let report = run.train(&dataset, args.console.quiet)?;
    if args.console.json { output::json(out, &report) } else { output::text(out, &figures(&report)) }
}

fn new_run(args: &TrainArgs) -> NewRun {
    NewRun {
        seed: args.seed,
        recipe: args.recipe.recipe(),
        holdout: args.holdout,
        out: args.out.clone(),
        replace: args.force,
    }
}

/// The figures in the form of d2l's chapter, then where the files lie.
fn figures(report: &TrainReport) -> String {
    let mut files = output::Table::default();
    files
        .row("checkpoint", report.checkpoint.display().to_string())
        .row("curves", report.curves.display().to_string())
        .row("metrics", report.metrics.display().to_string());
    format!("{}\n{}", learned(report), files.render())
}

/// What d2l's chapter prints: loss, accuracies, speed, gamma and beta of the first BatchNorm layer.
pub(super) fn learned(report: &TrainReport) -> String {
    let TrainReport { train_loss, train_accuracy, test_accuracy, examples_per_second, engine, device, .. } = report;
    let row = |values: &[f64]| values.iter().map(|v| format!(" {v:7.4}")).collect::<String>();
    let mut parameters = output::Table::default();
    parameters
        .row("gamma of the first BatchNorm layer", row(&report.gamma))
        .row("beta of the first BatchNorm layer", row(&report.beta));
    format!(
        "loss {train_loss:.3}, train acc {train_accuracy:.3}, test acc {test_accuracy:.3}\n\
         {examples_per_second:.1} examples/sec on {device} (engine {engine})\n{}",
        parameters.render()
    )
}
