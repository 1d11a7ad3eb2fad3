//! Data sets: Fashion-MNIST's four files, the drawings of [`garments`], or [`own`] data of any kind.
//!
//! Fashion-MNIST's files are looked for in `--data-dir`, in `$FASHION_MNIST_DIR`, in the platform's cache directory, and else downloaded into that
//! cache. Every file is checked to its last byte before a pixel of it is used; this module writes to the cache alone.

pub mod augment;
mod curl;
pub mod download;
pub mod files;
pub mod garments;
pub mod idx;
pub mod locate;
pub mod own;
pub mod picture;
mod split;

use std::path::{Path, PathBuf};

use bn_core::network::Shape;
use serde::Serialize;

use self::download::Network;
use self::files::{DataFile, FILES, md5_hex};
use self::idx::Content;
use self::locate::Places;
use self::own::rule::Rule;
pub(crate) use self::split::normal;
pub use self::split::{Inputs, Raw, Split, Values};
use crate::{Error, Result};

/// A training and a test split, and where they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// `fashion-mnist`, `garments`, or where own data lies: its whole path, which no built-in name is.
    pub name: String,
    /// Where it was found, for people: a directory, or the generator with its seed.
    pub source: String,
    /// Examples to train on.
    pub train: Split,
    /// Examples to test on.
    pub test: Split,
    /// Class names by label; none where the data has numbers alone.
    pub classes: Vec<String>,
    /// The rule that drew the test examples, where the data had none of its own.
    pub rule: Option<Rule>,
}

impl Dataset {
    /// With the last `count` training examples in place of the test split: to choose between recipes, which the test images
    /// must not do. 0 changes nothing.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if no example would be left to train on.
    pub fn hold_out(mut self, count: usize) -> Result<Self> {
        if count == 0 {
            return Ok(self);
        }
        let left = self.train.len().checked_sub(count).filter(|&left| left > 0).ok_or_else(|| Error::BadArgument {
            problem: format!("{} has {} training images, {count} cannot be held out", self.source, self.train.len()),
            remedy: "give a smaller --holdout".into(),
        })?;
        (self.train, self.test) = self.train.split_last(self.train.len() - left);
        Ok(self)
    }
}

/// The data sets that can be named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetName {
    /// Zalando's 60,000 + 10,000 photographs, or any data set in the same four files.
    #[default]
    FashionMnist,
    /// Drawings from the built-in generator.
    Garments,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which data set.
    pub dataset: DatasetName,
    /// The directory with the four files; nothing else is looked at when it is given.
    pub data_dir: Option<PathBuf>,
    /// Whether `data_dir` is where a model was trained, and not a flag.
    pub of_a_model: bool,
    /// Whether the files must be Fashion-MNIST's by their MD5.
    pub checksum: bool,
    /// Whether files that are nowhere may be downloaded.
    pub download: bool,
    /// Seed of the garments.
    pub seed: u64,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            dataset: DatasetName::default(),
            data_dir: None,
            of_a_model: false,
            checksum: true,
            download: true,
            seed: 0,
        }
    }
}

/// What there is of a data set, for the `data` verb.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// As [`Dataset::name`].
    pub dataset: String,
    /// As [`Dataset::source`].
    pub source: String,
    /// Where the files lie; none for a generated data set.
    pub directory: Option<PathBuf>,
    /// Whether every file is Fashion-MNIST's by its MD5.
    pub official: bool,
    /// Examples to train on.
    pub train_examples: usize,
    /// Examples to test on.
    pub test_examples: usize,
    /// The files, in the order of [`FILES`]; none of own data.
    pub files: Vec<FileSummary>,
    /// The classes by label, where the data is one's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassSummary>,
}

/// One class of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassSummary {
    /// Its name, or its number.
    pub class: String,
    /// Examples to train on.
    pub train: usize,
    /// Examples to test on.
    pub test: usize,
}

/// One file of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSummary {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its MD5, in hexadecimal digits.
    pub md5: String,
    /// Whether that is the MD5 of Fashion-MNIST's file.
    pub official: bool,
    /// Images or labels in it.
    pub examples: usize,
}

/// Loads a data set, looking for its files, and downloading them, as the request allows.
///
/// # Errors
/// [`Error::BadFile`] for each kind of damage, [`Error::BadArgument`] when `data_dir` lacks a file, [`Error::Missing`] when the files
/// are nowhere and could not be fetched.
pub fn load(request: &Request) -> Result<Dataset> {
    load_from(request, &Places::of_system(), &Network::official())
}

/// As [`load`], with the places and mirrors given.
///
/// # Errors
/// As [`load`].
pub fn load_from(request: &Request, places: &Places, network: &Network) -> Result<Dataset> {
    match request.dataset {
        DatasetName::Garments => drawn(request).map(|()| garments::dataset(request.seed)),
        DatasetName::FashionMnist => read(request, places, network).map(|(dataset, _)| dataset),
    }
}

/// Finds or downloads a data set and checks every file of it.
///
/// # Errors
/// As [`load`].
pub fn fetch(request: &Request) -> Result<Summary> {
    summary_from(request, &Places::of_system(), &Network::official())
}

/// As [`fetch`], but never downloads.
///
/// # Errors
/// As [`load`]; [`Error::Missing`] says where was looked.
pub fn status(request: &Request) -> Result<Summary> {
    fetch(&Request { download: false, ..request.clone() })
}

/// As [`fetch`], with the places and mirrors given.
///
/// # Errors
/// As [`load`].
pub fn summary_from(request: &Request, places: &Places, network: &Network) -> Result<Summary> {
    match request.dataset {
        DatasetName::Garments => drawn(request).map(|()| garments::summary(request.seed)),
        DatasetName::FashionMnist => read(request, places, network).map(|(_, summary)| summary),
    }
}

/// Refuses a directory for what is drawn.
fn drawn(request: &Request) -> Result<()> {
    let Some(directory) = &request.data_dir else { return Ok(()) };
    Err(Error::BadArgument {
        problem: format!("--dataset garments is drawn, not read from {}", directory.display()),
        remedy: "leave out either --dataset or --data-dir".into(),
    })
}

/// Finds the directory and reads the four files in it.
fn read(request: &Request, places: &Places, network: &Network) -> Result<(Dataset, Summary)> {
    let directory = locate::directory(request, places, network)?;
    let directory = directory.canonicalize().map_err(Error::io("find", &directory))?;
    let (train, mut files) = read_split(&directory, &FILES[0], &FILES[1], request.checksum)?;
    let (test, test_files) = read_split(&directory, &FILES[2], &FILES[3], request.checksum)?;
    files.extend(test_files);
    let source = directory.display().to_string();
    let official = files.iter().all(|file| file.official);
    let name = if official { "fashion-mnist".to_owned() } else { source.clone() };
    let summary = Summary {
        dataset: name.clone(),
        source: source.clone(),
        directory: Some(directory),
        official,
        train_examples: train.len(),
        test_examples: test.len(),
        files,
        classes: Vec::new(),
    };
    let classes = if official { bn_core::CLASS_NAMES.map(String::from).into() } else { Vec::new() };
    Ok((Dataset { name, source, train, test, classes, rule: None }, summary))
}

/// Reads a pair of files and checks that they belong together.
fn read_split(
    directory: &Path,
    images: &DataFile,
    labels: &DataFile,
    checksum: bool,
) -> Result<(Split, Vec<FileSummary>)> {
    let (images, images_summary) = read_file(directory, images, checksum)?;
    let (labels, labels_summary) = read_file(directory, labels, checksum)?;
    if images.len() != labels.len() {
        let problem = format!("{} labels for {} images", labels.len(), images.len());
        let remedy = "use the label file that belongs to the image file";
        return Err(Error::bad_file(&labels_summary.path, problem, remedy));
    }
    let [_, height, width] = images.dims[..] else {
        let problem = format!("its images are {:?}, and [n, height, width] is read here", images.dims);
        return Err(Error::bad_file(&images_summary.path, problem, "name the folder with --data"));
    };
    let inputs = Inputs::new(Shape::new(1, height, width), Values::U8(images.values));
    Ok((Split { inputs, labels: labels.values }, vec![images_summary, labels_summary]))
}

fn read_file(directory: &Path, file: &DataFile, checksum: bool) -> Result<(Content, FileSummary)> {
    // It was there a moment ago; if not, reading it says so.
    let path = files::path_in(directory, file).unwrap_or_else(|| directory.join(file.name));
    let name = path.to_string_lossy();
    let check = |start: &[u8], length| idx::check_start(&name, start, length, file.kind).map_err(|d| d.at(&path));
    let bytes = crate::files::read_checked(&path, &crate::files::IDX, check)?;
    let md5 = md5_hex(&bytes);
    let expected = if name.ends_with(".gz") { file.md5 } else { file.content_md5 };
    let official = md5 == expected;
    if checksum && !official {
        return Err(not_official(&path, file, &bytes, &md5, expected));
    }
    let values = idx::parse(&name, &bytes, file.kind, checksum.then_some(file.count)).map_err(|d| d.at(&path))?;
    let summary = FileSummary { bytes: bytes.len() as u64, md5, official, examples: values.len(), path };
    Ok((values, summary))
}

/// Why a file is not the published one, as precisely as can be told.
fn not_official(path: &Path, file: &DataFile, bytes: &[u8], md5: &str, expected: &str) -> Error {
    if file.is_mnist(md5) {
        let remedy = "put Fashion-MNIST's file there, or pass --no-checksum to use MNIST";
        return Error::bad_file(path, "this is MNIST's file, not Fashion-MNIST's", remedy);
    }
    if let Err(damage) = idx::parse(&path.to_string_lossy(), bytes, file.kind, None) {
        return damage.at(path);
    }
    let problem = format!("a data file, but not Fashion-MNIST's (its MD5 is {md5}, not {expected})");
    let remedy = "delete it and fetch it again (`host-trainer data`), or pass --no-checksum to use another data set";
    Error::bad_file(path, problem, remedy)
}

#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
