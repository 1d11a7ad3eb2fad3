//! The weights that were baked into the program, and the build of the network that reads them.

use core::hint::black_box;

#[cfg(not(feature = "small"))]
pub use bn_core::infer::{Scratch, predict, predict_by_layer};
#[cfg(feature = "small")]
pub use bn_core::small::{Scratch, predict, predict_by_layer};

#[cfg(feature = "small")]
use bn_core::FormatError;
#[cfg(not(feature = "small"))]
use bn_core::format::WEIGHTS_BYTES;
#[cfg(not(feature = "small"))]
pub use bn_core::format::parse as read;
#[cfg(feature = "small")]
use bn_core::small::{WEIGHTS_BYTES, Weights};

/// The baked model.
#[cfg(not(feature = "small"))]
pub type Model = bn_core::Model<'static>;
/// The baked model.
#[cfg(feature = "small")]
pub type Model = &'static Weights;

/// The bytes of a model.
pub type Bytes = [u8; WEIGHTS_BYTES];

/// Words in flash are read in place, so the file must begin at a word.
#[repr(C, align(4))]
pub struct Aligned<T>(pub T);

/// Room for a model.
pub const EMPTY: Aligned<Bytes> = Aligned([0; WEIGHTS_BYTES]);

/// The build script has parsed this file already. The host finds it by its name: to measure it, and to put other weights into a
/// program that is built.
static WEIGHTS: Aligned<Bytes> = Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/weights.bin")));

/// The baked bytes. The compiler must not look inside: they may be replaced after it.
pub fn bytes() -> &'static Bytes {
    &black_box(&WEIGHTS).0
}

/// Reads weights in another place: with the checksum alone, since the build has proved the rest.
///
/// # Errors
/// [`FormatError`] when they are damaged.
#[cfg(feature = "small")]
pub fn read(bytes: &[u8]) -> Result<&Weights, FormatError> {
    Weights::read(bytes)
}

/// The baked model.
pub fn baked() -> Model {
    match read(bytes()) {
        Ok(model) => model,
        Err(error) => {
            defmt::error!("the weights in flash are damaged: {}", error);
            crate::device::fail("flash the firmware again")
        }
    }
}
