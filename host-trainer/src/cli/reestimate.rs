//! `host-trainer reestimate`: its flags, and what it prints.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::{self, Table, percent, thousands};
use super::shared_args::DataArgs;
use crate::engine::EngineName;
use crate::engine::select::create;
use crate::error::{Error, Result};
use crate::export::check_finite;
use crate::train::checkpoint::{Checkpoint, Origin};
use crate::train::reestimate::{LayerChange, Reestimated, changes, reestimate_model};

/// `reestimate`.
#[derive(Args, Debug)]
pub struct ReestimateArgs {
    /// The checkpoint
    pub checkpoint: PathBuf,
    /// Where the checkpoint with the exact statistics goes
    #[arg(long, value_name = "CHECKPOINT")]
    pub out: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub data: DataArgs,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: ReestimateArgs, out: &mut dyn Write) -> Result<()> {
    output::check_new(&args.out, args.force)?;
    let mut checkpoint = Checkpoint::read(&args.checkpoint)?;
    check_finite(&checkpoint.parameters)?;
    let training = checkpoint.training();
    let holdout = training.map_or(0, |training| training.holdout);
    let dataset = args.data.load(training, &checkpoint.parameters.network)?.hold_out(holdout)?;
    if dataset.train.len() < 2 {
        return Err(Error::BadArgument {
            problem: format!("{} has too few training images for statistics", dataset.source),
            remedy: "name other data with --data-dir".into(),
        });
    }
    let mut engine = create(EngineName::Auto, &checkpoint.parameters)?;
    let reestimated = reestimate_model(&mut *engine, &dataset.train.inputs, &dataset)?;
    let after = engine.parameters();
    let layers = changes(&checkpoint.parameters, &after);
    checkpoint.parameters = after;
    if let Origin::Trained(state) = &mut checkpoint.origin {
        state.reestimated = Some(reestimated);
    }
    checkpoint.write(&args.out)?;
    if args.json {
        let report = serde_json::json!({
            "file": args.checkpoint, "checkpoint": args.out, "images": dataset.train.len(),
            "layers": layers, "reestimated": reestimated,
        });
        return output::json(out, &report);
    }
    output::text(out, &figures(&args, &layers, &reestimated))
}

fn figures(args: &ReestimateArgs, layers: &[LayerChange], reestimated: &Reestimated) -> String {
    let Reestimated { before, after, test_before, test_after, .. } = reestimated;
    let mut text = String::from("BatchNorm of module  mean moved by, deviations  variance changed by, factor\n");
    for LayerChange { module, mean_shift, variance_ratio } in layers {
        text += &format!("{module:<19}  {mean_shift:>25.4}  {variance_ratio:>27.4}\n");
    }
    let mut table = Table::default();
    table
        .row(format!("on {} training images", thousands(before.examples)), format!("{:>9} {:>9}", "before", "after"))
        .row("loss", format!("{:>9.4} {:>9.4}", before.mean_loss(), after.mean_loss()))
        .row("accuracy", format!("{:>9} {:>9}", percent(before.accuracy()), percent(after.accuracy())));
    if let (Some(before), Some(after)) = (test_before, test_after) {
        let accuracies = format!("{:>9} {:>9}", percent(before.accuracy()), percent(after.accuracy()));
        table.row(format!("accuracy on {} test images", thousands(before.examples)), accuracies);
    }
    table.row("checkpoint", args.out.display().to_string());
    format!("{text}\n{}", table.render())
}
