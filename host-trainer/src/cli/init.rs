//! `host-trainer init`: its flags, and what it prints.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::{self, Table, thousands};
use crate::engine::init::kaiming_parameters;
use crate::error::Result;
use crate::model::parameters::Variance;
use crate::network::shipped;
use crate::train::checkpoint::{Checkpoint, Origin};

/// `init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// A shipped network's name, or a .net file
    pub network: String,
    /// Fixes the weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Where the checkpoint goes
    #[arg(long, value_name = "CHECKPOINT")]
    pub out: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: InitArgs, out: &mut dyn Write) -> Result<()> {
    output::check_new(&args.out, args.force)?;
    let network = shipped::find(&args.network)?;
    let parameters = kaiming_parameters(&network, args.seed, Variance::Biased);
    let checkpoint = Checkpoint { parameters, batches_tracked: 0, origin: Origin::Initial(args.seed), moments: None };
    checkpoint.write(&args.out)?;
    let (parameters, macs) = (network.topology().trained_parameters(), network.topology().macs());
    if args.json {
        let report = serde_json::json!({
            "network": network.name(), "seed": args.seed, "parameters": parameters, "macs": macs, "checkpoint": args.out,
        });
        return output::json(out, &report);
    }
    let mut table = Table::default();
    table
        .row("network", format!("{}, untrained, seed {}", network.name(), args.seed))
        .row("trained parameters", thousands(parameters))
        .row("multiply-accumulates", thousands(macs))
        .row("checkpoint", args.out.display().to_string());
    output::text(out, &table.render())
}
