//! `host-trainer data`.

use std::io::Write;

use clap::Args;

use super::output::{self, Table, thousands};
use super::shared_args::DataArgs;
use crate::data::{self, own};
use crate::error::Result;

/// `data`.
#[derive(Args, Debug)]
pub struct DataVerbArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Say what is there, download nothing
    #[arg(long)]
    pub offline: bool,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: DataVerbArgs, out: &mut dyn Write) -> Result<()> {
    let request = args.data.request(None);
    let summary = match &args.data.data {
        Some(path) => own::summary(path)?,
        None if args.offline => data::status(&request)?,
        None => data::fetch(&request)?,
    };
    if args.json {
        return output::json(out, &summary);
    }
    let mut table = Table::default();
    let checked = match (&summary.directory, summary.official) {
        (None, _) => "drawn by the built-in generator",
        (Some(_), true) => "every file is Fashion-MNIST's, by its MD5",
        (Some(_), false) if summary.files.is_empty() => "every example was read",
        (Some(_), false) => "sound files, but not Fashion-MNIST's",
    };
    table
        .row("data set", &summary.dataset)
        .row("source", &summary.source)
        .row("checked", checked)
        .row("training examples", thousands(summary.train_examples))
        .row("test examples", thousands(summary.test_examples));
    for file in &summary.files {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        table.row(name, format!("{} bytes, MD5 {}", thousands(file.bytes as usize), file.md5));
    }
    for class in &summary.classes {
        let count = format!("{} to train, {} to test", thousands(class.train), thousands(class.test));
        table.row(format!("class {}", class.class), count);
    }
    output::text(out, &table.render())
}
