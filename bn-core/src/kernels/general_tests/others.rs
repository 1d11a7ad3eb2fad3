//! Depthwise layers, pools, sums and flat maps.

use std::vec::Vec;

use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{CASES, Map, each, finish, output, range, results, shape, switches, window, window3};
use crate::kernels::Table;
use crate::kernels::add::{self, Add};
use crate::kernels::depthwise::{self, Depthwise};
use crate::kernels::depthwise3::{self, Depthwise3};
use crate::kernels::packed::Maps;
use crate::kernels::pool::{self, Pool};

#[test]
fn depthwise_layers_of_3x3_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(5000 + seed);
        let window = window3(&mut rng, false, 1..=2);
        let map = Map::draw(&mut rng, window.input);
        let plain = Depthwise { window, multiplier: 1, halves: false, table: false };
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
        let (range, zeros) = (range(false, false), std::vec![rng.random(); map.shape.channels]);
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
fn depthwise_layers_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
        let [bytes, halves, has_table] = switches(&mut rng);
        let map = {
            let shape = shape(&mut rng);
            Map::draw(&mut rng, shape)
        };
        let window = window(&mut rng, map.shape, bytes);
        let shape = Depthwise { window, multiplier: rng.random_range(1..=3), halves, table: has_table };
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
        let range = range(halves, has_table);
        let stream = shape.stream(range, &zeros, &channels);
        assert_eq!(stream.len(), shape.stream_words());
        assert_eq!(depthwise::check(&shape, &stream), Ok(()), "{shape:?}");
        let mut given = output(shape.channels(), window.positions(), halves);
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
        assert_eq!(results(&given, shape.channels(), window.positions(), halves), wanted, "{seed}: {shape:?}");
    }
}

#[test]
fn pools_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(2000 + seed);
        let [bytes, halves, count_pad] = switches(&mut rng);
        let map = {
            let shape = shape(&mut rng);
            Map::draw(&mut rng, shape)
        };
        let window = window(&mut rng, map.shape, bytes);
        let shape = Pool { window, count_pad, halves };
        let (zero, shift) = (rng.random_range(0..=255_u32), rng.random_range(-50..300_i32));
        let range = range(halves, false);
        let mut stream = std::vec![range[0] as u32, range[1] as u32, zero, shift as u32];
        stream.extend((4..shape.mean_words()).map(|_| rng.random_range(1..1_u32 << 28)));
        assert_eq!(pool::check_mean(&shape, &stream), Ok(()));
        let mut means = output(map.shape.channels, window.positions(), halves);
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
        let given = |output: &[u32]| results(output, map.shape.channels, window.positions(), halves);
        assert_eq!(given(&means), wanted_means, "{seed}: {shape:?}");
        assert_eq!(given(&largest), wanted_largest, "{seed}: {shape:?}");
    }
}

#[test]
fn sums_and_flat_maps_are_their_definition() {
    for seed in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(3000 + seed);
        let [bytes, halves, has_table] = switches(&mut rng);
        let shape = shape(&mut rng);
        let terms = [Map::draw(&mut rng, shape), Map::draw(&mut rng, shape)];
        let range = range(halves, has_table);
        let multipliers = [rng.random_range(1..1_i32 << 20), rng.random_range(1..1_i32 << 20)];
        let (start, shift) = (rng.random_range(-1_000_000..1_000_000), rng.random_range(0..24_u32));
        let stream =
            [range[0] as u32, range[1] as u32, multipliers[0] as u32, multipliers[1] as u32, start as u32, shift];
        let table: Table = core::array::from_fn(|_| rng.random());
        let table = has_table.then_some(&table);
        let add = Add { shape, halves, table: has_table };
        assert_eq!(add::check(&add, &stream), Ok(()));
        let area = shape.height * shape.width;
        let mut given = output(shape.channels, area, halves);
        add::add(&add, &stream, table, [terms[0].input(bytes), terms[1].input(false)], &mut given);
        let wanted: Vec<i64> = (0..shape.len())
            .map(|at| {
                let terms = [0, 1].map(|t| i64::from(terms[t].codes[at]) * i64::from(multipliers[t]));
                let value = (i64::from(start) + terms[0] + terms[1]) >> shift;
                let value = value.clamp(range[0].into(), range[1].into());
                table.map_or(value, |table| table[value as usize].into())
            })
            .collect();
        assert_eq!(results(&given, shape.channels, area, halves), wanted, "{seed}: {add:?}");
        let mut flat = output(shape.len(), 1, false);
        add::flatten(&shape, terms[0].input(bytes), &mut flat);
        let codes: Vec<i64> = terms[0].codes.iter().map(|&code| code.into()).collect();
        assert_eq!(results(&flat, shape.len(), 1, false), codes);
    }
}
