//! The families that take any shape against their definition: every result on its own, from codes and weights, in 64 bits. And one
//! test for each reason to refuse a stream.

mod convolutions;
mod others;

use std::vec::Vec;

use chacha20::ChaCha8Rng;
use rand::RngExt;

use super::add::{self, Add};
use super::conv::{self, Conv};
use super::depthwise::{self, Depthwise};
use super::packed::{CODES, HALVES, Input, Window, words_of};
use super::pool::{self, Pool};
use super::{Fault, Table};
use crate::network::Shape;

/// Codes of a map: channel, row, column; and the same packed, with noise in the lanes that lack to a whole word.
struct Map {
    shape: Shape,
    codes: Vec<u8>,
    packed: Vec<u32>,
}

impl Map {
    fn draw(rng: &mut ChaCha8Rng, shape: Shape) -> Self {
        let codes: Vec<u8> = (0..shape.len()).map(|_| rng.random()).collect();
        let mut packed: Vec<u32> = (0..words_of(shape)).map(|_| rng.random()).collect();
        let area = shape.height * shape.width;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut packed);
        for (at, code) in codes.iter().enumerate() {
            let (channel, position) = (at / area, at % area);
            bytes[4 * (channel / 4 * area + position) + channel % 4] = *code;
        }
        Self { shape, codes, packed }
    }

    fn input(&self, bytes: bool) -> Input<'_> {
        if bytes { Input::Bytes(&self.codes) } else { Input::Packed(&self.packed) }
    }

    /// The packed map with zero in the lanes that lack to a whole word.
    fn clean(&self) -> Vec<u32> {
        let area = self.shape.height * self.shape.width;
        let used = self.shape.channels % 4;
        let mut words = self.packed.clone();
        let last = if used == 0 { words.len() } else { words.len() - area };
        words[last..].iter_mut().for_each(|word| *word &= (1 << (8 * used)) - 1);
        words
    }

    fn code(&self, channel: usize, row: isize, column: isize) -> Option<i64> {
        let Shape { height, width, .. } = self.shape;
        let (row, column) = (usize::try_from(row).ok()?, usize::try_from(column).ok()?);
        (row < height && column < width).then(|| self.codes[(channel * height + row) * width + column].into())
    }
}

/// A window that fits somewhere.
fn window(rng: &mut ChaCha8Rng, input: Shape, bytes: bool) -> Window {
    let sides = [input.height, input.width];
    let mut window = Window { input, kernel: [1; 2], stride: [1; 2], before: [0; 2], output: [1; 2], bytes };
    for side in 0..2 {
        let kernel = rng.random_range(1..=sides[side].min(5));
        let (before, after) = (rng.random_range(0..kernel), rng.random_range(0..kernel));
        let stride = rng.random_range(1..=3);
        window.kernel[side] = kernel;
        window.before[side] = before;
        window.stride[side] = stride;
        window.output[side] = (sides[side] + before + after - kernel) / stride + 1;
    }
    window
}

fn shape(rng: &mut ChaCha8Rng) -> Shape {
    Shape::new(rng.random_range(1..=9), rng.random_range(1..=8), rng.random_range(1..=8))
}

/// Results as a step leaves them, as integers: channel, row, column.
fn results(output: &[u32], channels: usize, area: usize, halves: bool) -> Vec<i64> {
    if halves {
        let (values, rest) = bytemuck::cast_slice::<u32, i16>(output).split_at(channels * area);
        assert!(rest.iter().all(|&half| half == 0), "the rest of the last word");
        return values.iter().map(|&value| value.into()).collect();
    }
    let input = Input::Packed(output);
    for rest in channels..channels.next_multiple_of(4) {
        assert!((0..area).all(|at| input.code(rest, area, at) == 0), "channel {rest}");
    }
    (0..channels).flat_map(|c| (0..area).map(move |at| input.code(c, area, at).into())).collect()
}

fn output(channels: usize, area: usize, halves: bool) -> Vec<u32> {
    std::vec![0x5A5A_5A5A; if halves { (channels * area).div_ceil(2) } else { channels.div_ceil(4) * area }]
}

fn finish(sum: i64, multiplier: i32, range: [i32; 2], table: Option<&Table>) -> i64 {
    let value = (2 * sum * i64::from(multiplier) + (1 << 32)).div_euclid(1 << 33);
    let value = value.clamp(range[0].into(), range[1].into());
    table.map_or(value, |table| table[value as usize].into())
}

fn range(halves: bool, table: bool) -> [i32; 2] {
    match (halves, table) {
        (_, true) => [0, 1023],
        (true, false) => HALVES,
        (false, false) => CODES,
    }
}

/// Sizes and switches of a case: input as bytes, results as halves, with a table.
fn switches(rng: &mut ChaCha8Rng) -> [bool; 3] {
    core::array::from_fn(|_| rng.random())
}

const CASES: u64 = if cfg!(miri) { 6 } else { 400 };

/// A window of 3x3, and what it slides over.
fn window3(rng: &mut ChaCha8Rng, bytes: bool, strides: core::ops::RangeInclusive<usize>) -> Window {
    let shape = Shape::new(rng.random_range(1..=9), rng.random_range(3..=11), rng.random_range(3..=11));
    let stride = rng.random_range(strides);
    let mut window = Window { kernel: [3; 2], stride: [stride; 2], ..Window::points(shape, bytes) };
    for (side, size) in [shape.height, shape.width].into_iter().enumerate() {
        let (before, after) = (rng.random_range(0..3), rng.random_range(0..3));
        window.before[side] = before;
        window.output[side] = (size + before + after - 3) / stride + 1;
    }
    window
}

/// Hands on rows and columns of each window's taps.
fn each(window: &Window, mut see: impl FnMut(&[[isize; 2]])) {
    for row in 0..window.output[0] {
        for column in 0..window.output[1] {
            let place = |at: usize, side: usize, tap: usize| {
                (at * window.stride[side] + tap) as isize - window.before[side] as isize
            };
            let taps: Vec<[isize; 2]> = (0..window.taps())
                .map(|tap| [place(row, 0, tap / window.kernel[1]), place(column, 1, tap % window.kernel[1])])
                .collect();
            see(&taps);
        }
    }
}

#[test]
fn packed_weights_come_back() {
    for w in [[127, -127, 0, 1], [-127, 127, -1, 0], [5, -6, 7, -8]] {
        assert_eq!(conv::unpack(conv::pack(w)), w.map(i16::from));
    }
}

#[test]
fn streams_that_could_go_wrong_are_refused() {
    let input = Shape::new(4, 8, 8);
    let window = Window { kernel: [8; 2], output: [1; 2], ..Window::points(input, false) };
    let shape = Conv { window, channels: 3, adds: false, halves: false, table: false };
    let stream = |weight: i16, start: i32, multiplier: i32, range: [i32; 2]| {
        let channel = conv::Channel { start, multiplier, adds: 0, weights: std::vec![weight; shape.fan_in()] };
        shape.stream(range, &[0], &[channel.clone(), channel.clone(), channel]).unwrap()
    };
    let check = |stream: Vec<u32>| conv::check(&shape, &stream);
    assert_eq!(check(stream(100, 0, 1, [0, 255])), Ok(()));
    assert_eq!(check(stream(-127, -100_000_000, 1, [0, 255])), Err(Fault::Accumulator { channel: 0 }));
    assert_eq!(check(stream(1, 0, 0, [0, 255])), Err(Fault::Multiplier { channel: 0 }));
    for range in [[-1, 255], [0, 256], [9, 8], [1, 255], [0, 254]] {
        assert_eq!(check(stream(1, 0, 1, range)), Err(Fault::Range));
    }
    let change = |at: usize, word: u32| {
        let mut stream = stream(1, 0, 1, [0, 255]);
        stream[at] = word;
        check(stream)
    };
    // The fourth channel of the one group only pads.
    let (first, group) = (shape.window.preamble_words(), shape.group());
    assert_eq!(change(first + 3, 0), Ok(()));
    assert_eq!(change(first + shape.group_words() - 1, 7), Err(Fault::Multiplier { channel: 3 }));
    assert_eq!(change(first + group + 3, 7), Err(Fault::WeightRange { channel: 3 }));
    assert_eq!(change(first + group + 2, 0x80), Err(Fault::WeightRange { channel: 2 }));

    let shape = Depthwise { window: Window::points(input, false), multiplier: 1, halves: false, table: true };
    let channel = depthwise::Channel { start: i32::MAX, multiplier: 1, weights: std::vec![1] };
    let stream = shape.stream([0, 1023], &[0], &std::vec![channel; 4]);
    assert_eq!(depthwise::check(&shape, &stream), Err(Fault::Accumulator { channel: 0 }));

    let shape = Pool { window: Window::points(Shape::new(1, 1, 1), false), count_pad: false, halves: false };
    assert_eq!(pool::check_mean(&shape, &[0, 255, 256, 0, 1]), Err(Fault::Range));
    assert_eq!(pool::check_mean(&shape, &[0, 255, 0, 0, 0]), Err(Fault::Multiplier { channel: 0 }));
    let shape = Add { shape: input, halves: false, table: false };
    assert_eq!(add::check(&shape, &[0, 255, 1 << 21, 1, 0, 29]), Err(Fault::Range));
    assert_eq!(add::check(&shape, &[0, 255, 1 << 22, 1, 0, 0]), Err(Fault::Multiplier { channel: 0 }));
    assert_eq!(add::check(&shape, &[0, 255, 1 << 21, 1, i32::MAX as u32, 0]), Err(Fault::Accumulator { channel: 0 }));
}
