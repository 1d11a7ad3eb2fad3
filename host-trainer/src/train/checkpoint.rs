//! Checkpoints: safetensors files under PyTorch's `state_dict` names, so that `load_state_dict(strict=True)` takes them as
//! they are. What PyTorch has no name for is in the metadata: the network as text, the convention of the statistics, and
//! where training stands.
//! Only while a run is unfinished the file has more tensors, which `--resume` needs: what AdamW remembers
//! (`optimizer.first.0.weight`, `optimizer.second.0.weight`) and a mean of weights that grows (`mean.0.weight`).
//!
//! A file holds no time of day and no duration: the same run writes the same bytes.

mod seal;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bn_core::network::{Op, Parameter};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};

use crate::data::own::rule::Rule;
use crate::engine::steps::Tensors;
use crate::engine::{Moments, Totals};
use crate::error::{Error, Result};
use crate::files;
use crate::model::parameters::{Parameters, Variance};
use crate::model::state_dict::{StateDict, check_values};
use crate::network::{Network, text};
use crate::train::recipe::Recipe;
use crate::train::reestimate::Reestimated;

/// Version of what stands under [`METADATA_KEY`].
pub const FORMAT: u32 = 2;
/// The one key of ours in the file's `__metadata__`; its value is a JSON object. One key, because safetensors does not
/// keep several in order, and the same run must write the same bytes.
pub const METADATA_KEY: &str = "host_trainer";

/// What stands before the names of AdamW's means of gradients.
const FIRST: &str = "optimizer.first.";
/// What stands before the names of AdamW's means of squared gradients.
const SECOND: &str = "optimizer.second.";
/// What stands before the names of the mean of weights.
const MEAN: &str = "mean.";

const REMEDY: &str = "train again, or take another copy of the file";

/// A model, and how it came to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The unfolded network.
    pub parameters: Parameters,
    /// Batches that the moving statistics have seen; PyTorch's `num_batches_tracked`.
    pub batches_tracked: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// What AdamW remembers, in the middle of a run with it.
    pub moments: Option<Moments<f64>>,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `host-trainer import`: the file's name.
    Imported(String),
    /// `host-trainer init`: the seed.
    Initial(u64),
    /// `host-trainer train`: everything needed to go on.
    Trained(Box<TrainingState>),
}

/// Which teacher a run has, and how much it counts; see [`crate::engine::distill::Soft`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teaching {
    /// Where its checkpoint lies, a whole path.
    pub place: PathBuf,
    /// MD5 of its network and numbers.
    pub digest: String,
    /// Temperature.
    pub temperature: f64,
    /// Weight of the teacher, 0 to 1.
    pub weight: f64,
}

/// Where a training run stands. The random order of an epoch follows from the seed and the epoch's number, so no state of
/// a generator is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// Name of the engine.
    pub engine: String,
    /// [`crate::data::Dataset::name`].
    pub dataset: String,
    /// Digest of the data set's content, see [`crate::train::digest`].
    pub dataset_digest: String,
    /// The seed of everything random.
    pub seed: u64,
    /// The schedule.
    pub recipe: Recipe,
    /// Whole epochs done.
    pub epoch: usize,
    /// Steps done of the epoch after those.
    pub step: usize,
    /// Losses and hits of those steps.
    pub partial: Totals,
    /// One entry a whole epoch.
    pub history: Vec<EpochTotals>,
    /// Training images that were held out: the last so many of the split. They stand in for the test images.
    #[serde(default)]
    pub holdout: usize,
    /// The rule that drew the test examples, where the data had none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// What re-estimating the statistics changed, where that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reestimated: Option<Reestimated>,
    /// Whom it learns from, where it has a teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teaching>,
    /// Mean of the weights after each of the last epochs so far, where a recipe asks for it and the run is not finished.
    /// Kept as tensors of the file.
    #[serde(skip)]
    pub mean: Option<Box<Tensors<f64>>>,
}

/// What one epoch gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochTotals {
    /// Training-mode losses and hits, summed while the model changed.
    pub train: Totals,
    /// Inference-mode losses and hits on the test split after the epoch, where it was looked at.
    pub test: Option<Totals>,
}

/// The metadata as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format: u32,
    /// MD5 of the whole file, see [`seal`]; who edits a file takes it out.
    #[serde(default)]
    digest: Option<String>,
    /// The network, see [`text`].
    network: String,
    variance: Variance,
    origin: Origin,
}

/// Enough of it to tell versions apart.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl TrainingState {
    /// Batches that were trained on.
    fn steps_taken(&self) -> u64 {
        let examples = self.history.iter().map(|epoch| epoch.train.examples).sum::<usize>() + self.partial.examples;
        (examples / self.recipe.batch_size.max(1)) as u64
    }
}

impl Checkpoint {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the first thing that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_bytes(path, &files::read(path, &files::CHECKPOINT)?)
    }

    /// Writes the file in one step.
    ///
    /// # Errors
    /// [`Error::Refused`] if a value is not finite, [`Error::Io`]; what stood there is then untouched.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write(path, &self.to_bytes()?)
    }

    /// The training state, where the model comes from `train`.
    pub fn training(&self) -> Option<&TrainingState> {
        match &self.origin {
            Origin::Trained(state) => Some(state),
            Origin::Imported(_) | Origin::Initial(_) => None,
        }
    }

    /// The file's content: the tensors as f32, in a fixed order.
    ///
    /// # Errors
    /// [`Error::Refused`] if a value is not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let parameters = &self.parameters;
        let all = self.groups();
        let network = &parameters.network;
        let named: Vec<(String, &Parameter)> = network.tensor_names().into_iter().zip(network.parameters()).collect();
        for ((name, parameter), values) in all.iter().flat_map(|(_, tensors)| named.iter().zip(*tensors)) {
            check_values(name, parameter.role, values).map_err(|problem| Error::Refused {
                problem: format!("a checkpoint was not written, {problem}"),
                remedy: "try a smaller --lr or another --seed".into(),
            })?;
        }
        let bytes = |values: &[f64]| values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect::<Vec<u8>>();
        let of_group = |(group, tensors): &(&str, &Tensors<f64>)| {
            let tensor = |((name, parameter), values): (&(String, &Parameter), &Vec<f64>)| {
                (format!("{group}{name}"), parameter.dims, bytes(values))
            };
            named.iter().zip(*tensors).map(tensor).collect::<Vec<_>>()
        };
        let tensors: Vec<_> = all.iter().flat_map(of_group).collect();
        let counter = self.batches_tracked.to_le_bytes();
        let mut views: Vec<(String, TensorView<'_>)> = Vec::new();
        for (name, dims, data) in &tensors {
            let view = TensorView::new(Dtype::F32, dims.as_slice().to_vec(), data).expect("four bytes a value");
            views.push((name.clone(), view));
        }
        for name in counters(network) {
            views.push((name, TensorView::new(Dtype::I64, vec![], &counter).expect("eight bytes")));
        }
        let metadata = Metadata {
            format: FORMAT,
            digest: Some(seal::BLANK.into()),
            network: text::print(network),
            variance: parameters.variance,
            origin: self.origin.clone(),
        };
        let metadata = serde_json::to_string(&metadata).expect("plain data is JSON");
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
        let mut file = safetensors::serialize(views, Some(metadata)).expect("sound tensors make a sound file");
        seal::seal(&mut file);
        Ok(file)
    }

    /// All tensors of the network's shapes, by what stands before their names.
    fn groups(&self) -> Vec<(&'static str, &Tensors<f64>)> {
        let mut groups = vec![("", &self.parameters.tensors)];
        if let Some(Moments { first, second }) = &self.moments {
            groups.extend([(FIRST, first), (SECOND, second)]);
        }
        groups.extend(self.training().and_then(|state| state.mean.as_deref()).map(|mean| (MEAN, mean)));
        groups
    }

    /// Checks a file's content; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the first thing that is wrong.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let file = StateDict::parse(path, bytes, REMEDY)?;
        let Some(metadata) = file.metadata.get(METADATA_KEY) else {
            let problem = "it is a safetensors file, but not a checkpoint of this program";
            return Err(Error::bad_file(
                path,
                problem,
                "if it is a PyTorch state_dict, `host-trainer import` it first",
            ));
        };
        let metadata = parse_metadata(&file, metadata)?;
        let network = text::parse(&metadata.network)
            .map_err(|mistake| file.damaged(format!("its network cannot be read: {mistake}")))?;
        let tensors = group(&file, &network, "")?;
        let batches_tracked = batches_tracked(&file, &network)?;
        refuse_unknown_tensors(&file, &network)?;
        let has = |group: &str| file.names().iter().any(|name| name.starts_with(group));
        let moments = (has(FIRST) || has(SECOND))
            .then(|| Ok(Moments { first: group(&file, &network, FIRST)?, second: group(&file, &network, SECOND)? }))
            .transpose()?;
        let mut origin = metadata.origin;
        if let Origin::Trained(state) = &mut origin {
            check_state(state, batches_tracked.unwrap_or_else(|| state.steps_taken()))
                .map_err(|problem| file.damaged(format!("its metadata contradicts itself: {problem}")))?;
            state.mean = has(MEAN).then(|| group(&file, &network, MEAN).map(Box::new)).transpose()?;
        }
        // Last, because what is wrong in particular says more.
        if metadata.digest.is_some() && !seal::holds(bytes) {
            return Err(file.damaged("it is damaged: its digest is not that of its content"));
        }
        let parameters = Parameters { network: Arc::new(network), tensors, variance: metadata.variance };
        Ok(Self { parameters, batches_tracked: batches_tracked.unwrap_or(0), origin, moments })
    }
}

/// One tensor for each of the network's, from those whose names begin with `prefix`.
fn group(file: &StateDict<'_>, network: &Network, prefix: &str) -> Result<Tensors<f64>> {
    let tensor = |(name, parameter): (String, &Parameter)| file.values(&format!("{prefix}{name}"), parameter);
    network.tensor_names().into_iter().zip(network.parameters()).map(tensor).collect()
}

fn parse_metadata(file: &StateDict<'_>, json: &str) -> Result<Metadata> {
    let unreadable = |e: serde_json::Error| file.damaged(format!("its metadata cannot be read ({e})"));
    let Version { format } = serde_json::from_str(json).map_err(unreadable)?;
    if format != FORMAT {
        return Err(file.damaged(format!("its metadata has version {format}, this program reads version {FORMAT}")));
    }
    serde_json::from_str(json).map_err(unreadable)
}

/// The names of what PyTorch's BatchNorm layers count their batches with.
fn counters(network: &Network) -> impl Iterator<Item = String> {
    network.batch_norms().map(|node| format!("{}.num_batches_tracked", network.module(node)))
}

/// The layers' counters, which must agree; `None` without a BatchNorm.
fn batches_tracked(file: &StateDict<'_>, network: &Network) -> Result<Option<u64>> {
    let mut agreed = None;
    for name in counters(network) {
        let count = file.counter(&name)?.ok_or_else(|| file.damaged(format!("it has no tensor {name}")))?;
        if *agreed.get_or_insert(count) != count {
            return Err(file.damaged("its BatchNorm layers have seen different numbers of batches"));
        }
    }
    Ok(agreed)
}

fn refuse_unknown_tensors(file: &StateDict<'_>, network: &Network) -> Result<()> {
    let known: HashSet<String> = network.tensor_names().into_iter().chain(counters(network)).collect();
    let mut unknown: Vec<_> = file.names();
    let bare = |name: &str| [FIRST, SECOND, MEAN].iter().find_map(|g| name.strip_prefix(g)).unwrap_or(name).to_owned();
    unknown.retain(|&name| !known.contains(name) && !known.contains(&bare(name)));
    unknown.sort_unstable();
    match unknown.first() {
        Some(name) => Err(file.damaged(format!("it has a tensor {name}, which the network has not"))),
        None => Ok(()),
    }
}

/// What must hold between the numbers of a training state.
fn check_state(state: &TrainingState, batches_tracked: u64) -> Result<(), String> {
    state.recipe.check()?;
    if state.rule.is_some_and(|rule| !rule.is_sound()) {
        return Err("its rule for test examples makes no sense".into());
    }
    let batch_size = state.recipe.batch_size;
    if state.history.len() != state.epoch {
        return Err(format!("{} epochs done, a history of {}", state.epoch, state.history.len()));
    }
    // In u128 no product of a damaged file overflows.
    let examples_of = |steps: u64| u128::from(steps) * batch_size as u128;
    if state.partial.examples as u128 != examples_of(state.step as u64) {
        return Err(format!("{} steps of {batch_size}, {} examples", state.step, state.partial.examples));
    }
    if state.history.iter().any(|e| e.train.examples == 0 || e.test.is_some_and(|test| test.examples == 0)) {
        return Err("an epoch without examples".into());
    }
    let whole_epochs: u128 = state.history.iter().map(|e| e.train.examples as u128).sum();
    let examples = whole_epochs + state.partial.examples as u128;
    if examples != examples_of(batches_tracked) {
        return Err(format!("{batches_tracked} batches of {batch_size} tracked, {examples} examples seen"));
    }
    Ok(())
}

/// Gamma and beta of the first BatchNorm layer, which d2l prints; empty where the network has none.
pub fn first_batch_norm(parameters: &Parameters) -> (&[f64], &[f64]) {
    let first = parameters.network.nodes().iter().position(|node| matches!(node.op, Op::BatchNorm { .. }));
    match first.map(|node| parameters.of(node)) {
        Some([gamma, beta, ..]) => (gamma, beta),
        _ => (&[], &[]),
    }
}

#[cfg(test)]
pub(crate) mod tests;
