//! Flags that several verbs have, and what a number among them may be. The texts here are `--help`.

use std::path::{Path, PathBuf};

use bn_core::network::Shape;
use clap::Args;

use super::output;
use crate::data::{self, Dataset, DatasetName, Request, tensors};
use crate::error::{Error, Result};
use crate::quantize::fine_tune::{DEFAULT_EPOCHS, FineTuning};
use crate::train::checkpoint::{Checkpoint, TrainingState};
use crate::train::is_trained_on;

/// Which data.
#[derive(Args, Clone, Debug, Default)]
pub struct DataArgs {
    /// The data set; `garments` needs no network [default: fashion-mnist, or what a given model was trained on]
    #[arg(long, value_enum)]
    pub dataset: Option<DatasetName>,
    /// Directory with the four IDX files, gzipped or not, or torchvision's root above it [default: $FASHION_MNIST_DIR, else
    /// the cache, else a download]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Take another data set of the same four-file format for Fashion-MNIST
    #[arg(long)]
    pub no_checksum: bool,
    /// A .safetensors with the tensors `input` and, for classes, `label`, or a .npy, before the network's preprocessing. It is the
    /// training and the test data; `train` tests on what --holdout keeps back
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dataset", "data_dir", "no_checksum"])]
    pub data: Option<PathBuf>,
}

impl DataArgs {
    /// Loads the data set: of a model that is used again the one that it was trained on, unless the flags name another. A file
    /// of arrays holds examples of the shape `input`.
    ///
    /// # Errors
    /// As [`data::load`]; [`Error::BadArgument`] when other data lies where the model's own was.
    pub fn load(&self, training: Option<&TrainingState>, input: Shape) -> Result<Dataset> {
        let trained_on = training.map(|training| training.dataset.as_str());
        let own = trained_on.filter(|name| !self.names_data() && Path::new(name).is_file()).map(Path::new);
        let dataset = match self.data.as_deref().or(own) {
            Some(file) => tensors::dataset(file, input)?,
            None => data::load(&self.request(trained_on))?,
        };
        let Some(training) = training.filter(|training| !is_trained_on(&dataset, training)) else { return Ok(dataset) };
        let differs =
            format!("{} is not the data that the model was trained on ({})", dataset.source, training.dataset);
        if self.names_data() {
            output::notice(&format!("notice: {differs}"));
            return Ok(dataset);
        }
        Err(Error::BadArgument {
            problem: format!("{differs}: its digest is another than {}", training.dataset_digest),
            remedy: "name that data, or other data all the same, with --data, --data-dir or --dataset".into(),
        })
    }

    fn names_data(&self) -> bool {
        self.dataset.is_some() || self.data_dir.is_some() || self.data.is_some()
    }

    /// What the data module is asked for. `trained_on` is the name in a checkpoint, for a model that is used again.
    pub fn request(&self, trained_on: Option<&str>) -> Request {
        let mut request = Request {
            dataset: self.dataset.unwrap_or_default(),
            data_dir: self.data_dir.clone(),
            checksum: !self.no_checksum,
            ..Request::default()
        };
        match trained_on {
            Some(_) if self.names_data() => {}
            Some("garments") => request.dataset = DatasetName::Garments,
            Some("fashion-mnist") | None => {}
            Some(directory) => {
                (request.data_dir, request.of_a_model, request.checksum) = (Some(directory.into()), true, false);
            }
        }
        request
    }
}

/// How to print.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ConsoleArgs {
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// How integers are made of a model.
#[derive(Args, Clone, Copy, Debug)]
pub struct QatArgs {
    /// Fine-tune the integers for some epochs before they are written, so that they say what f32 says of the training images
    #[arg(long)]
    pub qat: bool,
    /// Epochs of --qat
    #[arg(long, value_name = "N", requires = "qat", default_value_t = DEFAULT_EPOCHS,
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub qat_epochs: u64,
}

impl QatArgs {
    /// The fine-tuning of a model, if it is asked for. Says so on stderr: it takes a while.
    pub fn request(&self, checkpoint: &Checkpoint) -> Option<FineTuning> {
        let (epochs, seed) = (self.qat_epochs, checkpoint.training().map_or(0, |training| training.seed));
        self.qat.then(|| {
            output::notice(&format!("fine-tuning the integers for {epochs} epochs"));
            FineTuning { epochs: epochs as usize, seed }
        })
    }
}

/// A number, or a fraction of two.
pub(super) fn ratio(text: &str) -> Result<(f32, f32), String> {
    crate::network::text::ratio(text)
}

/// A finite number above zero.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("it must be a number above zero".into()),
    }
}

/// A number strictly between 0 and 1.
pub(super) fn between_0_and_1(text: &str) -> Result<f64, String> {
    match positive(text) {
        Ok(value) if value < 1.0 => Ok(value),
        _ => Err("it must be a number between 0 and 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_used_on_the_data_it_was_trained_on_unless_told_otherwise() {
        let none = DataArgs::default();
        assert_eq!(none.request(Some("garments")).dataset, DatasetName::Garments);
        assert_eq!(none.request(Some("fashion-mnist")), Request::default());
        let other = none.request(Some("/data/letters"));
        assert_eq!((other.data_dir, other.of_a_model, other.checksum), (Some("/data/letters".into()), true, false));
        let told = DataArgs { dataset: Some(DatasetName::FashionMnist), ..none };
        assert_eq!(told.request(Some("garments")).dataset, DatasetName::FashionMnist);
    }
}
