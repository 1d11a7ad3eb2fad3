//! Examples in memory: inputs of any shape as they come from a file, before any preprocessing, and labels.

use bn_core::Image;
use bn_core::lenet;
use bn_core::network::Shape;
use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::network::Network;

/// Examples of noise.
const NOISE: usize = 64;

/// Inputs of one shape, `[n][channels][height][width]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    shape: Shape,
    values: Values,
}

/// Values in the width that they came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Pixels, or codes of a sensor.
    U8(Vec<u8>),
    /// Anything else.
    F32(Vec<f32>),
}

/// One example's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw<'a> {
    /// Pixels, or codes of a sensor.
    U8(&'a [u8]),
    /// Anything else.
    F32(&'a [f32]),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::U8(values) => values.len(),
            Values::F32(values) => values.len(),
        }
    }

    fn part(&self, range: std::ops::Range<usize>) -> Self {
        match self {
            Values::U8(values) => Values::U8(values[range].to_vec()),
            Values::F32(values) => Values::F32(values[range].to_vec()),
        }
    }
}

impl Inputs {
    /// Inputs of that shape.
    ///
    /// # Panics
    /// If the values are not whole examples.
    pub fn new(shape: Shape, values: Values) -> Self {
        assert!(values.len().is_multiple_of(shape.len()), "{} values are no whole examples of {shape}", values.len());
        Self { shape, values }
    }

    /// Examples that need no data: uniform bytes where a network reads pictures (square maps, grey or of three colours), else
    /// numbers of mean 0 and deviation 1.
    pub fn noise(network: &Network, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let Shape { channels, height, width } = network.input();
        let count = NOISE * network.input().len();
        let values = if matches!(channels, 1 | 3) && height == width && height > 1 {
            Values::U8((0..count).map(|_| rng.random::<u8>()).collect())
        } else {
            Values::F32((0..count).map(|_| normal(&mut rng) as f32).collect())
        };
        Self::new(network.input(), values)
    }

    /// Shape of one example.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.values.len() / self.shape.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.len() == 0
    }

    /// All values.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The values of some examples as they lie in memory.
    ///
    /// # Panics
    /// If the range ends behind the last.
    pub fn bytes(&self, examples: std::ops::Range<usize>) -> &[u8] {
        let range = examples.start * self.shape.len()..examples.end * self.shape.len();
        match &self.values {
            Values::U8(values) => &values[range],
            Values::F32(values) => bytemuck::cast_slice(&values[range]),
        }
    }

    /// One example's values: channel, row, column.
    ///
    /// # Panics
    /// If there is no such example.
    pub fn raw(&self, example: usize) -> Raw<'_> {
        let range = example * self.shape.len()..(example + 1) * self.shape.len();
        match &self.values {
            Values::U8(values) => Raw::U8(&values[range]),
            Values::F32(values) => Raw::F32(&values[range]),
        }
    }

    /// A copy of some examples.
    ///
    /// # Panics
    /// If the range ends behind the last.
    pub fn part(&self, examples: std::ops::Range<usize>) -> Self {
        let values = self.values.part(examples.start * self.shape.len()..examples.end * self.shape.len());
        Self { shape: self.shape, values }
    }

    /// A copy of the first examples; of all if there are fewer.
    pub fn first(&self, count: usize) -> Self {
        self.part(0..count.min(self.len()))
    }

    /// A copy of the examples at those positions.
    ///
    /// # Panics
    /// If one is behind the last.
    pub fn select(&self, examples: &[usize]) -> Self {
        let of = |example: &usize| example * self.shape.len()..(example + 1) * self.shape.len();
        let values = match &self.values {
            Values::U8(values) => Values::U8(examples.iter().flat_map(|e| values[of(e)].iter().copied()).collect()),
            Values::F32(values) => Values::F32(examples.iter().flat_map(|e| values[of(e)].iter().copied()).collect()),
        };
        Self { shape: self.shape, values }
    }

    /// All of them as LeNet's images.
    ///
    /// # Panics
    /// If they are anything else, see [`are_images`](Self::are_images).
    pub fn images(&self) -> &[Image] {
        match &self.values {
            Values::U8(pixels) if self.are_images() => bytemuck::cast_slice(pixels),
            _ => panic!("inputs {} are no images 1x28x28 of bytes", self.shape),
        }
    }

    /// Whether they are LeNet's images: one byte a pixel, 1x28x28.
    pub fn are_images(&self) -> bool {
        matches!(self.values, Values::U8(_)) && self.shape == lenet::NETWORK.topology.input
    }
}

/// Inputs and labels in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the network reads, raw.
    pub inputs: Inputs,
    /// Classes, `[n]`; empty where the inputs are their own target.
    pub labels: Vec<u8>,
}

impl Split {
    /// Images and their labels.
    pub fn of_images(images: Vec<Image>, labels: Vec<u8>) -> Self {
        let shape = lenet::NETWORK.topology.input;
        Self { inputs: Inputs::new(shape, Values::U8(images.into_flattened().into_flattened())), labels }
    }

    /// The inputs as LeNet's images.
    ///
    /// # Panics
    /// If they are anything else.
    pub fn images(&self) -> &[Image] {
        self.inputs.images()
    }

    /// [`images`](Self::images), to be changed.
    ///
    /// # Panics
    /// Likewise.
    pub fn images_mut(&mut self) -> &mut [Image] {
        assert!(self.inputs.are_images(), "inputs {} are no images 1x28x28 of bytes", self.inputs.shape);
        match &mut self.inputs.values {
            Values::U8(pixels) => bytemuck::cast_slice_mut(pixels),
            Values::F32(_) => unreachable!("images are bytes"),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether it holds no example.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// A copy of its first examples; of all where it has fewer.
    pub fn first(&self, count: usize) -> Self {
        self.part(0..count.min(self.len()))
    }

    /// All but the last `count` examples, and those.
    pub fn split_last(&self, count: usize) -> (Self, Self) {
        let at = self.len() - count;
        (self.part(0..at), self.part(at..self.len()))
    }

    /// A copy of the examples at those positions.
    ///
    /// # Panics
    /// If one is behind the last.
    pub fn select(&self, examples: &[usize]) -> Self {
        let labels = examples.iter().filter_map(|&example| self.labels.get(example).copied()).collect();
        Self { inputs: self.inputs.select(examples), labels }
    }

    fn part(&self, range: std::ops::Range<usize>) -> Self {
        let labels = if self.labels.is_empty() { Vec::new() } else { self.labels[range.clone()].to_vec() };
        Self { inputs: self.inputs.part(range), labels }
    }
}

/// A normal value of mean 0 and deviation 1. Source: Box and Muller 1958, "A Note on the Generation of Random Normal Deviates".
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
