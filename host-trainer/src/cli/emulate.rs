//! `host-trainer emulate`.

use std::io::Write;

use super::args::EmulateArgs;
use super::output::{self, Table, percent, thousands};
use crate::data;
use crate::emulate::{
    self, CMSIS_NN, Cycles, EmulateReport, EmulateRequest, Executed, LogLine, emulate_built, run_demo, run_elf, soak,
};
use crate::error::Result;
use crate::firmware::{self, Inputs, Program, shipped_weights};
use crate::weights::AlignedBytes;

pub(super) fn run(args: EmulateArgs, out: &mut dyn Write) -> Result<()> {
    if let Some(elf) = &args.elf {
        return print(&run_elf(elf, args.machine)?, out);
    }
    let path = args.weights.clone().map_or_else(shipped_weights, Ok)?;
    let bytes = AlignedBytes::read(&path)?;
    let weights = bytes.model(&path)?;
    if args.demo {
        return print(
            &run_demo(
                &Inputs {
                    weights: Some(weights),
                    images: None,
                    machine: args.machine,
                    board: None,
                    build: args.build(),
                },
                args.machine,
            )?,
            out,
        );
    }
    let dataset = data::load(&args.data.request(None))?;
    let images = dataset.test.first(args.images.map_or(usize::MAX, |n| n as usize));
    output::notice(&format!("weights of {}, test images of {} ({})", path.display(), dataset.name, dataset.source));
    let request = EmulateRequest { weights, machine: args.machine, images: &images, build: args.build() };
    let report = if args.profile { emulate_and_profile(&request)? } else { soak(&request, args.repeat)? };
    if args.json {
        output::json(out, &report)?;
    } else {
        output::text(out, &figures(&report))?;
        if args.profile {
            output::text(out, &profile(&report))?;
        }
    }
    report.verdict()
}

fn emulate_and_profile(request: &EmulateRequest<'_>) -> Result<EmulateReport> {
    let EmulateRequest { weights, machine, build, .. } = *request;
    let inputs = Inputs { weights: Some(weights), images: None, machine, board: None, build };
    let firmware = firmware::build_programs(&inputs, &[Program::Evaluate])?;
    let elf = firmware.elf(Program::Evaluate);
    let mut report = emulate_built(&elf, request)?;
    emulate::profile(&elf, request, &mut report)?;
    Ok(report)
}

fn print(log: &[LogLine], out: &mut dyn Write) -> Result<()> {
    output::text(out, &log.iter().map(|line| format!("{line}\n")).collect::<String>())
}

/// The layers for people.
fn profile(report: &EmulateReport) -> String {
    let number = |n: u64| thousands(n as usize);
    let row = |cells: [String; 8]| {
        let [layer, instructions, each, cycles, weights, code, ram, cmsis] = cells;
        let line = format!("{layer:14}{instructions:>12}{each:>6}{cycles:>19}{weights:>9}{code:>7}{ram:>7}  {cmsis}");
        format!("{}\n", line.trim_end())
    };
    let heads = ["", "instructions", "/MAC", "cycles, modelled", "weights", "code", "RAM", "CMSIS-NN's instructions"];
    let cycles = |executed: Option<Executed>| match executed.and_then(|e| e.cortex_m4_cycles_modelled) {
        Some(Cycles { least, most }) => format!("{} to {}", number(least), number(most)),
        None => "-".into(),
    };
    let code = |executed: Option<Executed>| executed.map_or("-".into(), |e| number(e.code_bytes));
    let both = |both: [u32; 2]| both.map(|n| number(n.into())).join(", at best ");
    let mut text = format!("\n{}", row(heads.map(str::to_owned)));
    for layer in &report.layers {
        text += &row([
            layer.layer.clone(),
            number(layer.instructions.into()),
            format!("{:.2}", layer.instructions_per_mac),
            cycles(layer.executed),
            number(layer.flash_bytes as u64),
            code(layer.executed),
            number(layer.ram_bytes as u64),
            layer.cmsis_nn.map(both).unwrap_or_default(),
        ]);
    }
    let macs: usize = report.layers.iter().map(|layer| layer.macs).sum();
    text += &row([
        "inference".into(),
        number(report.instructions_per_inference),
        format!("{:.2}", report.instructions_per_inference as f64 / macs as f64),
        cycles(report.executed),
        number(report.weights_bytes),
        code(report.executed),
        number(report.scratch_bytes + report.stack_bound_bytes),
        both(CMSIS_NN),
    ]);
    text + NOTES
}

const NOTES: &str = "
Sigmoid and pool are in their layer. Instructions are counted by the emulator; nothing was timed, and nothing has run on hardware.
Cycles are a model of a Cortex-M4 without wait states, from the executed instructions and the timings in Arm's reference manual.
Bytes: weights and tables; instructions executed, where layers share code in each; buffers of the layer, of the inference all with
the stack. CMSIS-NN on a Cortex-M4, as frameworks call it and at its best; its linear layers are counted together.
";

/// The report for people.
pub(super) fn figures(report: &EmulateReport) -> String {
    let EmulateReport { logits_differing, classes_differing, logits_compared, images, .. } = report;
    let agreement = match (logits_differing, classes_differing) {
        (0, 0) => format!("all {} logits are the host's, bit for bit", thousands(*logits_compared)),
        _ => format!(
            "{} of {} logits and {} of {} classes DIFFER from the host's",
            thousands(*logits_differing),
            thousands(*logits_compared),
            thousands(*classes_differing),
            thousands(*images)
        ),
    };
    let [fewest, most] = report.instructions_range.map(|n| thousands(n as usize));
    let bytes = |n: u64| format!("{} bytes", thousands(n as usize));
    let mut table = Table::default();
    table
        .row("classified", format!("{} images on {} ({})", thousands(*images), report.machine, report.target))
        .row("accuracy, int8 in the emulator", percent(report.accuracy))
        .row("compared with the host", agreement)
        .row(
            "instructions an inference",
            format!("{} ({fewest} to {most})", thousands(report.instructions_per_inference as usize)),
        )
        .row(
            "flash",
            format!("{}, {} of them weights", bytes(report.flash_bytes), thousands(report.weights_bytes as usize)),
        )
        .row(
            "RAM",
            format!("{}, {} of them scratch", bytes(report.ram_bytes), thousands(report.scratch_bytes as usize)),
        )
        .row("stack", format!("{}, at most {} by the call graph", bytes(report.stack_bytes), report.stack_bound_bytes))
        .row(
            "an inference takes",
            format!(
                "{} of flash (code, weights, tables) and {} of RAM (scratch, stack)",
                bytes(report.inference_flash_bytes),
                bytes(report.scratch_bytes + report.stack_bound_bytes)
            ),
        )
        .row("time", format!("{:.1} s, emulators side by side: {}", report.seconds, report.emulators));
    table.render()
}
