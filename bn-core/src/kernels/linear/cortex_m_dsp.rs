//! Linear layers for Cortex-M cores with the DSP extension: the bits of [`portable`](super::portable), in assembly. Linked in only
//! where the build script has chosen it.
#![allow(unsafe_code)]

use super::{BLOCK, Stream};
use crate::kernels::CentredTable;
use crate::quant::{Pair, Quad, SIGMOID_LEN};

// What the assembly has as literals.
const _: () = assert!(SIGMOID_LEN == 1 << 10 && size_of::<Quad>() == 8);

#[repr(C)]
pub(crate) struct Arguments {
    input: *const Quad,
    weight: *const Pair,
    bias: *const i32,
    multiplier: *const i32,
    /// Null: the output is logits.
    sigmoid: *const i8,
    /// Of quads, or of blocks of logits.
    output: *mut u32,
    blocks: usize,
    quads: usize,
}

unsafe extern "C" {
    fn bn_lenet_linear(rest: &Arguments);
}

/// See [`portable::sigmoid`](super::portable::sigmoid).
#[inline(always)]
pub fn sigmoid<const QUADS: usize, const BLOCKS: usize, const OUT: usize>(
    stream: &Stream<'_, QUADS, BLOCKS>,
    table: &CentredTable,
    input: &[Quad; QUADS],
    output: &mut [Quad; OUT],
) {
    const { assert!(OUT >= BLOCKS, "each block of outputs is a quad of the next layer") }
    let rest = arguments(stream, table.as_ptr(), input, output.as_mut_ptr().cast());
    // SAFETY: reads the layer, its input, and the table at indices that were saturated to it; writes a quad for each of the
    // layer's blocks, of which the output has at least as many.
    unsafe { bn_lenet_linear(&rest) };
    output[BLOCKS..].fill(Quad::new([0; 4]));
}

/// See [`portable::logits`](super::portable::logits).
#[inline(always)]
pub fn logits<const QUADS: usize, const BLOCKS: usize>(
    stream: &Stream<'_, QUADS, BLOCKS>,
    input: &[Quad; QUADS],
    logits: &mut [[i32; BLOCK]; BLOCKS],
) {
    let rest = arguments(stream, core::ptr::null(), input, logits.as_mut_ptr().cast());
    // SAFETY: reads the layer and its input, writes a block of logits for each of the layer's blocks.
    unsafe { bn_lenet_linear(&rest) };
}

#[inline(always)]
pub(crate) fn arguments<const QUADS: usize, const BLOCKS: usize>(
    stream: &Stream<'_, QUADS, BLOCKS>,
    sigmoid: *const i8,
    input: &[Quad; QUADS],
    output: *mut u32,
) -> Arguments {
    const { assert!(QUADS == 64 || QUADS == 30 || QUADS == 22, "linear.s has three entries") }
    Arguments {
        input: input.as_ptr(),
        weight: stream.weight.as_ptr().cast(),
        bias: stream.bias.as_ptr().cast(),
        multiplier: stream.multiplier.as_ptr().cast(),
        sigmoid,
        output,
        blocks: BLOCKS,
        quads: QUADS,
    }
}
