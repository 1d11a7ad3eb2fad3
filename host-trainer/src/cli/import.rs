//! `host-trainer import`.

use std::io::Write;

use super::args::ImportArgs;
use super::output::{self, Table};
use crate::error::{Error, Result};
use crate::import::{ImportOptions, import};

pub(super) fn run(args: ImportArgs, out: &mut dyn Write) -> Result<()> {
    if args.out.exists() && !args.force {
        return Err(Error::BadArgument {
            problem: format!("{} is there already", args.out.display()),
            remedy: "choose another --out, or replace it with --force".into(),
        });
    }
    let (checkpoint, vocabulary) = import(&args.file, ImportOptions { eps: args.eps as f32, variance: args.variance })?;
    checkpoint.write(&args.out)?;
    let parameters = &checkpoint.parameters;
    if args.json {
        let report = serde_json::json!({
            "file": args.file, "checkpoint": args.out, "names": vocabulary.describe(), "eps": args.eps,
            "variance": parameters.variance, "batches_tracked": checkpoint.batches_tracked,
        });
        return output::json(out, &report);
    }
    let mut table = Table::default();
    table
        .row("names", vocabulary.describe())
        .row("eps", format!("{:e}", args.eps))
        .row("running variance", parameters.variance.name())
        .row("checkpoint", args.out.display().to_string());
    output::text(out, &table.render())
}
