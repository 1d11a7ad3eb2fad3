//! Interval arithmetic on the integers: by channel the smallest and the largest code that any input at all can give.
//!
//! An interval holds for all positions of a channel, those at a border included, where windows see the code of zero in place of a
//! neighbour. Every step is monotone in each code or has few codes to try, so that intervals are no wider than that needs.

use std::collections::BTreeSet;

use bn_core::kernels::depthwise;
use bn_core::kernels::packed::Window;
use bn_core::kernels::pool::{MEAN_UNIT, Pool};
use bn_core::plan::Kernel;
use bn_core::quant::requantize;

use super::integers::{Head, Integers, Model};
use crate::cores::each;

/// Smallest and largest code.
pub(super) type Interval = [i32; 2];

/// The one code of a channel that has a single one at every position, whatever the input.
pub(super) fn one_value([low, high]: Interval) -> Option<i32> {
    (low == high).then_some(low)
}

/// Of the channels of each tensor: the network's input, then each step's output. The model's streams must have been proved.
pub(super) fn intervals(model: &Model) -> Vec<Vec<Interval>> {
    let mut tensors = vec![vec![[0, 255]; model.network.input().channels]];
    for step in 0..model.steps.len() {
        tensors.push(of_step(model, step, &tensors));
    }
    tensors
}

fn of_step(model: &Model, step: usize, tensors: &[Vec<Interval>]) -> Vec<Interval> {
    let (layer, table) = (model.layer(step), model.tables[step].as_deref());
    let unit = layer.kernel.unit().into();
    let mut terms = model.reads(step).map(|tensor| &tensors[tensor][..]);
    let input = terms.next().expect("a step reads something");
    match (&layer.kernel, &model.integers[step]) {
        (kernel, Integers::Conv(head, channels)) => {
            let (window, _) = kernel.convolution().expect("these are a convolution's integers");
            let weighted = Weighted { window: &window, unit, head, table };
            let (all, other): (Vec<usize>, _) = ((0..input.len()).collect(), terms.next());
            let channels: Vec<_> = channels.iter().enumerate().collect();
            each(&channels, |&(at, c)| {
                let added = other.map_or([0; 2], |other| other[at].map(|code| i64::from(c.adds) * i64::from(code)));
                weighted.of([c.start, c.multiplier], &c.weights, &all, input, added)
            })
        }
        (kernel, Integers::Depthwise(head, channels)) => {
            let (window, multiplier) = match kernel {
                Kernel::Depthwise3(shape) => (&shape.window, 1),
                Kernel::Depthwise(shape) => (&shape.window, shape.multiplier),
                other => unreachable!("{other:?} is no depthwise layer"),
            };
            let weighted = Weighted { window, unit, head, table };
            let of = |(at, c): (usize, &depthwise::Channel)| {
                weighted.of([c.start, c.multiplier], &c.weights, &[at / multiplier], input, [0; 2])
            };
            channels.iter().enumerate().map(of).collect()
        }
        (Kernel::MeanPool(shape), Integers::Alike(stream)) => mean(shape, stream, input),
        (Kernel::Add(_), Integers::Alike(stream)) => sum(stream, table, input, terms.next().expect("a sum reads two")),
        // A window holds at least one position of the map.
        (Kernel::MaxPool(_), _) => input.to_vec(),
        (Kernel::Flatten(shape), _) => {
            input.iter().flat_map(|&interval| vec![interval; shape.height * shape.width]).collect()
        }
        _ => unreachable!("a step's integers are its kernel's"),
    }
}

/// A step with weights.
struct Weighted<'a> {
    window: &'a Window,
    /// What an accumulator counts a product as.
    unit: i64,
    head: &'a Head,
    table: Option<&'a [u8]>,
}

impl Weighted<'_> {
    /// Of one channel, whose weights are those of `reads`, one input channel's taps after another's; `added` to its sum.
    fn of<W: Copy + Into<i64>>(
        &self,
        [start, multiplier]: [i32; 2],
        weights: &[W],
        reads: &[usize],
        input: &[Interval],
        added: [i64; 2],
    ) -> Interval {
        let at_position = |inside: Vec<bool>| {
            let (mut low, mut high) = (0_i64, 0_i64);
            for (weights, &channel) in weights.chunks_exact(inside.len()).zip(reads) {
                let padding = [self.head.zero(self.window, channel); 2];
                for (&weight, &is_inside) in weights.iter().zip(&inside) {
                    let weight: i64 = weight.into();
                    let [a, b] = if is_inside { input[channel] } else { padding }.map(|code| weight * i64::from(code));
                    (low, high) = (low + a.min(b), high + a.max(b));
                }
            }
            let of = |sum: i64, added: i64| i64::from(start) + self.unit * sum + added;
            let accumulators = [of(low, added[0]), of(high, added[1])];
            let ends = accumulators.map(|sum| i32::try_from(sum).expect("a proved accumulator fits"));
            finish(ends.map(|end| requantize(end, multiplier)), self.head.range, self.table)
        };
        hull(insides(self.window).into_iter().map(at_position))
    }
}

/// Of a value that grows with what its epilogue is given.
fn finish(ends: Interval, range: [i32; 2], table: Option<&[u8]>) -> Interval {
    let ends = ends.map(|end| end.max(range[0]).min(range[1]));
    let Some(table) = table else { return ends };
    // No activation need grow with its index.
    hull(table[ends[0] as usize..=ends[1] as usize].iter().map(|&code| [code.into(); 2]))
}

fn hull(intervals: impl Iterator<Item = Interval>) -> Interval {
    intervals.reduce(|[a, b], [low, high]| [a.min(low), b.max(high)]).expect("a map has a position")
}

/// Which taps of a window lie in the map: one list for each set of them that occurs at some position.
pub(super) fn insides(window: &Window) -> BTreeSet<Vec<bool>> {
    let along = |axis: usize, length: usize| -> BTreeSet<Vec<bool>> {
        let of = |at: usize| {
            let from = at * window.stride[axis];
            (0..window.kernel[axis]).map(|k| (from + k).wrapping_sub(window.before[axis]) < length).collect()
        };
        (0..window.output[axis]).map(of).collect()
    };
    let (rows, columns) = (along(0, window.input.height), along(1, window.input.width));
    let both = |row: &Vec<bool>, column: &Vec<bool>| -> Vec<bool> {
        row.iter().flat_map(|&y| column.iter().map(move |&x| y && x)).collect()
    };
    rows.iter().flat_map(|row| columns.iter().map(move |column| both(row, column))).collect()
}

fn mean(shape: &Pool, stream: &[u32], input: &[Interval]) -> Vec<Interval> {
    let [low, high, zero, shift, ref multipliers @ ..] = *stream else { unreachable!("the stream of a mean") };
    let counts: BTreeSet<usize> =
        insides(&shape.window).iter().map(|taps| taps.iter().filter(|&&t| t).count()).collect();
    let of = |&[least, most]: &Interval| {
        hull(counts.iter().map(|&count| {
            let multiplier = if multipliers.len() == 1 { multipliers[0] } else { multipliers[count - 1] };
            let ends = [least, most].map(|code| {
                let sum = MEAN_UNIT * count as i32 * (code - zero as i32);
                requantize(sum, multiplier as i32).wrapping_add(shift as i32)
            });
            finish(ends, [low as i32, high as i32], None)
        }))
    };
    input.iter().map(of).collect()
}

fn sum(stream: &[u32], table: Option<&[u8]>, first: &[Interval], second: &[Interval]) -> Vec<Interval> {
    let [low, high, a, b, start, shift] = *stream else { unreachable!("the stream of a sum") };
    let [low, high, a, b, start] = [low, high, a, b, start].map(|word| word as i32);
    let of = |(x, y): (&Interval, &Interval)| {
        finish([0, 1].map(|end| (start + x[end] * a + y[end] * b) >> shift), [low, high], table)
    };
    first.iter().zip(second).map(of).collect()
}
