//! The weights that were baked into the program, and the build of the network that reads them.

use core::hint::black_box;

#[cfg(feature = "fast")]
pub use bn_core::fast::{Scratch, predict, predict_by_layer};
#[cfg(not(any(feature = "fast", feature = "small")))]
pub use bn_core::infer::{Scratch, predict, predict_by_layer};
#[cfg(feature = "small")]
pub use bn_core::small::{Scratch, predict, predict_by_layer};

#[cfg(feature = "fast")]
use bn_core::fast::{WEIGHTS_BYTES, Weights};
#[cfg(not(any(feature = "fast", feature = "small")))]
use bn_core::format::{WEIGHTS_BYTES, parse as read};
#[cfg(feature = "small")]
use bn_core::small::{WEIGHTS_BYTES, Weights};

/// The baked model.
#[cfg(not(any(feature = "fast", feature = "small")))]
pub type Model = bn_core::Model<'static>;
/// The baked model.
#[cfg(any(feature = "fast", feature = "small"))]
pub type Model = &'static Weights;

/// Words in flash are read in place, so the file must begin at a word.
#[repr(C, align(4))]
struct Aligned<T>(T);

/// The build script has parsed this file already. The host finds it by its name: to measure it, and to put other weights into a
/// program that is built.
static WEIGHTS: Aligned<[u8; WEIGHTS_BYTES]> = Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/weights.bin")));

/// Reads the baked weights: with checksum and proofs, or in the small build with the checksum alone.
pub fn baked() -> Model {
    #[cfg(any(feature = "fast", feature = "small"))]
    let read = Weights::read;
    // The compiler must not look inside: the weights may be replaced after it.
    match read(&black_box(&WEIGHTS).0) {
        Ok(model) => model,
        Err(error) => {
            defmt::error!("the weights in flash are damaged: {}", error);
            crate::device::fail("flash the firmware again")
        }
    }
}
