//! Inputs as a device takes them, a byte a value. No I/O.

use std::borrow::Cow;
use std::ops::Range;

use bn_core::file::WeightsFile;

use crate::data::{Inputs, Values};
use crate::error::{Error, Result};
use crate::model::inference::codes;

/// Inputs one behind the other.
#[derive(Clone, Debug)]
pub(crate) struct Codes<'a> {
    bytes: Cow<'a, [u8]>,
    size: usize,
}

impl<'a> Codes<'a> {
    /// Of raw inputs: bytes are codes, other numbers become codes by the file's scale.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for inputs of another shape than the network's.
    pub(crate) fn of(file: &WeightsFile, inputs: &'a Inputs) -> Result<Self> {
        let shape = file.network().topology.input;
        if inputs.shape() != shape {
            return Err(Error::BadArgument {
                problem: format!(
                    "{} reads {shape}, and the inputs are {}",
                    file.texts().network.escape_debug(),
                    inputs.shape()
                ),
                remedy: "give inputs of that shape".into(),
            });
        }
        let bytes = match inputs.values() {
            Values::U8(codes) => Cow::Borrowed(&codes[..]),
            Values::F32(_) => (0..inputs.len()).flat_map(|example| codes(file, inputs, example).into_owned()).collect(),
        };
        Ok(Self { bytes, size: shape.len() })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Some of them, as they lie in a file.
    pub(super) fn part(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range.start * self.size..range.end * self.size]
    }

    /// One of them.
    pub(crate) fn one(&self, index: usize) -> &[u8] {
        self.part(index..index + 1)
    }

    /// A copy of those at these places, as they lie in a file.
    pub(super) fn select(&self, indices: &[usize]) -> Vec<u8> {
        indices.iter().flat_map(|&index| self.one(index)).copied().collect()
    }
}
