//! `host-trainer library`: its flags, and what it prints.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::{self, Table, thousands};
use crate::device::firmware::{LibraryRequest, build_library};
use crate::device::setup::TARGET;
use crate::error::Result;
use crate::files;
use crate::model::weights;

/// `library`.
#[derive(Args, Debug)]
pub struct LibraryArgs {
    /// The integers
    pub weights: PathBuf,
    /// The core, as rustc calls it: thumbv6m-none-eabi, thumbv7m-none-eabi, thumbv8m.main-none-eabihf, riscv32imc-unknown-none-elf, ..
    #[arg(long, value_name = "TARGET", default_value = TARGET)]
    pub target: String,
    /// The core, a thumbv8m.main, has the DSP extension
    #[arg(long)]
    pub dsp: bool,
    /// What names in the library begin with, behind bn_; the files are libNAME.a and NAME.h
    #[arg(long, value_name = "NAME", default_value = "model")]
    pub name: String,
    /// Directory of both
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: &LibraryArgs, out: &mut dyn Write) -> Result<()> {
    let LibraryArgs { target, dsp, name, .. } = args;
    let (library, header) = (args.out.join(format!("lib{name}.a")), args.out.join(format!("{name}.h")));
    for place in [&library, &header] {
        files::check_output(place, &[&args.weights])?;
    }
    let weights = weights::read(&args.weights)?;
    let built = build_library(&LibraryRequest { weights: &weights, name, target, dsp: *dsp })?;
    files::write(&library, &built.archive)?;
    files::write(&header, built.header.as_bytes())?;
    let (weights_bytes, arena_bytes) = (weights.model_bytes().len(), 4 * weights.arena_words());
    if args.json {
        let report = serde_json::json!({
            "library": library, "header": header, "target": target, "code_bytes": built.code_bytes,
            "weights_bytes": weights_bytes, "arena_bytes": arena_bytes,
        });
        return output::json(out, &report);
    }
    let mut table = Table::default();
    table
        .row("library", library.display().to_string())
        .row("header", header.display().to_string())
        .row("core", target)
        .row("code", format!("{} bytes, the check of a model among them", thousands(built.code_bytes as usize)))
        .row("weights", format!("{} bytes", thousands(weights_bytes)))
        .row("memory of an inference", format!("{} bytes, the stack besides", thousands(arena_bytes)));
    output::text(out, &table.render())
}
