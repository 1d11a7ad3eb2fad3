//! The codes of a tensor on the calibration inputs.

use bn_core::kernels::packed::{Input, LANES};
use bn_core::network::Shape;
use bn_core::quant::Scale;

use super::range::{self, Codes};
use crate::data::{Inputs, Raw, Values};
use crate::network::Network;

/// Codes, one example after another.
pub(super) struct Tensor {
    /// What they mean.
    pub(super) codes: Codes,
    /// Of the network's input: what they mean before preprocessing.
    pub(super) raw: Scale,
    bytes: Vec<u8>,
    words: Vec<u32>,
    /// Bytes or words of an example.
    size: usize,
}

impl Tensor {
    /// The network's input. Bytes are codes as they are, and so are whole numbers from 0 to 255.
    pub(super) fn of_inputs(network: &Network, inputs: &Inputs) -> Self {
        let size = inputs.shape().len();
        let raw = match inputs.values() {
            Values::U8(_) => Scale { scale: 1.0, zero_point: 0 },
            Values::F32(values) => range::of_raw(values),
        };
        let mut bytes = Vec::with_capacity(inputs.len() * size);
        for example in 0..inputs.len() {
            match inputs.raw(example) {
                Raw::U8(values) => bytes.extend_from_slice(values),
                Raw::F32(values) => {
                    bytes.extend(values.iter().map(|&value| bn_core::quant::quantize_input(value, raw)));
                }
            }
        }
        // `x = scale * raw + shift` and `raw = (code - zero) * raw_scale`.
        let of = |channel| {
            let (scale, shift) = network.preprocessing().affine(channel);
            let scale_of_code = scale * f64::from(raw.scale);
            (scale_of_code, f64::from(raw.zero_point) - shift / scale_of_code)
        };
        let (scale, zero) = (0..inputs.shape().channels).map(of).unzip();
        Self { codes: Codes { scale, zero }, raw, bytes, words: Vec::new(), size }
    }

    pub(super) fn of_step(codes: Codes, words: Vec<u32>, size: usize) -> Self {
        let raw = codes.scale();
        Self { codes, raw, bytes: Vec::new(), words, size }
    }

    pub(super) fn is_bytes(&self) -> bool {
        self.words.is_empty()
    }

    /// How many examples.
    pub(super) fn len(&self) -> usize {
        (self.bytes.len() + self.words.len()) / self.size
    }

    /// An example as a kernel reads it.
    pub(super) fn example(&self, at: usize) -> Input<'_> {
        let range = at * self.size..(at + 1) * self.size;
        if self.is_bytes() { Input::Bytes(&self.bytes[range]) } else { Input::Packed(&self.words[range]) }
    }

    /// An example's integers: channel, row, column.
    pub(super) fn values(&self, at: usize, shape: Shape, halves: bool) -> Vec<i32> {
        if halves {
            let values: &[i16] = bytemuck::cast_slice(&self.words[at * self.size..][..self.size]);
            return values[..shape.len()].iter().map(|&value| value.into()).collect();
        }
        values_of(self.example(at), shape)
    }
}

/// Codes of a map: channel, row, column.
pub(super) fn values_of(input: Input<'_>, shape: Shape) -> Vec<i32> {
    let area = shape.height * shape.width;
    let mut values = Vec::with_capacity(shape.len().next_multiple_of(LANES));
    for channel in 0..shape.channels {
        values.extend((0..area).map(|position| i32::from(input.code(channel, area, position))));
    }
    values
}
