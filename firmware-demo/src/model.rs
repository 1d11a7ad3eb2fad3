//! The weights that were baked into the program.

use bn_core::format::{self, Model};

/// Words in flash are read in place, so the file must begin at a word.
#[repr(C, align(4))]
struct Aligned<T: ?Sized>(T);

/// The build script has parsed this file already.
static WEIGHTS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/weights.bin")));

/// Parses the baked weights, checksum and proofs included.
pub fn baked() -> Model<'static> {
    match format::parse(&WEIGHTS.0) {
        Ok(model) => model,
        Err(error) => {
            defmt::error!("the weights in flash are damaged: {}", error);
            crate::device::fail("flash the firmware again")
        }
    }
}
