//! The integer network in plain Rust, composed of the textbook operations: the specification of every faster path.

use crate::format::Model;
use crate::lenet::{
    CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, Image, LINEAR1, LINEAR2, POOL1_SIDE,
    POOL2_SIDE,
};
use crate::ops::{conv2d_int8, linear_int8, sigmoid_int8, sum_pool2d_int8};
use crate::quant::requantize;

/// Convolution 1 (BatchNorm folded), sigmoid, pool: `image` to `pooled`; `map` holds the sigmoid's output in between.
pub fn conv1(
    model: &Model<'_>,
    image: &Image,
    map: &mut [[[u8; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS],
    pooled: &mut [[[u16; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS],
) {
    let (layer, table) = (model.conv1(), model.sigmoid());
    conv2d_int8(core::array::from_ref(image), &layer, |o, y, x, accumulator| {
        map[o][y][x] = sigmoid_int8(table, accumulator, layer.multiplier[o]);
    });
    sum_pool2d_int8(map, pooled);
}

/// Convolution 2 (BatchNorm folded), sigmoid, pool.
pub fn conv2(
    model: &Model<'_>,
    input: &[[[u16; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS],
    map: &mut [[[u8; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS],
    pooled: &mut [[[u16; POOL2_SIDE]; POOL2_SIDE]; CONV2_CHANNELS],
) {
    let (layer, table) = (model.conv2(), model.sigmoid());
    conv2d_int8(input, &layer, |o, y, x, accumulator| {
        map[o][y][x] = sigmoid_int8(table, accumulator, layer.multiplier[o]);
    });
    sum_pool2d_int8(map, pooled);
}

/// Linear 1 (BatchNorm folded) and sigmoid.
pub fn linear1(model: &Model<'_>, input: &[u16; FLAT], output: &mut [u8; LINEAR1]) {
    let (layer, table) = (model.linear1(), model.sigmoid());
    linear_int8(input, &layer, |o, accumulator| output[o] = sigmoid_int8(table, accumulator, layer.multiplier[o]));
}

/// Linear 2 (BatchNorm folded) and sigmoid.
pub fn linear2(model: &Model<'_>, input: &[u8; LINEAR1], output: &mut [u8; LINEAR2]) {
    let (layer, table) = (model.linear2(), model.sigmoid());
    linear_int8(input, &layer, |o, accumulator| output[o] = sigmoid_int8(table, accumulator, layer.multiplier[o]));
}

/// Linear 3: the logits.
pub fn linear3(model: &Model<'_>, input: &[u8; LINEAR2], logits: &mut [i32; CLASSES]) {
    let layer = model.linear3();
    linear_int8(input, &layer, |o, accumulator| logits[o] = requantize(accumulator, layer.multiplier[o]));
}
