//! What a model says of pictures that have no label.

use std::path::{Path, PathBuf};

use bn_core::network::Shape;
use serde::Serialize;

use crate::by_class::class_name;
use crate::data::own::pictures;
use crate::data::picture::{self, Picture, Source};
use crate::data::{Inputs, Values};
use crate::engine::Task;
use crate::error::{Error, Result};
use crate::model_file::ModelFile;
use crate::network::Network;
use crate::numbers::softmax;

/// What is to be classified.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The model's file, for messages.
    pub file: &'a Path,
    /// The model.
    pub model: &'a ModelFile,
    /// Pictures, and folders of them.
    pub paths: &'a [PathBuf],
    /// Whether light is made dark and dark light.
    pub invert: bool,
    /// A picture whose likeliest class is less likely than this is unsure.
    pub reject: Option<f64>,
}

/// The keys of `classify --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifyReport {
    /// The model's file.
    pub file: PathBuf,
    /// The network's name.
    pub network: String,
    /// What computes: `f32`, BatchNorm on its own, of a checkpoint; `int8` of a weights.bin.
    pub arithmetic: &'static str,
    /// What the network reads: channels x height x width.
    pub input: String,
    /// What the network does to a value first.
    pub preprocessing: String,
    /// Names of the classes, or their numbers.
    pub classes: Vec<String>,
    /// What `--reject` was.
    pub reject: Option<f64>,
    /// The pictures, in the order of the command line, a folder's sorted.
    pub pictures: Vec<Classified>,
}

/// One picture. The keys of `pictures` in `classify --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classified {
    /// Its file.
    pub file: PathBuf,
    /// What it is in the file: `format`, `width`, `height`, `mode`.
    #[serde(flatten)]
    pub source: Source,
    /// What was done to it since, in order.
    pub done: Vec<String>,
    /// The likeliest class's place in `classes`.
    pub label: usize,
    /// Its name.
    pub class: String,
    /// Its probability, by softmax of the logits.
    pub probability: f64,
    /// Whether that is less than `reject`.
    pub unsure: bool,
    /// The probability of each class.
    pub probabilities: Vec<f64>,
    /// What may be wrong with the picture.
    pub hint: Option<&'static str>,
}

/// A report, and what the network read.
#[derive(Clone, Debug)]
pub struct Classification {
    /// What the model says.
    pub report: ClassifyReport,
    /// The pictures in the network's size and channels, one behind another.
    pub inputs: Inputs,
}

/// Reads the pictures and asks the model. The first picture that cannot be read is an error: nothing is skipped.
///
/// # Errors
/// [`Error::BadFile`] that names a picture, folder or model; [`Error::BadArgument`] if the network does not read pictures or has no classes.
pub fn classify(request: &Request<'_>) -> Result<Classification> {
    let network = request.model.network(request.file)?;
    if Task::of(&network) == Task::Reconstruction {
        return Err(Error::BadArgument {
            problem: format!("{} gives its input back and tells no classes apart", network.name()),
            remedy: "name a model of a network with classes".into(),
        });
    }
    picture::check_shape(network.input())?;
    let mut files = Vec::new();
    for path in request.paths {
        files.extend(pictures::below(path)?);
    }
    let read = |path: &Path| {
        let picture = picture::read(path, network.input())?;
        Ok(if request.invert { picture.inverted() } else { picture })
    };
    let pictures = pictures::each(&files, read)?;
    let planes = pictures.iter().flat_map(Picture::planes).collect();
    let inputs = Inputs::new(network.input(), Values::U8(planes));
    let outputs = request.model.outputs(&inputs);
    let classified = files.into_iter().zip(pictures).zip(outputs.rows());
    let report = ClassifyReport {
        file: request.file.to_owned(),
        network: network.name().to_owned(),
        arithmetic: if matches!(request.model, ModelFile::Checkpoint(_)) { "f32" } else { "int8" },
        input: network.input().to_string(),
        preprocessing: network.preprocessing().describe(),
        classes: (0..outputs.width()).map(|class| class_name(&network, class)).collect(),
        reject: request.reject,
        pictures: classified.map(|((file, picture), logits)| one(request, &network, file, picture, logits)).collect(),
    };
    Ok(Classification { report, inputs })
}

fn one(request: &Request<'_>, network: &Network, file: PathBuf, picture: Picture, logits: &[f32]) -> Classified {
    let label = bn_core::infer::argmax(logits);
    let probabilities: Vec<f64> = (0..logits.len()).map(|class| softmax(logits, class)).collect();
    let probability = probabilities[label];
    let is_garments = network.class_names().eq(bn_core::CLASS_NAMES);
    let hint = (is_garments && has_light_edge(&picture, network.input())).then_some(
        "its edge is light, and Fashion-MNIST's garments are light on black: cut it to the garment, or try --invert",
    );
    Classified {
        file,
        source: picture.source,
        done: picture.done,
        label,
        class: class_name(network, label),
        probability,
        unsure: request.reject.is_some_and(|reject| probability < reject),
        probabilities,
        hint,
    }
}

/// Whether the pixels around a picture are rather light than dark.
fn has_light_edge(picture: &Picture, shape: Shape) -> bool {
    let is_edge = |at: usize| {
        let (row, column) = (at / shape.width, at % shape.width);
        row == 0 || column == 0 || row + 1 == shape.height || column + 1 == shape.width
    };
    let pixels = picture.pixels.chunks_exact(picture.channels).enumerate();
    let edge: Vec<u8> = pixels.filter(|(at, _)| is_edge(*at)).flat_map(|(_, pixel)| pixel).copied().collect();
    edge.iter().map(|&value| usize::from(value)).sum::<usize>() > edge.len() * 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_light_edge_is_seen_around_a_dark_middle() {
        let shape = Shape::new(1, 4, 4);
        let ring = [255, 255, 255, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255, 255, 255, 255];
        let picture = |pixels: &[u8]| Picture {
            width: 4,
            height: 4,
            channels: 1,
            pixels: pixels.to_vec(),
            source: Source::default(),
            done: Vec::new(),
        };
        assert!(has_light_edge(&picture(&ring), shape));
        let inverted = picture(&ring).inverted();
        assert!(!has_light_edge(&inverted, shape));
        assert_eq!((inverted.pixels[5], inverted.done), (255, vec!["inverted".to_owned()]));
    }
}
