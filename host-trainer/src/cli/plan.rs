//! `host-trainer plan`: its flags, and what it prints.

use std::io::Write;
use std::path::PathBuf;

use bn_core::kernels::Core;
use clap::Args;

use super::goal_args::GoalArgs;
use super::output::{self, thousands};
use crate::error::Result;
use crate::model_file::ModelFile;
use crate::network::shipped;
use crate::plan::{Place, Plan};

/// Characters of the picture of the arena.
const WIDTH: usize = 48;

/// `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// A checkpoint, a weights.bin, a .net file, or the name of a shipped network
    pub file: PathBuf,
    #[command(flatten)]
    pub goal: GoalArgs,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &PlanArgs, out: &mut dyn Write) -> Result<()> {
    let goal = args.goal.goal();
    let plan = match super::inspect::described(&args.file) {
        Some(name) => Plan::of_network(&*shipped::find(&name)?, &goal)?,
        None => {
            let model = ModelFile::read(&args.file)?;
            let network = model.network(&args.file)?;
            match &model {
                ModelFile::Checkpoint(_) => Plan::of_network(&network, &goal)?,
                ModelFile::Weights(file) => Plan::of_file(&network, file, &goal)?,
            }
        }
    };
    if args.json { output::json(out, &plan) } else { output::text(out, &text(&plan, goal.core)) }
}

fn text(plan: &Plan, core: Core) -> String {
    let name = plan.layers.iter().map(|layer| layer.name.chars().count()).max().unwrap_or(0).max("layer".len());
    let mut text = format!(
        "{:name$}  {:<16} {:>11} {:>9} {:>13}  memory: # results, + work, : kept, {} bytes from left to right\n",
        "layer",
        "family",
        "MAC",
        "bytes",
        "instructions",
        thousands(plan.arena_bytes)
    );
    for (at, layer) in plan.layers.iter().enumerate() {
        let instructions = layer.instructions.map_or_else(|| "-".into(), |count| format!("~{}", thousands(count)));
        text += &format!(
            "{:name$}  {:<16} {:>11} {:>9} {instructions:>13}  {}\n",
            layer.name,
            layer.family,
            thousands(layer.macs),
            thousands(layer.stream_bytes),
            picture(plan, at)
        );
    }
    let counted: Option<usize> = plan.layers.iter().map(|layer| layer.instructions).sum();
    let total = counted.map_or_else(|| "-".into(), |count| format!("~{}", thousands(count)));
    text + &format!(
        "{:name$}  {:<16} {:>11} {:>9} {total:>13}  on a {}; `emulate` counts them\n\
         {} bytes of flash for the file, {} of RAM for the arena; code, input and stack come on top\n",
        "all",
        "",
        thousands(plan.macs),
        thousands(plan.stream_bytes),
        core.title(),
        thousands(plan.flash_bytes),
        thousands(plan.arena_bytes)
    )
}

/// The arena while a layer works.
fn picture(plan: &Plan, at: usize) -> String {
    let mut cells = vec!['.'; WIDTH];
    let mut draw = |Place { at, bytes }: Place, with: char| {
        let scale = |byte: usize| byte * WIDTH / plan.arena_bytes.max(1);
        let (from, to) = (scale(at), scale(at + bytes).max(scale(at) + 1).min(WIDTH));
        cells[from.min(WIDTH - 1)..to].fill(with);
    };
    for kept in plan.kept(at) {
        draw(kept, ':');
    }
    draw(plan.layers[at].output, '#');
    if let Some(scratch) = plan.layers[at].scratch {
        draw(scratch, '+');
    }
    cells.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use bn_core::plan::Goal;

    use super::*;
    use crate::network::text::parse;

    #[test]
    fn every_layer_has_its_row_and_its_memory() {
        let network = parse(
            "network small\ninput 1x8x8\n\nconv2d 4 3x3 pad 1 | batch_norm | relu as stem\n\
             conv2d 4 3x3 pad 1 | relu\nconv2d 4 3x3 pad 1 | add stem | relu\nflatten | linear 3\n",
        );
        let plan = Plan::of_network(&network.unwrap(), &Goal::default()).unwrap();
        let text = text(&plan, Core::M4);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), plan.layers.len() + 3, "{text}");
        assert!(lines.iter().skip(1).take(plan.layers.len()).all(|line| line.contains('#')), "{text}");
        // The third convolution's results lie where the first one's do, which are added to them.
        assert_eq!(plan.layers[0].output, plan.layers[2].output, "{text}");
        assert_eq!(plan.macs, plan.layers.iter().map(|layer| layer.macs).sum::<usize>());
    }
}
