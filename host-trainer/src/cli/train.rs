//! `host-trainer train`.

use std::io::Write;

use super::args::TrainArgs;
use super::output;
use crate::data::Dataset;
use crate::data::own::rule::Rule;
use crate::engine::select::create;
use crate::engine::{Engine, EngineName, initial_parameters};
use crate::error::Result;
use crate::model::parameters::Parameters;
use crate::network::{Network, shipped};
use crate::train;
use crate::train::run::{NewRun, ResumedRun, Run, TrainReport};
use crate::train::run_dir::RunDir;
use crate::train::saves::Saves;
use crate::train::teacher::Teacher;

pub(super) fn run(args: TrainArgs, out: &mut dyn Write) -> Result<()> {
    let (mut run, dataset) = match &args.resume {
        Some(path) => {
            let saved = Saves::open(path)?;
            if let Some(notice) = &saved.notice {
                output::notice(&format!("notice: {notice}"));
            }
            let training = saved.checkpoint.training();
            let dataset = args
                .data
                .load(training, &saved.checkpoint.parameters.network)?
                .hold_out(training.map_or(0, |t| t.holdout))?;
            let epochs = args.recipe.epochs.map(|n| n as usize);
            let request = ResumedRun { engine: args.engine, epochs, teacher: args.teaching.teacher };
            (Run::resume(saved, &dataset, request)?, dataset)
        }
        None => {
            // Everything that can be refused at once is, before the data is read.
            let network = args.network.as_deref().map_or_else(|| Ok(Network::lenet()), shipped::find)?;
            let network = args.eps.map_or(Ok(network.clone()), |eps| train::with_eps(&network, eps))?;
            let parameters = initial_parameters(&network, args.seed, args.variance);
            let mut engine = create(args.engine.unwrap_or(EngineName::Auto), &parameters)?;
            args.recipe.recipe().check_engine(engine.name())?;
            let teacher = args.teaching.open()?;
            // Data of one's own may change the network's classes; then the run asks again.
            if let Some(teacher) = teacher.as_ref().filter(|_| args.data.data.is_none()) {
                teacher.check(&network)?;
            }
            if let Some(path) = &args.out {
                RunDir::new(path, args.force)?;
            }
            let rule = match args.holdout {
                0 => Rule::Share { share: args.test_share, seed: args.split_seed },
                count => Rule::Last(count),
            };
            let dataset = args.data.load_to_train(&network, rule)?;
            // What a rule held out is the test split already.
            let holdout = if dataset.rule.is_some() { 0 } else { args.holdout };
            let dataset = dataset.hold_out(holdout)?;
            let network = train::of_data(&network, &dataset)?;
            let parameters = match network.nodes() == parameters.network.nodes() {
                true => Parameters { network, ..parameters },
                false => initial_parameters(&network, args.seed, args.variance),
            };
            engine = of_data(engine, args.engine.unwrap_or(EngineName::Auto), &parameters, &dataset)?;
            (Run::new(engine, NewRun { holdout, ..new_run(&args, teacher) }, &dataset)?, dataset)
        }
    };
    if !args.console.quiet {
        output::notice(&run.describe(&dataset));
        if let Some(hint) = run.hint(&dataset) {
            output::notice(&format!("notice: {hint}"));
        }
    }
    let report = run.train(&dataset, args.console.quiet)?;
    if args.console.json { output::json(out, &report) } else { output::text(out, &figures(&report)) }
}

/// The engine for the network as the data made it: the one that was created, where it still serves.
fn of_data(
    mut engine: Box<dyn Engine>,
    name: EngineName,
    parameters: &Parameters,
    dataset: &Dataset,
) -> Result<Box<dyn Engine>> {
    let fitting = train::engine_on(name, &parameters.network, dataset)?;
    if fitting != name || engine.parameters().network.nodes() != parameters.network.nodes() {
        engine = create(fitting, parameters)?;
    }
    engine.set_parameters(parameters);
    Ok(engine)
}

fn new_run(args: &TrainArgs, teacher: Option<Teacher>) -> NewRun {
    NewRun {
        seed: args.seed,
        recipe: args.recipe.recipe(),
        holdout: args.holdout,
        out: args.out.clone(),
        replace: args.force,
        teacher,
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

/// Channels of gamma and beta that are printed.
const SHOWN: usize = 8;

/// What d2l's chapter prints: loss, accuracies, speed, gamma and beta of the first BatchNorm layer.
pub(super) fn learned(report: &TrainReport) -> String {
    let TrainReport { train_loss, test_loss, examples_per_second, engine, device, .. } = report;
    let row = |values: &[f64]| values.iter().take(SHOWN).map(|v| format!(" {v:7.4}")).collect::<String>();
    let mut parameters = output::Table::default();
    if !report.gamma.is_empty() {
        let more = if report.gamma.len() > SHOWN {
            format!(" and {} more", report.gamma.len() - SHOWN)
        } else {
            String::new()
        };
        parameters
            .row("gamma of the first BatchNorm layer", row(&report.gamma) + &more)
            .row("beta of the first BatchNorm layer", row(&report.beta) + &more);
    }
    let figures = match (report.train_accuracy, report.test_accuracy) {
        (Some(train), Some(test)) => {
            let moving = report.reestimated.and_then(|changed| changed.test_before);
            let test = match moving {
                Some(moving) => format!("{:.3} by moving averages, {test:.3} by exact statistics", moving.accuracy()),
                None => format!("{test:.3}"),
            };
            format!("train acc {train:.3}, test acc {test}")
        }
        _ => format!("test loss {test_loss:.3}"),
    };
    format!(
        "loss {train_loss:.3}, {figures}\n\
         {examples_per_second:.1} examples/sec on {device} (engine {engine})\n{}",
        parameters.render()
    )
}
