//! Arrays from files: the tensor `input`, and `label` where there is one, of a `.safetensors`, or a `.npy`.

use std::path::Path;

use bn_core::network::Shape;
use safetensors::{Dtype, SafeTensors};

use super::{Dataset, Inputs, Split, Values};
use crate::error::{Error, Result};
use crate::files;

const REMEDY: &str = "give a .safetensors with a tensor `input`, or a .npy, u8 or f32, [n, channels, height, width]";

/// Reads inputs of that shape. Dimensions of one need not be there.
///
/// # Errors
/// [`Error::BadFile`] with what is wrong; a value that is not finite is.
pub fn read_inputs(path: &Path, shape: Shape) -> Result<Inputs> {
    let bytes = files::read(path, &files::TENSORS)?;
    parse(&bytes, shape).map(|(inputs, _)| inputs).map_err(|problem| Error::bad_file(path, problem, REMEDY))
}

/// A file of arrays as a data set: its training and its test split are the whole.
///
/// # Errors
/// As [`read_inputs`].
pub fn dataset(path: &Path, shape: Shape) -> Result<Dataset> {
    let place = path.canonicalize().map_err(Error::io("find", path))?.display().to_string();
    let split = read_split(path, shape)?;
    Ok(Dataset { name: place.clone(), source: place, train: split.clone(), test: split })
}

/// Reads examples of that shape. Those whose label is unknown (-1) are left out; a file without labels has none.
///
/// # Errors
/// As [`read_inputs`].
pub fn read_split(path: &Path, shape: Shape) -> Result<Split> {
    from_bytes(path, &files::read(path, &files::TENSORS)?, shape)
}

/// As [`read_split`], of a file's content; `path` is for messages.
///
/// # Errors
/// As [`read_inputs`].
pub fn from_bytes(path: &Path, bytes: &[u8], shape: Shape) -> Result<Split> {
    let split = parse(bytes, shape).and_then(|(inputs, labels)| known(inputs, &labels));
    split.map_err(|problem| Error::bad_file(path, problem, REMEDY))
}

/// Inputs, and their labels, none where the file has none.
fn parse(bytes: &[u8], shape: Shape) -> Result<(Inputs, Vec<i64>), String> {
    let (inputs, labels) = if bytes.starts_with(npy::MAGIC) {
        let array = npy::parse(bytes)?;
        (inputs(array.values, &array.shape, shape)?, Vec::new())
    } else {
        of_safetensors(bytes, shape)?
    };
    if let Values::F32(values) = inputs.values()
        && let Some(at) = values.iter().position(|v| !v.is_finite())
    {
        let (example, value) = (at / shape.len(), values[at]);
        return Err(format!("input {example} holds {value} at position {}", at % shape.len()));
    }
    Ok((inputs, labels))
}

fn of_safetensors(bytes: &[u8], shape: Shape) -> Result<(Inputs, Vec<i64>), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("it is no sound safetensors file ({e})"))?;
    let tensor = file.tensor("input").map_err(|_| {
        let names = file.names();
        format!("it has no tensor `input`; it has {}", names.iter().take(8).copied().collect::<Vec<_>>().join(", "))
    })?;
    let values = match tensor.dtype() {
        Dtype::U8 => Values::U8(tensor.data().to_vec()),
        Dtype::F32 => Values::F32(tensor.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        other => return Err(format!("its tensor `input` is {other}, neither U8 nor F32")),
    };
    let inputs = inputs(values, tensor.shape(), shape)?;
    let Ok(label) = file.tensor("label") else { return Ok((inputs, Vec::new())) };
    let labels: Vec<i64> = match label.dtype() {
        Dtype::I64 => label.data().as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
        Dtype::U8 => label.data().iter().map(|&l| i64::from(l)).collect(),
        other => return Err(format!("its tensor `label` is {other}, neither I64 nor U8")),
    };
    if labels.len() != inputs.len() {
        return Err(format!("it has {} inputs and {} labels", inputs.len(), labels.len()));
    }
    Ok((inputs, labels))
}

/// The examples whose label is known.
fn known(inputs: Inputs, labels: &[i64]) -> Result<Split, String> {
    if let Some(label) = labels.iter().find(|label| !(-1..=255).contains(*label)) {
        return Err(format!("it has a label {label}; labels lie between 0 and 255, or are -1: unknown"));
    }
    let kept: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] >= 0).collect();
    let labels = kept.iter().map(|&i| labels[i] as u8).collect();
    Ok(if kept.len() == inputs.len() || kept.is_empty() {
        Split { inputs, labels }
    } else {
        Split { inputs: inputs.select(&kept), labels }
    })
}

/// Values of a shape `[n, ...]`, where the rest is an example's.
fn inputs(values: Values, found: &[usize], shape: Shape) -> Result<Inputs, String> {
    let significant = |dims: &[usize]| dims.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
    let fits = found.split_first().is_some_and(|(_, rest)| significant(rest) == significant(&shape.dims()));
    if !fits {
        return Err(format!(
            "its inputs are {found:?}, and the network reads [n, {}]",
            shape.to_string().replace('x', ", ")
        ));
    }
    if found[0] == 0 {
        return Err("it has no input".into());
    }
    Ok(Inputs::new(shape, values))
}

/// NumPy's format. Source: numpy.lib.format, versions 1.0 to 3.0.
mod npy {
    use super::Values;

    pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

    /// An array, row-major.
    pub(super) struct Array {
        pub(super) shape: Vec<usize>,
        pub(super) values: Values,
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Array, String> {
        let cut = || "it is cut off".to_owned();
        let major = *bytes.get(6).ok_or_else(cut)?;
        let (start, length): (usize, _) = match major {
            1 => (10, bytes.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))),
            2 | 3 => (12, bytes.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)),
            _ => return Err(format!("its .npy version is {major}, not 1 to 3")),
        };
        let end = length.and_then(|length| start.checked_add(length)).ok_or_else(cut)?;
        let header =
            std::str::from_utf8(bytes.get(start..end).ok_or_else(cut)?).map_err(|_| "its header is no text")?;
        let data = &bytes[end..];
        if field(header, "fortran_order").is_some_and(|value| value.starts_with("True")) {
            return Err("it is column-major; save numpy.ascontiguousarray of it".into());
        }
        let shape = shape(header).ok_or("its header has no shape")?;
        let count = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).ok_or("its shape is too large")?;
        let kind = field(header, "descr").and_then(|v| v.split(['\'', '"']).nth(1)).ok_or("its header has no type")?;
        let width = match kind {
            "|u1" | "u1" | "<u1" => 1,
            "<f4" => 4,
            other => return Err(format!("it holds {other}, neither u1 (u8) nor <f4 (f32)")),
        };
        if count.checked_mul(width) != Some(data.len()) {
            return Err(format!("it has {} bytes of values, its shape {shape:?} is {count} of {width}", data.len()));
        }
        let values = if width == 1 {
            Values::U8(data.to_vec())
        } else {
            Values::F32(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
        };
        Ok(Array { shape, values })
    }

    /// What stands behind a key of the header, which is a literal of Python.
    fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
        let (_, rest) = header.split_once(&format!("'{key}'"))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    }

    fn shape(header: &str) -> Option<Vec<usize>> {
        let (inside, _) = field(header, "shape")?.strip_prefix('(')?.split_once(')')?;
        inside.split(',').map(str::trim).filter(|d| !d.is_empty()).map(|d| d.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Raw;

    const SHAPE: Shape = Shape::new(1, 2, 3);

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    fn read(bytes: &[u8]) -> Result<Split> {
        from_bytes(Path::new("x"), bytes, SHAPE)
    }

    #[test]
    fn arrays_of_both_kinds_are_read() {
        let array = npy(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }\n",
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        );
        assert_eq!(read(&array).unwrap().inputs.raw(1), Raw::U8(&[7, 8, 9, 10, 11, 12]));
        let floats: Vec<u8> = [1.5_f32; 6].iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![1, 1, 2, 3], &floats).unwrap();
        let labels = (-1_i64).to_le_bytes();
        let label = safetensors::tensor::TensorView::new(Dtype::I64, vec![1], &labels).unwrap();
        let file = safetensors::serialize([("input", view), ("label", label)], None).unwrap();
        let split = read(&file).unwrap();
        assert_eq!((split.inputs.raw(0), split.labels.len()), (Raw::F32(&[1.5; 6]), 0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        let header =
            |kind: &str, shape: &str| format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}");
        assert!(refused(b"\x93NUMPY\x01").contains("it is cut off"));
        assert!(refused(&npy(&header("<f8", "(1, 2, 3)"), &[0; 48])).contains("it holds <f8, neither u1"));
        assert!(
            refused(&npy(&header("|u1", "(1, 3, 2)"), &[0; 6]))
                .contains("[1, 3, 2], and the network reads [n, 1, 2, 3]")
        );
        assert!(refused(&npy(&header("|u1", "(1, 2, 3)"), &[0; 5])).contains("it has 5 bytes of values"));
        assert!(refused(&npy(&header("|u1", "(0, 2, 3)"), &[])).contains("it has no input"));
        assert!(
            refused(&npy("{'descr': '|u1', 'fortran_order': True, 'shape': (1, 2, 3)}", &[0; 6]))
                .contains("column-major")
        );
        let nan = npy(&header("<f4", "(1, 2, 3)"), &[0, 0, 0, 0, 0, 0, 0xC0, 0x7F].repeat(3));
        assert!(refused(&nan).contains("input 0 holds NaN at position 1"), "{}", refused(&nan));
        assert!(refused(b"anything else").contains("no sound safetensors file"));
    }
}
