//! The numbers of a tensor in an ONNX file, from wherever the file keeps them: packed, as bytes, or in a second file beside it.

use std::path::{Component, Path};

use bn_core::network::MAX_VALUES;

use super::proto::{BFLOAT16, BOOL, DOUBLE, EXTERNAL, FLOAT, FLOAT16, INT32, INT64, TensorProto};
use crate::files;
use crate::model::half::{bf16, f16};

/// The most axes of a tensor.
pub(super) const MOST_AXES: usize = 8;

/// Numbers with their shape. Every type becomes f64, which keeps each of their values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    /// Row-major.
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
    /// Whether it holds whole numbers, which divide without a rest.
    pub(super) integer: bool,
}

impl Tensor {
    /// Unpacks a tensor; `model` is the file that it stands in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn unpack(model: &Path, proto: &TensorProto) -> Result<Self, String> {
        if proto.dims.len() > MOST_AXES {
            return Err(format!("has {} axes; {MOST_AXES} are supported", proto.dims.len()));
        }
        let shape: Vec<usize> = proto
            .dims
            .iter()
            .map(|&d| usize::try_from(d).map_err(|_| format!("has a dimension of {d}")))
            .collect::<Result<_, _>>()?;
        // An empty tensor's other dimensions are bounded, too.
        let most = shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d.max(1)));
        let count: usize = if shape.contains(&0) { 0 } else { most.unwrap_or_default() };
        if most.is_none_or(|most| most > MAX_VALUES) {
            return Err(format!("has the shape {shape:?}; at most {MAX_VALUES} values are supported"));
        }
        let kind = proto.data_type.unwrap_or_default();
        let values = if proto.data_location == Some(EXTERNAL) {
            of_bytes(kind, &external(model, proto, count * width(kind)?)?)?
        } else if let Some(bytes) = proto.raw_data.as_ref().filter(|bytes| !bytes.is_empty()) {
            of_bytes(kind, bytes)?
        } else {
            of_fields(kind, proto)?
        };
        if values.len() != count {
            return Err(format!("has the shape {shape:?} and {} values", values.len()));
        }
        Ok(Self { shape, values, integer: matches!(kind, INT64 | INT32 | BOOL) })
    }

    /// A row of whole numbers.
    pub(super) fn row(values: impl IntoIterator<Item = usize>) -> Self {
        let values: Vec<_> = values.into_iter().map(|value| value as f64).collect();
        Self { shape: vec![values.len()], values, integer: true }
    }

    /// The one value of a tensor that has one, or the same everywhere.
    pub(super) fn uniform(&self) -> Option<f64> {
        let first = *self.values.first()?;
        self.values.iter().all(|&value| value == first).then_some(first)
    }

    /// As whole numbers.
    pub(super) fn integers(&self) -> Vec<i64> {
        // Saturates: the largest number that a slice ends at is no f64.
        self.values.iter().map(|&value| value as i64).collect()
    }
}

/// Bytes of a value.
fn width(kind: i32) -> Result<usize, String> {
    match kind {
        FLOAT | INT32 => Ok(4),
        DOUBLE | INT64 => Ok(8),
        FLOAT16 | BFLOAT16 => Ok(2),
        BOOL => Ok(1),
        other => Err(format!("holds numbers of ONNX's type {other}, not float, double, float16 or bfloat16")),
    }
}

fn of_bytes(kind: i32, bytes: &[u8]) -> Result<Vec<f64>, String> {
    if !bytes.len().is_multiple_of(width(kind)?) {
        return Err(format!("has {} bytes, which is no whole number of values", bytes.len()));
    }
    let two = || bytes.as_chunks().0.iter();
    Ok(match kind {
        FLOAT => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        DOUBLE => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        INT64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
        INT32 => bytes.as_chunks().0.iter().map(|&b| f64::from(i32::from_le_bytes(b))).collect(),
        BOOL => bytes.iter().map(|&b| f64::from(b)).collect(),
        FLOAT16 => two().map(|&b| f16(u16::from_le_bytes(b))).collect(),
        _ => two().map(|&b| bf16(u16::from_le_bytes(b))).collect(),
    })
}

fn of_fields(kind: i32, proto: &TensorProto) -> Result<Vec<f64>, String> {
    width(kind)?;
    let bits = || proto.int32_data.iter().map(|&bits| bits as u16);
    Ok(match kind {
        FLOAT => proto.float_data.iter().map(|&v| f64::from(v)).collect(),
        DOUBLE => proto.double_data.clone(),
        INT64 => proto.int64_data.iter().map(|&v| v as f64).collect(),
        INT32 | BOOL => proto.int32_data.iter().map(|&v| f64::from(v)).collect(),
        FLOAT16 => bits().map(f16).collect(),
        _ => bits().map(bf16).collect(),
    })
}

/// `bytes` bytes of the file that the tensor names, which must lie beside the model or below that place.
fn external(model: &Path, proto: &TensorProto, bytes: usize) -> Result<Vec<u8>, String> {
    let entry = |key: &str| {
        let entry = proto.external_data.iter().find(|e| e.key.as_deref() == Some(key));
        entry.and_then(|e| e.value.as_deref())
    };
    let location = entry("location").ok_or("lies in another file that has no name")?;
    if location.is_empty() || !Path::new(location).components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(format!("lies in {location}, which is not beside the model"));
    }
    let number = |key: &str, absent: u64| {
        let parse = |text: &str| text.parse().map_err(|_| format!("has the {key} {text} in {location}"));
        entry(key).map_or(Ok(absent), parse)
    };
    let (offset, length) = (number("offset", 0)?, number("length", bytes as u64)?);
    if length != bytes as u64 {
        return Err(format!("has {length} bytes in {location}, its shape needs {bytes}"));
    }
    files::read_part(&model.with_file_name(location), offset, bytes)
        .map_err(|error| format!("lies in {location}, which must stand beside the model and cannot be read ({error})"))
}

#[cfg(test)]
mod tests {
    use super::super::proto::StringStringEntryProto;
    use super::*;

    fn proto(kind: i32, dims: &[i64], raw: Vec<u8>) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type: Some(kind), raw_data: Some(raw), ..TensorProto::default() }
    }

    fn values(proto: &TensorProto) -> Vec<f64> {
        Tensor::unpack(Path::new("x"), proto).unwrap().values
    }

    #[test]
    fn every_type_is_read_from_bytes_and_from_its_field() {
        assert_eq!(values(&proto(FLOAT, &[1], 0.1_f32.to_le_bytes().into())), [f64::from(0.1_f32)]);
        assert_eq!(values(&proto(DOUBLE, &[1], 0.1_f64.to_le_bytes().into())), [0.1]);
        assert_eq!(values(&proto(INT64, &[], (-7_i64).to_le_bytes().into())), [-7.0]);
        assert_eq!(values(&proto(INT32, &[], (-7_i32).to_le_bytes().into())), [-7.0]);
        assert_eq!(values(&proto(BOOL, &[2], vec![0, 1])), [0.0, 1.0]);
        assert_eq!(values(&proto(FLOAT16, &[2], vec![0x00, 0x3C, 0x00, 0xC0])), [1.0, -2.0]);
        assert_eq!(values(&proto(BFLOAT16, &[2], vec![0x80, 0x3F, 0x00, 0xC0])), [1.0, -2.0]);
        let empty = |kind| proto(kind, &[2], vec![]);
        assert_eq!(values(&TensorProto { float_data: vec![1.0, 2.0], ..empty(FLOAT) }), [1.0, 2.0]);
        assert_eq!(values(&TensorProto { double_data: vec![1.0, 2.0], ..empty(DOUBLE) }), [1.0, 2.0]);
        assert_eq!(values(&TensorProto { int64_data: vec![1, -2], ..empty(INT64) }), [1.0, -2.0]);
        assert_eq!(values(&TensorProto { int32_data: vec![0x3C00, 0xC000], ..empty(FLOAT16) }), [1.0, -2.0]);
        assert_eq!(values(&TensorProto { int32_data: vec![0x3F80, 0xC000], ..empty(BFLOAT16) }), [1.0, -2.0]);
    }

    #[test]
    fn a_shape_that_lies_is_refused_before_anything_is_made() {
        let problem = |p: TensorProto| Tensor::unpack(Path::new("x"), &p).unwrap_err();
        assert!(problem(proto(FLOAT, &[i64::MAX, i64::MAX], vec![0; 4])).contains("at most 16777216 values"));
        assert!(problem(proto(FLOAT, &[1 << 40], vec![0; 4])).contains("at most 16777216 values"));
        assert!(problem(proto(FLOAT, &[-1], vec![0; 4])).contains("a dimension of -1"));
        assert!(problem(proto(FLOAT, &[2], vec![0; 4])).contains("1 values"));
        assert!(problem(proto(FLOAT, &[1], vec![0; 3])).contains("no whole number"));
        assert!(problem(proto(2, &[1], vec![0])).contains("type 2"));
    }

    #[test]
    fn numbers_in_a_second_file_stand_beside_the_model() {
        let directory = tempfile::tempdir().unwrap();
        let model = directory.path().join("net.onnx");
        let bytes: Vec<u8> = [1.0_f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(directory.path().join("net.onnx.data"), bytes).unwrap();
        let lies_in = |entries: &[(&str, &str)]| {
            let entry = |&(k, v): &(&str, &str)| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
            let external_data = entries.iter().map(entry).collect();
            let proto = TensorProto { external_data, data_location: Some(EXTERNAL), ..proto(FLOAT, &[2], vec![]) };
            Tensor::unpack(&model, &proto)
        };
        let there = ("location", "net.onnx.data");
        assert_eq!(lies_in(&[there, ("offset", "4"), ("length", "8")]).unwrap().values, [2.0, 3.0]);
        assert_eq!(lies_in(&[there]).unwrap().values, [1.0, 2.0]);
        assert!(lies_in(&[there, ("offset", "8")]).unwrap_err().contains("cannot be read"));
        assert!(lies_in(&[there, ("length", "4000000000")]).unwrap_err().contains("needs 8"));
        for outside in ["../net.onnx.data", "/etc/hostname", ""] {
            assert!(lies_in(&[("location", outside)]).unwrap_err().contains("not beside the model"), "{outside}");
        }
        assert!(lies_in(&[("location", "none")]).unwrap_err().contains("must stand beside the model"));
    }
}
