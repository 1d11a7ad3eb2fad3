//! Arrays from files: `.safetensors`, `.npz` and `.npy`. Names in an archive say what is what: `x` and `y`, `input` and `label`,
//! `x_train` and `y_train` and `x_test` and `y_test`, `train_images` and `train_labels` and so on; `classes` has the class names.

use std::path::Path;

use bn_core::network::Shape;
use safetensors::{Dtype, SafeTensors};

use super::npy::{self, Array, MAGIC};
use super::{Own, fit, known, zip};
use crate::data::{Inputs, Split, Values};
use crate::error::{Error, Result};
use crate::files;

const REMEDY: &str = "give inputs, u8 or f32, [n, channels, height, width]: see docs/data.md for the names of arrays";

/// Names of what a network reads.
const INPUTS: [&str; 6] = ["input", "inputs", "x", "images", "data", "imgs"];
/// Names of labels.
const LABELS: [&str; 5] = ["label", "labels", "y", "target", "targets"];
/// Names of class names.
const CLASSES: [&str; 2] = ["classes", "class_names"];

/// Reads a file.
///
/// # Errors
/// [`Error::BadFile`] with what is wrong; a value that is not finite is.
pub fn read(path: &Path, shape: Option<Shape>) -> Result<Own> {
    from_bytes(path, &files::read(path, &files::TENSORS)?, shape)
}

/// As [`read`], of a file's content; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(path: &Path, bytes: &[u8], shape: Option<Shape>) -> Result<Own> {
    let own = Named::of(bytes).and_then(|named| named.own(shape));
    own.map_err(|problem| Error::bad_file(path, problem, REMEDY))
}

/// Reads inputs of that shape, whatever labels there are.
///
/// # Errors
/// As [`read`].
pub fn read_inputs(path: &Path, shape: Shape) -> Result<Inputs> {
    let bytes = files::read(path, &files::TENSORS)?;
    let inputs = Named::of(&bytes).and_then(|mut named| named.inputs("", Some(shape)));
    inputs.map_err(|problem| Error::bad_file(path, problem, REMEDY))
}

/// Reads examples of that shape. Those whose label is unknown (-1) are left out; a file without labels has none.
///
/// # Errors
/// As [`read`].
pub fn read_split(path: &Path, shape: Shape) -> Result<Split> {
    read(path, Some(shape)).map(|own| own.train)
}

/// Arrays by name, and class names.
struct Named {
    arrays: Vec<(String, Array)>,
    classes: Vec<String>,
}

impl Named {
    fn of(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(MAGIC) {
            return Ok(Self { arrays: vec![("input".into(), npy::parse(bytes)?)], classes: Vec::new() });
        }
        if bytes.starts_with(b"PK") { Self::of_npz(bytes) } else { Self::of_safetensors(bytes) }
    }

    fn of_npz(bytes: &[u8]) -> Result<Self, String> {
        let (mut arrays, mut classes) = (Vec::new(), Vec::new());
        for entry in zip::entries(bytes)? {
            let Some(name) = entry.name.strip_suffix(".npy") else { continue };
            let is_read = CLASSES.contains(&name) || place(name).is_some();
            if !is_read {
                continue;
            }
            let array = npy::parse(&entry.content(bytes)?).map_err(|problem| format!("its array {name}: {problem}"))?;
            match array.values {
                npy::Values::Text(names) if CLASSES.contains(&name) => classes = names,
                _ => arrays.push((name.to_owned(), array)),
            }
        }
        if arrays.is_empty() {
            let names: Vec<_> = zip::entries(bytes)?.into_iter().take(8).map(|entry| entry.name).collect();
            return Err(format!("it has no array `x` or `x_train`; it has {}", names.join(", ")));
        }
        Ok(Self { arrays, classes })
    }

    fn of_safetensors(bytes: &[u8]) -> Result<Self, String> {
        let unsound = |e| format!("it is no sound safetensors file ({e})");
        let file = SafeTensors::deserialize(bytes).map_err(unsound)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unsound)?;
        let classes = metadata.metadata().as_ref().and_then(|all| all.get("classes"));
        let classes = classes.map_or(Vec::new(), |names| names.split(',').map(|name| name.trim().to_owned()).collect());
        let mut arrays = Vec::new();
        for name in file.names().into_iter().filter(|name| place(name).is_some()) {
            let tensor = file.tensor(name).map_err(unsound)?;
            let data = tensor.data();
            let values = match tensor.dtype() {
                Dtype::U8 => npy::Values::U8(data.to_vec()),
                Dtype::F32 => npy::Values::F32(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
                Dtype::I64 => npy::Values::I64(data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
                other => return Err(format!("its tensor `{name}` is {other}, none of U8, F32 and, for labels, I64")),
            };
            arrays.push((name.to_owned(), Array { dims: tensor.shape().to_vec(), values }));
        }
        if arrays.is_empty() {
            let names = file.names().into_iter().take(8).collect::<Vec<_>>().join(", ");
            return Err(format!("it has no tensor `input`; it has {names}"));
        }
        Ok(Self { arrays, classes })
    }

    /// Takes an array out by its part (`train`, `test` or none) and role.
    fn take(&mut self, part: &str, roles: &[&str]) -> Option<(String, Array)> {
        let at = self
            .arrays
            .iter()
            .position(|(name, _)| place(name).is_some_and(|(p, role)| p == part && roles.contains(&role)))?;
        Some(self.arrays.swap_remove(at))
    }

    fn inputs(&mut self, part: &str, shape: Option<Shape>) -> Result<Inputs, String> {
        let (name, array) = self.take(part, &INPUTS).ok_or_else(|| format!("it has no inputs (`x_{part}`)"))?;
        let values = match array.values {
            npy::Values::U8(values) => Values::U8(values),
            npy::Values::F32(values) => Values::F32(values),
            npy::Values::I64(_) | npy::Values::Text(_) => {
                return Err(format!("its array `{name}` is neither uint8 nor float32: save array.astype('float32')"));
            }
        };
        let inputs = fit(values, &array.dims, shape)?;
        if let Values::F32(values) = inputs.values()
            && let Some(at) = values.iter().position(|v| !v.is_finite())
        {
            let (example, value) = (at / inputs.shape().len(), values[at]);
            return Err(format!("input {example} holds {value} at position {}", at % inputs.shape().len()));
        }
        Ok(inputs)
    }

    fn split(&mut self, part: &str, shape: Option<Shape>) -> Result<Split, String> {
        let inputs = self.inputs(part, shape)?;
        let Some((name, array)) = self.take(part, &LABELS) else {
            return Ok(Split { inputs, labels: Vec::new() });
        };
        let labels: Vec<i64> = match array.values {
            npy::Values::U8(values) => values.into_iter().map(i64::from).collect(),
            npy::Values::I64(values) => values,
            _ => return Err(format!("its labels `{name}` are no integers")),
        };
        if labels.len() != inputs.len() {
            return Err(format!("it has {} inputs and {} labels", inputs.len(), labels.len()));
        }
        known(inputs, &labels, &self.classes)
    }

    fn own(mut self, shape: Option<Shape>) -> Result<Own, String> {
        let has = |part: &str| self.arrays.iter().any(|(name, _)| place(name).is_some_and(|(p, _)| p == part));
        if !has("train") {
            return Ok(Own { train: self.split("", shape)?, test: None, classes: self.classes });
        }
        let test = has("test");
        let train = self.split("train", shape)?;
        let test = test.then(|| self.split("test", Some(train.inputs.shape()))).transpose()?;
        Ok(Own { train, test, classes: self.classes })
    }
}

/// Which part and role a name stands for: `x_train` and `train_images` are the training part's inputs.
fn place(name: &str) -> Option<(&str, &str)> {
    let part_of = |part: &'static str| {
        let role = name.strip_prefix(part).and_then(|rest| rest.strip_prefix('_'));
        role.or_else(|| name.strip_suffix(part).and_then(|rest| rest.strip_suffix('_'))).map(|role| (part, role))
    };
    let (part, role) = ["train", "test"].into_iter().find_map(part_of).unwrap_or(("", name));
    (INPUTS.contains(&role) || LABELS.contains(&role)).then_some((part, role))
}
