//! Models that other programs wrote or will read: PyTorch state_dicts in safetensors, which go with a description, and ONNX,
//! which is one. BatchNorm may stand on its own or be folded away.
//!
//! `tests/exchange.rs` and `tests/zoo.rs` hold both directions to ONNX Runtime and to files that others wrote.

mod modules;
mod onnx;
mod pytorch;

use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::export::check_statistics;
use crate::files;
use crate::model::fold::fold_batch_norm;
use crate::model::lenet::to_lenet;
use crate::model::parameters::{Parameters, Variance};
use crate::model::state_dict::check_values;
use crate::network::Network;
use crate::train::checkpoint::{Checkpoint, Origin};

const REMEDY_EPS: &str = "leave --eps away";

/// What the file itself may not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    /// The network of a state_dict; `None` is LeNet. An ONNX file describes its own.
    pub network: Option<Arc<Network>>,
    /// BatchNorm's `eps`, between 0 and 1. A `state_dict` does not hold it, and `None` is what the description says; an ONNX
    /// file does, and must agree.
    pub eps: Option<f32>,
    /// What `running_var` holds; `None` takes what the layer of that vocabulary does: unbiased for `nn.BatchNorm`, biased
    /// for d2l's own.
    pub variance: Option<Variance>,
    /// How raw values are taken.
    pub preprocessing: GivenPreprocessing,
    /// Names of the outputs; `None` is what the description says.
    pub classes: Option<Vec<String>>,
}

/// Preprocessing as the command line gives it, see [`crate::network::Preprocessing`]. What is not given is as the description says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenPreprocessing {
    /// Factor and divisor of a raw value.
    pub scale: Option<(f32, f32)>,
    /// Mean of each channel, or one for all.
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, or one for all.
    pub std: Option<Vec<f32>>,
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
    /// The model.
    pub checkpoint: Checkpoint,
    /// Who wrote it.
    pub source: Source,
    /// What was left out, filled in or renamed, one line each.
    pub notes: Vec<String>,
}

/// Reads a safetensors or ONNX file; its content decides.
///
/// # Errors
/// [`Error::BadFile`] with the first thing that is wrong.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported> {
    from_bytes(path, &files::read(path, &files::FOREIGN_MODEL)?, options)
}

/// Reads a file's content; `path` is for messages, for its name in the checkpoint, and for tensors of an ONNX file that lie
/// beside it.
///
/// # Errors
/// [`Error::BadFile`] with the first thing that is wrong.
pub fn from_bytes(path: &Path, bytes: &[u8], options: &ImportOptions) -> Result<Imported> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let is_onnx = looks_like_onnx(path, bytes);
    let (mut read, source) =
        if is_onnx { (of_onnx(path, bytes, options)?, Source::Onnx) } else { pytorch::read(path, bytes, options)? };
    take(&mut read.parameters, options)?;
    let pytorch::Read { parameters, batches_tracked, notes } = read;
    let checkpoint = Checkpoint { parameters, batches_tracked, origin: Origin::Imported(name), moments: None };
    Ok(Imported { checkpoint, source, notes })
}

/// By content where that is clear (an ONNX file begins with the field of its version, a safetensors file has its header at
/// byte 8), by name where it is not.
fn looks_like_onnx(path: &Path, bytes: &[u8]) -> bool {
    let is_safetensors = bytes.get(8) == Some(&b'{');
    let begins = bytes.first() == Some(&0x08) && bytes.get(1).is_some_and(|&version| version < 0x80);
    !is_safetensors && (begins || path.extension().is_some_and(|e| e == "onnx"))
}

fn of_onnx(path: &Path, bytes: &[u8], options: &ImportOptions) -> Result<pytorch::Read> {
    if options.network.is_some() {
        return Err(Error::BadArgument {
            problem: "an ONNX file describes its own network".into(),
            remedy: "leave --network away".into(),
        });
    }
    let onnx::Read { description, tensors, variance, mut notes } = onnx::read(path, bytes)?;
    let network = Network::new(description).map_err(|fault| {
        Error::bad_file(path, format!("its network cannot be taken: {fault}"), "see docs/networks.md for what can")
    })?;
    if let Some(eps) = options.eps
        && let Some(other) = network.batch_norms().map(|node| network.eps(node)).find(|&other| other != eps)
    {
        return Err(Error::bad_file(path, format!("its BatchNorm has eps {other}, not {eps}"), REMEDY_EPS));
    }
    let variance = options.variance.or(variance).unwrap_or(Variance::Unbiased);
    let mut parameters = Parameters { network: Arc::new(network), tensors, variance };
    let lenet = Network::lenet();
    if parameters.network.preprocessing().is_none()
        && !parameters.network.has_classes()
        && to_lenet(&parameters).is_some()
    {
        // The chapter's own network: what its reader feeds it is known.
        let known = parameters.network.with_preprocessing(lenet.preprocessing().clone());
        let known = known.and_then(|network| network.with_classes(lenet.class_names().map(String::from).collect()));
        parameters.network = Arc::new(known.expect("LeNet's own fit LeNet"));
        notes.push(
            "it is LeNet, so pixels are taken as shares of white (--scale 1/255) and classes are Fashion-MNIST's"
                .into(),
        );
    }
    Ok(pytorch::Read { parameters, batches_tracked: 0, notes })
}

/// Lets a model take its input and name its outputs as the command line says.
fn take(parameters: &mut Parameters, options: &ImportOptions) -> Result<()> {
    let network = &parameters.network;
    let GivenPreprocessing { scale, mean, std } = &options.preprocessing;
    let mut preprocessing = network.preprocessing().clone();
    if let Some((multiply, divide)) = *scale {
        (preprocessing.multiply, preprocessing.divide) = (multiply, divide);
    }
    preprocessing.mean = mean.clone().unwrap_or(preprocessing.mean);
    preprocessing.std = std.clone().unwrap_or(preprocessing.std);
    let refused = |fault: crate::network::Fault, flags: &str| Error::BadArgument {
        problem: fault.to_string(),
        remedy: format!("give other {flags}"),
    };
    let mut new =
        network.with_preprocessing(preprocessing).map_err(|fault| refused(fault, "--scale, --mean or --std"))?;
    if let Some(classes) = &options.classes {
        new = new.with_classes(classes.clone()).map_err(|fault| refused(fault, "--classes"))?;
    }
    parameters.network = Arc::new(new);
    Ok(())
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As trained
    Unfolded,
    /// In the weights and biases of the layers beside it
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
    let (parameters, modules) = match form {
        Form::Unfolded => (checkpoint.parameters.clone(), modules_of(&checkpoint.parameters.network)),
        Form::Folded => folded(&checkpoint.parameters)?,
    };
    let (bytes, back) = match format {
        Format::Weights => panic!("a weights.bin is made by export::export"),
        Format::Safetensors => {
            let bytes = pytorch::to_bytes(&parameters, &modules, checkpoint.batches_tracked);
            let options = ImportOptions { network: Some(checkpoint.parameters.network.clone()), ..Default::default() };
            let back = from_bytes(Path::new("the state_dict"), &bytes, &options)?.checkpoint.parameters;
            let back = if form == Form::Folded { fold_batch_norm(&back).0 } else { back };
            (bytes, back)
        }
        Format::Onnx => {
            let bytes = onnx::to_bytes(&parameters.network, &parameters.tensors, parameters.variance);
            let back = from_bytes(Path::new("model.onnx"), &bytes, &ImportOptions::default())?.checkpoint.parameters;
            (bytes, back)
        }
    };
    let same =
        |(a, b): (&Vec<f64>, &Vec<f64>)| a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| a as f32 == b as f32);
    let count = parameters.tensors.len();
    if back.tensors.len() == count && back.tensors.iter().zip(&parameters.tensors).all(same) {
        return Ok(bytes);
    }
    Err(Error::Disagreement { problem: "the file that was made reads back as another model".into() })
}

/// The names of a network's modules, node by node.
fn modules_of(network: &Network) -> Vec<String> {
    (0..network.nodes().len()).map(|node| network.module(node).into_owned()).collect()
}

/// The same model with BatchNorm in the layers beside it, and its modules' names as they were.
///
/// # Errors
/// [`Error::Refused`] if a product of two numbers that f32 holds is one that it does not.
fn folded(parameters: &Parameters) -> Result<(Parameters, Vec<String>)> {
    let (folded, origins) = fold_batch_norm(parameters);
    let all = modules_of(&parameters.network);
    let modules: Vec<String> = origins.into_iter().map(|node| all[node].clone()).collect();
    for (parameter, values) in folded.network.parameters().iter().zip(&folded.tensors) {
        let name = format!("{}.{}", modules[parameter.node], parameter.role.name());
        check_values(&name, parameter.role, values).map_err(|problem| Error::Refused {
            problem: format!("with BatchNorm folded into it, {problem}"),
            remedy: "export it without --folded, or train again with a smaller --lr".into(),
        })?;
    }
    Ok((folded, modules))
}

#[cfg(test)]
pub(crate) mod tests {
    use bn_core::network::Role;

    use super::*;
    use crate::network::shipped;

    /// A model of arbitrary numbers with statistics that could be.
    pub(crate) fn model(network: &Arc<Network>) -> Checkpoint {
        let mut parameters = Parameters::zero(network, Variance::Biased);
        for (seed, (parameter, tensor)) in network.parameters().iter().zip(&mut parameters.tensors).enumerate() {
            for (i, value) in tensor.iter_mut().enumerate() {
                let noise = ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.0 - 1.0;
                *value = f64::from(if parameter.role == Role::RunningVar { 1.1 + noise } else { noise * 0.2 } as f32);
            }
        }
        Checkpoint { parameters, batches_tracked: 7, origin: Origin::Imported("model".into()), moments: None }
    }

    #[test]
    fn every_format_and_form_reads_back_as_the_model_that_was_written() {
        let directory = tempfile::tempdir().unwrap();
        for network in shipped::all().iter().filter(|network| network.topology().macs() < 3_000_000) {
            let ours = model(network);
            let unfolded = &ours.parameters;
            for (format, name) in [(Format::Safetensors, "x.safetensors"), (Format::Onnx, "x.onnx")] {
                let path = directory.path().join(name);
                assert_eq!(Format::of_name(&path), Some(format));
                let described = (format == Format::Safetensors).then(|| network.clone());
                let options = ImportOptions { network: described, ..Default::default() };
                let bytes = |form| {
                    to_bytes(&ours, format, form).unwrap_or_else(|e| panic!("{} {form:?} {name}: {e}", network.name()))
                };
                std::fs::write(&path, bytes(Form::Unfolded)).unwrap();
                let back = import(&path, &options).unwrap().checkpoint.parameters;
                assert_eq!((&back.tensors, &back.network), (&unfolded.tensors, &unfolded.network), "{name}");

                std::fs::write(&path, bytes(Form::Folded)).unwrap();
                let back = import(&path, &options).unwrap().checkpoint.parameters;
                assert_eq!(fold_batch_norm(&back).0.tensors, fold_batch_norm(unfolded).0.tensors, "{name}");
            }
        }
    }

    #[test]
    fn a_fold_that_leaves_f32_is_refused_as_that() {
        let mut extreme = model(&Network::lenet());
        extreme.parameters.get_mut("9.weight")[7] = f64::from(f32::MAX);
        extreme.parameters.get_mut("10.weight").fill(2.0);
        assert!(to_bytes(&extreme, Format::Onnx, Form::Unfolded).is_ok());
        let error = to_bytes(&extreme, Format::Onnx, Form::Folded).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(error.to_string().contains("9.weight holds inf at position 7; export it without --folded"), "{error}");
    }

    #[test]
    fn a_model_that_was_never_trained_is_refused() {
        let mut untouched = model(&Network::lenet());
        untouched.parameters.get_mut("5.running_mean").fill(0.0);
        untouched.parameters.get_mut("5.running_var").fill(1.0);
        let error = to_bytes(&untouched, Format::Onnx, Form::Folded).unwrap_err();
        assert!(error.to_string().contains("5 were never updated"), "{error}");
    }

    #[test]
    fn preprocessing_and_classes_are_what_the_command_line_says() {
        let mut parameters = model(&Network::lenet()).parameters;
        let preprocessing = GivenPreprocessing { mean: Some(vec![0.286]), std: Some(vec![0.353]), scale: None };
        take(&mut parameters, &ImportOptions { preprocessing, ..Default::default() }).unwrap();
        let taken = parameters.network.preprocessing();
        assert_eq!((taken.divide, &taken.mean[..], &taken.std[..]), (255.0, &[0.286][..], &[0.353][..]));
        let two = ImportOptions { classes: Some(vec!["a".into(), "b".into()]), ..Default::default() };
        let error = take(&mut parameters, &two).unwrap_err();
        assert!(
            error.to_string().contains("2 classes are named, the network has 10 outputs; give other --classes"),
            "{error}"
        );
    }
}
