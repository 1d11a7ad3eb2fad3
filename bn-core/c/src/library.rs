//! The functions of the library. What each promises its callers is in the header.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::panic::PanicInfo;

use bn_core::FormatError;
use bn_core::quant::quantize_input;
use model::{Arena, INPUT_SCALE, Input, Logit, Model, OUTPUTS, WEIGHTS, Weights};

bn_core::include_model!();

unsafe extern "C" {
    /// Exists nowhere: a library in which a panic is reachable names it, and `cargo trainer library` refuses it.
    safe fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    a_panic_is_reachable()
}

// SAFETY (here and below): names of the library begin with the name that its user gave it.
#[unsafe(export_name = concat!("bn_", env!("BN_LENET_LIBRARY_NAME"), "_weights"))]
static BUILT_IN: Weights = WEIGHTS;

/// Reads a model.
///
/// # Safety
/// There are as many bytes, and nobody changes them while the model is used.
unsafe fn read(weights: *const c_void, bytes: usize) -> Result<Model<'static>, FormatError> {
    if weights.is_null() {
        return Err(FormatError::Misaligned);
    }
    // SAFETY: the caller promises it.
    model::parse(unsafe { core::slice::from_raw_parts(weights.cast(), bytes) })
}

/// # Safety
/// As [`read`].
#[unsafe(export_name = concat!("bn_", env!("BN_LENET_LIBRARY_NAME"), "_check"))]
unsafe extern "C" fn check(weights: *const c_void, bytes: usize) -> i32 {
    // SAFETY: the caller promises it.
    unsafe { read(weights, bytes) }.map_or_else(|error| error.code().into(), |_| 0)
}

/// # Safety
/// As [`read`].
#[unsafe(export_name = concat!("bn_", env!("BN_LENET_LIBRARY_NAME"), "_open"))]
unsafe extern "C" fn open(weights: *const c_void, bytes: usize) -> Option<Model<'static>> {
    // SAFETY: the caller promises it.
    unsafe { read(weights, bytes) }.ok()
}

/// # Safety
/// The model is [`open`]'s and unchanged since; what is not null points to as much as its type says, and none lies in another.
#[unsafe(export_name = concat!("bn_", env!("BN_LENET_LIBRARY_NAME"), "_predict"))]
unsafe extern "C" fn predict(
    model: Option<Model<'static>>,
    input: *const Input,
    arena: *mut Arena,
    logits: *mut [Logit; OUTPUTS],
) -> i32 {
    if !arena.is_aligned() {
        return -1;
    }
    // SAFETY: the caller promises it; the arena is words, which any bytes are.
    let (Some(model), Some(input), Some(arena)) = (model, unsafe { input.as_ref() }, unsafe { arena.as_mut() }) else {
        return -1;
    };
    let prediction = model::predict(&model, input, arena);
    if !logits.is_null() {
        // SAFETY: the caller promises it.
        unsafe { logits.write_unaligned(*prediction.logits) };
    }
    prediction.class() as i32
}

#[unsafe(export_name = concat!("bn_", env!("BN_LENET_LIBRARY_NAME"), "_quantize"))]
extern "C" fn quantize(raw: f32) -> u8 {
    quantize_input(raw, INPUT_SCALE)
}
