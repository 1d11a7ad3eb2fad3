//! A layer with weights while it is trained: weights before rounding, and what passes make of them.
//!
//! Sums are taken in f32, where they are exact: a part of a layer has at most [`MOST_PRODUCTS`] products of a weight up to 127, or
//! half of 16 bits up to 128, and a code less its zero, up to 255, which stay below 2^24. What follows is the device's arithmetic.

use std::ops::Range;

use bn_core::kernels::packed::Window;
use bn_core::network::{Conv2d, Pads, Shape};

use super::super::pass::Pass;
use super::program::{Row, Sums};

/// Products of a sum that f32 holds exactly: `512 * 128 * 255 < 2^24`.
pub(super) const MOST_PRODUCTS: usize = 512;
/// Weights in a step of a weight of 16 bits: what 8 bits resolve, so that both learn at one rate. Sums are taken in halves.
const HALF: i32 = 256;
/// Units of a bias in a step of it: what one step of a weight adds whose input is half of all codes. So weights and biases share a
/// rate.
const BIAS_STEP: f32 = 127.0;
/// Farthest that a weight may start from its integer, in integers: short of the edge where it would round to the next.
const START: f32 = 0.49;

/// One layer.
pub(super) struct Layer {
    /// What parts read, all of them together, and what they give.
    pub(super) shapes: [Shape; 2],
    /// The code of zero by channel of what is read.
    pub(super) zeros: Vec<f32>,
    /// Parts of the fan-in.
    pub(super) parts: Vec<Part>,
    /// By channel: start value for codes less their zero.
    pub(super) bases: Vec<i32>,
    /// By channel: how fast a result rises with a sum of products in steps.
    pub(super) rises: Vec<f32>,
    /// Integers of a step of a weight.
    pub(super) grain: i32,
    /// The largest integer.
    most: i32,
    /// What a product of integers counts.
    unit: i32,
    /// Bases of the start.
    first_bases: Vec<i32>,
    /// Where its biases stand among all that is learned, in steps and since the start.
    pub(super) biases: Range<usize>,
}

/// Some channels of what a layer reads.
pub(super) struct Part {
    /// Which.
    pub(super) channels: Range<usize>,
    /// Forward and backward.
    pub(super) passes: [Pass; 2],
    /// Weights of the forward pass, and what they count; of 16 bits both halves.
    pub(super) forward: Vec<(i32, Vec<f32>)>,
    /// Of the backward pass, in steps.
    pub(super) back: Vec<f32>,
    /// Where its weights stand among all that is learned, `[output channel][tap]`.
    pub(super) weights: Range<usize>,
}

/// All that is learned.
#[derive(Default)]
pub(super) struct Learned {
    /// In steps.
    pub(super) values: Vec<f32>,
    /// Whether it may move.
    pub(super) moves: Vec<bool>,
    /// Largest magnitude.
    pub(super) most: Vec<f32>,
}

impl Learned {
    fn push(&mut self, values: impl Iterator<Item = (f32, bool)>, most: f32) -> Range<usize> {
        let start = self.values.len();
        for (value, moves) in values {
            self.values.push(value);
            self.moves.push(moves);
            self.most.push(most);
        }
        start..self.values.len()
    }
}

/// A layer's windows as its passes see them: a window that is the whole map reads a row of values.
fn seen(sums: &Sums) -> (Conv2d, Shape) {
    let Window { input, kernel, stride, before, output, .. } = sums.window;
    let channels = sums.rows.len();
    if !sums.is_depthwise && kernel == [input.height, input.width] && output == [1; 2] && before == [0; 2] {
        return (Conv2d::new(channels, 1), Shape::flat(input.len()));
    }
    let pads = Pads { top: before[0], left: before[1], bottom: 0, right: 0 };
    let groups = if sums.is_depthwise { input.channels } else { 1 };
    (Conv2d { channels, kernel, stride, pads, groups, bias: false }, input)
}

impl Layer {
    /// Adds what a layer learns.
    pub(super) fn new(sums: &Sums, output: Shape, learned: &mut Learned) -> Self {
        let (conv, input) = seen(sums);
        let taps = conv.kernel[0] * conv.kernel[1];
        debug_assert!(taps <= MOST_PRODUCTS, "a kernel has at most 15 rows and columns");
        let each = if sums.is_depthwise { taps } else { taps * input.channels };
        let count = each.div_ceil(MOST_PRODUCTS);
        let share =
            if sums.is_depthwise { input.channels } else { input.channels.div_ceil(count).min(MOST_PRODUCTS / taps) };
        let grain = if sums.most > HALF { HALF } else { 1 };
        let read = input.channels / sums.zeros.len();
        let zeros: Vec<f32> = (0..input.channels).map(|c| sums.zeros[c / read].into()).collect();
        let starts = (0..input.channels).step_by(share);
        let parts = starts.map(|start| {
            let channels = start..(start + share).min(input.channels);
            let passes = Pass::pair(&conv, Shape { channels: channels.len(), ..input }, output);
            let within = if sums.is_depthwise { 0..taps } else { channels.start * taps..channels.end * taps };
            let values = sums.rows.iter().flat_map(|row| {
                let moves = row.learns();
                within.clone().map(move |k| (row.start_of(k) / grain as f32, moves))
            });
            let weights = learned.push(values, sums.most as f32 / grain as f32);
            Part {
                channels,
                passes,
                forward: vec![(1, Vec::new()); if grain > 1 { 2 } else { 1 }],
                back: Vec::new(),
                weights,
            }
        });
        let parts = parts.collect();
        let unit = sums.unit * grain;
        let biases = learned.push(sums.rows.iter().map(|row| (0.0, row.learns())), f32::INFINITY);
        let rise = |row: &Row| (f64::from(row.multiplier) * f64::from(unit) / 2.0_f64.powi(32)) as f32;
        let mut layer = Self {
            shapes: [input, output],
            zeros,
            parts,
            bases: Vec::new(),
            rises: sums.rows.iter().map(rise).collect(),
            grain,
            most: sums.most,
            unit: sums.unit,
            first_bases: Vec::new(),
            biases,
        };
        let base = |(o, row): (usize, &Row)| row.start.wrapping_add(layer.of_zeros(o, &row.weights) as i32);
        layer.first_bases = sums.rows.iter().enumerate().map(base).collect();
        layer.pack(&learned.values);
        layer
    }

    /// What the codes of zero add to the accumulator of a channel with these weights.
    fn of_zeros(&self, channel: usize, weights: &[i32]) -> i64 {
        let read = if self.is_depthwise() { weights.len() } else { weights.len() / self.zeros.len() };
        let first = if self.is_depthwise() { channel * self.zeros.len() / self.shapes[1].channels } else { 0 };
        let products = weights.iter().enumerate().map(|(k, &w)| i64::from(w) * self.zeros[first + k / read] as i64);
        i64::from(self.unit) * products.sum::<i64>()
    }

    fn is_depthwise(&self) -> bool {
        self.parts[0].passes[0].is_depthwise()
    }

    /// The largest step of a bias in units of the accumulator.
    fn bias_step(&self) -> f32 {
        BIAS_STEP * (self.unit * self.grain) as f32
    }

    /// What a step of a bias is in sums of products.
    pub(super) fn bias_rise() -> f32 {
        BIAS_STEP
    }

    /// What a code of the tensor that is added is in sums of products.
    pub(super) fn added_rise(&self, row: &Row) -> f32 {
        row.adds as f32 / (self.unit * self.grain) as f32
    }

    fn integers<'a>(&'a self, part: &Part, values: &'a [f32]) -> impl Iterator<Item = i32> + 'a {
        let (grain, most) = (self.grain as f32, self.most as f32);
        values[part.weights.clone()].iter().map(move |w| (w * grain).round_ties_even().clamp(-most, most) as i32)
    }

    /// Lays out what was learned as passes read it.
    pub(super) fn pack(&mut self, values: &[f32]) {
        let step = f64::from(self.bias_step());
        let moved = values[self.biases.clone()].iter().map(|&v| (f64::from(v) * step).round() as i32);
        self.bases = self.first_bases.iter().zip(moved).map(|(first, moved)| first.saturating_add(moved)).collect();
        let mut parts = std::mem::take(&mut self.parts);
        for part in &mut parts {
            let integers: Vec<i32> = self.integers(part, values).collect();
            let [ahead, back] = &part.passes;
            let high = |w: i32| (w + HALF / 2).div_euclid(HALF);
            let halves: [(i32, &dyn Fn(i32) -> i32); 2] = [(1, &|w| w - HALF * high(w)), (HALF, &high)];
            let whole: [(i32, &dyn Fn(i32) -> i32); 1] = [(1, &|w| w)];
            let forms: &[_] = if self.grain > 1 { &halves } else { &whole };
            for ((factor, packed), (counts, of)) in part.forward.iter_mut().zip(forms) {
                *factor = *counts;
                ahead.pack(&integers.iter().map(|&w| of(w) as f32).collect::<Vec<_>>(), packed);
            }
            let steps: Vec<f32> = integers.iter().map(|&w| w as f32 / self.grain as f32).collect();
            back.pack(&steps, &mut part.back);
        }
        self.parts = parts;
    }

    /// The rows as they stand; `None` where a start value has left its range.
    pub(super) fn rows(&self, rows: &[Row], values: &[f32]) -> Option<Vec<Row>> {
        let mut weights = vec![Vec::new(); rows.len()];
        for part in &self.parts {
            let integers: Vec<i32> = self.integers(part, values).collect();
            let run = integers.len() / rows.len();
            weights.iter_mut().zip(integers.chunks_exact(run)).for_each(|(row, part)| row.extend_from_slice(part));
        }
        let row = |(o, weights): (usize, Vec<i32>)| {
            let start = i64::from(self.bases[o]) - self.of_zeros(o, &weights);
            let Row { multiplier, adds, .. } = rows[o];
            Some(Row { start: start.try_into().ok()?, weights, wanted: rows[o].wanted.clone(), multiplier, adds })
        };
        weights.into_iter().enumerate().map(row).collect()
    }
}

impl Row {
    /// A channel that no input moves stays as it is.
    fn learns(&self) -> bool {
        self.weights.iter().any(|&w| w != 0)
    }

    /// A weight starts as near to what was wanted as leaves its integer alone.
    fn start_of(&self, k: usize) -> f32 {
        let integer = self.weights[k] as f32;
        self.wanted[k].clamp(integer - START, integer + START)
    }
}
