//! `host-trainer compare`: its flags, and what it prints.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output;
use super::recipe_args::{named, up_to_1};
use super::shared_args::{ConsoleArgs, DataArgs, between_0_and_1, positive};
use crate::compare::grid::Lists;
use crate::compare::train::{Request, would_lose};
use crate::compare::{self, Comparison};
use crate::data::own::rule::{DEFAULT_SHARE, Rule};
use crate::engine::Fixed;
use crate::error::{Error, Result};
use crate::files;
use crate::network::shipped;
use crate::report::comparison::{cells, headings};
use crate::train::recipe::{Recipe, SEED};

/// `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Networks: shipped ones' names, or .net files
    #[arg(long, value_name = "FILE|NAME,..", value_delimiter = ',', default_value = "lenet")]
    pub network: Vec<String>,
    /// Learning rates [default: the recipe's, as with the lists below]
    #[arg(long, value_name = "RATE,..", value_delimiter = ',', value_parser = positive)]
    pub lr: Vec<f64>,
    /// Batch sizes
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    pub batch_size: Vec<u64>,
    /// Weights of the newest batch in BatchNorm's moving statistics, as PyTorch means them
    #[arg(long, value_name = "SHARE,..", value_delimiter = ',', value_parser = up_to_1)]
    pub bn_momentum: Vec<f64>,
    /// BatchNorm's eps [default: the networks']
    #[arg(long, value_name = "EPS,..", value_delimiter = ',', value_parser = between_0_and_1)]
    pub eps: Vec<f64>,
    /// What of BatchNorm is left as it is: gamma at 1, beta at 0
    #[arg(long, value_enum, value_name = "WHICH,..", value_delimiter = ',')]
    pub bn_fixed: Vec<Fixed>,
    /// Seeds of each variant, from 0: their curves make a band
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// How all are trained
    #[arg(long, value_name = "NAME", default_value = &*SEED.name, value_parser = named)]
    pub recipe: Recipe,
    /// Passes over the training examples [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub epochs: Option<u64>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Directory for comparison.svg and comparison.json; what of the same comparison lies there is not trained again
    #[arg(long, value_name = "DIR", default_value = "runs/compare")]
    pub out: PathBuf,
    /// Train everything anew, and replace what lies there
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

pub(super) fn run(args: CompareArgs, out: &mut dyn Write) -> Result<()> {
    let recipe = Recipe { epochs: args.epochs.map_or(args.recipe.epochs, |n| n as usize), ..args.recipe.clone() };
    let (plans, differ) = lists(&args)?.plans(&recipe)?;
    [compare::path(&args.out), compare::picture_path(&args.out)]
        .iter()
        .try_for_each(|path| files::check_output(path, &[]))?;
    let before = if args.force { None } else { compare::read(&args.out)? };
    let rule = Rule::Share { share: DEFAULT_SHARE, seed: 0 };
    let dataset = args.data.load_to_train(&plans[0].network, rule)?;
    let plans = plans.iter().map(|plan| plan.on(&dataset)).collect::<Result<Vec<_>>>()?;
    let seeds: Vec<u64> = (0..args.seeds).collect();
    if let Some(before) = &before
        && would_lose(before, &plans, &seeds, &dataset)
    {
        return Err(Error::BadArgument {
            problem: format!("{} holds another comparison", args.out.display()),
            remedy: "choose another --out, or replace it with --force".into(),
        });
    }
    let quiet = args.console.quiet;
    let notice = |line: &str| {
        if !quiet {
            output::notice(line);
        }
    };
    notice(&format!("comparing {} on {} ({})", differ.join(" and "), dataset.name, dataset.source));
    let request = Request { plans: &plans, differ, seeds, dataset: &dataset, out: &args.out };
    let comparison = compare::train::compare(&request, before.as_ref(), &notice)?;
    if args.console.json {
        return output::json(out, &comparison);
    }
    output::text(out, &figures(&comparison, &args.out))
}

fn lists(args: &CompareArgs) -> Result<Lists> {
    Ok(Lists {
        networks: args.network.iter().map(|name| shipped::find(name)).collect::<Result<_>>()?,
        lr: args.lr.clone(),
        batch_size: args.batch_size.iter().map(|&n| n as usize).collect(),
        bn_momentum: args.bn_momentum.clone(),
        eps: args.eps.clone(),
        bn_fixed: args.bn_fixed.clone(),
    })
}

/// A line a variant, then where the files lie.
fn figures(comparison: &Comparison, directory: &Path) -> String {
    let has_classes = comparison.variants.iter().any(|variant| variant.last.test_accuracy.is_some());
    let seeds = comparison.seeds.len();
    let heading = std::iter::once("variant").chain(headings(has_classes)).map(String::from).collect();
    let row = |variant: &compare::Variant| {
        std::iter::once(variant.label.clone()).chain(cells(variant, has_classes)).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(comparison.variants.iter().map(row)).collect();
    let epochs = comparison.variants.first().map_or(0, |variant| variant.recipe.epochs);
    let over = if seeds > 1 { format!(", mean of {seeds} seeds (least to most)") } else { String::new() };
    let mut files = output::Table::default();
    files
        .row("picture", compare::picture_path(directory).display().to_string())
        .row("figures", compare::path(directory).display().to_string());
    let plural = if epochs == 1 { "" } else { "s" };
    format!("after {epochs} epoch{plural} on {}{over}\n\n{}\n{}", comparison.dataset, aligned(&rows), files.render())
}

/// Columns side by side.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
