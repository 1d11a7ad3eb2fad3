//! `host-trainer export`.

use std::io::Write;
use std::path::Path;

use bn_core::file::WeightsFile;

use super::args::ExportArgs;
use super::output::{self, Table, percent, thousands};
use crate::data::own::{self, Wanted, arrays};
use crate::data::{Inputs, Split};
use crate::error::{Error, Result};
use crate::evaluate::{EvaluateReport, Request, evaluate};
use crate::exchange::{self, Form, Format};
use crate::export::{Channels, ExportReport, ExportRequest, export};
use crate::files;
use crate::model::weights;
use crate::model_file::ModelFile;
use crate::network::Network;
use crate::quantize::LayerReport;
use crate::quantize::fine_tune::{Agreement, FineTuned, TunedLayer};
use crate::quantize::general::dead::DeadLayer;
use crate::train::checkpoint::Checkpoint;

pub(super) fn run(args: ExportArgs, out: &mut dyn Write) -> Result<()> {
    let Some(format) = args.format.or_else(|| Format::of_name(&args.out)) else {
        return Err(Error::BadArgument {
            problem: format!("the name {} does not say what to write", args.out.display()),
            remedy: "say --format weights, safetensors or onnx, or end the name in .bin, .safetensors or .onnx".into(),
        });
    };
    files::check_output(&args.out, &[&args.checkpoint])?;
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    match format {
        Format::Weights => integers(&args, &checkpoint, out),
        Format::Safetensors | Format::Onnx => other_programs(&args, &checkpoint, format, out),
    }
}

/// An f32 file. It needs no data: that it reads back as the same model is proof enough.
fn other_programs(args: &ExportArgs, checkpoint: &Checkpoint, format: Format, out: &mut dyn Write) -> Result<()> {
    if args.qat.qat {
        return Err(Error::BadArgument {
            problem: "--qat fine-tunes integers, and only a weights.bin holds them".into(),
            remedy: "leave --qat away, or write a .bin".into(),
        });
    }
    if args.goal.flash.or(args.goal.ram).is_some() {
        return Err(Error::BadArgument {
            problem: "--flash and --ram are budgets of a plan, and only a weights.bin has one".into(),
            remedy: "leave them away, or write a .bin".into(),
        });
    }
    let form = if args.folded { Form::Folded } else { Form::Unfolded };
    let bytes = exchange::to_bytes(checkpoint, format, form)?;
    files::write(&args.out, &bytes)?;
    if args.json {
        let report = serde_json::json!({ "file": args.out, "format": format, "form": form, "bytes": bytes.len() });
        return output::json(out, &report);
    }
    let what = match format {
        Format::Onnx => "ONNX, f32: pixels [n, 1, 28, 28] from 0 to 1 in, logits [n, 10] out",
        _ => "PyTorch state_dict, f32",
    };
    let batch_norm = if args.folded { "folded into the layers before it" } else { "on its own" };
    let mut table = Table::default();
    table
        .row("written", what)
        .row("BatchNorm", batch_norm)
        .row("file", format!("{} ({} bytes)", args.out.display(), thousands(bytes.len())));
    output::text(out, &table.render())
}

/// A `weights.bin`.
fn integers(args: &ExportArgs, checkpoint: &Checkpoint, out: &mut dyn Write) -> Result<()> {
    let network = &checkpoint.parameters.network;
    let (calibration, dataset) = match &args.calibrate {
        None => {
            let dataset = args.data.load(checkpoint.training(), network)?;
            (dataset.train.clone(), Some(dataset))
        }
        Some(with) => (calibration(with, network)?, None),
    };
    let (fine_tuning, goal) = (args.qat.request(checkpoint), args.goal.goal());
    let old = args.plan.as_deref().map(plan_of).transpose()?;
    let channels = match &old {
        Some(old) => Channels::Of(old),
        None if args.keep_dead => Channels::All,
        None => Channels::Live,
    };
    let request = ExportRequest { calibration: &calibration, accuracy_limit: args.limit, fine_tuning, channels, goal };
    let exported = export(&checkpoint.parameters, &request)?;
    // What is reported is the file that now lies on the disk.
    let file = ModelFile::Weights(Box::new(weights::write(&args.out, &exported.weights)?));
    let request = Request { file: &args.out, model: &file, checkpoint: Some(checkpoint), images: None };
    let test = dataset.map(|dataset| evaluate(&request, &dataset)).transpose()?.map(|evaluated| evaluated.report);
    if args.json {
        let report = serde_json::json!({ "weights": args.out, "export": exported.report, "test": test });
        return output::json(out, &report);
    }
    output::text(out, &figures(args, &exported.report, test.as_ref()))
}

/// The file whose plan is kept.
fn plan_of(path: &Path) -> Result<WeightsFile> {
    match ModelFile::read(path)? {
        ModelFile::Weights(file) => Ok(*file),
        ModelFile::Checkpoint(_) => Err(Error::BadArgument {
            problem: format!("{} is a checkpoint, and --plan takes a weights.bin", path.display()),
            remedy: "name the weights.bin that the firmware was built with".into(),
        }),
    }
}

/// Examples that calibrate in place of a data set's.
fn calibration(with: &str, network: &Network) -> Result<Split> {
    if with == "noise" {
        return Ok(Split { inputs: Inputs::noise(network, 0), labels: Vec::new() });
    }
    let path = Path::new(with);
    if path.is_dir() {
        let classes: Vec<String> = network.class_names().map(String::from).collect();
        let wanted = Wanted { shape: Some(network.input()), classes: &classes, rule: None };
        return Ok(own::load(path, &wanted)?.train);
    }
    Ok(Split { inputs: arrays::read_inputs(path, network.input())?, labels: Vec::new() })
}

fn weights_table(layers: &[LayerReport]) -> String {
    let mut table = String::from(
        "weights        bits  largest weight  scale of a step         signal to noise  clipped  cost left  floored\n",
    );
    for layer in layers {
        let [low, high] = layer.scale;
        let cost_left = layer.cost_left.map(percent).unwrap_or_default();
        table += &format!(
            "{:<13}  {:>4}  {:>14.4}  {low:.3e} to {high:.3e}  {:>12.1} dB  {:>7}  {cost_left:>9}  {:>7}\n",
            layer.layer,
            layer.weight_bits,
            layer.weight_max,
            layer.weight_snr_db,
            layer.clipped_outputs,
            layer.floored_channels
        );
    }
    table
}

/// What fine-tuning found on the examples that it was not shown.
fn fine_tuning_table(tuned: &FineTuned) -> String {
    let (before, after) = (&tuned.agreement[0], &tuned.agreement[tuned.kept]);
    let both = |of: &dyn Fn(&Agreement) -> String| format!("{:>9} {:>9}", of(before), of(after));
    let mut table = Table::default();
    let closeness = match before.disagree {
        Some(_) => "divergence from f32, nats",
        None => "squared error, share of f32's squares",
    };
    table
        .row(
            format!("on {} training examples held out", thousands(tuned.held_out)),
            format!("{:>9} {:>9}", "before", "after"),
        )
        .row(closeness, both(&|a| format!("{:.2e}", a.divergence)));
    if before.disagree.is_some() {
        table.row("classified differently from f32", both(&|a| a.disagree.map(percent).unwrap_or_default()));
    }
    if before.accuracy.is_some() {
        table.row("accuracy, int8", both(&|a| a.accuracy.map(percent).unwrap_or_default()));
    }
    let changed = tuned.layers.iter().map(|TunedLayer { layer, weights, changed }| {
        format!("{} of {} in {layer}", thousands(*changed), thousands(*weights))
    });
    let changed: Vec<String> = changed.collect();
    let kept = match tuned.kept {
        0 => format!("none of the {} epochs made the integers better", tuned.epochs),
        epoch => format!("the integers after epoch {epoch} of {}", tuned.epochs),
    };
    table.row("kept", kept).row("weights changed", changed.join(", "));
    format!("fine-tuning\n{}\n", table.render())
}

fn activations_table(report: &ExportReport) -> String {
    let mut table = String::from(
        "outputs        range               saturated  signal to noise  largest error, steps  fold gain           dead\n",
    );
    for outputs in &report.activations {
        let range = |[low, high]: [f64; 2]| format!("{low:.3} to {high:.3}");
        table += &format!(
            "{:<13}  {:<18}  {:>9}  {:>12.1} dB  {:>20.1}  {:<18}  {:>4}\n",
            outputs.layer,
            range(outputs.range),
            percent(outputs.saturated),
            outputs.snr_db,
            outputs.largest_error_lsb,
            outputs.fold_gain.map(range).unwrap_or_default(),
            outputs.dead_channels
        );
    }
    table
}

/// Layers with channels that have one value for every input.
fn dead_channels_table(report: &ExportReport) -> String {
    let Some(dead) = &report.dead_channels else { return String::new() };
    let layers = dead.layers_of_note();
    if layers.is_empty() {
        return String::new();
    }
    let mut table = String::from("dead channels    of     dead  removed\n");
    for DeadLayer { layer, channels, dead, removed } in &layers {
        table += &format!("{layer:<13}  {channels:>4}  {dead:>7}  {removed:>7}\n");
    }
    let sum = |of: fn(&DeadLayer) -> usize| dead.layers.iter().map(of).sum::<usize>();
    let [all, dead_ones, removed] = [sum(|l| l.channels), sum(|l| l.dead), sum(|l| l.removed)];
    table += &format!("{:<13}  {all:>4}  {dead_ones:>7}  {removed:>7}\n", "all layers");
    let [with, without] = [dead.macs_with, dead.macs].map(thousands);
    format!("{table}multiply-accumulates of an inference: {with} with all channels, {without} of the file\n\n")
}

fn figures(args: &ExportArgs, report: &ExportReport, test: Option<&EvaluateReport>) -> String {
    let tuned = report.fine_tuned.as_ref().map(fine_tuning_table).unwrap_or_default();
    let layers = weights_table(&report.layers)
        + "\n"
        + &tuned
        + &activations_table(report)
        + "\n"
        + &dead_channels_table(report);
    let both = |of: fn(&EvaluateReport) -> Option<f64>, calibration: Option<f64>| {
        let [test, calibration] = [test.and_then(of), calibration].map(|share| share.map(percent).unwrap_or_default());
        format!("{test:>9} {calibration:>20}")
    };
    let calibration = &report.calibration;
    let mut table = Table::default();
    table
        .row("", format!("{:>9} {:>20}", "test", "calibration"))
        .row(
            "examples",
            format!(
                "{:>9} {:>20}",
                test.map(|test| thousands(test.images)).unwrap_or_default(),
                thousands(calibration.images)
            ),
        )
        .row("accuracy, f32 unfolded", both(|t| t.accuracy_f32_unfolded, calibration.accuracy_f32_unfolded))
        .row("accuracy, f32 folded", both(|t| t.accuracy_f32_folded, calibration.accuracy_f32_folded))
        .row("accuracy, int8", both(|t| t.accuracy_int8, calibration.accuracy_int8))
        .row("classified differently by int8", both(|t| t.disagree_int8, calibration.disagree_int8))
        .row("squared error of int8", format!("{:>9} {:>20}", "", percent(calibration.int8_relative_error)));
    let mut file = Table::default();
    let data = match (test, &args.calibrate) {
        (Some(test), _) => format!("{} ({})", test.dataset, test.data_source),
        (None, with) => with.clone().unwrap_or_default(),
    };
    file.row("data", data)
        .row("weights", args.out.display().to_string())
        .row("size", format!("{} bytes, checksum {:08x}", thousands(report.bytes), report.checksum));
    format!("{layers}{}\n{}", table.render(), file.render())
}
