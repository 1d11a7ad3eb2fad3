//! The images that were baked into the program.

use crate::model::{INPUT_BYTES, Input};

/// The build script has checked length and labels.
static BAKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/images.bin"));

/// Every baked image with its label.
pub fn baked() -> impl Iterator<Item = (u8, &'static Input)> {
    let (images, _) = BAKED.as_chunks::<{ 1 + INPUT_BYTES }>();
    images.iter().filter_map(|bytes| Some((bytes[0], bytes[1..].as_array()?)))
}
