//! `host-trainer import`.

use std::io::Write;

use super::args::ImportArgs;
use super::output::{self, Table};
use crate::error::Result;
use crate::exchange::{ImportOptions, Imported, import};

pub(super) fn run(args: ImportArgs, out: &mut dyn Write) -> Result<()> {
    output::check_new(&args.out, args.force)?;
    let options = ImportOptions { eps: args.eps.map(|eps| eps as f32), variance: args.variance };
    let Imported { checkpoint, source, folded } = import(&args.file, options)?;
    checkpoint.write(&args.out)?;
    let parameters = &checkpoint.parameters;
    if args.json {
        let report = serde_json::json!({
            "file": args.file, "checkpoint": args.out, "source": source.describe(), "eps": parameters.eps as f32,
            "variance": parameters.variance, "batches_tracked": checkpoint.batches_tracked, "folded": folded,
        });
        return output::json(out, &report);
    }
    let mut table = Table::default();
    table
        .row("source", source.describe())
        .row("eps", format!("{:e}", parameters.eps as f32))
        .row("running variance", parameters.variance.name());
    if !folded.is_empty() {
        let modules = format!("module {}: the checkpoint's changes nothing there", folded.join(", "));
        table.row("BatchNorm folded away", modules);
    }
    table.row("checkpoint", args.out.display().to_string());
    output::text(out, &table.render())
}
