//! The weights that were baked into the program.

use core::hint::black_box;

use bn_core::format::{self, Model, WEIGHTS_BYTES};

/// Words in flash are read in place, so the file must begin at a word.
#[repr(C, align(4))]
struct Aligned<T>(T);

/// The build script has parsed this file already. The host finds it by its name: to measure it, and to put other weights into a
/// program that is built.
static WEIGHTS: Aligned<[u8; WEIGHTS_BYTES]> = Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/weights.bin")));

/// Parses the baked weights, checksum and proofs included.
pub fn baked() -> Model<'static> {
    // The compiler must not look inside: the weights may be replaced after it.
    match format::parse(&black_box(&WEIGHTS).0) {
        Ok(model) => model,
        Err(error) => {
            defmt::error!("the weights in flash are damaged: {}", error);
            crate::device::fail("flash the firmware again")
        }
    }
}
