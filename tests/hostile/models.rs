//! Hostile checkpoints, state_dicts and ONNX files: good ones, damaged as an input describes it. Reads the golden files; a tensor
//! that an ONNX file keeps in another file is looked for where there is none.

use std::path::Path;

use host_trainer::Error;
use host_trainer::engine::{Moments, Totals};
use host_trainer::exchange::{self, Form, Format, ImportOptions};
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::network::{Network, shipped};
use host_trainer::train::checkpoint::{Checkpoint, EpochTotals, METADATA_KEY, Origin, TrainingState};
use host_trainer::train::recipe::{Recipe, SEED};
use serde_json::Value;

use super::edits::{Files, sampled};
use super::memory::within;
use super::one_line;
use crate::{golden, golden_parameters};

/// Writing a model and reading it again takes longer than many files; of what is accepted, that is done for one in so many.
const WRITTEN_ONE_IN: u32 = 1024;
/// Bytes that reading may hold for each of a file's, besides a model: a 16-bit number is two of a file's bytes and an f64.
const MEMORY: usize = 8;
/// Where the nodes of an ONNX file and its first tensors lie.
const ONNX_HEAD: usize = 6000;

/// Good files of one kind, and what reads them.
pub struct Models {
    files: Files,
    read: fn(&[u8]) -> Result<Checkpoint, Error>,
}

impl Models {
    /// Checkpoints: sealed, from before the digest, and of an unfinished run with everything that it keeps.
    ///
    /// # Panics
    /// If a golden file is damaged.
    pub fn checkpoints() -> Self {
        let sealed = trained(false).to_bytes().expect("finite numbers");
        let whole = trained(true).to_bytes().expect("finite numbers");
        // The large one is as many times slower; a digest stops most of what could go wrong behind it.
        let mut good = vec![without_digest(&sealed); 14];
        good.extend([sealed, without_digest(&whole)]);
        let read = |bytes: &[u8]| Checkpoint::from_bytes(Path::new("hostile"), bytes);
        Self::new(good.into_iter().map(with_head).collect(), read)
    }

    /// PyTorch's state_dicts in both vocabularies, and one of a folded network.
    ///
    /// # Panics
    /// If a golden file is damaged.
    pub fn state_dicts() -> Self {
        let folded = exchange::to_bytes(&trained(false), Format::Safetensors, Form::Folded).expect("a trained model");
        let good = [golden("init.safetensors"), golden("scratch_after_step1_f64.safetensors"), folded];
        Self::new(good.map(with_head).into(), import)
    }

    /// ONNX files: ours, of a sequence too, and those of PyTorch's exporters, one of which keeps its tensors in another file.
    ///
    /// # Panics
    /// If a golden file is damaged.
    pub fn onnx_files() -> Self {
        let ours = exchange::to_bytes(&trained(false), Format::Onnx, Form::Unfolded).expect("a trained model");
        let names = ["onnx/torchscript.onnx", "onnx/dynamo_plain.onnx", "onnx/dynamo.onnx"];
        let good = [ours, sequence()].into_iter().chain(names.map(golden));
        Self::new(good.map(|bytes| (bytes.len().min(ONNX_HEAD), bytes)).map(|(head, b)| (b, head)).collect(), import)
    }

    fn new(good: Vec<(Vec<u8>, usize)>, read: fn(&[u8]) -> Result<Checkpoint, Error>) -> Self {
        Self { files: Files::new(good), read }
    }

    /// The files alone.
    pub fn into_files(self) -> Files {
        self.files
    }

    /// What the reader says of it. What is accepted is a model: its checkpoint reads as the same one, and what is exported of
    /// it, read back by the export itself, too.
    ///
    /// # Panics
    /// If a property does not hold.
    pub fn check(&mut self, description: &[u8]) -> bool {
        let (file, read) = (self.files.damaged(description), self.read);
        let model: usize = Network::lenet().parameters().iter().map(|p| size_of::<f64>() * p.dims.len()).sum();
        match within(MEMORY * file.len() + model, || read(file)) {
            Ok(model) => {
                if sampled(description, WRITTEN_ONE_IN) {
                    written(&model);
                }
                true
            }
            Err(error) => {
                one_line(&error);
                false
            }
        }
    }
}

/// A network of other layers than LeNet's, as a file of ours.
fn sequence() -> Vec<u8> {
    let network = shipped::get("sequence").expect("a shipped network");
    let mut parameters = Parameters::zero(&network, Variance::Biased);
    for (at, value) in parameters.tensors.iter_mut().flatten().enumerate() {
        *value = f64::from((at % 7) as f32 / 8.0 + 0.125);
    }
    let origin = Origin::Imported("sequence".into());
    let checkpoint = Checkpoint { parameters, batches_tracked: 1, origin, moments: None };
    exchange::to_bytes(&checkpoint, Format::Onnx, Form::Unfolded).expect("sound numbers")
}

fn import(bytes: &[u8]) -> Result<Checkpoint, Error> {
    // A place without files: what an ONNX file names is not there.
    let path = Path::new("/nowhere/hostile");
    exchange::from_bytes(path, bytes, &ImportOptions::default()).map(|imported| imported.checkpoint)
}

fn written(model: &Checkpoint) {
    let again = model.to_bytes().expect("what was read can be written");
    let back = Checkpoint::from_bytes(Path::new("again"), &again).expect("what was written can be read");
    assert!(back == *model, "another model came back");
    for (format, form) in [(Format::Onnx, Form::Folded), (Format::Safetensors, Form::Unfolded)] {
        match exchange::to_bytes(model, format, form) {
            Ok(_) => {}
            Err(error) => assert!(matches!(error, Error::Refused { .. }), "{error}"),
        }
    }
}

/// PyTorch's model as the checkpoint of a run; `unfinished`, with the moments of AdamW and a mean of weights.
fn trained(unfinished: bool) -> Checkpoint {
    let parameters = golden_parameters("trained.safetensors", Variance::Unbiased);
    let tensors = || parameters.tensors.iter().map(|values| values.iter().map(|v| v.abs()).collect()).collect();
    let totals = |examples| Totals { examples, loss: 1.25, correct: 5 };
    let state = TrainingState {
        engine: "reference".into(),
        dataset: "garments".into(),
        dataset_digest: "d41d8cd98f00b204e9800998ecf8427e".into(),
        seed: 7,
        recipe: Recipe { batch_size: 4, ..SEED },
        epoch: 1,
        step: 2,
        partial: totals(8),
        history: vec![EpochTotals { train: totals(12), test: Some(totals(10)) }],
        holdout: 0,
        rule: None,
        reestimated: None,
        teacher: None,
        mean: unfinished.then(|| Box::new(tensors())),
    };
    let moments = unfinished.then(|| Moments { first: tensors(), second: tensors() });
    Checkpoint { moments, batches_tracked: 5, origin: Origin::Trained(Box::new(state)), parameters }
}

/// A safetensors file with the length of its header.
fn with_head(file: Vec<u8>) -> (Vec<u8>, usize) {
    let head = 8 + header(&file).len();
    (file, head)
}

fn header(file: &[u8]) -> &[u8] {
    let (length, rest) = file.split_first_chunk().expect("a safetensors file");
    &rest[..u64::from_le_bytes(*length) as usize]
}

/// The checkpoint as it was before there was a digest, so that damage gets past it.
fn without_digest(file: &[u8]) -> Vec<u8> {
    let old = header(file);
    let mut new: Value = serde_json::from_slice(old).expect("a sound header");
    let text = &mut new["__metadata__"][METADATA_KEY];
    let mut metadata: Value = serde_json::from_str(text.as_str().expect("a text")).expect("sound metadata");
    metadata.as_object_mut().expect("an object").remove("digest");
    *text = Value::String(metadata.to_string());
    let new = serde_json::to_vec(&new).expect("plain data is JSON");
    [&(new.len() as u64).to_le_bytes()[..], &new, &file[8 + old.len()..]].concat()
}
