//! Linear layers for Cortex-M cores without the DSP extension: the bits of [`portable`](super::portable), in assembly. Linked in
//! only where the build script has chosen it: `armv7m` for the M3, `armv6m` for M0 and M0+.
#![allow(unsafe_code)]

use super::{BLOCK, Stream};
use crate::kernels::CentredTable;
#[cfg(bn_lenet_arch = "armv7m")]
use crate::quant::requantize;
#[cfg(bn_lenet_arch = "armv6m")]
use crate::quant::requantize_by_halves as requantize;
use crate::quant::{Pair, Quad, table_index};

unsafe extern "C" {
    fn bn_lenet_linear_blocks(
        input: *const Quad,
        end: *const Quad,
        weights: &[*const Pair; 2],
        sums: &mut [[i32; BLOCK]; 2],
    );
}

/// Adds the products of two words of codes each to two times four sums: of one position of a [`conv`](crate::kernels::conv), whose
/// weights and codes lie as those of a linear layer. Nothing where they are not as many.
#[cfg(bn_lenet_arch = "armv6m")]
#[inline(always)]
pub(in crate::kernels) fn products(codes: &[[u32; 2]], weights: [&[u32]; 2], sums: &mut [[i32; BLOCK]; 2]) {
    if codes.is_empty() || weights.iter().any(|weights| weights.len() != BLOCK * codes.len()) {
        return;
    }
    let inputs = codes.as_ptr_range();
    // SAFETY: reads `codes`, each as large as a quad, and four words of either weights for each.
    unsafe {
        bn_lenet_linear_blocks(
            inputs.start.cast(),
            inputs.end.cast(),
            &weights.map(|weights| weights.as_ptr().cast()),
            sums,
        );
    }
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
    // A pointer of its own: else it is added up from the start of the model each time round.
    let table = core::hint::black_box(table);
    requantized(stream, input, |block, values| {
        output[block] = Quad::new(values.map(|value| table[table_index(value)]));
    });
    output[BLOCKS..].fill(Quad::new([0; 4]));
}

/// See [`portable::logits`](super::portable::logits).
#[inline(always)]
pub fn logits<const QUADS: usize, const BLOCKS: usize>(
    stream: &Stream<'_, QUADS, BLOCKS>,
    input: &[Quad; QUADS],
    logits: &mut [[i32; BLOCK]; BLOCKS],
) {
    requantized(stream, input, |block, values| logits[block] = values);
}

/// Two blocks at a time; an odd last block is computed twice.
#[inline(always)]
fn requantized<const QUADS: usize, const BLOCKS: usize>(
    stream: &Stream<'_, QUADS, BLOCKS>,
    input: &[Quad; QUADS],
    mut store: impl FnMut(usize, [i32; BLOCK]),
) {
    const { assert!(QUADS.is_multiple_of(2), "the assembly takes two quads at a time") }
    let inputs = input.as_ptr_range();
    for first in (0..BLOCKS).step_by(2) {
        let blocks = if BLOCKS.is_multiple_of(2) { [first, first + 1] } else { [first, (first + 1).min(BLOCKS - 1)] };
        let mut sums = blocks.map(|block| stream.bias[block]);
        let weights = blocks.map(|block| stream.weight[block].as_flattened().as_ptr());
        // SAFETY: reads `input` and as many quads of weights of either block.
        unsafe { bn_lenet_linear_blocks(inputs.start, inputs.end, &weights, &mut sums) };
        for (block, sums) in blocks.into_iter().zip(sums) {
            let multiplier = &stream.multiplier[block];
            store(block, core::array::from_fn(|o| requantize(sums[o], multiplier[o])));
        }
    }
}
