//! The `small` build, for parts with 64 KB of flash and 4 KB of RAM: the same network and the same bits in another layout.
//!
//! A sigmoid's table is its own mirror image, so half of it does; convolution 2 works on half a tile column at a time; and
//! what comes after the convolutions lies where their input was. The firmware's build makes [`Weights`] of a parsed
//! `weights.bin`, so every range is proved before anything is flashed, and the device checks no more than the checksum.
//! It needs the DSP extension.

use bytemuck::{Pod, Zeroable};

use crate::format::{CRC, FormatError};
use crate::kernels::Fault;
use crate::kernels::linear::{BLOCK, Stream};
use crate::kernels::winograd5::IMAGE_ROWS as CONV1_ROWS;
use crate::lenet::{
    CONV1_CHANNELS, CONV2_CHANNELS, FLAT_QUADS, KERNEL, LINEAR1_BLOCKS, LINEAR1_QUADS, LINEAR2_BLOCKS, LINEAR2_QUADS,
    LOGIT_BLOCKS, POOL, Streams,
};
use crate::ops::winograd::POINTS;
use crate::quant::{ACTIVATION_MAX, Pair, SIGMOID_LEN};

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
mod cortex_m_dsp;

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use device::{Arena, Flat, Input, Window, predict, predict_by_step, step_output};

/// Layers that run one after another.
pub const STEPS: usize = 5;

/// Entries of half a table.
const HALF: usize = SIGMOID_LEN / 2;

/// A model as the small build has it in flash. Fields and meanings are those of [`Streams`];
/// half a table has the entries from 0.5 up. Only [`of`](Self::of) makes one that inference may trust.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Weights {
    /// CRC-32 of every byte after this field.
    crc: u32,
    /// The checksum of the `weights.bin`: which model this is.
    checksum: u32,
    pub(crate) conv1_bias: [i32; CONV1_CHANNELS],
    pub(crate) conv2_bias: [i32; CONV2_CHANNELS],
    linear1_bias: [[i32; BLOCK]; LINEAR1_BLOCKS],
    linear1_multiplier: [[i32; BLOCK]; LINEAR1_BLOCKS],
    linear2_bias: [[i32; BLOCK]; LINEAR2_BLOCKS],
    linear2_multiplier: [[i32; BLOCK]; LINEAR2_BLOCKS],
    linear3_bias: [[i32; BLOCK]; LOGIT_BLOCKS],
    linear3_multiplier: [[i32; BLOCK]; LOGIT_BLOCKS],
    pub(crate) conv1_lanes: [[[[Pair; CONV1_ROWS / 2]; POOL]; POINTS]; CONV1_CHANNELS],
    pub(crate) conv2_lanes: [[[[Pair; KERNEL]; CONV1_CHANNELS / 2]; POINTS]; CONV2_CHANNELS],
    linear1_weight: [[[Pair; BLOCK]; FLAT_QUADS]; LINEAR1_BLOCKS],
    linear2_weight: [[[Pair; BLOCK]; LINEAR1_QUADS]; LINEAR2_BLOCKS],
    linear3_weight: [[[Pair; BLOCK]; LINEAR2_QUADS]; LOGIT_BLOCKS],
    pub(crate) conv1_sigmoid: [u8; HALF],
    pub(crate) conv2_sigmoid: [u8; HALF],
    pub(crate) linear_sigmoid: [u8; HALF],
}

/// Bytes of [`Weights`].
pub const WEIGHTS_BYTES: usize = size_of::<Weights>();

impl Weights {
    /// Of the streams of a file that was read, and its checksum. A half table is exact only if the whole one is its own mirror
    /// image, as `export` makes it.
    ///
    /// # Errors
    /// [`Fault::Table`] with the first entry that has no mirror image, and its step.
    pub fn of(f: &Streams, checksum: u32) -> Result<Self, FormatError> {
        let centred = f.conv1_sigmoid.map(|value| i16::from(value) - i16::from(ACTIVATION_MAX));
        let mut weights = Self {
            crc: 0,
            checksum,
            conv1_bias: f.conv1_bias,
            conv2_bias: f.conv2_bias,
            linear1_bias: f.linear1_bias,
            linear1_multiplier: f.linear1_multiplier,
            linear2_bias: f.linear2_bias,
            linear2_multiplier: f.linear2_multiplier,
            linear3_bias: f.linear3_bias,
            linear3_multiplier: f.linear3_multiplier,
            conv1_lanes: f.conv1_lanes,
            conv2_lanes: f.conv2_lanes,
            linear1_weight: f.linear1_weight,
            linear2_weight: f.linear2_weight,
            linear3_weight: f.linear3_weight,
            conv1_sigmoid: half(0, &centred)?,
            conv2_sigmoid: half(1, &f.conv2_sigmoid.map(i16::from))?,
            linear_sigmoid: half(2, &f.linear_sigmoid.map(i16::from))?,
        };
        weights.crc = weights.compute_crc();
        Ok(weights)
    }

    /// The bytes that [`bytes`](Self::bytes) gave, read in place from a 4-byte aligned address.
    ///
    /// # Errors
    /// [`FormatError::Misaligned`], [`FormatError::Length`], or [`FormatError::Checksum`] when a bit is wrong.
    pub fn read(bytes: &[u8]) -> Result<&Self, FormatError> {
        if bytes.len() != WEIGHTS_BYTES {
            return Err(FormatError::Length { expected: WEIGHTS_BYTES, found: bytes.len() });
        }
        let weights: &Self = bytemuck::try_from_bytes(bytes).map_err(|_| FormatError::Misaligned)?;
        let (computed, stored) = (weights.compute_crc(), weights.crc);
        if computed == stored { Ok(weights) } else { Err(FormatError::Checksum { computed, stored }) }
    }

    /// As they lie in flash.
    pub fn bytes(&self) -> &[u8; WEIGHTS_BYTES] {
        bytemuck::must_cast_ref(self)
    }

    /// The checksum of the `weights.bin` that they were made of: which model this is.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Linear 1.
    pub fn linear1(&self) -> Stream<'_, FLAT_QUADS, LINEAR1_BLOCKS> {
        Stream { weight: &self.linear1_weight, bias: &self.linear1_bias, multiplier: &self.linear1_multiplier }
    }

    /// Linear 2.
    pub fn linear2(&self) -> Stream<'_, LINEAR1_QUADS, LINEAR2_BLOCKS> {
        Stream { weight: &self.linear2_weight, bias: &self.linear2_bias, multiplier: &self.linear2_multiplier }
    }

    /// Linear 3.
    pub fn linear3(&self) -> Stream<'_, LINEAR2_QUADS, LOGIT_BLOCKS> {
        Stream { weight: &self.linear3_weight, bias: &self.linear3_bias, multiplier: &self.linear3_multiplier }
    }

    fn compute_crc(&self) -> u32 {
        CRC.checksum(&self.bytes()[size_of::<u32>()..])
    }
}

impl core::fmt::Debug for Weights {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Weights").field("checksum", &self.checksum).finish_non_exhaustive()
    }
}

/// The upper half of a table that is its own mirror image.
fn half(step: usize, table: &[i16; SIGMOID_LEN]) -> Result<[u8; HALF], FormatError> {
    match (HALF..SIGMOID_LEN).find(|&i| table[i] < 0 || table[i] != -table[SIGMOID_LEN - 1 - i]) {
        Some(index) => Err(FormatError::Stream { step, fault: Fault::Table { index } }),
        None => Ok(core::array::from_fn(|i| table[HALF + i] as u8)),
    }
}

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
mod device {
    use bytemuck::{Pod, Zeroable};

    use super::Weights;
    use super::cortex_m_dsp as arch;
    use crate::infer::Prediction;
    use crate::kernels::linear::BLOCK;
    use crate::kernels::winograd5::Maps as Pooled1;
    use crate::lenet::{
        CLASSES, CONV1_CHANNELS, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_QUADS, LOGIT_BLOCKS, PIXELS, POOL1_SIDE,
    };
    use crate::quant::{Pair, Quad};

    /// Transformed input of half a tile column of convolution 2, or of a pooled row of convolution 1.
    pub type Window = [Pair; 192];
    /// Linear 1's inputs, four a quad.
    pub type Flat = [[i8; 4]; FLAT_QUADS];

    /// An image, row after row.
    pub type Input = [u8; PIXELS];

    /// Memory of one inference, in bytes its `size_of`. Contents need not be cleared between images.
    #[derive(Clone, Debug)]
    pub struct Arena {
        pooled1: Pooled1,
        window: Window,
        flat: Flat,
    }

    impl Arena {
        /// All zero.
        pub const fn new() -> Self {
            const PAIR: Pair = Pair::new(0, 0);
            Self {
                pooled1: [[[PAIR; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS / 2],
                window: [PAIR; 192],
                flat: [[0; 4]; FLAT_QUADS],
            }
        }
    }

    impl Default for Arena {
        fn default() -> Self {
            Self::new()
        }
    }

    /// What lies in the memory of the first pooled map once convolution 2 has read it.
    #[derive(Clone, Copy, Pod, Zeroable)]
    #[repr(C)]
    struct Late {
        flat: [Quad; FLAT_QUADS],
        linear1: [Quad; LINEAR1_QUADS],
        linear2: [Quad; LINEAR2_QUADS],
        logits: [[i32; BLOCK]; LOGIT_BLOCKS],
        rest: [u32; 188],
    }

    /// Classifies an image in integers, with the bits of the default build.
    pub fn predict<'a>(weights: &Weights, input: &Input, arena: &'a mut Arena) -> Prediction<'a, CLASSES, i32> {
        let Arena { pooled1, window, flat } = arena;
        let image = bytemuck::must_cast_ref(input);
        arch::step_0(weights, image, window, pooled1);
        arch::step_1(weights, pooled1, window, flat);
        let late = late_mut(pooled1);
        expand(flat, &mut late.flat);
        arch::step_2(weights, &late.flat, &mut late.linear1);
        arch::step_3(weights, &late.linear1, &mut late.linear2);
        arch::step_4(weights, &late.linear2, &mut late.logits);
        output(&late.logits)
    }

    /// As [`predict`], with each of its [`STEPS`](super::STEPS) handed to `observe` as a piece of work that it must do once on the
    /// arena: to count what it costs, or to look at [`step_output`].
    pub fn predict_by_step<'a>(
        weights: &Weights,
        input: &Input,
        arena: &'a mut Arena,
        mut observe: impl FnMut(usize, &mut Arena, &dyn Fn(&mut Arena)),
    ) -> Prediction<'a, CLASSES, i32> {
        let image = bytemuck::must_cast_ref(input);
        observe(0, arena, &|Arena { pooled1, window, .. }| arch::step_0(weights, image, window, pooled1));
        observe(1, arena, &|Arena { pooled1, window, flat }| {
            arch::step_1(weights, pooled1, window, flat);
            expand(flat, &mut late_mut(pooled1).flat);
        });
        observe(2, arena, &|arena| {
            let Late { flat, linear1, .. } = late_mut(&mut arena.pooled1);
            arch::step_2(weights, flat, linear1);
        });
        observe(3, arena, &|arena| {
            let Late { linear1, linear2, .. } = late_mut(&mut arena.pooled1);
            arch::step_3(weights, linear1, linear2);
        });
        observe(4, arena, &|arena| {
            let Late { linear2, logits, .. } = late_mut(&mut arena.pooled1);
            arch::step_4(weights, linear2, logits);
        });
        output(&late_mut(&mut arena.pooled1).logits)
    }

    /// What a step has given, right after it, as the default build gives it; nothing where there is no such step.
    pub fn step_output(arena: &Arena, step: usize) -> &[u32] {
        let late: &Late = bytemuck::must_cast_ref(&arena.pooled1);
        match step {
            0 => bytemuck::must_cast_slice(arena.pooled1.as_flattened().as_flattened()),
            1 => bytemuck::must_cast_slice(&late.flat),
            2 => bytemuck::must_cast_slice(&late.linear1),
            3 => bytemuck::must_cast_slice(&late.linear2),
            4 => bytemuck::must_cast_slice(late.logits.as_flattened()),
            _ => &[],
        }
    }

    fn late_mut(pooled1: &mut Pooled1) -> &mut Late {
        bytemuck::must_cast_mut(pooled1)
    }

    fn output(blocks: &[[i32; BLOCK]; LOGIT_BLOCKS]) -> Prediction<'_, CLASSES, i32> {
        Prediction { logits: blocks.as_flattened().first_chunk().unwrap_or(&[0; CLASSES]) }
    }

    fn expand(flat: &Flat, quads: &mut [Quad; FLAT_QUADS]) {
        for (quad, values) in quads.iter_mut().zip(flat) {
            *quad = Quad::new(*values);
        }
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use std::boxed::Box;

    use super::*;
    use crate::kernels::tests::streams;

    #[test]
    fn half_a_table_is_the_whole() {
        let streams = streams();
        let weights = Weights::of(&streams, 1).unwrap();
        for i in 0..SIGMOID_LEN {
            let whole = |half: &[u8; HALF]| {
                let value = i16::from(half[if i < HALF { HALF - 1 - i } else { i - HALF }]);
                if i < HALF { -value } else { value }
            };
            assert_eq!(whole(&weights.conv1_sigmoid) + 127, i16::from(streams.conv1_sigmoid[i]));
            assert_eq!(whole(&weights.conv2_sigmoid), i16::from(streams.conv2_sigmoid[i]));
            assert_eq!(whole(&weights.linear_sigmoid), i16::from(streams.linear_sigmoid[i]));
        }
    }

    #[test]
    fn a_table_without_a_mirror_image_is_refused() {
        let mut streams = streams();
        let index = HALF + 3;
        streams.conv2_sigmoid[index] -= 1;
        let refused = Weights::of(&streams, 1).unwrap_err();
        assert_eq!(refused, FormatError::Stream { step: 1, fault: Fault::Table { index } });
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let mut weights = Box::new(Weights::of(&streams(), 77).unwrap());
        let bytes: &mut [u8; WEIGHTS_BYTES] = bytemuck::must_cast_mut(&mut *weights);
        assert!(Weights::read(bytes).is_ok_and(|weights| weights.checksum() == 77));
        for at in [0, 4, 100, WEIGHTS_BYTES - 1] {
            bytes[at] ^= 0x10;
            assert!(matches!(Weights::read(bytes), Err(FormatError::Checksum { .. })), "{at}");
            bytes[at] ^= 0x10;
        }
        assert!(matches!(Weights::read(&bytes[..8]), Err(FormatError::Length { .. })));
    }
}
