//! `host-trainer import`.

use std::io::Write;

use super::args::ImportArgs;
use super::output::{self, Table, thousands};
use crate::error::Result;
use crate::exchange::{GivenPreprocessing, ImportOptions, Imported, import};
use crate::model::fold::{InputPadding, fold};
use crate::network::{shipped, text};

pub(super) fn run(args: ImportArgs, out: &mut dyn Write) -> Result<()> {
    output::check_new(&args.out, args.force)?;
    let options = ImportOptions {
        network: args.network.as_deref().map(shipped::find).transpose()?,
        eps: args.eps.map(|eps| eps as f32),
        variance: args.variance,
        preprocessing: GivenPreprocessing { scale: args.scale, mean: args.mean, std: args.std },
        classes: args.classes,
    };
    let Imported { checkpoint, source, notes } = import(&args.file, &options)?;
    checkpoint.write(&args.out)?;
    let (parameters, network) = (&checkpoint.parameters, &checkpoint.parameters.network);
    let padding = fold(parameters).padding;
    if args.json {
        let report = serde_json::json!({
            "file": args.file, "checkpoint": args.out, "source": source.describe(),
            "network": text::print(network), "preprocessing": network.preprocessing().describe(), "eps": network.common_eps(),
            "variance": parameters.variance, "batches_tracked": checkpoint.batches_tracked, "notes": notes,
            "padding": padding.map(|p| serde_json::json!({ "values": p.values, "rounding": p.rounding })),
        });
        return output::json(out, &report);
    }
    let mut table = Table::default();
    table
        .row("source", source.describe())
        .row(
            "network",
            format!("{}, {} parameters", network.name(), thousands(network.topology().trained_parameters())),
        )
        .row("preprocessing", network.preprocessing().describe());
    if let Some(InputPadding { values, rounding, .. }) = padding {
        let values = values.iter().map(|v| format!("{v:.2}")).collect::<Vec<_>>().join(", ");
        let left = format!(
            "{values} stands for zero; in whole numbers that moves the first layer's output by up to {rounding:.1e}"
        );
        table.row("padding of the input", left);
    }
    if let Some(eps) = network.batch_norms().next().and(network.common_eps()) {
        table.row("eps", format!("{eps:e}"));
    }
    table.row("running variance", parameters.variance.name());
    for note in notes {
        table.row("note", note);
    }
    table.row("checkpoint", args.out.display().to_string());
    output::text(out, &table.render())
}
