//! Fully connected layers with int8 weights: `output[o] = bias[o] + sum over i of weight[o][i] * input[i]`, each requantised by
//! one multiplication, with a sigmoid's table behind it or without.
//!
//! | function | output |
//! |---|---|
//! | [`sigmoid`] | activations of a table, as the quads of the next layer |
//! | [`logits`] | what requantising gives, four i32 a block |
//!
//! Inputs are quads of centred activations. What a layer lacks to whole quads and blocks is zero. Guard: an even number of
//! quads; in assembly for cores with the DSP extension 22, 30 or 64 of them.

#[cfg(any(bn_lenet_arch = "armv6m", bn_lenet_arch = "armv7m"))]
pub(super) mod cortex_m;
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub(crate) mod cortex_m_dsp;
pub mod portable;

use super::Fault;
use crate::quant::{ACTIVATION_MAX, LINEAR_UNIT, LINEAR_WEIGHT_MAX, Pair, unpack_weights};

#[cfg(any(bn_lenet_arch = "armv6m", bn_lenet_arch = "armv7m"))]
pub use cortex_m::{logits, sigmoid};
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use cortex_m_dsp::{logits, sigmoid};
#[cfg(bn_lenet_arch = "portable")]
pub use portable::{logits, sigmoid};

/// Outputs that are computed side by side.
pub const BLOCK: usize = 4;

/// What the functions read, in place: `QUADS` times four inputs, `BLOCKS` times four outputs.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a, const QUADS: usize, const BLOCKS: usize> {
    /// Start value of each output's accumulator, times 256.
    pub bias: &'a [[i32; BLOCK]; BLOCKS],
    /// Each output's factor for [`requantize`](crate::quant::requantize).
    pub multiplier: &'a [[i32; BLOCK]; BLOCKS],
    /// `[block][quad][output of the block]`, four weights each: [`pack_weights`](crate::quant::pack_weights).
    pub weight: &'a [[[Pair; BLOCK]; QUADS]; BLOCKS],
}

/// A [`Stream`] whose sizes are known at run time alone.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// By block, as in [`Stream`].
    pub bias: &'a [[i32; BLOCK]],
    /// By block, as in [`Stream`].
    pub multiplier: &'a [[i32; BLOCK]],
    /// Block after block, as in [`Stream`].
    pub weight: &'a [[Pair; BLOCK]],
    /// Quads of a block's weights.
    pub quads: usize,
}

/// Words of a stream: for each block its start values, then its multipliers, then its weights.
pub const fn stream_words(quads: usize, blocks: usize) -> usize {
    blocks * BLOCK * (2 + quads)
}

impl<'a, const QUADS: usize, const BLOCKS: usize> Stream<'a, QUADS, BLOCKS> {
    /// Of words as they lie in a model: biases, multipliers, weights. Another number of words does not compile.
    #[inline(always)]
    pub fn new<const WORDS: usize>(words: &'a [u32; WORDS]) -> Self {
        const { assert!(WORDS == stream_words(QUADS, BLOCKS), "as many words as the layer has") }
        // One base within reach of all that follows: else each of the three is as far from the start of the model.
        #[cfg(any(bn_lenet_arch = "armv6m", bn_lenet_arch = "armv7m"))]
        let words = core::hint::black_box(words);
        let fours = words.as_chunks::<BLOCK>().0;
        let (bias, rest) = first(fours);
        let (multiplier, weight) = first(rest);
        let (weight, _) = first(weight.as_chunks::<QUADS>().0);
        Self {
            bias: bytemuck::must_cast_ref::<[[u32; BLOCK]; BLOCKS], _>(bias),
            multiplier: bytemuck::must_cast_ref::<[[u32; BLOCK]; BLOCKS], _>(multiplier),
            weight: bytemuck::must_cast_ref::<[[[u32; BLOCK]; QUADS]; BLOCKS], _>(weight),
        }
    }

    /// The same, without its sizes.
    #[inline(always)]
    pub const fn layer(&self) -> Layer<'a> {
        Layer { bias: self.bias, multiplier: self.multiplier, weight: self.weight.as_flattened(), quads: QUADS }
    }

    /// As [`Layer::check`].
    ///
    /// # Errors
    /// [`Fault`] with the first output that could go wrong.
    pub fn check(&self, inputs: usize, outputs: usize) -> Result<(), Fault> {
        self.layer().check(inputs, outputs)
    }
}

impl<'a> Layer<'a> {
    /// Of words as they lie in a model; `None` for another number of words.
    pub fn new(words: &'a [u32], quads: usize, blocks: usize) -> Option<Self> {
        let fours = words.as_chunks::<BLOCK>().0;
        let (bias, rest) = fours.split_at_checked(blocks)?;
        let (multiplier, weight) = rest.split_at_checked(blocks)?;
        if words.len() != stream_words(quads, blocks) {
            return None;
        }
        let (bias, multiplier) = (bytemuck::cast_slice(bias), bytemuck::cast_slice(multiplier));
        Some(Self { bias, multiplier, weight: bytemuck::cast_slice(weight), quads })
    }

    /// Each block's start values, multipliers and weights.
    pub fn blocks(&self) -> impl Iterator<Item = (&'a [i32; BLOCK], &'a [i32; BLOCK], &'a [[Pair; BLOCK]])> + use<'a> {
        let weights = self.weight.chunks_exact(self.quads.max(1));
        self.bias
            .iter()
            .zip(self.multiplier)
            .zip(weights)
            .map(|((bias, multiplier), weight)| (bias, multiplier, weight))
    }

    /// Proves every weight in its symmetric range, every multiplier positive, what only pads zero, and
    /// `|bias| + 256 * sum |weight| * largest input` inside i32, for a layer of so many inputs and outputs.
    ///
    /// # Errors
    /// [`Fault`] with the first output that could go wrong.
    pub fn check(&self, inputs: usize, outputs: usize) -> Result<(), Fault> {
        for (block, (bias, multiplier, weight)) in self.blocks().enumerate() {
            for o in 0..BLOCK {
                let channel = block * BLOCK + o;
                let used = if channel < outputs { inputs } else { 0 };
                let mut magnitude = 0;
                for (quad, pairs) in weight.iter().enumerate() {
                    for (i, w) in unpack_weights(pairs[o]).into_iter().enumerate() {
                        if w.abs() > LINEAR_WEIGHT_MAX.into() || (4 * quad + i >= used && w != 0) {
                            return Err(Fault::WeightRange { channel });
                        }
                        magnitude += i64::from(w.abs());
                    }
                }
                if (channel < outputs) != (multiplier[o] > 0) || (channel >= outputs && multiplier[o] != 0) {
                    return Err(Fault::Multiplier { channel });
                }
                let products = i64::from(LINEAR_UNIT) * i64::from(ACTIVATION_MAX) * magnitude;
                if i64::from(bias[o]).abs() + products > i64::from(i32::MAX) || (channel >= outputs && bias[o] != 0) {
                    return Err(Fault::Accumulator { channel });
                }
            }
        }
        Ok(())
    }
}

/// The first `N`, and the others.
#[inline(always)]
const fn first<T, const N: usize>(of: &[T]) -> (&[T; N], &[T]) {
    match of.split_first_chunk() {
        Some(parts) => parts,
        // The caller has counted them.
        None => unreachable!(),
    }
}
