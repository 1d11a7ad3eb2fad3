//! `host-trainer emulate`.

use std::io::Write;
use std::path::Path;

use bn_core::file::WeightsFile;
use bn_core::lenet::NETWORK;

use super::args::EmulateArgs;
use super::output::{self, Table, percent, thousands};
use super::profile;
use crate::data::Split;
use crate::data::own::arrays;
use crate::device::emulate::{Cost, EmulateReport, EmulateRequest, LogLine, run_demo, run_elf, soak};
use crate::device::firmware::{Inputs, shipped_weights};
use crate::error::{Error, Result};
use crate::model::input::check;
use crate::model::weights;
use crate::model::weights::network_of;

pub(super) fn run(args: EmulateArgs, out: &mut dyn Write) -> Result<()> {
    if let Some(elf) = &args.elf {
        return print(&run_elf(elf, args.machine)?, out);
    }
    if args.profile && !args.machine.counts() {
        return Err(Error::BadArgument {
            problem: format!("nothing is counted on {}", args.machine),
            remedy: "leave out --profile, or name another --machine".into(),
        });
    }
    let path = args.weights.clone().map_or_else(shipped_weights, Ok)?;
    let weights = weights::read(&path)?;
    if args.demo {
        let (machine, build) = (args.machine, args.build());
        let inputs = Inputs { weights: Some(&weights), images: None, machine, board: None, build };
        return print(&run_demo(&inputs, machine)?, out);
    }
    let (all, from) = examples(&args, &path, &weights)?;
    let images = all.first(args.images.map_or(usize::MAX, |n| n as usize));
    output::notice(&format!("weights of {}, {from}", path.display()));
    let request = EmulateRequest { weights: &weights, machine: args.machine, images: &images, build: args.build() };
    let report = if args.profile {
        profile::emulate_and_profile(&request, args.checkpoint.as_deref())?
    } else {
        soak(&request, args.repeat)?
    };
    if args.json {
        output::json(out, &report)?;
    } else {
        output::text(out, &figures(&report))?;
        if !report.agrees() {
            output::text(out, &differing(&report))?;
        }
        if args.profile {
            output::text(out, &profile::text(&report))?;
        }
    }
    report.verdict()
}

/// What is to run, and where it is from.
fn examples(args: &EmulateArgs, path: &Path, weights: &WeightsFile) -> Result<(Split, String)> {
    let network = network_of(path, weights)?;
    if let Some(file) = &args.inputs {
        let inputs = arrays::read_inputs(file, network.input())?;
        return Ok((Split { inputs, labels: Vec::new() }, format!("inputs of {}", file.display())));
    }
    if !args.data.names_data() && network.input() != NETWORK.topology.input {
        return Err(Error::BadArgument {
            problem: format!("{} reads {}, and the default data set has 1x28x28", network.name(), network.input()),
            remedy: "name its inputs with --inputs, or data with --data".into(),
        });
    }
    let dataset = args.data.load(None, &network)?;
    check(&network, &dataset.test)?;
    let from = format!("test images of {} ({})", dataset.name, dataset.source);
    Ok((dataset.test, from))
}

fn print(log: &[LogLine], out: &mut dyn Write) -> Result<()> {
    output::text(out, &log.iter().map(|line| format!("{line}\n")).collect::<String>())
}

/// The report for people.
pub(super) fn figures(report: &EmulateReport) -> String {
    let EmulateReport { outputs_compared, outputs_differing, classes_differing, images, layers, .. } = report;
    let agreement = if report.agrees() {
        format!("all {} outputs of {} layers are the host's, bit for bit", thousands(*outputs_compared), layers.len())
    } else {
        format!(
            "{} of {} outputs and {} of {} classes DIFFER from the host's",
            thousands(*outputs_differing),
            thousands(*outputs_compared),
            thousands(*classes_differing),
            thousands(*images)
        )
    };
    let mut table = Table::default();
    table.row("classified", format!("{} images on {} ({})", thousands(*images), report.machine, report.target));
    if let Some(accuracy) = report.accuracy {
        table.row("accuracy, int8 in the emulator", percent(accuracy));
    }
    table.row("compared with the host", agreement);
    if let Some(cost) = &report.cost {
        costs(cost, &mut table);
    }
    table.row("time", format!("{:.1} s, emulators side by side: {}", report.seconds, report.emulators));
    table.render()
}

/// Each layer's outputs that differ, and the first of them.
fn differing(report: &EmulateReport) -> String {
    let mut table = Table::default();
    for layer in &report.layers {
        let (differing, compared) = (layer.outputs_differing, layer.outputs_compared);
        let said = format!("{} of {} outputs differ", thousands(differing), thousands(compared));
        table.row(format!("layer {} {}", layer.name.escape_debug(), layer.family), said);
    }
    if let Some(first) = &report.first_difference {
        table.row("first", first.to_string());
    }
    format!("\n{}", table.render())
}

fn costs(cost: &Cost, table: &mut Table) {
    let [fewest, most] = cost.instructions_range.map(|n| thousands(n as usize));
    let bytes = |n: u64| format!("{} bytes", thousands(n as usize));
    table
        .row(
            "instructions an inference",
            format!("{} ({fewest} to {most})", thousands(cost.instructions_per_inference as usize)),
        )
        .row(
            "flash",
            format!("{}, {} of them weights", bytes(cost.flash_bytes), thousands(cost.weights_bytes as usize)),
        )
        .row("RAM", format!("{}, {} of them scratch", bytes(cost.ram_bytes), thousands(cost.scratch_bytes as usize)))
        .row("stack", format!("{}, at most {} by the call graph", bytes(cost.stack_bytes), cost.stack_bound_bytes))
        .row(
            "an inference takes",
            format!(
                "{} of flash (code, weights, tables) and {} of RAM (scratch, stack)",
                bytes(cost.inference_flash_bytes),
                bytes(cost.scratch_bytes + cost.stack_bound_bytes)
            ),
        );
}
