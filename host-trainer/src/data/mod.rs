//! Data sets: 28x28 greyscale images of ten classes, in four files (Fashion-MNIST's) or drawn by [`garments`].

pub mod garments;

use bn_core::Image;
use bn_core::lenet::PIXELS;

/// Images and labels in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Pixels, `[n][28][28]` row-major.
    pub images: Vec<Image>,
    /// Classes, `[n]`, each below 10.
    pub labels: Vec<u8>,
}

impl Split {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether it holds no example.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image, flat.
    pub fn pixels(&self, index: usize) -> &[u8] {
        let pixels = self.images[index].as_flattened();
        debug_assert_eq!(pixels.len(), PIXELS);
        pixels
    }
}

/// A training and a test split, and where they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// `fashion-mnist`, `garments`, or the directory of an unchecked one.
    pub name: String,
    /// Where it was found, for people: a directory, or the generator with its seed.
    pub source: String,
    /// Examples to train on.
    pub train: Split,
    /// Examples to test on.
    pub test: Split,
}
