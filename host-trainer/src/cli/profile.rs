//! `host-trainer emulate --profile`: what each layer takes, and what folding BatchNorm saves.

use std::path::Path;

use bn_core::LeNet;
use bn_core::lenet::Streams;

use super::output::{self, percent, thousands};
use crate::device::emulate::{
    self, CMSIS_NN, Cost, Cycles, EmulateReport, EmulateRequest, Executed, FloatReport, FloatRequest, LayerProfile,
    emulate_built,
};
use crate::device::firmware::{self, Inputs, Program, workspace_root};
use crate::error::{Error, Result};
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
    let is_lenet = Streams::of(weights).is_some();
    if checkpoint.is_some() && !is_lenet {
        return Err(Error::BadArgument {
            problem: "the f32 networks that are profiled are LeNet's".into(),
            remedy: "leave out --checkpoint".into(),
        });
    }
    let float = is_lenet.then(|| float_network(checkpoint)).transpose()?;
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
    match float {
        None => output::notice("the f32 networks that are profiled are LeNet's: they are left out"),
        Some(_) if !machine.has_float_unit() => {
            output::notice(&format!("{machine} has no floating-point unit: the f32 networks are left out"));
        }
        Some((model, net)) => {
            let images = images.first(FLOAT_IMAGES);
            report.float = Some(emulate::float(&FloatRequest { net: &net, model: &model, machine, images: &images })?);
        }
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
    let is_lenet = report.layers.iter().any(|layer| layer.cmsis_nn.is_some());
    let of_cmsis_nn = if is_lenet { NOTES_OF_CMSIS_NN } else { "" };
    format!("\n{}{NOTES}{of_cmsis_nn}\n{}", layers(report, cost), folding.unwrap_or_default())
}

const NOTES: &str = "
Activation and pool are in their layer. Instructions are counted by the emulator; nothing was timed, and nothing has run on hardware.
Cycles are a model of a Cortex-M4 without wait states, from the executed instructions and the timings in Arm's reference manual.
Bytes: weights and tables; instructions executed, where layers share code in each; buffers of the layer, of the inference all with
the stack.";
/// Where there is a column of them.
const NOTES_OF_CMSIS_NN: &str =
    " CMSIS-NN on a Cortex-M4, as frameworks call it and at its best; its linear layers are counted together.";

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
fn layers(report: &EmulateReport, cost: &Cost) -> String {
    let named = |layer: &LayerProfile| format!("{} {}", layer.name.escape_debug(), layer.family);
    let width = report.layers.iter().map(|layer| named(layer).chars().count()).max().unwrap_or(0).max(20) + 2;
    let row = |cells: [String; 8]| {
        let [layer, instructions, each, cycles, weights, code, ram, cmsis] = cells;
        let line =
            format!("{layer:width$}{instructions:>12}{each:>6}{cycles:>19}{weights:>9}{code:>7}{ram:>7}  {cmsis}");
        format!("{}\n", line.trim_end())
    };
    let is_lenet = report.layers.iter().any(|layer| layer.cmsis_nn.is_some());
    let of_cmsis_nn = if is_lenet { "CMSIS-NN's instructions" } else { "" };
    let heads = ["", "instructions", "/MAC", "cycles, modelled", "weights", "code", "RAM", of_cmsis_nn];
    let code = |executed: Option<Executed>| executed.map_or("-".into(), |executed| number(executed.code_bytes));
    let both = |both: [u32; 2]| both.map(|n| number(n.into())).join(", at best ");
    let mut text = row(heads.map(str::to_owned));
    for layer in &report.layers {
        text += &row([
            named(layer),
            layer.instructions.map_or("-".into(), number),
            layer.instructions_per_mac.map_or("-".into(), |each| format!("{each:.2}")),
            cycles(layer.executed.as_ref()),
            number(layer.flash_bytes as u64),
            code(layer.executed),
            layer.ram_bytes.map(|bytes| number(bytes as u64)).unwrap_or_default(),
            layer.cmsis_nn.map(both).unwrap_or_default(),
        ]);
    }
    let macs: usize = report.layers.iter().map(|layer| layer.macs).sum();
    text + &row([
        "inference".into(),
        number(cost.instructions_per_inference),
        format!("{:.2}", cost.instructions_per_inference as f64 / macs.max(1) as f64),
        cycles(cost.executed.as_ref()),
        number(cost.weights_bytes),
        code(cost.executed),
        number(cost.scratch_bytes + cost.stack_bound_bytes),
        if is_lenet { both(CMSIS_NN) } else { String::new() },
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
