//! Models that other programs wrote or will read: PyTorch state_dicts in safetensors, and ONNX, with BatchNorm on its own or
//! folded away. A checkpoint is always unfolded; where a file has folded a layer's BatchNorm, the checkpoint gets one that
//! changes no bit (`pass_through`).
//!
//! `tests/exchange.rs` holds both directions to ONNX Runtime and to files that PyTorch wrote.

mod onnx;
mod pytorch;

use std::path::Path;

use bn_core::lenet::{FoldedLeNet, TENSORS};
use clap::ValueEnum;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::export::check_statistics;
use crate::files;
use crate::model::parameters::{Parameters, Variance, index};
use crate::model::state_dict::check_values;
use crate::train::checkpoint::{Checkpoint, Origin};

const REMEDY_EPS: &str = "leave --eps away";

/// A layer with weights, by its tensors, and the module of the BatchNorm behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layer {
    weight: &'static str,
    bias: &'static str,
    batch_norm: Option<&'static str>,
}

const fn layer(weight: &'static str, bias: &'static str, batch_norm: Option<&'static str>) -> Layer {
    Layer { weight, bias, batch_norm }
}

/// The layers in order. A test holds them to bn-core's table.
const LAYERS: [Layer; 5] = [
    layer("0.weight", "0.bias", Some("1")),
    layer("4.weight", "4.bias", Some("5")),
    layer("9.weight", "9.bias", Some("10")),
    layer("12.weight", "12.bias", Some("13")),
    layer("15.weight", "15.bias", None),
];

/// What the file itself may not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImportOptions {
    /// BatchNorm's `eps`, between 0 and 1. A `state_dict` does not hold it, and `None` is PyTorch's default; an ONNX file
    /// does, and must agree.
    pub eps: Option<f32>,
    /// What `running_var` holds; `None` takes what the layer of that vocabulary does: unbiased for `nn.BatchNorm`, biased
    /// for d2l's own.
    pub variance: Option<Variance>,
}

/// Who wrote an imported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A state_dict of `nn.BatchNorm2d` and `nn.BatchNorm1d`.
    Torch,
    /// A state_dict of the chapter's from-scratch layer.
    D2l,
    /// An ONNX file.
    Onnx,
}

impl Source {
    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Source::Torch => "state_dict, nn.BatchNorm (weight, bias, running_mean, running_var)",
            Source::D2l => "state_dict, d2l's BatchNorm (gamma, beta, moving_mean, moving_var)",
            Source::Onnx => "ONNX",
        }
    }
}

/// A model from elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The model, unfolded.
    pub checkpoint: Checkpoint,
    /// Who wrote it.
    pub source: Source,
    /// BatchNorm modules that the file had folded into the layer before; the checkpoint's change nothing.
    pub folded: Vec<&'static str>,
}

/// Reads a safetensors or ONNX file; its content decides.
///
/// # Errors
/// [`Error::BadFile`] with the first thing that is wrong.
pub fn import(path: &Path, options: ImportOptions) -> Result<Imported> {
    from_bytes(path, &files::read(path, &files::FOREIGN_MODEL)?, options)
}

/// Reads a file's content; `path` is for messages, for its name in the checkpoint, and for tensors of an ONNX file that lie
/// beside it.
///
/// # Errors
/// [`Error::BadFile`] with the first thing that is wrong.
pub fn from_bytes(path: &Path, bytes: &[u8], options: ImportOptions) -> Result<Imported> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let origin = Origin::Imported(name);
    if !looks_like_onnx(path, bytes) {
        return pytorch::read(path, bytes, options, origin);
    }
    let onnx::Read { parameters, folded } = onnx::read(path, bytes, options)?;
    Ok(Imported {
        checkpoint: Checkpoint { parameters, batches_tracked: 0, origin, moments: None },
        source: Source::Onnx,
        folded,
    })
}

/// By content where that is clear (an ONNX file begins with the field of its version, a safetensors file has its header at
/// byte 8), by name where it is not.
fn looks_like_onnx(path: &Path, bytes: &[u8]) -> bool {
    let is_safetensors = bytes.get(8) == Some(&b'{');
    let begins = bytes.first() == Some(&0x08) && bytes.get(1).is_some_and(|&version| version < 0x80);
    !is_safetensors && (begins || path.extension().is_some_and(|e| e == "onnx"))
}

/// What `export` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The device's integers
    Weights,
    /// A PyTorch state_dict in f32
    Safetensors,
    /// An ONNX file in f32
    Onnx,
}

impl Format {
    /// That of a file's name; `None` where the name says nothing.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "bin" => Some(Format::Weights),
            "safetensors" => Some(Format::Safetensors),
            "onnx" => Some(Format::Onnx),
            _ => None,
        }
    }
}

/// Whether BatchNorm stands on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As trained.
    Unfolded,
    /// In the weights and biases of the layers before.
    Folded,
}

/// The bytes of an f32 model for other programs, read back by the importer and found to be the same.
///
/// # Errors
/// [`Error::Refused`] when the statistics cannot be folded, [`Error::Disagreement`] when what is read is not what was written.
///
/// # Panics
/// For [`Format::Weights`], which [`crate::export::export`] makes.
pub fn to_bytes(checkpoint: &Checkpoint, format: Format, form: Form) -> Result<Vec<u8>> {
    check_statistics(&checkpoint.parameters)?;
    let parameters = match form {
        Form::Unfolded => checkpoint.parameters.clone(),
        Form::Folded => folded(&checkpoint.parameters)?,
    };
    let bytes = match format {
        Format::Weights => panic!("a weights.bin is made by export::export"),
        Format::Safetensors => pytorch::to_bytes(&parameters, checkpoint.batches_tracked, form),
        Format::Onnx => onnx::to_bytes(&parameters, form),
    };
    let options = ImportOptions { eps: None, variance: Some(parameters.variance) };
    let back = match format {
        Format::Onnx => onnx::read(Path::new("the ONNX file"), &bytes, options)?.parameters,
        _ => {
            pytorch::read(Path::new("the state_dict"), &bytes, options, checkpoint.origin.clone())?
                .checkpoint
                .parameters
        }
    };
    let same = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).all(|(&a, &b)| a as f32 == b as f32);
    if back.tensors.iter().zip(&parameters.tensors).all(same) {
        return Ok(bytes);
    }
    Err(Error::Disagreement { problem: "the file that was made reads back as another model".into() })
}

/// The same model with BatchNorm in the layers before it, and BatchNorm that changes nothing.
///
/// # Errors
/// [`Error::Refused`] if a product of two numbers that f32 holds is one that it does not.
fn folded(parameters: &Parameters) -> Result<Parameters> {
    let FoldedLeNet { conv1, conv2, linear1, linear2, linear3 } = parameters.to_lenet().fold();
    let mut folded = parameters.clone();
    // PyTorch's own, which is what a folded file is read back with.
    folded.eps = Parameters::zero(parameters.variance).eps;
    let values: [(&[f32], &[f32]); 5] = [
        (conv1.flat(), &conv1.bias),
        (conv2.flat(), &conv2.bias),
        (linear1.flat(), &linear1.bias),
        (linear2.flat(), &linear2.bias),
        (linear3.flat(), &linear3.bias),
    ];
    for (layer, (weight, bias)) in LAYERS.iter().zip(values) {
        *folded.get_mut(layer.weight) = weight.iter().map(|&v| f64::from(v)).collect();
        *folded.get_mut(layer.bias) = bias.iter().map(|&v| f64::from(v)).collect();
        if let Some(module) = layer.batch_norm {
            pass_through(&mut folded, module);
        }
    }
    for (spec, values) in TENSORS.iter().zip(&folded.tensors) {
        check_values(spec.name, spec.role, values).map_err(|problem| Error::Refused {
            problem: format!("with BatchNorm folded into it, {problem}"),
            remedy: "export it without --folded, or train again with a smaller --lr".into(),
        })?;
    }
    Ok(folded)
}

/// Makes the BatchNorm of a module one that changes no bit: gamma 1, beta 0, mean 0, and the variance whose sum with `eps`
/// rounds to 1. In f32 the deviation is then 1. In f64, where the sum is off by at most 2^-25, its root is off by at most
/// 2^-26, less than half a unit of an f32, so that folding gives the layer back as it was.
fn pass_through(parameters: &mut Parameters, module: &str) {
    let variance = f64::from(1.0 - parameters.eps as f32);
    for (part, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", variance)] {
        parameters.tensors[index(&format!("{module}.{part}"))].fill(value);
    }
}

/// The modules of all BatchNorm layers.
fn batch_norms() -> impl Iterator<Item = &'static str> {
    LAYERS.iter().filter_map(|layer| layer.batch_norm)
}

#[cfg(test)]
mod tests {
    use bn_core::lenet::Role;

    use super::*;

    /// A model of arbitrary numbers with statistics that could be.
    pub(super) fn model() -> Checkpoint {
        let mut parameters = Parameters::zero(Variance::Biased);
        for (seed, (spec, tensor)) in TENSORS.iter().zip(&mut parameters.tensors).enumerate() {
            for (i, value) in tensor.iter_mut().enumerate() {
                let noise = ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.0 - 1.0;
                *value = f64::from(if spec.role == Role::RunningVar { 1.1 + noise } else { noise * 0.2 } as f32);
            }
        }
        Checkpoint { parameters, batches_tracked: 7, origin: Origin::Imported("model".into()), moments: None }
    }

    #[test]
    fn the_layers_are_those_of_the_table() {
        let mut names = Vec::new();
        for Layer { weight, bias, batch_norm } in LAYERS {
            names.extend([weight.to_owned(), bias.to_owned()]);
            let parts = ["weight", "bias", "running_mean", "running_var"];
            names.extend(batch_norm.iter().flat_map(|module| parts.map(|part| format!("{module}.{part}"))));
        }
        assert_eq!(names, TENSORS.map(|t| t.name));
    }

    #[test]
    fn a_batch_norm_that_is_passed_through_changes_no_bit() {
        for eps in [1e-5_f32, 1e-3, 7e-7, 0.3, 0.999, f32::MIN_POSITIVE] {
            let mut checkpoint = model();
            checkpoint.parameters.eps = f64::from(eps);
            batch_norms().for_each(|module| pass_through(&mut checkpoint.parameters, module));
            let net = checkpoint.parameters.to_lenet();
            let folded = net.fold();
            assert_eq!(net.bn1.running_var[0] + eps, 1.0, "{eps}");
            assert!(folded.conv1 == net.conv1 && folded.conv2 == net.conv2, "{eps}");
            assert!(folded.linear1 == net.linear1 && folded.linear2 == net.linear2, "{eps}");
        }
    }

    #[test]
    fn every_format_and_form_reads_back_as_the_model_that_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let ours = model();
        let net = ours.parameters.to_lenet();
        for (format, name) in [(Format::Safetensors, "x.safetensors"), (Format::Onnx, "x.onnx")] {
            let path = directory.path().join(name);
            assert_eq!(Format::of_name(&path), Some(format));
            std::fs::write(&path, to_bytes(&ours, format, Form::Unfolded).unwrap()).unwrap();
            let back = import(&path, ImportOptions::default()).unwrap();
            assert_eq!(back.folded, [""; 0]);
            assert_eq!(*back.checkpoint.parameters.to_lenet(), *net, "{name}");

            std::fs::write(&path, to_bytes(&ours, format, Form::Folded).unwrap()).unwrap();
            let back = import(&path, ImportOptions::default()).unwrap();
            assert_eq!(back.folded, ["1", "5", "10", "13"]);
            assert_eq!(back.checkpoint.parameters.to_lenet().fold(), net.fold(), "{name}");
        }
    }

    #[test]
    fn a_fold_that_leaves_f32_is_refused_as_that() {
        let mut extreme = model();
        extreme.parameters.get_mut("9.weight")[7] = f64::from(f32::MAX);
        extreme.parameters.get_mut("10.weight").fill(2.0);
        assert!(to_bytes(&extreme, Format::Onnx, Form::Unfolded).is_ok());
        let error = to_bytes(&extreme, Format::Onnx, Form::Folded).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(error.to_string().contains("9.weight holds inf at position 7; export it without --folded"), "{error}");
    }

    #[test]
    fn a_model_that_was_never_trained_is_refused() {
        let mut untouched = model();
        untouched.parameters.get_mut("5.running_mean").fill(0.0);
        untouched.parameters.get_mut("5.running_var").fill(1.0);
        let error = to_bytes(&untouched, Format::Onnx, Form::Folded).unwrap_err();
        assert!(error.to_string().contains("5 were never updated"), "{error}");
    }
}
