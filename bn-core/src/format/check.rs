//! What [`parse`](super::parse) proves before anything is computed.

use core::ops::RangeInclusive;

use super::{
    ARITHMETIC, BEFORE_CHECKED, CRC, FORMAT_VERSION, FormatError, Layer, MAGIC, NETWORK, WEIGHTS_BYTES, WeightsFile,
};
use crate::arch::{BLOCK, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_BLOCKS};
use crate::lenet::{CLASSES, CONV1_CHANNELS, KERNEL, POOL};
use crate::ops::conv2d::CONV1_ROWS;
use crate::ops::winograd::{POINTS, TILE, effective_taps};
use crate::quant::{
    ACTIVATION_MAX, ACTIVATION_ONE, LINEAR_UNIT, LINEAR_WEIGHT_MAX, LOGIT_FRACTION_BITS_MAX, PIXEL_ONE, Pair,
    unpack_weights,
};

/// Everything before the sections. What tells the user most comes first: erased before magic, version before length.
pub(super) fn header(bytes: &[u8]) -> Result<(), FormatError> {
    let length = FormatError::Length { expected: WEIGHTS_BYTES, found: bytes.len() };
    let Some(header) = bytes.first_chunk::<{ core::mem::offset_of!(WeightsFile, conv1_bias) }>() else {
        return Err(length);
    };
    // Most flash is erased to ones, some to zeros.
    if [0xFF, 0].iter().any(|erased| header.iter().all(|byte| byte == erased)) {
        return Err(FormatError::Erased);
    }
    let u16_at = |offset: usize| u16::from_le_bytes([header[offset], header[offset + 1]]);
    let u32_at = |o: usize| u32::from_le_bytes([header[o], header[o + 1], header[o + 2], header[o + 3]]);
    if header[..MAGIC.len()] != MAGIC {
        return Err(FormatError::Magic);
    }
    let found = u16_at(core::mem::offset_of!(WeightsFile, format_version));
    if found != FORMAT_VERSION {
        return Err(FormatError::Version { found });
    }
    let found = u16_at(core::mem::offset_of!(WeightsFile, arithmetic));
    if found != ARITHMETIC {
        return Err(FormatError::Arithmetic { found });
    }
    let found = u32_at(core::mem::offset_of!(WeightsFile, network));
    if found != NETWORK {
        return Err(FormatError::Network { found });
    }
    if bytes.len() != WEIGHTS_BYTES {
        return Err(length);
    }
    let found = u32_at(core::mem::offset_of!(WeightsFile, length));
    if found as usize != WEIGHTS_BYTES {
        return Err(FormatError::DeclaredLength { found });
    }
    let stored = u32_at(core::mem::offset_of!(WeightsFile, checksum));
    let computed = CRC.checksum(&bytes[BEFORE_CHECKED..]);
    if computed != stored {
        return Err(FormatError::Checksum { computed, stored });
    }
    Ok(())
}

/// Whether this machine's numbers are those of the file.
pub(super) fn byte_order() -> Result<(), FormatError> {
    #[cfg(target_endian = "big")]
    return Err(FormatError::BigEndian);
    #[cfg(target_endian = "little")]
    Ok(())
}

/// The numbers themselves: a writer with a fault, or a forger, can give them a right checksum.
pub(super) fn contents(file: &WeightsFile) -> Result<(), FormatError> {
    if let Some(index) = file.reserved.iter().position(|&byte| byte != 0) {
        return Err(FormatError::Reserved { offset: core::mem::offset_of!(WeightsFile, reserved) + index });
    }
    if file.logit_fraction_bits > LOGIT_FRACTION_BITS_MAX {
        return Err(FormatError::LogitFractionBits { found: file.logit_fraction_bits });
    }
    let f = file;
    conv1(f)?;
    conv2(f)?;
    linear(Layer::Linear1, FLAT_QUADS, &f.linear1_weight, &f.linear1_bias, &f.linear1_multiplier)?;
    linear(Layer::Linear2, LINEAR1_QUADS, &f.linear2_weight, &f.linear2_bias, &f.linear2_multiplier)?;
    linear(Layer::Linear3, LINEAR2_BLOCKS, &f.linear3_weight, &f.linear3_bias, &f.linear3_multiplier)?;
    table(Layer::Conv1, &f.conv1_sigmoid, 0..=ACTIVATION_ONE)?;
    table(Layer::Conv2, &f.conv2_sigmoid, -ACTIVATION_MAX..=ACTIVATION_MAX)?;
    table(Layer::Linear1, &f.linear_sigmoid, -ACTIVATION_MAX..=ACTIVATION_MAX)
}

/// No entry below the one before it or outside the range of an activation.
fn table<T: Copy + PartialOrd>(layer: Layer, table: &[T], range: RangeInclusive<T>) -> Result<(), FormatError> {
    let wrong = |&i: &usize| !range.contains(&table[i]) || (i > 0 && table[i] < table[i - 1]);
    match (0..table.len()).find(wrong) {
        Some(index) => Err(FormatError::Sigmoid { layer, index }),
        None => Ok(()),
    }
}

/// Smallest and largest value of each of a tile's outputs, over every input: interval arithmetic, exact because an input
/// value stands at one place of the sum only.
struct Reach([[i64; 2]; TILE]);

impl Reach {
    fn new(bias: i32) -> Self {
        Self([[i64::from(bias); 2]; TILE])
    }

    /// Adds a kernel row over inputs in `least..=most`.
    fn add(&mut self, lanes: [i16; POINTS], least: i64, most: i64) {
        for taps in effective_taps(lanes) {
            for (reach, tap) in self.0.iter_mut().zip(taps.map(i64::from)) {
                reach[0] += tap * if tap < 0 { most } else { least };
                reach[1] += tap * if tap < 0 { least } else { most };
            }
        }
    }

    fn fits(&self) -> bool {
        self.0.as_flattened().iter().all(|&end| i32::try_from(end).is_ok())
    }
}

/// Every lane symmetric, both output rows the same kernel, and no output of any image outside i32. Partial sums may wrap: only
/// outputs are shifted.
fn conv1(f: &WeightsFile) -> Result<(), FormatError> {
    let layer = Layer::Conv1;
    for (channel, points) in f.conv1_lanes.iter().enumerate() {
        for row in 0..POOL {
            let mut reach = Reach::new(f.conv1_bias[channel]);
            for input_row in 0..CONV1_ROWS {
                let lanes = points.map(|rows| half(rows[row][input_row / 2], input_row));
                // The upper output row does not reach the last input row, the lower one not the first.
                let outside = input_row.checked_sub(row).is_none_or(|ky| ky >= KERNEL);
                if lanes.iter().any(|&lane| lane == i16::MIN || outside && lane != 0) {
                    return Err(FormatError::WeightRange { layer, channel });
                }
                reach.add(lanes, 0, PIXEL_ONE.into());
            }
            if !reach.fits() {
                return Err(FormatError::Accumulator { layer, channel });
            }
        }
        let tap = |rows: [[Pair; CONV1_ROWS / 2]; POOL], row: usize, ky| half(rows[row][(row + ky) / 2], row + ky);
        if points.iter().any(|&rows| (0..KERNEL).any(|ky| tap(rows, 0, ky) != tap(rows, 1, ky))) {
            return Err(FormatError::KernelRows { channel });
        }
    }
    Ok(())
}

fn conv2(f: &WeightsFile) -> Result<(), FormatError> {
    let (layer, most) = (Layer::Conv2, 4 * i64::from(ACTIVATION_MAX));
    for (channel, points) in f.conv2_lanes.iter().enumerate() {
        let mut reach = Reach::new(f.conv2_bias[channel]);
        for input in 0..CONV1_CHANNELS {
            for ky in 0..KERNEL {
                let lanes = points.map(|pairs| half(pairs[input / 2][ky], input));
                if lanes.contains(&i16::MIN) {
                    return Err(FormatError::WeightRange { layer, channel });
                }
                reach.add(lanes, -most, most);
            }
        }
        if !reach.fits() {
            return Err(FormatError::Accumulator { layer, channel });
        }
    }
    Ok(())
}

/// The half of a pair that an even or odd index means.
fn half(pair: Pair, index: usize) -> i16 {
    if index.is_multiple_of(2) { pair.low } else { pair.high }
}

/// Proves a linear layer: every weight in its symmetric range, every multiplier positive, what only pads zero, and
/// `|bias| + 256 * sum |weight| * largest input` inside i32.
fn linear<const QUADS: usize, const BLOCKS: usize>(
    layer: Layer,
    quads: usize,
    weight: &[[[Pair; BLOCK]; QUADS]; BLOCKS],
    bias: &[[i32; BLOCK]; BLOCKS],
    multiplier: &[[i32; BLOCK]; BLOCKS],
) -> Result<(), FormatError> {
    let outputs = if layer == Layer::Linear3 { CLASSES } else { BLOCK * BLOCKS };
    for channel in 0..BLOCK * BLOCKS {
        let (block, o) = (channel / BLOCK, channel % BLOCK);
        let used = if channel < outputs { quads } else { 0 };
        let mut magnitude = 0;
        for (quad, pairs) in weight[block].iter().enumerate() {
            for w in unpack_weights(pairs[o]) {
                if w.abs() > LINEAR_WEIGHT_MAX.into() || (quad >= used && w != 0) {
                    return Err(FormatError::WeightRange { layer, channel });
                }
                magnitude += i64::from(w.abs());
            }
        }
        let (bias, multiplier) = (bias[block][o], multiplier[block][o]);
        if (channel < outputs) != (multiplier > 0) || (channel >= outputs && multiplier != 0) {
            return Err(FormatError::Multiplier { layer, channel });
        }
        let products = i64::from(LINEAR_UNIT) * i64::from(ACTIVATION_MAX) * magnitude;
        if i64::from(bias).abs() + products > i64::from(i32::MAX) || (channel >= outputs && bias != 0) {
            return Err(FormatError::Accumulator { layer, channel });
        }
    }
    Ok(())
}
