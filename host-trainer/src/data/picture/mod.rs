//! Pictures from files: PNG, JPEG and BMP of any size and mode, as a network reads them. What was done to a picture on the way
//! is kept, so that nobody has to guess.
//!
//! The order is that of torchvision's transforms on a PIL image: the picture is turned upright, made grey or RGB, then resized. Grey is ITU-R
//! 601's, in PIL's integers; transparency is dropped, and of 16 bits the upper eight are kept, both as PIL's `convert` does.
//!
//! | file | what it holds |
//! |---|---|
//! | `decode` | from a file's bytes to pixels, by the crates for each format |
//! | `bmp` | BMP |
//! | `exif` | which way up a camera was held |
//! | `resize` | PIL's bilinear resize with antialiasing |

mod bmp;
mod decode;
mod exif;
mod resize;

use std::path::Path;

use bn_core::network::Shape;
use serde::Serialize;

pub(crate) use self::resize::resize;
use crate::error::{Error, Result};
use crate::files;

/// No picture has more pixels: a header that claims more is not obeyed.
pub const MAX_PIXELS: usize = 1 << 26;

/// No side is longer.
const MAX_SIDE: usize = 1 << 15;

/// A decoded picture: `[height][width][channels]`, row-major, 1 channel (grey) or 3 (red, green, blue).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Grey or RGB.
    pub channels: usize,
    /// The values.
    pub pixels: Vec<u8>,
    /// What it was in the file.
    pub source: Source,
    /// What was done to it since the file, in order, for people.
    pub done: Vec<String>,
}

/// What a picture is in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// `PNG`, `JPEG` or `BMP`.
    pub format: &'static str,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Colours and bits of a pixel, for people.
    pub mode: String,
}

/// Whether a network can read pictures: one channel or three.
///
/// # Errors
/// [`Error::BadArgument`] that says what it reads.
pub fn check_shape(shape: Shape) -> Result<()> {
    let is_picture = matches!(shape.channels, 1 | 3) && shape.height > 1 && shape.width > 1;
    if is_picture {
        return Ok(());
    }
    Err(Error::BadArgument {
        problem: format!("the network reads {shape}, and a picture is 1xHxW (grey) or 3xHxW (RGB)"),
        remedy: "give its inputs as arrays (.npz, .npy, .csv, .safetensors), or take another --network".into(),
    })
}

/// Reads a picture file as a network of that input shape does: see [`Picture::fit`].
///
/// # Errors
/// [`Error::BadFile`] that says what is wrong with the file.
pub fn read(path: &Path, shape: Shape) -> Result<Picture> {
    let bytes = files::read(path, &files::PICTURE)?;
    let picture = parse(&bytes).map_err(|problem| Error::bad_file(path, problem, files::PICTURE.remedy))?;
    Ok(picture.fit(shape))
}

/// Refuses sizes that no picture has before memory is taken for them.
fn check_size(width: usize, height: usize) -> Result<(), String> {
    let fits = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height) && width * height <= MAX_PIXELS;
    if fits { Ok(()) } else { Err(format!("it claims {width}x{height} pixels, and at most {MAX_PIXELS} are read")) }
}

/// Decodes a file's bytes, whatever its format, and turns the picture upright.
///
/// # Errors
/// What is wrong with them, in words that follow the file's name.
pub fn parse(bytes: &[u8]) -> Result<Picture, String> {
    let decoded = decode::decode(bytes)?;
    let orientation = decoded.exif.as_deref().map_or(1, exif::orientation);
    let mut picture = decoded.picture;
    if orientation > 1 {
        picture = picture.turned(orientation);
        picture.done.push(format!("turned upright (EXIF orientation {orientation})"));
    }
    Ok(picture)
}

impl Picture {
    /// The picture in another's channels and size; the aspect ratio is not kept.
    #[must_use]
    pub fn fit(self, shape: Shape) -> Self {
        let mut picture = self.with_channels(shape.channels);
        if (picture.height, picture.width) != (shape.height, shape.width) {
            let from = format!("{}x{}", picture.width, picture.height);
            picture.pixels = resize(&picture, shape.height, shape.width);
            (picture.height, picture.width) = (shape.height, shape.width);
            picture.done.push(format!("resized from {from} to {}x{}", shape.width, shape.height));
        }
        picture
    }

    /// Grey from RGB, or RGB from grey.
    fn with_channels(mut self, channels: usize) -> Self {
        match (self.channels, channels) {
            (3, 1) => {
                self.pixels = self.pixels.as_chunks().0.iter().map(grey).collect();
                self.done.push("made grey".into());
            }
            (1, 3) => {
                self.pixels = self.pixels.iter().flat_map(|&value| [value; 3]).collect();
                self.done.push("made RGB of grey".into());
            }
            _ => {}
        }
        self.channels = channels;
        self
    }

    /// Light made dark, and dark light.
    #[must_use]
    pub fn inverted(mut self) -> Self {
        self.pixels.iter_mut().for_each(|value| *value = u8::MAX - *value);
        self.done.push("inverted".into());
        self
    }

    /// Its values one channel after another: `[channels][height][width]`.
    pub fn planes(&self) -> Vec<u8> {
        let channel = |at: usize| self.pixels.iter().skip(at).step_by(self.channels).copied();
        (0..self.channels).flat_map(channel).collect()
    }

    /// Turned upright from one of EXIF's eight orientations.
    fn turned(self, orientation: u16) -> Self {
        let Self { width, height, channels, ref pixels, .. } = self;
        let swaps = orientation >= 5;
        let (to_width, to_height) = if swaps { (height, width) } else { (width, height) };
        let mut turned = Vec::with_capacity(pixels.len());
        for row in 0..to_height {
            for column in 0..to_width {
                let (x, y) = if swaps { (row, column) } else { (column, row) };
                let flips_x = matches!(orientation, 2 | 3 | 7 | 8);
                let flips_y = matches!(orientation, 3 | 4 | 6 | 7);
                let (x, y) = (if flips_x { width - 1 - x } else { x }, if flips_y { height - 1 - y } else { y });
                turned.extend_from_slice(&pixels[(y * width + x) * channels..][..channels]);
            }
        }
        Self { width: to_width, height: to_height, pixels: turned, ..self }
    }
}

/// ITU-R 601's luma as PIL computes it: 16 bits of fraction, rounded.
fn grey(&[red, green, blue]: &[u8; 3]) -> u8 {
    ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests;
