//! Flags that several verbs have, and what a number among them may be. The texts here are `--help`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output;
use crate::data::own::rule::Rule;
use crate::data::own::{self, Wanted};
use crate::data::{self, Dataset, DatasetName, Request};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::quantize::fine_tune::{DEFAULT_EPOCHS, FineTuning};
use crate::train::checkpoint::{Checkpoint, TrainingState};
use crate::train::{is_shipped, is_trained_on};

/// Which data.
#[derive(Args, Clone, Debug, Default)]
pub struct DataArgs {
    /// The data set; `garments` needs no network [default: fashion-mnist, or what a given model was trained on]
    #[arg(long, value_enum)]
    pub dataset: Option<DatasetName>,
    /// Directory with Fashion-MNIST's four files, gzipped or not, or torchvision's root above it [default: $FASHION_MNIST_DIR, else
    /// the cache, else a download]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Take another data set under the names of Fashion-MNIST's four files
    #[arg(long)]
    pub no_checksum: bool,
    /// Own data: a folder of pictures (PNG, JPEG, BMP), a subfolder a class, or train/ and test/ with such subfolders; a folder of IDX
    /// files (MNIST, EMNIST, KMNIST, QMNIST) or one of them; a .npz, .npy or .safetensors; a .csv, a row an example: label,value,value,...
    /// Arrays and tables may also be train.EXT and test.EXT in a folder. See docs/data.md
    #[arg(long, value_name = "PATH", conflicts_with_all = ["dataset", "data_dir", "no_checksum"])]
    pub data: Option<PathBuf>,
}

impl DataArgs {
    /// Loads data for a model that is used again: the data that it was trained on, unless the flags name other data. Examples are
    /// of the network's shape, labels are those of its classes.
    ///
    /// # Errors
    /// As [`data::load`] and [`own::load`]; [`Error::BadArgument`] when other data lies where the model's own was.
    pub fn load(&self, training: Option<&TrainingState>, network: &Network) -> Result<Dataset> {
        let classes: Vec<String> = network.class_names().map(String::from).collect();
        let wanted = Wanted { shape: Some(network.input()), classes: &classes, rule: None };
        let Some(training) = training else { return self.find(None, &wanted) };
        let dataset = self.find(Some(&training.dataset), &Wanted { rule: training.rule, ..wanted })?;
        if is_trained_on(&dataset, training) {
            return Ok(dataset);
        }
        let differs =
            format!("{} is not the data that the model was trained on ({})", dataset.source, training.dataset);
        if self.names_data() {
            output::notice(&format!("notice: {differs}"));
            // Of other data nothing was trained on, so all of it may test.
            return if dataset.rule.is_some() { self.find(None, &wanted) } else { Ok(dataset) };
        }
        Err(Error::BadArgument {
            problem: format!("{differs}: its digest is another than {}", training.dataset_digest),
            remedy: "name that data, or other data all the same, with --data, --data-dir or --dataset".into(),
        })
    }

    /// Loads data to train a network on. `rule` splits data that has no test examples of its own.
    ///
    /// # Errors
    /// As [`data::load`] and [`own::load`].
    pub fn load_to_train(&self, network: &Network, rule: Rule) -> Result<Dataset> {
        let own: Vec<String> = network.class_names().map(String::from).collect();
        let classes = if is_shipped(network) { &[] } else { own.as_slice() };
        self.find(None, &Wanted { shape: Some(network.input()), classes, rule: Some(rule) })
    }

    /// The data that the flags name, else what a model was trained on, else Fashion-MNIST.
    fn find(&self, trained_on: Option<&str>, wanted: &Wanted<'_>) -> Result<Dataset> {
        // A built-in name is no absolute path.
        let of_model =
            trained_on.map(Path::new).filter(|path| !self.names_data() && path.is_absolute() && path.exists());
        match self.data.as_deref().or(of_model) {
            Some(path) => own::load(path, wanted),
            None => data::load(&self.request(trained_on)),
        }
    }

    /// Whether a flag names data.
    pub(super) fn names_data(&self) -> bool {
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
    /// Fine-tune the integers for some epochs before they are written, so that they say what f32 says of the training examples
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
