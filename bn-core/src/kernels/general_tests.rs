//! The families that take any shape against their definition: every result on its own, from codes and weights, in 64 bits. And one
//! test for each reason to refuse a stream.

use std::vec::Vec;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::add::{self, Add};
use super::conv::{self, Conv};
use super::depthwise::{self, Depthwise};
use super::depthwise3::{self, Depthwise3};
use super::packed::{Input, Maps, Window, words_of};
use super::pool::{self, Pool};
use super::winograd3::{self, Winograd3};
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
fn results(output: &[u32], channels: usize, area: usize, words: bool) -> Vec<i64> {
    if words {
        return output.iter().map(|&word| i64::from(word as i32)).collect();
    }
    let input = Input::Packed(output);
    for rest in channels..channels.next_multiple_of(4) {
        assert!((0..area).all(|at| input.code(rest, area, at) == 0), "channel {rest}");
    }
    (0..channels).flat_map(|c| (0..area).map(move |at| input.code(c, area, at).into())).collect()
}

fn output(channels: usize, area: usize, words: bool) -> Vec<u32> {
    std::vec![0x5A5A_5A5A; if words { channels * area } else { channels.div_ceil(4) * area }]
}

fn finish(sum: i64, multiplier: i32, range: [i32; 2], table: Option<&Table>) -> i64 {
    let value = (2 * sum * i64::from(multiplier) + (1 << 32)).div_euclid(1 << 33);
    let value = value.clamp(range[0].into(), range[1].into());
    table.map_or(value, |table| table[value as usize].into())
}

fn range(rng: &mut ChaCha8Rng, words: bool, table: bool) -> [i32; 2] {
    match (words, table) {
        (_, true) => [0, 1023],
        (true, false) => [i32::MIN, i32::MAX],
        _ => [rng.random_range(0..9), rng.random_range(200..256)],
    }
}

/// Sizes and switches of a case: input as bytes, results as words, with a table.
fn switches(rng: &mut ChaCha8Rng) -> [bool; 3] {
    core::array::from_fn(|_| rng.random())
}

const CASES: u64 = if cfg!(miri) { 6 } else { 400 };

#[test]
fn convolutions_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let [bytes, words, has_table] = switches(&mut rng);
        let map = {
            let shape = shape(&mut rng);
            Map::draw(&mut rng, shape)
        };
        let window = window(&mut rng, map.shape, bytes);
        let shape = Conv { window, channels: rng.random_range(1..=7), adds: rng.random(), words, table: has_table };
        let zeros: Vec<u8> = (0..map.shape.channels).map(|_| rng.random()).collect();
        let zeros = if bytes { zeros } else { std::vec![zeros[0]; map.shape.channels] };
        let channels: Vec<conv::Channel> = (0..shape.channels)
            .map(|_| conv::Channel {
                start: rng.random_range(-100_000..100_000),
                multiplier: rng.random_range(1..if words { i32::MAX } else { 1 << 18 }),
                adds: if shape.adds { rng.random_range(0..1 << 16) } else { 0 },
                weights: (0..shape.fan_in()).map(|_| rng.random_range(-127..=127)).collect(),
            })
            .collect();
        let table: Table = core::array::from_fn(|_| rng.random());
        let table = has_table.then_some(&table);
        let range = range(&mut rng, words, has_table);
        let stream = shape.stream(range, &zeros, &channels).unwrap();
        assert_eq!(stream.len(), shape.stream_words());
        assert_eq!(conv::check(&shape, &stream), Ok(()), "{shape:?}");
        let mut given = output(shape.channels, window.positions(), words);
        let mut scratch = std::vec![!0; shape.scratch_words()];
        let added = Map::draw(&mut rng, Shape::new(shape.channels, window.output[0], window.output[1]));
        // In place of the result, or somewhere else.
        let in_place = !words && rng.random();
        if in_place && shape.adds {
            given.copy_from_slice(&added.packed);
        }
        let added_input = (shape.adds && !in_place).then(|| added.input(false));
        let maps = Maps { input: Some(map.input(bytes)), added: added_input, output: &mut given };
        conv::conv(&shape, &stream, table, maps, &mut scratch);
        let mut wanted = Vec::new();
        for (o, channel) in channels.iter().enumerate() {
            let mut codes = added.codes[o * window.positions()..].iter();
            each(&window, |taps| {
                let mut sum = i64::from(channel.start);
                for c in 0..map.shape.channels {
                    for (tap, &[row, column]) in taps.iter().enumerate() {
                        let code = map.code(c, row, column).unwrap_or(zeros[c].into());
                        sum += 256 * code * i64::from(channel.weights[c * taps.len() + tap]);
                    }
                }
                sum += i64::from(channel.adds) * i64::from(*codes.next().unwrap());
                wanted.push(finish(sum, channel.multiplier, range, table));
            });
        }
        assert_eq!(results(&given, shape.channels, window.positions(), words), wanted, "{seed}: {shape:?}");
    }
}

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

#[test]
fn winograd_gives_the_plain_convolutions_sums() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(4000 + seed);
        let (bytes, adds) = (rng.random(), rng.random());
        let window = window3(&mut rng, bytes, 1..=1);
        let map = Map::draw(&mut rng, window.input);
        let shape = Winograd3 { window, channels: rng.random_range(1..=7), adds };
        let zeros: Vec<u8> = (0..map.shape.channels).map(|_| rng.random()).collect();
        let zeros = if bytes { zeros } else { std::vec![zeros[0]; map.shape.channels] };
        let channels: Vec<conv::Channel> = (0..shape.channels)
            .map(|_| conv::Channel {
                start: rng.random_range(-100_000..100_000),
                multiplier: rng.random_range(1..1 << 19),
                adds: if adds { rng.random_range(0..1 << 14) } else { 0 },
                weights: (0..9 * map.shape.channels).map(|_| rng.random_range(-127..=127)).collect(),
            })
            .collect();
        let range = range(&mut rng, false, false);
        let stream = shape.stream(range, &zeros, &channels);
        assert_eq!(stream.len(), shape.stream_words());
        assert_eq!(winograd3::check(&shape, &stream), Ok(()), "{shape:?}");
        let mut given = output(shape.channels, window.positions(), false);
        let mut scratch = std::vec![!0; shape.scratch_words()];
        let added = Map::draw(&mut rng, Shape::new(shape.channels, window.output[0], window.output[1]));
        let in_place = adds && rng.random();
        if in_place {
            given.copy_from_slice(&added.packed);
        }
        let added_input = (adds && !in_place).then(|| added.input(false));
        // What lacks to a whole word of channels is zero in a map that a step has given.
        let input = map.clean();
        let input = if bytes { map.input(true) } else { Input::Packed(&input) };
        let maps = Maps { input: Some(input), added: added_input, output: &mut given };
        winograd3::winograd3(&shape, &stream, maps, &mut scratch);
        let mut wanted = Vec::new();
        for (o, channel) in channels.iter().enumerate() {
            let mut codes = added.codes[o * window.positions()..].iter();
            each(&window, |taps| {
                let mut sum = i64::from(channel.start) + i64::from(channel.adds) * i64::from(*codes.next().unwrap());
                for c in 0..map.shape.channels {
                    for (tap, &[row, column]) in taps.iter().enumerate() {
                        let code = map.code(c, row, column).unwrap_or(zeros[c].into());
                        sum += i64::from(winograd3::UNIT) * code * i64::from(channel.weights[9 * c + tap]);
                    }
                }
                wanted.push(finish(sum, channel.multiplier, range, None));
            });
        }
        assert_eq!(results(&given, shape.channels, window.positions(), false), wanted, "{seed}: {shape:?}");
    }
}

#[test]
fn depthwise_layers_of_3x3_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(5000 + seed);
        let window = window3(&mut rng, false, 1..=2);
        let map = Map::draw(&mut rng, window.input);
        let plain = Depthwise { window, multiplier: 1, words: false, table: false };
        let Some(shape) = Depthwise3::of(&plain) else {
            assert_eq!(window.output[1], 1, "{window:?}");
            continue;
        };
        let channels: Vec<depthwise::Channel> = (0..map.shape.channels)
            .map(|_| depthwise::Channel {
                start: rng.random_range(-100_000..100_000),
                multiplier: rng.random_range(1..1 << 18),
                weights: (0..9).map(|_| rng.random_range(-32_767..=32_767)).collect(),
            })
            .collect();
        let (range, zeros) = (range(&mut rng, false, false), std::vec![rng.random(); map.shape.channels]);
        let stream = shape.stream(range, &zeros, &channels);
        assert_eq!(stream.len(), shape.stream_words());
        assert_eq!(depthwise3::check(&shape, &stream), Ok(()), "{shape:?}");
        // The general family is the oracle.
        let mut wanted = output(map.shape.channels, window.positions(), false);
        let general = plain.stream(range, &zeros, &channels);
        let mut scratch = std::vec![!0; plain.scratch_words()];
        depthwise::depthwise(&plain, &general, None, map.input(false), &mut scratch, &mut wanted);
        let mut scratch = std::vec![!0; shape.scratch_words()];
        let mut given = wanted.iter().map(|_| 0x5A5A_5A5A).collect::<Vec<u32>>();
        depthwise3::depthwise3(&shape, &stream, Maps::apart(map.input(false), &mut given), &mut scratch);
        assert_eq!(given, wanted, "{seed}: {shape:?}");
        if shape.in_place() {
            let mut region = map.packed.clone();
            let maps = Maps { input: None, added: None, output: &mut region };
            depthwise3::depthwise3(&shape, &stream, maps, &mut scratch);
            assert_eq!(region[..wanted.len()], wanted, "in place, {seed}: {shape:?}");
        }
    }
}

#[test]
fn pointwise_layers_replace_their_map() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(6000 + seed);
        let input = shape(&mut rng);
        let map = Map::draw(&mut rng, input).clean();
        let window = Window::points(input, false);
        let shape = Conv { window, channels: rng.random_range(1..=12), adds: false, words: false, table: false };
        assert!(shape.in_place());
        let channels: Vec<conv::Channel> = (0..shape.channels)
            .map(|_| conv::Channel {
                start: rng.random_range(-100_000..100_000),
                multiplier: rng.random_range(1..1 << 18),
                adds: 0,
                weights: (0..input.channels).map(|_| rng.random_range(-127..=127)).collect(),
            })
            .collect();
        let stream = shape.stream([0, 255], &[0], &channels).unwrap();
        let mut scratch = std::vec![!0; shape.scratch_words()];
        let mut wanted = output(shape.channels, window.positions(), false);
        conv::conv(&shape, &stream, None, Maps::apart(Input::Packed(&map), &mut wanted), &mut scratch);
        // The map lies at the region's end, the results at its start.
        let mut region = std::vec![0; wanted.len().max(map.len())];
        let at = region.len() - map.len();
        region[at..].copy_from_slice(&map);
        let maps = Maps { input: None, added: None, output: &mut region };
        conv::conv(&shape, &stream, None, maps, &mut scratch);
        assert_eq!(region[..wanted.len()], wanted, "{seed}: {shape:?}");
    }
}

#[test]
fn depthwise_layers_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
        let [bytes, words, has_table] = switches(&mut rng);
        let map = {
            let shape = shape(&mut rng);
            Map::draw(&mut rng, shape)
        };
        let window = window(&mut rng, map.shape, bytes);
        let shape = Depthwise { window, multiplier: rng.random_range(1..=3), words, table: has_table };
        let zeros: Vec<u8> = (0..map.shape.channels).map(|_| rng.random()).collect();
        let zeros = if bytes { zeros } else { std::vec![zeros[0]; map.shape.channels] };
        let channels: Vec<depthwise::Channel> = (0..shape.channels())
            .map(|_| depthwise::Channel {
                start: rng.random_range(-100_000..100_000),
                multiplier: rng.random_range(1..1 << 18),
                weights: (0..window.taps()).map(|_| rng.random_range(-32_767..=32_767)).collect(),
            })
            .collect();
        let table: Table = core::array::from_fn(|_| rng.random());
        let table = has_table.then_some(&table);
        let range = range(&mut rng, words, has_table);
        let stream = shape.stream(range, &zeros, &channels);
        assert_eq!(stream.len(), shape.stream_words());
        assert_eq!(depthwise::check(&shape, &stream), Ok(()), "{shape:?}");
        let mut given = output(shape.channels(), window.positions(), words);
        let mut scratch = std::vec![!0; shape.scratch_words()];
        depthwise::depthwise(&shape, &stream, table, map.input(bytes), &mut scratch, &mut given);
        let mut wanted = Vec::new();
        for (o, channel) in channels.iter().enumerate() {
            each(&window, |taps| {
                let c = o / shape.multiplier;
                let mut sum = i64::from(channel.start);
                for (tap, &[row, column]) in taps.iter().enumerate() {
                    let code = map.code(c, row, column).unwrap_or(zeros[c].into());
                    sum += code * i64::from(channel.weights[tap]);
                }
                wanted.push(finish(sum, channel.multiplier, range, table));
            });
        }
        assert_eq!(results(&given, shape.channels(), window.positions(), words), wanted, "{seed}: {shape:?}");
    }
}

#[test]
fn pools_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(2000 + seed);
        let [bytes, words, count_pad] = switches(&mut rng);
        let map = {
            let shape = shape(&mut rng);
            Map::draw(&mut rng, shape)
        };
        let window = window(&mut rng, map.shape, bytes);
        let shape = Pool { window, count_pad, words };
        let (zero, shift) = (rng.random_range(0..=255_u32), rng.random_range(-50..300_i32));
        let range = range(&mut rng, words, false);
        let mut stream = std::vec![range[0] as u32, range[1] as u32, zero, shift as u32];
        stream.extend((4..shape.mean_words()).map(|_| rng.random_range(1..1_u32 << 28)));
        assert_eq!(pool::check_mean(&shape, &stream), Ok(()));
        let mut means = output(map.shape.channels, window.positions(), words);
        let mut largest = means.clone();
        pool::mean(&shape, &stream, map.input(bytes), &mut means);
        pool::max(&shape, map.input(bytes), &mut largest);
        let (mut wanted_means, mut wanted_largest) = (Vec::new(), Vec::new());
        for c in 0..map.shape.channels {
            each(&window, |taps| {
                let codes: Vec<i64> = taps.iter().filter_map(|&[row, column]| map.code(c, row, column)).collect();
                let sum: i64 = codes.iter().map(|code| code - i64::from(zero)).sum();
                let multiplier = stream[if stream.len() > 5 { 3 + codes.len() } else { 4 }] as i32;
                let value = finish(16 * sum, multiplier, [i32::MIN, i32::MAX], None) + i64::from(shift);
                wanted_means.push(value.clamp(range[0].into(), range[1].into()));
                wanted_largest.push(codes.iter().copied().max().unwrap_or(0));
            });
        }
        let given = |output: &[u32]| results(output, map.shape.channels, window.positions(), words);
        assert_eq!(given(&means), wanted_means, "{seed}: {shape:?}");
        assert_eq!(given(&largest), wanted_largest, "{seed}: {shape:?}");
    }
}

#[test]
fn sums_and_flat_maps_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(3000 + seed);
        let [bytes, words, has_table] = switches(&mut rng);
        let shape = shape(&mut rng);
        let terms = [Map::draw(&mut rng, shape), Map::draw(&mut rng, shape)];
        let range = range(&mut rng, words, has_table);
        let multipliers = [rng.random_range(1..1_i32 << 20), rng.random_range(1..1_i32 << 20)];
        let (start, shift) = (rng.random_range(-1_000_000..1_000_000), rng.random_range(0..24_u32));
        let stream =
            [range[0] as u32, range[1] as u32, multipliers[0] as u32, multipliers[1] as u32, start as u32, shift];
        let table: Table = core::array::from_fn(|_| rng.random());
        let table = has_table.then_some(&table);
        let add = Add { shape, words, table: has_table };
        assert_eq!(add::check(&add, &stream), Ok(()));
        let area = shape.height * shape.width;
        let mut given = output(shape.channels, area, words);
        add::add(&add, &stream, table, [terms[0].input(bytes), terms[1].input(false)], &mut given);
        let wanted: Vec<i64> = (0..shape.len())
            .map(|at| {
                let terms = [0, 1].map(|t| i64::from(terms[t].codes[at]) * i64::from(multipliers[t]));
                let value = (i64::from(start) + terms[0] + terms[1]) >> shift;
                let value = value.clamp(range[0].into(), range[1].into());
                table.map_or(value, |table| table[value as usize].into())
            })
            .collect();
        assert_eq!(results(&given, shape.channels, area, words), wanted, "{seed}: {add:?}");
        let mut flat = output(shape.len(), 1, false);
        add::flatten(&shape, terms[0].input(bytes), &mut flat);
        let codes: Vec<i64> = terms[0].codes.iter().map(|&code| code.into()).collect();
        assert_eq!(results(&flat, shape.len(), 1, false), codes);
    }
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
    let shape = Conv { window, channels: 3, adds: false, words: false, table: false };
    let stream = |weight: i8, start: i32, multiplier: i32, range: [i32; 2]| {
        let channel = conv::Channel { start, multiplier, adds: 0, weights: std::vec![weight; shape.fan_in()] };
        shape.stream(range, &[0], &[channel.clone(), channel.clone(), channel]).unwrap()
    };
    let check = |stream: Vec<u32>| conv::check(&shape, &stream);
    assert_eq!(check(stream(100, 0, 1, [0, 255])), Ok(()));
    assert_eq!(check(stream(-127, -100_000_000, 1, [0, 255])), Err(Fault::Accumulator { channel: 0 }));
    assert_eq!(check(stream(1, 0, 0, [0, 255])), Err(Fault::Multiplier { channel: 0 }));
    for range in [[-1, 255], [0, 256], [9, 8]] {
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

    let shape = Depthwise { window: Window::points(input, false), multiplier: 1, words: false, table: true };
    let channel = depthwise::Channel { start: i32::MAX, multiplier: 1, weights: std::vec![1] };
    let stream = shape.stream([0, 1023], &[0], &std::vec![channel; 4]);
    assert_eq!(depthwise::check(&shape, &stream), Err(Fault::Accumulator { channel: 0 }));

    let shape = Pool { window: Window::points(Shape::new(1, 1, 1), false), count_pad: false, words: false };
    assert_eq!(pool::check_mean(&shape, &[0, 255, 256, 0, 1]), Err(Fault::Range));
    assert_eq!(pool::check_mean(&shape, &[0, 255, 0, 0, 0]), Err(Fault::Multiplier { channel: 0 }));
    let shape = Add { shape: input, words: false, table: false };
    assert_eq!(add::check(&shape, &[0, 255, 1 << 21, 1, 0, 29]), Err(Fault::Range));
    assert_eq!(add::check(&shape, &[0, 255, 1 << 22, 1, 0, 0]), Err(Fault::Multiplier { channel: 0 }));
    assert_eq!(add::check(&shape, &[0, 255, 1 << 21, 1, i32::MAX as u32, 0]), Err(Fault::Accumulator { channel: 0 }));
}
