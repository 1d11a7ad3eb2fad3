//! The model that was baked into the program, the code that was generated for its plan, and the build of the network that reads
//! it.

use core::hint::black_box;

#[cfg(feature = "small")]
pub use bn_core::small::{Arena, predict, predict_by_step, step_output};
#[cfg(not(feature = "small"))]
pub use generated::{Arena, Prediction, WEIGHTS_BYTES, parse as read, predict, predict_by_step, step_output};

#[cfg(feature = "small")]
use bn_core::FormatError;
#[cfg(feature = "small")]
use bn_core::small::{WEIGHTS_BYTES, Weights};

pub use generated::{CLASS_NAMES, INPUT_BYTES, Input, OUTPUTS, STEP_FILLED, STEP_NAMES, STEPS};

bn_core::include_model!(generated);

/// A model that was read.
#[cfg(not(feature = "small"))]
pub type Model = generated::Model<'static>;
/// A model that was read.
#[cfg(feature = "small")]
pub type Model = &'static Weights;

/// What an inference says.
#[cfg(feature = "small")]
pub type Prediction<'a> = bn_core::Prediction<'a, OUTPUTS, i32>;

/// The bytes of a model.
pub type Bytes = [u8; WEIGHTS_BYTES];

/// Words in flash are read in place, so the file must begin at a word.
#[repr(C, align(4))]
pub struct Aligned<T>(pub T);

/// Room for a model.
pub const EMPTY: Aligned<Bytes> = Aligned([0; WEIGHTS_BYTES]);

/// The build script has proved this file already. The host finds it by its name: to measure it, and to put other weights into a
/// program that is built.
#[cfg(not(feature = "small"))]
static WEIGHTS: Aligned<Bytes> = Aligned(generated::WEIGHTS.0);
/// As above.
#[cfg(feature = "small")]
static WEIGHTS: Aligned<Bytes> = Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/small.bin")));

/// The baked bytes. The compiler must not look inside: they may be replaced after it.
pub fn bytes() -> &'static Bytes {
    &black_box(&WEIGHTS).0
}

/// Reads weights in another place, with the checksum alone, since the build has proved the rest.
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
