//! `host-trainer emulate --profile`: what each layer takes, and what folding BatchNorm saves.

use std::path::Path;

use bn_core::LeNet;

use super::output::{self, percent, thousands};
use crate::device::emulate::{
    self, CMSIS_NN, Cost, Cycles, EmulateReport, EmulateRequest, Executed, FloatReport, FloatRequest, emulate_built,
};
use crate::device::firmware::{self, Inputs, Program, workspace_root};
use crate::error::Result;
use crate::exchange::{self, ImportOptions};
use crate::export::Networks;
use crate::train::checkpoint::Checkpoint;

/// The f32 network of those who name none.
const GOLDEN: &str = "tests/golden/trained.safetensors";
/// Images that the f32 networks classify: what they take hardly depends on the image.
const FLOAT_IMAGES: usize = 16;

/// Emulates, with one build, and adds everything that takes a look at each executed instruction.
pub(super) fn emulate_and_profile(request: &EmulateRequest<'_>, checkpoint: Option<&Path>) -> Result<EmulateReport> {
    let EmulateRequest { weights, machine, build, images } = *request;
    let (model, net) = float_network(checkpoint)?;
    let inputs = Inputs { weights: Some(weights), images: None, machine, board: None, build };
    let firmware = firmware::build_programs(&inputs, &[Program::Evaluate])?;
    let elf = firmware.elf(Program::Evaluate);
    if !machine.is_arm() {
        output::notice(&format!(
            "the log of executed instructions is read on Arm alone: {machine} has no cycles and no code"
        ));
    }
    let mut report = emulate_built(&elf, request)?;
    emulate::profile(&elf, request, &mut report)?;
    if machine.has_float_unit() {
        let images = images.first(FLOAT_IMAGES);
        report.float = Some(emulate::float(&FloatRequest { net: &net, model: &model, machine, images: &images })?);
    } else {
        output::notice(&format!("{machine} has no floating-point unit: the f32 networks are left out"));
    }
    Ok(report)
}

/// The f32 network, and where it is from.
fn float_network(checkpoint: Option<&Path>) -> Result<(String, Box<LeNet>)> {
    match checkpoint {
        Some(path) => {
            let networks = Networks::new(&Checkpoint::read(path)?.parameters)?;
            Ok((path.display().to_string(), networks.unfolded))
        }
        None => {
            let imported = exchange::import(&workspace_root()?.join(GOLDEN), &ImportOptions::default())?;
            let networks = Networks::new(&imported.checkpoint.parameters)?;
            Ok((format!("PyTorch's trained model, {GOLDEN}"), networks.unfolded))
        }
    }
}

/// The profile for people.
pub(super) fn text(report: &EmulateReport) -> String {
    let Some(cost) = &report.cost else { return String::new() };
    let folding = report.float.as_ref().map(|float| folding(cost, float));
    format!("\n{}{NOTES}{}", layers(cost), folding.unwrap_or_default())
}

const NOTES: &str = "
Sigmoid and pool are in their layer. Instructions are counted by the emulator; nothing was timed, and nothing has run on hardware.
Cycles are a model of a Cortex-M4 without wait states, from the executed instructions and the timings in Arm's reference manual.
Bytes: weights and tables; instructions executed, where layers share code in each; buffers of the layer, of the inference all with
the stack. CMSIS-NN on a Cortex-M4, as frameworks call it and at its best; its linear layers are counted together.
";

fn number(n: u64) -> String {
    thousands(n as usize)
}

fn cycles(executed: Option<&Executed>) -> String {
    match executed.and_then(|executed| executed.cortex_m4_cycles_modelled) {
        Some(Cycles { least, most }) => format!("{} to {}", number(least), number(most)),
        None => "-".into(),
    }
}

/// A row for each layer, and one for all.
fn layers(cost: &Cost) -> String {
    let row = |cells: [String; 8]| {
        let [layer, instructions, each, cycles, weights, code, ram, cmsis] = cells;
        let line = format!("{layer:22}{instructions:>12}{each:>6}{cycles:>19}{weights:>9}{code:>7}{ram:>7}  {cmsis}");
        format!("{}\n", line.trim_end())
    };
    let heads = ["", "instructions", "/MAC", "cycles, modelled", "weights", "code", "RAM", "CMSIS-NN's instructions"];
    let code = |executed: Option<Executed>| executed.map_or("-".into(), |executed| number(executed.code_bytes));
    let both = |both: [u32; 2]| both.map(|n| number(n.into())).join(", at best ");
    let mut text = row(heads.map(str::to_owned));
    for layer in &cost.layers {
        text += &row([
            format!("{} {}", layer.name, layer.family),
            number(layer.instructions.into()),
            format!("{:.2}", layer.instructions_per_mac),
            cycles(layer.executed.as_ref()),
            number(layer.flash_bytes as u64),
            code(layer.executed),
            layer.ram_bytes.map(|bytes| number(bytes as u64)).unwrap_or_default(),
            layer.cmsis_nn.map(both).unwrap_or_default(),
        ]);
    }
    let macs: usize = cost.layers.iter().map(|layer| layer.macs).sum();
    text + &row([
        "inference".into(),
        number(cost.instructions_per_inference),
        format!("{:.2}", cost.instructions_per_inference as f64 / macs as f64),
        cycles(cost.executed.as_ref()),
        number(cost.weights_bytes),
        code(cost.executed),
        number(cost.scratch_bytes + cost.stack_bound_bytes),
        both(CMSIS_NN),
    ])
}

/// The network in f32 beside the integers.
fn folding(cost: &Cost, float: &FloatReport) -> String {
    let before = float.unfolded.instructions_per_inference;
    let row = |name: &str, instructions: u64, executed: Option<&Executed>| {
        let fewer = match 1.0 - instructions as f64 / before as f64 {
            0.0 => String::new(),
            share => format!("  {} fewer instructions", percent(share)),
        };
        format!("{name:25}{:>12}{:>24}{fewer}\n", number(instructions), cycles(executed))
    };
    let FloatReport { unfolded, folded, logits_compared, logits_differing, model, images } = float;
    let agreement = match logits_differing {
        0 => format!("all {logits_compared} of their logits are the host's, bit for bit"),
        n => format!("{n} of {logits_compared} of their logits DIFFER from the host's"),
    };
    format!("\n{:25}{:>12}{:>24}\n", "an inference", "instructions", "cycles, modelled")
        + &row("f32, BatchNorm unfolded", before, Some(&unfolded.executed))
        + &row("f32, BatchNorm folded", folded.instructions_per_inference, Some(&folded.executed))
        + &row("int8, BatchNorm folded", cost.instructions_per_inference, cost.executed.as_ref())
        + &format!("\nThe f32 networks are {model}; images: {images}; {agreement}.\n")
}
