//! `host-trainer report`.

use std::io::Write;

use super::args::ReportArgs;
use super::output::{self, Table, percent, thousands};
use crate::compare::{self, Comparison};
use crate::error::{Error, Result};
use crate::files;
use crate::report::{ReportRequest, gather, write, write_comparison};
use crate::train::checkpoint::Checkpoint;
use crate::train::run_dir::RunDir;

/// A comparison has curves and figures, no model: what is asked of one is refused.
fn of_comparison(args: &ReportArgs, comparison: &Comparison, out: &mut dyn Write) -> Result<()> {
    if args.names_a_model() {
        return Err(Error::BadArgument {
            problem: format!("{} holds a comparison, which has no model", args.run.display()),
            remedy: "give --out and --json alone".into(),
        });
    }
    let path = args.out.clone().unwrap_or_else(|| args.run.join("report.html"));
    files::check_output(&path, &[&compare::path(&args.run), &compare::picture_path(&args.run)])?;
    let summary = write_comparison(comparison, path)?;
    if args.json {
        return output::json(out, &summary);
    }
    let mut table = Table::default();
    table
        .row("compared", format!("{} variants, {} runs, on {}", summary.variants, summary.runs, comparison.dataset))
        .row("report", format!("{} ({} bytes)", summary.report.display(), thousands(summary.bytes)));
    output::text(out, &table.render())
}

pub(super) fn run(args: ReportArgs, out: &mut dyn Write) -> Result<()> {
    if let Some(comparison) = compare::read(&args.run)? {
        return of_comparison(&args, &comparison, out);
    }
    let run = RunDir::existing(&args.run)?;
    let report = args.out.unwrap_or_else(|| run.report());
    files::check_output(&report, &[&run.checkpoint(), &run.previous_checkpoint(), &run.metrics(), &run.weights()])?;
    let checkpoint = Checkpoint::read(&run.checkpoint())?;
    let dataset = args.data.load(checkpoint.training(), &checkpoint.parameters.network)?;
    let request = ReportRequest {
        run: &run,
        checkpoint: &checkpoint,
        dataset: &dataset,
        images: args.images.map(|n| n as usize),
        machine: (!args.host_only).then_some(args.machine),
        fine_tuning: args.qat.request(&checkpoint),
    };
    let summary = write(&gather(&request)?, report)?;
    if args.json {
        return output::json(out, &summary);
    }
    let mut table = Table::default();
    table.row(
        "classified",
        format!("{} test images of {} ({})", thousands(summary.images), dataset.name, dataset.source),
    );
    for (label, accuracy) in [
        ("accuracy, f32 unfolded", summary.accuracy_f32_unfolded),
        ("accuracy, f32 folded", summary.accuracy_f32_folded),
        ("accuracy, int8", summary.accuracy_int8),
        ("accuracy, int8 on the device", summary.accuracy_int8_device),
    ] {
        if summary.error_f32_unfolded.is_none() {
            table.row(label, accuracy.map_or("none".into(), percent));
        }
    }
    for (label, error) in [
        ("mean squared error, f32 unfolded", summary.error_f32_unfolded),
        ("mean squared error, f32 folded", summary.error_f32_folded),
    ] {
        if let Some(error) = error {
            table.row(label, format!("{error:.6}"));
        }
    }
    if let Some(why) = &summary.device_not_run {
        table.row("device not run", why);
    }
    table.row("report", format!("{} ({} bytes)", summary.report.display(), thousands(summary.bytes)));
    output::text(out, &table.render())
}
