//! What [`parse`](super::parse) proves before anything is computed.

use super::{
    ARITHMETIC, BEFORE_CHECKED, CRC, FORMAT_VERSION, FormatError, Layer, MAGIC, NETWORK, WEIGHTS_BYTES, WeightsFile,
};
use crate::quant::{ACTIVATION_ONE, CONV_WEIGHT_MAX, LINEAR_WEIGHT_MAX, LOGIT_FRACTION_BITS_MAX, POOLED_ONE};

/// Everything before the sections. What tells the user most comes first: erased before magic, version before length.
pub(super) fn header(bytes: &[u8]) -> Result<(), FormatError> {
    let length = FormatError::Length { expected: WEIGHTS_BYTES, found: bytes.len() };
    let Some(header) = bytes.first_chunk::<{ core::mem::offset_of!(WeightsFile, conv1_bias) }>() else {
        return Err(length);
    };
    if header.iter().all(|&byte| byte == 0xFF) {
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

/// The numbers themselves: a writer with a fault, or a forger, can give them a right checksum.
pub(super) fn contents(file: &WeightsFile) -> Result<(), FormatError> {
    if let Some(index) = file.reserved.iter().position(|&byte| byte != 0) {
        return Err(FormatError::Reserved { offset: core::mem::offset_of!(WeightsFile, reserved) + index });
    }
    if file.logit_fraction_bits > LOGIT_FRACTION_BITS_MAX {
        return Err(FormatError::LogitFractionBits { found: file.logit_fraction_bits });
    }
    let (pixel, activation, pooled) = (i64::from(ACTIVATION_ONE), i64::from(ACTIVATION_ONE), i64::from(POOLED_ONE));
    let (conv, linear) = (CONV_WEIGHT_MAX.into(), LINEAR_WEIGHT_MAX.into());
    let f = file;
    let weights = f.conv1_weight.as_flattened().as_flattened().as_flattened();
    layer(Layer::Conv1, weights, conv, pixel, &f.conv1_bias, &f.conv1_multiplier)?;
    let weights = f.conv2_weight.as_flattened().as_flattened().as_flattened();
    layer(Layer::Conv2, weights, conv, pooled, &f.conv2_bias, &f.conv2_multiplier)?;
    layer(Layer::Linear1, f.linear1_weight.as_flattened(), linear, pooled, &f.linear1_bias, &f.linear1_multiplier)?;
    layer(Layer::Linear2, f.linear2_weight.as_flattened(), linear, activation, &f.linear2_bias, &f.linear2_multiplier)?;
    layer(Layer::Linear3, f.linear3_weight.as_flattened(), linear, activation, &f.linear3_bias, &f.linear3_multiplier)?;
    match f.sigmoid.windows(2).position(|pair| pair[1] < pair[0]) {
        Some(index) => Err(FormatError::Sigmoid { index: index + 1 }),
        None => Ok(()),
    }
}

/// Proves one layer: every weight in its symmetric range, every multiplier positive, and
/// `|bias| + sum |weight| * largest input` inside i32, so that no partial sum of any image, in any order, overflows.
fn layer<W: Copy + Into<i64>, const O: usize>(
    layer: Layer,
    weights: &[W],
    weight_max: i64,
    input_max: i64,
    bias: &[i32; O],
    multiplier: &[i32; O],
) -> Result<(), FormatError> {
    for (channel, weights) in weights.chunks_exact(weights.len() / O).enumerate().take(O) {
        let mut magnitude = 0;
        for &weight in weights {
            let weight: i64 = weight.into();
            if weight.abs() > weight_max {
                return Err(FormatError::WeightRange { layer, channel });
            }
            magnitude += weight.abs();
        }
        if multiplier[channel] <= 0 {
            return Err(FormatError::Multiplier { layer, channel });
        }
        if i64::from(bias[channel]).abs() + magnitude * input_max > i64::from(i32::MAX) {
            return Err(FormatError::Accumulator { layer, channel });
        }
    }
    Ok(())
}
