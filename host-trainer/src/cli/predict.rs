//! `host-trainer predict`: its flags, and what it prints.

use std::borrow::Cow;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::output::{self, Table, thousands};
use crate::data::own::arrays;
use crate::error::{Error, Result};
use crate::files;
use crate::model::fold::fold;
use crate::model::inference::{self, Outputs};
use crate::model::weights::network_of;
use crate::model_file::ModelFile;

/// `predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// A checkpoint, or a weights.bin
    pub model: PathBuf,
    /// What the network reads, before its preprocessing: the tensor `input` of a .safetensors, or a .npy, u8 or f32, `[n, ...]`
    pub inputs: PathBuf,
    /// Where the outputs go: the tensor `output`, f32, `[n, outputs]`, of a safetensors file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which form of the network computes [default: unfolded of a checkpoint, int8 of a weights.bin]
    #[arg(long, value_enum)]
    pub form: Option<Computes>,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

/// Which form of a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Computes {
    /// In f32, as trained
    Unfolded,
    /// In f32, BatchNorm in the weights and biases of the layers beside it
    Folded,
    /// The integers of a weights.bin, as the device computes; outputs are the integers times their scale
    #[value(alias = "device")]
    Int8,
}

pub(super) fn run(args: PredictArgs, out: &mut dyn Write) -> Result<()> {
    files::check_output(&args.out, &[&args.model, &args.inputs])?;
    let model = ModelFile::read(&args.model)?;
    let network = match &model {
        ModelFile::Checkpoint(checkpoint) => Cow::Borrowed(&*checkpoint.parameters.network),
        ModelFile::Weights(file) => Cow::Owned(network_of(&args.model, file)?),
    };
    let inputs = arrays::read_inputs(&args.inputs, network.input())?;
    let (outputs, form) = match (&model, args.form) {
        (ModelFile::Checkpoint(checkpoint), None | Some(Computes::Unfolded)) => {
            (inference::outputs(&checkpoint.parameters, &inputs), Computes::Unfolded)
        }
        (ModelFile::Checkpoint(checkpoint), Some(Computes::Folded)) => {
            (inference::folded_outputs(&fold(&checkpoint.parameters), &inputs), Computes::Folded)
        }
        (ModelFile::Checkpoint(_), Some(Computes::Int8)) => {
            let remedy = "make a weights.bin of it with `export`, and name that";
            return Err(Error::bad_file(&args.model, "it holds no integers", remedy));
        }
        (ModelFile::Weights(file), None | Some(Computes::Int8)) => {
            let predictions = inference::int8(file, &inputs);
            (inference::dequantized(file, &predictions), Computes::Int8)
        }
        (ModelFile::Weights(_), Some(_)) => {
            let remedy = "name the checkpoint it was exported from, or leave --form away";
            return Err(Error::bad_file(&args.model, "it holds integers and no f32", remedy));
        }
    };
    files::write(&args.out, &to_bytes(&outputs))?;
    let preprocessing = network.preprocessing().describe();
    if args.json {
        let report = serde_json::json!({
            "file": args.model, "inputs": inputs.len(), "outputs": outputs.width(), "form": form,
            "network": network.name(), "preprocessing": preprocessing, "output": args.out,
        });
        return output::json(out, &report);
    }
    let mut table = Table::default();
    table
        .row("network", network.name())
        .row("preprocessing", preprocessing)
        .row("inputs", format!("{} of {}", thousands(inputs.len()), inputs.shape()))
        .row("outputs", format!("{} each, in {}", outputs.width(), args.out.display()));
    output::text(out, &table.render())
}

fn to_bytes(outputs: &Outputs) -> Vec<u8> {
    let shape = vec![outputs.rows().len(), outputs.width()];
    let data: Vec<u8> = outputs.values().iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &data).expect("four bytes a value");
    safetensors::serialize([("output", view)], None).expect("one sound tensor")
}
