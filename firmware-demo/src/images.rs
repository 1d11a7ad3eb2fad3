//! The images that were baked into the program, and how bytes become images.

use bn_core::Image;
use bn_core::lenet::{IMAGE_SIDE, PIXELS};

use crate::protocol::DEMO_IMAGE_BYTES;

/// The build script has checked length and labels.
static BAKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/images.bin"));

/// Every baked image with its label.
pub fn baked() -> impl Iterator<Item = (u8, &'static Image)> {
    let (images, _) = BAKED.as_chunks::<DEMO_IMAGE_BYTES>();
    images.iter().filter_map(|bytes| Some((bytes[0], image(bytes[1..].as_array()?))))
}

/// The same bytes, seen as rows of pixels.
pub fn image(pixels: &[u8; PIXELS]) -> &Image {
    let (rows, _) = pixels.as_chunks::<IMAGE_SIDE>();
    match rows.as_array() {
        Some(image) => image,
        // 784 pixels are 28 rows of 28.
        None => unreachable!(),
    }
}
