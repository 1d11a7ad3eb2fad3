//! Small networks with integers drawn at random, and channels of one value among them.

use bn_core::file::Arena;
use bn_core::kernels::depthwise::{self, Depthwise};
use bn_core::kernels::depthwise3::Depthwise3;
use bn_core::kernels::packed::HALVES;
use bn_core::plan::{Goal, needs_table, plan};
use bn_core::quant::Scale;
use chacha20::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::{agree, intervals::intervals};
use super::*;
use crate::data::{Inputs, Values};
use crate::network::text;

/// The code of zero of every tensor but the input.
const ZERO: u8 = 20;

/// A network's integers before anything is dead.
struct Drawn {
    model: Model,
    rng: ChaCha8Rng,
}

impl Drawn {
    fn new(nodes: &str, seed: u64) -> Self {
        let network = text::parse(&format!("input 3x7x7\n{nodes}")).unwrap_or_else(|fault| panic!("{nodes}: {fault}"));
        let steps = plan(&network.view(), &Goal::default()).unwrap();
        let scales = vec![Scale { scale: 1.0, zero_point: 0 }; steps.len() + 1];
        let (integers, tables) = (Vec::new(), Vec::new());
        let model = Model { network: Arc::new(network), steps, integers, tables, scales };
        let mut drawn = Self { model, rng: ChaCha8Rng::seed_from_u64(seed) };
        for step in 0..drawn.model.steps.len() {
            let table = needs_table(drawn.model.layer(step).activation);
            let table = table.then(|| (0..1024).map(|_| drawn.rng.random::<u8>()).collect());
            let integers = drawn.integers(step, table.is_some());
            drawn.model.integers.push(integers);
            drawn.model.tables.push(table);
        }
        drawn
    }

    fn integers(&mut self, step: usize, table: bool) -> Integers {
        let layer = self.model.layer(step);
        let is_last = step + 1 == self.model.steps.len();
        let most = if table { 1023 } else { 255 };
        let head = |channels| Head {
            range: if is_last && !table { HALVES } else { [0, most] },
            zeros: vec![if layer.reads == bn_core::network::Value::Input { 3 } else { ZERO }; channels],
        };
        let unit = layer.kernel.unit();
        if let Some((window, channels)) = layer.kernel.convolution() {
            let rows = (0..channels).map(|_| {
                let fan_in = window.taps() * window.input.channels;
                let (start, multiplier, weights) = self.row(unit, fan_in, most);
                let adds = if layer.sum.is_some() { self.rng.random_range(0..=3 * unit) } else { 0 };
                Channel { start, multiplier, adds, weights: weights.into_iter().map(|w| w as i16).collect() }
            });
            return Integers::Conv(head(window.input.channels), rows.collect());
        }
        match layer.kernel {
            Kernel::Depthwise(Depthwise { window, .. }) | Kernel::Depthwise3(Depthwise3 { window }) => {
                let channels =
                    if let Kernel::Depthwise(shape) = layer.kernel { shape.channels() } else { window.input.channels };
                let rows = (0..channels).map(|_| {
                    let (start, multiplier, weights) = self.row(unit, window.taps(), most);
                    depthwise::Channel { start, multiplier, weights: weights.into_iter().map(|w| w as i16).collect() }
                });
                Integers::Depthwise(head(window.input.channels), rows.collect())
            }
            Kernel::MeanPool(shape) => {
                let counts = shape.mean_words() - 4;
                let taps = |n: usize| if counts == 1 { shape.window.taps() } else { n } as u32;
                let mut stream = vec![0, 255, ZERO.into(), ZERO.into()];
                stream.extend((1..=counts).map(|n| (1 << 28) / taps(n)));
                Integers::Alike(stream)
            }
            Kernel::Add(_) => Integers::Alike(vec![0, most as u32, 700, 500, 4000, 10]),
            _ => Integers::Alike(Vec::new()),
        }
    }

    /// Start value, multiplier and weights with which results spread over their range.
    fn row(&mut self, unit: i32, fan_in: usize, most: i32) -> (i32, i32, Vec<i32>) {
        // None is zero: a channel whose weights for something are zero does not read it.
        let mut weight = || self.rng.random_range(1..=9) * if self.rng.random() { 1 } else { -1 };
        let weights: Vec<i32> = (0..fan_in).map(|_| weight()).collect();
        let spread = f64::from(unit) * 5.0 * 100.0 * (fan_in as f64).sqrt();
        let per_result = spread / f64::from(most) * 2.0;
        let middle = weights.iter().sum::<i32>() * 128 * unit;
        let start = f64::from(most) / 2.0 * per_result - f64::from(middle);
        (start as i32, ((1_u64 << 32) as f64 / per_result) as i32, weights)
    }

    /// Lets a channel have one value.
    fn kill(&mut self, step: usize, channel: usize, value: i32) {
        let start = |multiplier: i32| (f64::from(value) * (1_u64 << 32) as f64 / f64::from(multiplier)).round() as i32;
        match &mut self.model.integers[step] {
            Integers::Conv(_, rows) => {
                let row = &mut rows[channel];
                (row.start, row.weights) = (start(row.multiplier), vec![0; row.weights.len()]);
            }
            Integers::Depthwise(_, rows) => {
                let row = &mut rows[channel];
                (row.start, row.weights) = (start(row.multiplier), vec![0; row.weights.len()]);
            }
            Integers::Alike(_) => unreachable!("step {step} has no channels of its own"),
        }
    }

    /// The row of a convolution.
    fn conv(&mut self, step: usize, channel: usize) -> &mut Channel {
        let Integers::Conv(_, rows) = &mut self.model.integers[step] else { panic!("step {step} is no convolution") };
        &mut rows[channel]
    }

    /// Inputs at random, and of nothing but the smallest and the largest code.
    fn inputs(&mut self) -> Inputs {
        let shape = self.model.network.input();
        let mut values: Vec<u8> = (0..8 * shape.len()).map(|_| self.rng.random::<u8>()).collect();
        values.extend((0..8 * shape.len()).map(|_| if self.rng.random() { 255 } else { 0 }));
        values.extend(vec![0; shape.len()]);
        values.extend(vec![255; shape.len()]);
        Inputs::new(shape, Values::U8(values))
    }

    /// Takes dead channels out and proves that no bit changes; gives the numbers of channels of each step's output that stay.
    fn stay(&mut self) -> Vec<usize> {
        let whole = self.model.file().unwrap();
        let tensors = intervals(&self.model);
        let inputs = self.inputs();
        for example in 0..inputs.len() {
            let codes = crate::model::inference::codes(&whole, &inputs, example);
            whole.run(&codes, &mut Arena::default(), |step, output| {
                let values = whole.step_values(step, output);
                let area = values.len() / tensors[step + 1].len();
                for (channel, (values, [low, high])) in values.chunks_exact(area).zip(&tensors[step + 1]).enumerate() {
                    let within = values.iter().all(|value| (low..=high).contains(&value));
                    assert!(within, "step {step} channel {channel}: {values:?} not within {low} to {high}");
                }
            });
        }
        let Some(Reduced { model, kept }) = reduce(&self.model, &tensors).unwrap() else {
            return tensors[1..].iter().map(Vec::len).collect();
        };
        let file = model.file().unwrap();
        agree::check(&whole, &file, &kept, &inputs).unwrap();
        let families = |model: &Model| (0..model.steps.len()).map(|step| model.family(step)).collect::<Vec<_>>();
        assert_eq!(families(&model), families(&self.model));
        let reduced = Reduced { model, kept };
        let DeadChannels { macs_with, macs, layers } = found(&self.model, &tensors, Some(&reduced));
        assert!(macs <= macs_with && layers.iter().all(|layer| layer.removed < layer.channels), "{layers:?}");
        reduced.kept[1..].iter().map(Vec::len).collect()
    }
}

#[test]
fn nothing_goes_where_nothing_is_dead() {
    let mut drawn = Drawn::new("conv2d 5 3x3 pad 1 | relu\ndepthwise 3x3 pad 1\nconv2d 4 1x1 | flatten", 1);
    assert_eq!(drawn.stay(), [5, 5, 4]);
    assert!(reduce(&drawn.model, &intervals(&drawn.model)).unwrap().is_none());
}

#[test]
fn the_code_of_zero_goes_before_a_padded_convolution_and_no_other_code() {
    for (value, stays) in [(i32::from(ZERO), 4), (ZERO as i32 + 1, 5), (-1000, 5)] {
        let mut drawn = Drawn::new("conv2d 5 3x3 pad 1 | relu\nconv2d 3 3x3 pad 1 | relu\nglobal_avg_pool", 2);
        drawn.kill(0, 2, value);
        assert_eq!(drawn.stay()[0], stays, "{value}");
    }
}

#[test]
fn any_code_goes_where_the_reader_has_no_weights_for_it() {
    let mut drawn = Drawn::new("conv2d 5 3x3 pad 1 | relu\nconv2d 3 3x3 pad 1 | relu\nglobal_avg_pool", 3);
    drawn.kill(0, 2, 77);
    // The third row is dead itself, but read by the output: it stays, and so must have no weights either.
    for row in 0..3 {
        drawn.conv(1, row).weights[2 * 9..3 * 9].fill(0);
    }
    assert_eq!(drawn.stay(), [4, 3, 3]);
    // And so goes one with many values.
    let mut drawn = Drawn::new("conv2d 5 3x3 pad 1 | relu\nconv2d 3 3x3 pad 1 | relu\nglobal_avg_pool", 3);
    for row in 0..3 {
        drawn.conv(1, row).weights[2 * 9..3 * 9].fill(0);
    }
    assert_eq!(drawn.stay(), [4, 3, 3]);
}

#[test]
fn a_value_goes_into_the_start_values_of_the_next_layer() {
    // Of three steps, which `conv` alone takes.
    let mut drawn = Drawn::new("conv2d 5 3x3 | relu\nconv2d 3 3x3 stride 3 | relu\nglobal_avg_pool", 4);
    drawn.kill(0, 2, 77);
    let row = drawn.conv(1, 1).clone();
    assert_eq!(drawn.stay(), [4, 3, 3]);
    let reduced = reduce(&drawn.model, &intervals(&drawn.model)).unwrap().unwrap();
    let Integers::Conv(_, rows) = &reduced.model.integers[1] else { panic!("a convolution") };
    let sum: i32 = row.weights[18..27].iter().map(|&w| i32::from(w)).sum();
    assert_eq!(rows[1].start, row.start + 256 * 77 * sum);
    assert_eq!(rows[1].weights, [&row.weights[..18], &row.weights[27..]].concat());
}

#[test]
fn a_start_value_takes_no_more_than_fits() {
    let mut drawn = Drawn::new("conv2d 5 3x3 | relu\nconv2d 3 3x3 stride 3 | relu\nglobal_avg_pool", 5);
    drawn.kill(0, 2, 255);
    let row = drawn.conv(1, 1);
    // The largest start value that the packing of all weights and what they add leave room for.
    row.weights.fill(0);
    row.weights[18..27].fill(127);
    row.start = i32::MAX - 127 * 9 * 256 * 255;
    assert_eq!(drawn.stay(), [4, 3, 3]);
    let row = drawn.conv(1, 1);
    // What stays has weights whose packing has no room behind that.
    row.weights[0] = -127;
    row.weights[3] = 0;
    assert_eq!(drawn.stay(), [5, 3, 3]);
}

#[test]
fn a_value_that_a_depthwise_layer_makes_one_value_goes_with_it() {
    let text = "conv2d 5 1x1 | relu\ndepthwise 3x3 pad 1 | relu\nconv2d 3 1x1 | relu\nglobal_avg_pool";
    let mut drawn = Drawn::new(text, 13);
    drawn.kill(0, 2, 77);
    // At a border the depthwise layer sees the code of zero.
    assert_eq!(drawn.stay(), [5, 5, 3, 3]);
    drawn.kill(1, 2, 31);
    assert_eq!(drawn.stay(), [4, 4, 3, 3]);
    // Its input need not be dead: nothing else reads it.
    let mut drawn = Drawn::new(text, 13);
    drawn.kill(1, 2, 31);
    assert_eq!(drawn.stay(), [4, 4, 3, 3]);
    // With the code of zero there is no border.
    let mut drawn = Drawn::new(text, 13);
    drawn.kill(0, 2, ZERO.into());
    assert_eq!(drawn.stay(), [4, 4, 3, 3]);
    // What stands behind reads one value, but pads with another.
    let mut drawn = Drawn::new("conv2d 5 1x1 | relu\ndepthwise 3x3 pad 1\nconv2d 3 3x3 pad 1\nglobal_avg_pool", 13);
    drawn.kill(1, 2, 31);
    assert_eq!(drawn.stay(), [5, 5, 3, 3]);
}

#[test]
fn a_depthwise_layer_gives_up_all_channels_of_an_input_or_none() {
    let mut drawn = Drawn::new("conv2d 4 1x1 | relu\ndepthwise 3x3 multiplier 2\nconv2d 3 1x1\nglobal_avg_pool", 7);
    drawn.kill(1, 4, 9);
    assert_eq!(drawn.stay(), [4, 8, 3, 3]);
    drawn.kill(1, 5, 9);
    assert_eq!(drawn.stay(), [3, 6, 3, 3]);
    // One channel is left, and the family is still its own.
    for channel in 0..6 {
        drawn.kill(1, channel, 9);
    }
    assert_eq!(drawn.stay(), [1, 2, 3, 3]);
}

#[test]
fn a_sum_gives_up_what_both_terms_do() {
    let text =
        "conv2d 5 1x1 | relu as a\nconv2d 5 3x3 pad 1 | relu\nconv2d 5 1x1 | add a\nconv2d 3 1x1\nglobal_avg_pool";
    let mut drawn = Drawn::new(text, 8);
    drawn.kill(2, 1, 50);
    assert_eq!(drawn.stay(), [5, 5, 5, 3, 3]);
    // The padded convolution in between reads the first term as well.
    drawn.kill(0, 1, 60);
    assert_eq!(drawn.stay(), [5, 5, 5, 3, 3]);
    drawn.kill(0, 1, ZERO.into());
    assert_eq!(drawn.stay(), [4, 5, 4, 3, 3]);
    // A map added to itself.
    let mut drawn = Drawn::new("conv2d 4 1x1 as a | add a\nconv2d 3 1x1\nglobal_avg_pool", 8);
    drawn.kill(0, 3, 8);
    assert_eq!(drawn.stay(), [3, 3, 3, 3]);
}

#[test]
fn flat_inputs_of_a_linear_layer_go_by_channel() {
    let mut drawn = Drawn::new("conv2d 4 3x3 | relu\nflatten | linear 6 | relu\nlinear 2", 9);
    drawn.kill(0, 1, 33);
    drawn.kill(1, 2, 44);
    assert_eq!(drawn.stay(), [3, 5, 2]);
    // A flatten that is a step of its own.
    let mut drawn = Drawn::new("conv2d 4 3x3 | relu\nflatten | relu6 | linear 6 | relu\nlinear 2", 9);
    drawn.kill(0, 1, 33);
    assert_eq!(drawn.stay(), [3, 75, 75, 6, 2]);
    // Of a channel's values in a row all go or none.
    let mut drawn = Drawn::new("conv2d 4 3x3 | relu\nflatten | relu6 | linear 6 | relu\nlinear 2", 9);
    drawn.kill(2, 30, 33);
    assert_eq!(drawn.stay(), [4, 100, 100, 6, 2]);
}

#[test]
fn pools_hand_one_value_on() {
    let mut drawn = Drawn::new(
        "conv2d 5 1x1\nmax_pool2d 3x3 pad 1\navg_pool2d 2x2 pad 1 exclude_pad\nconv2d 3 1x1\nglobal_avg_pool",
        10,
    );
    drawn.kill(0, 1, 99);
    assert_eq!(drawn.stay(), [4, 4, 4, 3, 3]);
    // Zeros that count make the mean another one at a border.
    let mut drawn = Drawn::new("conv2d 5 1x1\navg_pool2d 2x2 pad 1\nconv2d 3 1x1\nglobal_avg_pool", 10);
    drawn.kill(0, 1, 99);
    assert_eq!(drawn.stay(), [5, 5, 3, 3]);
}

#[test]
fn one_channel_stays_where_all_are_dead() {
    let mut drawn = Drawn::new("conv2d 5 3x3 | relu\nconv2d 4 1x1 | relu\nglobal_avg_pool | linear 2", 11);
    for channel in 0..5 {
        drawn.kill(0, channel, 10 + channel as i32);
    }
    assert_eq!(drawn.stay(), [1, 1, 1, 2]);
}

#[test]
fn inputs_and_outputs_stay() {
    let mut drawn = Drawn::new("depthwise 3x3 pad 1 | relu\nconv2d 4 3x3\nglobal_avg_pool", 12);
    drawn.kill(0, 1, 5);
    drawn.kill(1, 2, 5);
    assert_eq!(drawn.stay(), [3, 4, 4]);
}

#[test]
fn networks_with_dead_channels_at_random_keep_every_bit() {
    const TEXTS: [&str; 5] = [
        "conv2d 9 3x3 pad 1 | relu\ndepthwise 3x3 pad 1 | relu\nconv2d 10 1x1 | relu\ndepthwise 3x3 stride 2 pad 0,0,1,1 | relu\nconv2d 6 1x1 | relu\nglobal_avg_pool | linear 3",
        "conv2d 7 3x3 pad 1 | sigmoid as a\nconv2d 7 3x3 pad 1 | relu\nconv2d 7 3x3 pad 1 | add a | tanh\nconv2d 5 3x3 stride 2 | flatten | linear 3",
        "conv2d 6 2x3 pad 0,1,2,0 stride 2x1 | hard_swish | max_pool2d 2x2 pad 1\nconv2d 5 3x3 pad 1 | avg_pool2d 3x3 stride 2 pad 1\nflatten | linear 7 | relu | linear 3",
        "depthwise 3x3 pad 1 multiplier 3 | relu\nconv2d 5 1x1 | relu as b\nbatch_norm | relu\nconv2d 5 3x3 pad 1 | add b\nglobal_max_pool | linear 2",
        "flatten | linear 20 | relu | linear 9 | sigmoid | linear 8 | relu | linear 4",
    ];
    let (mut removed, mut seen) = (0, 0);
    for (at, text) in TEXTS.iter().enumerate() {
        for seed in 0..20 {
            let mut drawn = Drawn::new(text, 100 * at as u64 + seed);
            for step in 0..drawn.model.steps.len() {
                let channels = drawn
                    .model
                    .network
                    .shape(bn_core::network::Value::Node(drawn.model.steps[step].last.into()))
                    .channels;
                for channel in 0..channels {
                    if matches!(drawn.model.integers[step], Integers::Alike(_)) || drawn.rng.random_range(0..3) > 0 {
                        continue;
                    }
                    let value = if drawn.rng.random() { ZERO.into() } else { drawn.rng.random_range(-50..300) };
                    drawn.kill(step, channel, value);
                }
            }
            let all: usize = intervals(&drawn.model)[1..].iter().map(Vec::len).sum();
            let stay: usize = drawn.stay().iter().sum();
            (removed, seen) = (removed + all - stay, seen + all);
        }
    }
    println!("{removed} of {seen} channels went");
    assert!(removed > seen / 20, "{removed} of {seen}");
}
