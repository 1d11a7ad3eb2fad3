//! The logistic sigmoid, `1 / (1 + exp(-x))`.

use crate::quant::{SIGMOID_LEN, sigmoid_index};

/// In place, on f32.
pub fn sigmoid_f32(values: &mut [f32]) {
    for value in values {
        *value = 1.0 / (1.0 + libm::expf(-*value));
    }
}

/// Of an accumulator, by the model's table.
#[inline(always)]
pub fn sigmoid_int8(table: &[u8; SIGMOID_LEN], accumulator: i32, multiplier: i32) -> u8 {
    table[sigmoid_index(accumulator, multiplier)]
}
