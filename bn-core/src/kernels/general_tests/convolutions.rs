//! Convolutions over all channels: every family that takes one gives its results.

use std::vec::Vec;

use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{CASES, Map, each, finish, output, range, results, shape, switches, window, window3};
use crate::kernels::conv::{self, Conv};
use crate::kernels::packed::{Input, Maps, Window};
use crate::kernels::pointwise::{Pointwise, SHIFT_MULTIPLIER};
use crate::kernels::polyphase3::Polyphase3;
use crate::kernels::winograd3::Winograd3;
use crate::kernels::{Fault, Table};
use crate::network::Shape;
use crate::plan::Kernel;

/// The families that take a convolution.
fn families(conv: &Conv) -> impl Iterator<Item = Kernel> {
    [
        Some(Kernel::Conv(*conv)),
        Winograd3::of(conv).map(Kernel::Winograd3),
        Polyphase3::of(conv).map(Kernel::Polyphase3),
        Pointwise::of(conv).map(Kernel::Pointwise),
    ]
    .into_iter()
    .flatten()
}

/// Integers of a convolution, in what the family takes them.
fn channels(rng: &mut ChaCha8Rng, conv: &Conv, kernel: &Kernel) -> Vec<conv::Channel> {
    let unit = kernel.unit();
    let (wide, is_shift) = (matches!(kernel, Kernel::Pointwise(_)), rng.random());
    let most_weight = if wide { 1 << rng.random_range(8..15) } else { 127 };
    let most = if conv.halves { i32::MAX } else { (1 << 26) / unit / if wide { 256 } else { 1 } };
    let mut channel = || conv::Channel {
        start: rng.random_range(-400 * unit..400 * unit),
        multiplier: if wide && is_shift { SHIFT_MULTIPLIER } else { rng.random_range(1..most) },
        adds: if conv.adds { rng.random_range(0..256 * unit) } else { 0 },
        weights: (0..conv.fan_in()).map(|_| rng.random_range(-most_weight..=most_weight)).collect(),
    };
    (0..conv.channels).map(|_| channel()).collect()
}

/// A convolution on a map, with what is added to it.
struct Case<'a> {
    conv: Conv,
    map: &'a Map,
    added: &'a Map,
    zeros: Vec<u8>,
    range: [i32; 2],
    table: Option<&'a Table>,
}

impl Case<'_> {
    /// Every result on its own.
    fn wanted(&self, unit: i32, channels: &[conv::Channel]) -> Vec<i64> {
        let (window, mut wanted) = (&self.conv.window, Vec::new());
        for (o, channel) in channels.iter().enumerate() {
            let mut codes = self.added.codes[o * window.positions()..].iter();
            each(window, |taps| {
                let mut sum = i64::from(channel.start) + i64::from(channel.adds) * i64::from(*codes.next().unwrap());
                for c in 0..self.map.shape.channels {
                    for (tap, &[row, column]) in taps.iter().enumerate() {
                        let code = self.map.code(c, row, column).unwrap_or(self.zeros[c].into());
                        sum += i64::from(unit) * code * i64::from(channel.weights[c * taps.len() + tap]);
                    }
                }
                wanted.push(finish(sum, channel.multiplier, self.range, self.table));
            });
        }
        wanted
    }

    /// What a family makes of it: the map apart or, where `in_place`, what is replaced in the place of the results.
    fn given(&self, kernel: &Kernel, stream: &[u32], in_place: bool) -> Vec<i64> {
        let Conv { window, channels, adds, halves, .. } = self.conv;
        let mut scratch = std::vec![!0; kernel.words()[0]];
        let mut region = output(channels, window.positions(), halves);
        // What lacks to a whole word of channels is zero in a map that a step has given.
        let map = self.map.clean();
        let input = if window.bytes { self.map.input(true) } else { Input::Packed(&map) };
        let (mut input, mut added) = (Some(input), adds.then(|| self.added.input(false)));
        let results_words = region.len();
        if in_place && adds {
            region.copy_from_slice(&self.added.packed);
            added = None;
        } else if in_place {
            // The map lies at the region's end, the results at its start.
            region.resize(results_words.max(map.len()), 0);
            let at = region.len() - map.len();
            region[at..].copy_from_slice(&map);
            input = None;
        }
        kernel.run(stream, self.table, Maps { input, added, output: &mut region }, &mut scratch);
        results(&region[..results_words], channels, window.positions(), halves)
    }
}

/// Draws a window, and compares every family that takes it with the definition. How many there were, by name.
fn compare(seed: u64, draw: impl Fn(&mut ChaCha8Rng) -> (Window, [bool; 2])) -> Vec<&'static str> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (window, [halves, has_table]) = draw(&mut rng);
    let conv = Conv { window, channels: rng.random_range(1..=13), adds: rng.random(), halves, table: has_table };
    let map = Map::draw(&mut rng, window.input);
    let added = Map::draw(&mut rng, Shape::new(conv.channels, window.output[0], window.output[1]));
    let zeros: Vec<u8> = (0..map.shape.channels).map(|_| rng.random()).collect();
    let zeros = if window.bytes { zeros } else { std::vec![zeros[0]; map.shape.channels] };
    let table: Table = core::array::from_fn(|_| rng.random());
    let range = range(halves, has_table);
    let case = Case { conv, map: &map, added: &added, zeros, range, table: has_table.then_some(&table) };
    let mut compared = Vec::new();
    for kernel in families(&conv) {
        let channels = channels(&mut rng, &conv, &kernel);
        let stream = kernel.convolution_stream(range, &case.zeros, &channels).unwrap();
        assert_eq!(stream.len(), kernel.words()[1]);
        assert_eq!(kernel.check(&stream), Ok(()), "{kernel:?}");
        let wanted = case.wanted(kernel.unit(), &channels);
        assert_eq!(case.given(&kernel, &stream, false), wanted, "{seed}: {kernel:?}");
        let replaces = match kernel {
            Kernel::Conv(shape) => shape.in_place() || (conv.adds && !halves),
            Kernel::Pointwise(shape) => shape.in_place() || conv.adds,
            _ => conv.adds && !halves,
        };
        if replaces {
            assert_eq!(case.given(&kernel, &stream, true), wanted, "in place, {seed}: {kernel:?}");
        }
        compared.push(match kernel {
            Kernel::Winograd3(_) => "winograd3",
            Kernel::Polyphase3(_) => "polyphase3",
            Kernel::Pointwise(_) => "pointwise",
            _ => "conv",
        });
    }
    compared
}

#[test]
fn every_family_gives_the_convolution() {
    let mut compared = Vec::new();
    for seed in 0..CASES {
        compared.extend(compare(seed, |rng| {
            let [bytes, halves, has_table] = switches(rng);
            let shape = shape(rng);
            (window(rng, shape, bytes), [halves, has_table])
        }));
        compared.extend(compare(10_000 + seed, |rng| {
            let bytes = rng.random();
            (window3(rng, bytes, 1..=2), [false; 2])
        }));
        compared.extend(compare(20_000 + seed, |rng| {
            let input = Shape::new(rng.random_range(1..=80), rng.random_range(1..=5), rng.random_range(1..=5));
            let stride = [rng.random_range(1..=2), rng.random_range(1..=2)];
            let output = [(input.height - 1) / stride[0] + 1, (input.width - 1) / stride[1] + 1];
            (Window { stride, output, ..Window::points(input, false) }, [false; 2])
        }));
    }
    for family in ["winograd3", "polyphase3", "pointwise", "conv"] {
        let count = compared.iter().filter(|name| **name == family).count() as u64;
        assert!(count >= CASES / 5, "{family}: {count} cases");
    }
}

#[test]
fn streams_of_every_family_that_could_go_wrong_are_refused() {
    let input = Shape::new(3, 6, 6);
    let windows = [
        Window { kernel: [3; 2], output: [4; 2], ..Window::points(input, false) },
        Window { kernel: [3; 2], stride: [2; 2], output: [2; 2], ..Window::points(input, false) },
        Window::points(input, false),
    ];
    let mut names = Vec::new();
    for conv in windows.map(|window| Conv { window, channels: 3, adds: false, halves: false, table: false }) {
        for kernel in families(&conv) {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let channels = channels(&mut rng, &conv, &kernel);
            let first = conv.window.preamble_words();
            let faults = |change: &dyn Fn(usize, u32) -> u32| {
                let stream = kernel.convolution_stream([0, 255], &[7; 3], &channels).unwrap();
                let changed = (first..stream.len()).map(|at| {
                    let mut stream = stream.clone();
                    stream[at] = change(at, stream[at]);
                    kernel.check(&stream)
                });
                changed.filter_map(Result::err).collect::<Vec<Fault>>()
            };
            let all = faults(&|_, word| if word == 0 { 1 } else { 0 });
            let is = |fault: fn(&Fault) -> bool| all.iter().any(fault);
            // A channel that is there has a multiplier; one that only pads has neither that nor weights.
            assert!(is(|fault| matches!(fault, Fault::Multiplier { channel: 0..3 })), "{kernel:?}");
            assert!(is(|fault| matches!(fault, Fault::Multiplier { channel: 3 })), "{kernel:?}");
            assert!(is(|fault| matches!(fault, Fault::WeightRange { channel: 3 })), "{kernel:?}");
            let all = faults(&|_, _| 0x8000_8000);
            assert!(all.iter().any(|fault| matches!(fault, Fault::WeightRange { channel: 0..3 })), "{kernel:?}");
            for range in [[-1, 255], [0, 256], [9, 8], [1, 255], [0, 254]] {
                let stream = kernel.convolution_stream(range, &[7; 3], &channels).unwrap();
                assert_eq!(kernel.check(&stream), Err(Fault::Range));
            }
            names.push(kernel);
        }
    }
    assert_eq!(names.len(), 6);
}

#[test]
fn sums_out_of_i32_are_refused() {
    let input = Shape::new(16, 3, 3);
    let window = Window { kernel: [3; 2], output: [1; 2], ..Window::points(input, false) };
    for window in [window, Window { stride: [2; 2], ..window }, Window::points(input, false)] {
        let conv = Conv { window, channels: 4, adds: false, halves: false, table: false };
        for kernel in families(&conv) {
            let weight = if matches!(kernel, Kernel::Pointwise(_)) { i16::MAX } else { 127 };
            let refuses = |start: i32| {
                let weights = std::vec![weight; conv.fan_in()];
                let channel = conv::Channel { start, multiplier: 1, adds: 0, weights };
                let stream = kernel.convolution_stream([0, 255], &[0; 16], &std::vec![channel; 4]);
                stream.is_none_or(|stream| kernel.check(&stream) == Err(Fault::Accumulator { channel: 0 }))
            };
            assert!(refuses(i32::MAX), "{kernel:?}");
            assert!(!refuses(-100), "{kernel:?}");
        }
    }
}
