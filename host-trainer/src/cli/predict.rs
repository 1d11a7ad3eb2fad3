//! `host-trainer predict`: its flags, and what it prints.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::{self, Table, thousands};
use crate::data::own::arrays;
use crate::error::{Error, Result};
use crate::exchange::Form;
use crate::files;
use crate::model::fold::fold;
use crate::model::inference::{self, Outputs};
use crate::model_file::ModelFile;

/// `predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// A checkpoint
    pub model: PathBuf,
    /// What the network reads, before its preprocessing: the tensor `input` of a .safetensors, or a .npy, u8 or f32, `[n, ...]`
    pub inputs: PathBuf,
    /// Where the outputs go: the tensor `output`, f32, `[n, outputs]`, of a safetensors file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which form of the network computes
    #[arg(long, value_enum, default_value = "unfolded")]
    pub form: Form,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: PredictArgs, out: &mut dyn Write) -> Result<()> {
    files::check_output(&args.out, &[&args.model, &args.inputs])?;
    let ModelFile::Checkpoint(checkpoint) = ModelFile::read(&args.model)? else {
        return Err(Error::bad_file(
            &args.model,
            "it holds integers, and predict computes in f32",
            "name the checkpoint it was exported from, or take `evaluate` or `emulate`",
        ));
    };
    let parameters = &checkpoint.parameters;
    let inputs = arrays::read_inputs(&args.inputs, parameters.network.input())?;
    let outputs = match args.form {
        Form::Unfolded => inference::outputs(parameters, &inputs),
        Form::Folded => inference::folded_outputs(&fold(parameters), &inputs),
    };
    files::write(&args.out, &to_bytes(&outputs))?;
    let (network, preprocessing) = (&parameters.network, parameters.network.preprocessing().describe());
    if args.json {
        let report = serde_json::json!({
            "file": args.model, "inputs": inputs.len(), "outputs": outputs.width(), "form": args.form,
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
