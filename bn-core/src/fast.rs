//! The `fast` build: the fewest instructions on a core with the DSP extension, for a little accuracy and 13 KB of flash.
//!
//! Convolution 1 is computed directly, by long multiplications that do four useful products each, and every channel has a
//! table of its own that maps its whole range, so that nothing is clamped. What follows is the network of
//! [`arch`](crate::arch). The firmware's build makes [`Weights`] of a parsed `weights.bin`, in integers alone, so every host
//! makes the same ones. Logits differ a little from those of [`predict`](crate::predict); those of the host's and of the
//! device's fast build do not differ in any bit.
//!
//! # Three sums in one register pair
//!
//! ```text
//! data   X[k] = 2 * (x[k] + x[k+1] * 2^22)                  k even
//! weight W[m] = w[2m] + w[2m-1] * 2^22                      m = 0, 1, 2; w[-1] = 0
//! sum    A[n] = sum over m of W[m] * X[n+2m]                n even: fields of 22 bits, doubled
//!
//!        field     holds                                 is
//!        lower     w0 x[n]   + w2 x[n+2] + w4 x[n+4]     output n, the even taps
//!        middle    w0 x[n+1] + w1 x[n+2] + ... w4 x[n+5] output n+1, all of it
//!        upper               w1 x[n+3] + w3 x[n+5]       output n+2, the odd taps
//! ```
//!
//! Sums start at what makes them positive on every image, so no field borrows from the next; `Channel::check` holds what
//! keeps them from running over. The doubling moves bit 9 of the middle field to bit 0 of the upper register, where the
//! table's index is one instruction away. A lower field and the upper one of the sum before are one output.

use bytemuck::{Pod, Zeroable};

use crate::format::{CRC, FormatError, Layer, Model, WeightsFile, parse};
use crate::infer::{Memory, Prediction, after_conv1, after_conv1_by_layer};
use crate::lenet::{CONV1_CHANNELS, IMAGE_SIDE, Image, KERNEL};
use crate::ops::winograd::{TILE, effective_taps};
use crate::quant::{ACTIVATION_ONE, CONV_SHIFT, PIXEL_ONE, Pair, conv_index};
#[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
use crate::{
    arch::Pooled1,
    lenet::{POOL, POOL1_SIDE},
};

/// Bits of a field.
pub(crate) const FIELD: u32 = 22;
/// Bits by which an accumulator is finer than its table.
pub const SHIFT: u32 = 9;
/// Entries of a channel's table.
pub const TABLE_LEN: usize = 2048;
/// Largest magnitude of an odd tap: above the field it shares 32 bits with an even one.
const ODD_TAP_MAX: i64 = 511;
/// Largest sum of all magnitudes of a channel: on every image the accumulator is an index of the table, shifted.
const SUM_MAX: i64 = ((TABLE_LEN as i64) << SHIFT) / PIXEL_ONE as i64;
/// Largest sum of magnitudes of the odd taps: their field has the 19 bits that are left.
const ODD_SUM_MAX: i64 = (1 << (64 - 1 - 2 * FIELD)) / PIXEL_ONE as i64;

/// Words of a packed image.
pub(crate) const IMAGE_WORDS: usize = IMAGE_SIDE * IMAGE_SIDE / 2;
/// A packed image, and after it the columns 1 and 3 of each row.
pub type Packed = [Pair; PACKED_WORDS];
const PACKED_WORDS: usize = IMAGE_WORDS + IMAGE_SIDE;
/// Words of a packed kernel row.
const ROW_WORDS: usize = KERNEL.div_ceil(2);

/// A channel of convolution 1.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Channel {
    /// Taps 1 and 3 of each row: what the first output of a row, which has no sum before it, begins with.
    first: [Pair; KERNEL],
    /// `W[m]` of each row.
    weight: [[i32; ROW_WORDS]; KERNEL],
    /// What a sum starts at: lower register, upper register.
    start: [u32; 2],
}

/// A model as the fast build has it in flash: a whole `weights.bin`, and convolution 1 once more.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Weights {
    /// CRC-32 of what follows, without the file, which has its own.
    crc: u32,
    pub(crate) channels: [Channel; CONV1_CHANNELS],
    pub(crate) tables: [[u8; TABLE_LEN]; CONV1_CHANNELS],
    file: WeightsFile,
}

/// Bytes of [`Weights`].
pub const WEIGHTS_BYTES: usize = size_of::<Weights>();

impl Weights {
    /// Of a model that was parsed. Each channel gets the finest weights that its fields have room for.
    pub fn of(model: &Model<'_>) -> Self {
        let layer = model.conv1();
        let mut weights = Self { file: *model.file(), ..Self::zeroed() };
        for (channel, points) in layer.lanes.iter().enumerate() {
            // Four times a tap, in units of the accumulator: the four outputs of a tile differ by what rounding did.
            let taps: [[i64; KERNEL]; KERNEL] = core::array::from_fn(|ky| {
                let lanes = points.map(|rows| {
                    let pair = rows[0][ky / 2];
                    if ky % 2 == 0 { pair.low } else { pair.high }
                });
                let factors = effective_taps(lanes);
                core::array::from_fn(|kx| (0..TILE).map(|x| i64::from(factors[kx + x][x])).sum())
            });
            let divisor = finest_divisor(&taps);
            let packed = Channel::of(divided(&taps, divisor));
            let below = packed.taps().map(|row| row.map(|tap| tap.min(0))).as_flattened().iter().sum::<i64>();
            weights.tables[channel] = core::array::from_fn(|index| {
                // The middle of what the entry stands for, as convolution 1 of `arch` would have accumulated it.
                let middle = ((index as i64) << SHIFT) + (1 << (SHIFT - 1)) + i64::from(PIXEL_ONE) * below;
                let accumulator = i64::from(layer.bias[channel]) + (middle * divisor).div_euclid(TILE as i64);
                let clamped = accumulator.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
                layer.sigmoid[conv_index(clamped, CONV_SHIFT[0])]
            });
            weights.channels[channel] = packed;
        }
        weights.crc = weights.compute_crc();
        weights
    }

    /// The bytes that [`bytes`](Self::bytes) gave, read in place from a 4-byte aligned address.
    ///
    /// # Errors
    /// Of the file in it, all that [`parse`] finds; of what stands before it [`FormatError::Checksum`] when a bit is wrong, and
    /// [`FormatError::WeightRange`], [`FormatError::Accumulator`] or [`FormatError::Sigmoid`] when a field could run over.
    pub fn read(bytes: &[u8]) -> Result<&Self, FormatError> {
        if bytes.len() != WEIGHTS_BYTES {
            return Err(FormatError::Length { expected: WEIGHTS_BYTES, found: bytes.len() });
        }
        let weights: &Self = bytemuck::try_from_bytes(bytes).map_err(|_| FormatError::Misaligned)?;
        parse(weights.file.bytes())?;
        let (computed, stored) = (weights.compute_crc(), weights.crc);
        if computed != stored {
            return Err(FormatError::Checksum { computed, stored });
        }
        for (index, channel) in weights.channels.iter().enumerate() {
            channel.check(index)?;
        }
        let entries = weights.tables.as_flattened();
        match entries.iter().position(|&entry| entry > ACTIVATION_ONE) {
            Some(index) => Err(FormatError::Sigmoid { layer: Layer::Conv1, index }),
            None => Ok(weights),
        }
    }

    /// As they lie in flash.
    pub fn bytes(&self) -> &[u8; WEIGHTS_BYTES] {
        bytemuck::must_cast_ref(self)
    }

    /// The checksum of the `weights.bin` that they were made of: which model this is.
    pub fn checksum(&self) -> u32 {
        self.file.checksum
    }

    /// The layers after convolution 1.
    pub fn model(&self) -> Model<'_> {
        Model::proved(&self.file)
    }

    fn compute_crc(&self) -> u32 {
        let end = core::mem::offset_of!(Self, file);
        self.bytes().get(size_of::<u32>()..end).map_or(0, |bytes| CRC.checksum(bytes))
    }
}

impl core::fmt::Debug for Weights {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Weights").field("checksum", &self.checksum()).finish_non_exhaustive()
    }
}

/// The smallest divisor with which the rounded taps stay within what the fields hold.
fn finest_divisor(taps: &[[i64; KERNEL]; KERNEL]) -> i64 {
    let fits = |divisor: i64| Channel::fits(&divided(taps, divisor));
    // Rounding adds a half a tap at most, so this is a little below what is needed.
    let sum: i64 = taps.as_flattened().iter().map(|tap| tap.abs()).sum();
    let mut divisor = (sum / (SUM_MAX + 13)).max(1);
    while !fits(divisor) {
        divisor += (divisor / 1024).max(1);
    }
    divisor
}

/// Rounded to nearest, halves up.
fn divided(taps: &[[i64; KERNEL]; KERNEL], divisor: i64) -> [[i64; KERNEL]; KERNEL] {
    taps.map(|row| row.map(|tap| (2 * tap + divisor).div_euclid(2 * divisor)))
}

impl Channel {
    fn of(taps: [[i64; KERNEL]; KERNEL]) -> Self {
        let below = |odd: usize| -> i64 {
            let parts = taps.iter().flat_map(|row| row.iter().enumerate());
            parts.filter(|(kx, tap)| kx % 2 == odd && **tap < 0).map(|(_, tap)| -tap).sum::<i64>()
                * i64::from(PIXEL_ONE)
        };
        let (even, odd) = (below(0), below(1));
        let start = ((even + ((even + odd) << FIELD)) as u64 + ((odd as u64) << (2 * FIELD))) << 1;
        Self {
            first: taps.map(|row| Pair::new(row[1] as i16, row[3] as i16)),
            weight: taps
                .map(|row| [row[0], row[2] + (row[1] << FIELD), row[4] + (row[3] << FIELD)].map(|word| word as i32)),
            start: [start as u32, (start >> 32) as u32],
        }
    }

    /// The taps that the words hold.
    fn taps(&self) -> [[i64; KERNEL]; KERNEL] {
        let lower = |word: i32| i64::from(word << (32 - FIELD) >> (32 - FIELD));
        let upper = |word: i32| (i64::from(word) - lower(word)) >> FIELD;
        self.weight.map(|[w0, w1, w2]| [lower(w0), upper(w1), lower(w1), upper(w2), lower(w2)])
    }

    /// Whether no field can run over on any image.
    fn fits(taps: &[[i64; KERNEL]; KERNEL]) -> bool {
        let magnitudes = |kx: usize| taps.iter().map(|row| row[kx].abs()).sum::<i64>();
        let odd = magnitudes(1) + magnitudes(3);
        taps.iter().all(|row| row[1].abs().max(row[3].abs()) <= ODD_TAP_MAX)
            && odd <= ODD_SUM_MAX
            && odd + magnitudes(0) + magnitudes(2) + magnitudes(4) <= SUM_MAX
    }

    /// Proves that no field runs over, and that the words say the same thing twice.
    fn check(&self, channel: usize) -> Result<(), FormatError> {
        let (layer, taps) = (Layer::Conv1, self.taps());
        if !Self::fits(&taps) {
            return Err(FormatError::Accumulator { layer, channel });
        }
        let again = Self::of(taps);
        if self.weight != again.weight || self.first != again.first || self.start != again.start {
            return Err(FormatError::WeightRange { layer, channel });
        }
        Ok(())
    }
}

/// Memory of one inference, in bytes its `size_of`. Contents need not be cleared between images.
pub type Scratch = Memory<PACKED_WORDS>;

/// Classifies an image in integers.
pub fn predict(weights: &Weights, image: &Image, scratch: &mut Scratch) -> Prediction {
    conv1(weights, image, &mut scratch.window, &mut scratch.pooled1);
    after_conv1(&weights.model(), scratch)
}

/// As [`predict`], with each layer handed to `observe` as a piece of work that it must do once: to count what it costs.
pub fn predict_by_layer(
    weights: &Weights,
    image: &Image,
    scratch: &mut Scratch,
    mut observe: impl FnMut(Layer, &mut dyn FnMut()),
) -> Prediction {
    observe(Layer::Conv1, &mut || conv1(weights, image, &mut scratch.window, &mut scratch.pooled1));
    after_conv1_by_layer(&weights.model(), scratch, observe)
}

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
use crate::arch::cortex_m_dsp::fast::conv1;

/// Convolution 1, sigmoid, pool: the specification, without a field.
#[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
fn conv1(weights: &Weights, image: &Image, _: &mut Packed, pooled: &mut Pooled1) {
    for (channel, (packed, table)) in weights.channels.iter().zip(&weights.tables).enumerate() {
        let taps = packed.taps().map(|row| row.map(|tap| tap as i32));
        let below: i32 = taps.as_flattened().iter().map(|tap| tap.min(&0)).sum();
        let start = -i32::from(PIXEL_ONE) * below;
        for y in 0..POOL1_SIDE {
            for x in 0..POOL1_SIDE {
                let mut sum = 0;
                for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| (POOL * y + dy, POOL * x + dx)) {
                    let mut accumulator = start;
                    for (row, pixels) in taps.iter().zip(&image[y..]) {
                        accumulator +=
                            row.iter().zip(&pixels[x..]).map(|(tap, &pixel)| tap * i32::from(pixel)).sum::<i32>();
                    }
                    sum += i16::from(table[(accumulator >> SHIFT) as usize]);
                }
                let pair = &mut pooled[channel / 2][y][x];
                *(if channel % 2 == 0 { &mut pair.low } else { &mut pair.high }) = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests;
