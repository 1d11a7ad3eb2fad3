//! Own data: whatever a path names, told by what lies there. It has class names, and a test split of its own or one that is drawn.
//!
//! | file | what it reads |
//! |---|---|
//! | `pictures` | a folder of pictures, a subfolder a class |
//! | `idx_set` | four IDX files under the names of MNIST, EMNIST, KMNIST, QMNIST or Fashion-MNIST |
//! | `arrays` | `.npz`, `.npy` and `.safetensors` |
//! | `csv` | `.csv`, a row an example |
//! | `rule` | which examples test, where the data does not say |

pub mod arrays;
pub mod csv;
mod idx_set;
pub mod npy;
pub mod pictures;
pub mod rule;
pub mod zip;

use std::path::{Path, PathBuf};

use bn_core::network::Shape;

use self::rule::Rule;
use super::{ClassSummary, Dataset, Inputs, Split, Summary, Values};
use crate::error::{Error, Result};
use crate::network::is_class_name;

/// Labels are bytes.
pub const MAX_CLASSES: usize = 256;

/// What the data is wanted for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Shape of one example; of arrays, where it is not given, the file's own.
    pub shape: Option<Shape>,
    /// The model's class names, by label: the data's labels become the model's. None where the model takes the data's.
    pub classes: &'a [String],
    /// How to split what has no test examples of its own; without a rule the whole is both.
    pub rule: Option<Rule>,
}

/// What a path held.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// Examples to train on; all of them where `test` is none.
    pub train: Split,
    /// Examples to test on, where the data has them apart.
    pub test: Option<Split>,
    /// Class names by label; none where labels are bare numbers.
    pub classes: Vec<String>,
}

/// Reads what lies at a path. Writes nothing.
///
/// # Errors
/// [`Error::BadFile`] that names the file at fault; [`Error::BadArgument`] if it does not fit what is wanted.
pub fn load(path: &Path, wanted: &Wanted<'_>) -> Result<Dataset> {
    let place = place(path)?;
    let own = read(path, wanted.shape)?.with_classes_of(path, wanted.classes)?;
    let name = place.display().to_string();
    let Own { train, test, classes } = own;
    let (train, test, rule) = match (test, wanted.rule) {
        (Some(test), _) => {
            let of = |split: &Split| (split.inputs.shape(), std::mem::discriminant(split.inputs.values()));
            if of(&train) != of(&test) {
                let problem = "its training and its test examples differ in shape or type";
                return Err(Error::bad_file(path, problem, "give both the same, u8 or f32"));
            }
            (train, test, None)
        }
        (None, None) => (train.clone(), train, None),
        (None, Some(rule)) => {
            let (train, test) = rule.split(&train).map_err(|problem| Error::BadArgument {
                problem: format!("{}: {problem}", path.display()),
                remedy: "add examples, or give test examples of their own (see docs/data.md)".into(),
            })?;
            (train, test, Some(rule))
        }
    };
    Ok(Dataset { source: name.clone(), name, train, test, classes, rule })
}

/// The whole path, which is the data's name.
fn place(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::bad_file(path, "there is nothing here", "check the path"),
        _ => Error::io("find", path)(error),
    })
}

/// Reads what lies at a path to its last byte and counts it, for the `data` verb.
///
/// # Errors
/// As [`load`].
pub fn summary(path: &Path) -> Result<Summary> {
    let source = place(path)?.display().to_string();
    let Own { train, test, classes } = read(path, None)?;
    check_names(path, &classes)?;
    let labels = train.labels.iter().chain(test.iter().flat_map(|test| &test.labels));
    let count = labels.max().map_or(0, |&largest| usize::from(largest) + 1).max(classes.len());
    let of = |split: &Split, class: usize| split.labels.iter().filter(|&&label| usize::from(label) == class).count();
    let class = |label: usize| ClassSummary {
        class: classes.get(label).cloned().unwrap_or_else(|| label.to_string()),
        train: of(&train, label),
        test: test.as_ref().map_or(0, |test| of(test, label)),
    };
    Ok(Summary {
        dataset: source.clone(),
        directory: Some(source.clone().into()),
        source,
        official: false,
        train_examples: train.len(),
        test_examples: test.as_ref().map_or(0, Split::len),
        files: Vec::new(),
        classes: (0..count).map(class).collect(),
    })
}

/// Which reader takes it: by what kind of thing it is, then by its name, then by its content.
fn read(path: &Path, shape: Option<Shape>) -> Result<Own> {
    if path.is_dir() {
        if let Some(set) = idx_set::in_folder(path)? {
            return set.read(shape);
        }
        return match train_and_test(path)? {
            Some((train, test)) => both(&train, &test, shape),
            None => pictures::read(path, shape),
        };
    }
    if let Some(set) = idx_set::of_file(path)? {
        return set.read(shape);
    }
    one(path, shape)
}

fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

fn one(path: &Path, shape: Option<Shape>) -> Result<Own> {
    if is_csv(path) { csv::read(&[path], shape) } else { arrays::read(path, shape) }
}

/// A folder's `train.EXT` and `test.EXT`.
fn train_and_test(folder: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    for extension in ["csv", "npz", "npy", "safetensors"] {
        let [train, test] = ["train", "test"].map(|name| folder.join(name).with_extension(extension));
        match (train.is_file(), test.is_file()) {
            (true, true) => return Ok(Some((train, test))),
            (true, false) => {
                return Err(Error::bad_file(
                    &train,
                    format!("there is no test.{extension} beside it"),
                    "name the file itself to have some of it test",
                ));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn both(train: &Path, test: &Path, shape: Option<Shape>) -> Result<Own> {
    if is_csv(train) {
        return csv::read(&[train, test], shape);
    }
    let (own, other) = (arrays::read(train, shape)?, arrays::read(test, shape)?);
    if own.classes != other.classes {
        return Err(Error::bad_file(test, "its class names are not those of the training file", "give both the same"));
    }
    Ok(Own { test: Some(other.train), ..own })
}

impl Own {
    /// The same examples under a model's labels: by class name where the data has names that are no numbers.
    fn with_classes_of(mut self, path: &Path, model: &[String]) -> Result<Self> {
        check_names(path, &self.classes)?;
        if model.is_empty() || self.classes.is_empty() || self.classes == model {
            return Ok(self);
        }
        let label_of = |name: &String| {
            let number = || name.parse::<usize>().ok().filter(|&number| number < model.len());
            model.iter().position(|other| other == name).or_else(number)
        };
        let mut labels = Vec::new();
        for name in &self.classes {
            let label = label_of(name).ok_or_else(|| Error::BadArgument {
                problem: format!("{}: its class {name} is none of the model's ({})", path.display(), listed(model)),
                remedy: "rename or remove it, or take a model of these classes".into(),
            })?;
            labels.push(label as u8);
        }
        for split in [Some(&mut self.train), self.test.as_mut()].into_iter().flatten() {
            split.labels.iter_mut().for_each(|label| *label = labels[usize::from(*label)]);
        }
        Ok(Self { classes: model.to_vec(), ..self })
    }
}

/// The first names, for a message.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    names[..names.len().min(SHOWN)].join(", ") + &more
}

fn check_names(path: &Path, classes: &[String]) -> Result<()> {
    if classes.len() > MAX_CLASSES {
        let problem = format!("it has {} classes, and at most {MAX_CLASSES} are told apart", classes.len());
        return Err(Error::bad_file(path, problem, "join or leave out classes"));
    }
    match classes.iter().find(|name| !is_class_name(name)) {
        Some(name) => Err(Error::bad_file(
            path,
            format!(
                "{name:?} cannot be a class's name: it is empty, or has a comma, a #, a control character or blanks at an end"
            ),
            "rename it",
        )),
        None => Ok(()),
    }
}

/// The labels as bytes. `whose` names the file in a message; an unknown label is -1 and its example is left out.
fn known(inputs: Inputs, labels: &[i64], classes: &[String]) -> Result<Split, String> {
    let most = if classes.is_empty() { MAX_CLASSES } else { classes.len() } as i64;
    if let Some(at) = labels.iter().position(|label| !(-1..most).contains(label)) {
        return Err(format!(
            "example {at} has the label {}; labels lie between 0 and {}, or are -1: unknown",
            labels[at],
            most - 1
        ));
    }
    let kept: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] >= 0).collect();
    let labels = kept.iter().map(|&i| labels[i] as u8).collect();
    let all = kept.len() == inputs.len() || kept.is_empty();
    Ok(Split { inputs: if all { inputs } else { inputs.select(&kept) }, labels })
}

/// Values of dimensions `[n, ...]` as examples of a shape. Dimensions of one need not be there, one number an example is channels,
/// and channels may come last.
fn fit(values: Values, dims: &[usize], shape: Option<Shape>) -> Result<Inputs, String> {
    let Some((&count, example)) = dims.split_first() else { return Err("it is a single number".into()) };
    if count == 0 || example.contains(&0) {
        return Err("it has no input".into());
    }
    let significant = |dims: &[usize]| dims.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
    let own = match *example {
        [] => Some(Shape::flat(1)),
        [width] => Some(Shape::flat(width)),
        [height, width] => Some(Shape::new(1, height, width)),
        [channels, height, width] => Some(Shape::new(channels, height, width)),
        _ => None,
    };
    let refused = |wanted: String| format!("its inputs are {dims:?}, and the network reads [n, {wanted}]");
    let Some(shape) = shape.or(own) else { return Err(refused("channels, height, width".into())) };
    if significant(example) == significant(&shape.dims()) {
        return Ok(Inputs::new(shape, values));
    }
    if matches!(*example, [h, w, c] if [c, h, w] == shape.dims()) {
        return Ok(Inputs::new(shape, channels_first(&values, shape)));
    }
    Err(refused(shape.to_string().replace('x', ", ")))
}

/// From `[n][height][width][channels]` to `[n][channels][height][width]`.
fn channels_first(values: &Values, shape: Shape) -> Values {
    fn moved<T: Copy>(values: &[T], shape: Shape) -> Vec<T> {
        let channel =
            |example: &[T], at: usize| example.iter().skip(at).step_by(shape.channels).copied().collect::<Vec<_>>();
        let examples = values.chunks_exact(shape.len());
        examples.flat_map(|example| (0..shape.channels).flat_map(move |at| channel(example, at))).collect()
    }
    match values {
        Values::U8(values) => Values::U8(moved(values, shape)),
        Values::F32(values) => Values::F32(moved(values, shape)),
    }
}

#[cfg(test)]
mod tests;
