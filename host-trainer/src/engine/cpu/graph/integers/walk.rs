//! A group of examples through the network: forward the device's integers, backward straight through each rounding.

use std::ops::Range;

use bn_core::network::Shape;
use pulp::Simd;

use super::super::super::lanes::{Lanes, fma, zero};
use super::layer::Layer;
use super::program::{Program, Work};
use super::{plain, sums};

/// What a group of examples is worked on in.
#[derive(Default)]
pub(super) struct Tensors<V> {
    /// By tensor codes as they are, `[channel][row][column][lane]`; of the last none.
    pub(super) codes: Vec<Vec<V>>,
    /// By tensor, how fast its values rise with what was rounded to them: 0 where that was clipped.
    slopes: Vec<Vec<V>>,
    /// By tensor the gradient.
    pub(super) d: Vec<Vec<V>>,
    /// The output's integers.
    pub(super) words: Vec<i32>,
    /// What steps work in: copies with their padding, sums, and sums as integers.
    pub(super) copy: Vec<V>,
    pub(super) sums: Vec<V>,
    pub(super) totals: Vec<i32>,
}

impl<V: bytemuck::Zeroable + Clone> Tensors<V> {
    pub(super) fn new(program: &Program, lanes: usize) -> Self {
        let tensors = 0..=program.steps.len();
        let of = || tensors.clone().map(|tensor| vec![V::zeroed(); program.shape(tensor).len()]).collect::<Vec<_>>();
        let words = vec![0; program.outputs() * lanes];
        let [copy, sums] = [Vec::new(), Vec::new()];
        Self { codes: of(), slopes: of(), d: of(), words, copy, sums, totals: Vec::new() }
    }
}

/// Positions of a map.
pub(super) fn area(shape: Shape) -> usize {
    shape.height * shape.width
}

/// What stands behind a sum: from a number before it is clipped to a result, and what its slope is a multiple of.
pub(super) struct Finish<'a> {
    range: [i32; 2],
    /// Codes by index, and how fast they rise.
    table: Option<(&'a [u8], &'a [f32])>,
}

impl Finish<'_> {
    #[inline(always)]
    pub(super) fn of(&self, value: i32, rise: f32) -> (i32, f32) {
        let [low, high] = self.range;
        let within = value.max(low).min(high);
        let rise = if within == value { rise } else { 0.0 };
        match self.table {
            None => (within, rise),
            Some((table, slopes)) => (table[within as usize].into(), rise * slopes[within as usize]),
        }
    }
}

/// Where results of a step go.
pub(super) struct Results<'a> {
    codes: &'a mut [f32],
    slopes: &'a mut [f32],
    words: Option<&'a mut [i32]>,
}

impl Results<'_> {
    /// Results of neighbouring places.
    #[inline(always)]
    pub(super) fn put_run(&mut self, at: Range<usize>, results: impl Iterator<Item = (i32, f32)>) {
        let slopes = &mut self.slopes[at.clone()];
        match &mut self.words {
            None => {
                for (((value, rise), code), slope) in results.zip(&mut self.codes[at]).zip(slopes) {
                    (*code, *slope) = (value as f32, rise);
                }
            }
            Some(words) => {
                for (((value, rise), word), slope) in results.zip(&mut words[at]).zip(slopes) {
                    (*word, *slope) = (value, rise);
                }
            }
        }
    }

    /// One result.
    #[inline(always)]
    pub(super) fn put(&mut self, at: usize, (value, slope): (i32, f32)) {
        self.slopes[at] = slope;
        match &mut self.words {
            None => self.codes[at] = value as f32,
            Some(words) => words[at] = value,
        }
    }
}

/// All steps of a network.
pub(super) struct Walk<'a> {
    pub(super) program: &'a Program,
    pub(super) layers: &'a [Option<Layer>],
    /// By step, of its table.
    pub(super) slopes: &'a [Option<Vec<f32>>],
}

impl Walk<'_> {
    /// From the codes of tensor 0 to the output's integers.
    #[inline(always)]
    pub(super) fn forward<S: Simd>(&self, simd: S, tensors: &mut Tensors<Lanes<S>>) {
        for (at, step) in self.program.steps.iter().enumerate() {
            let mut codes = std::mem::take(&mut tensors.codes[at + 1]);
            let mut slopes = std::mem::take(&mut tensors.slopes[at + 1]);
            let mut words = std::mem::take(&mut tensors.words);
            let is_last = at + 1 == self.program.steps.len();
            let mut to = Results {
                codes: bytemuck::cast_slice_mut(&mut codes),
                slopes: bytemuck::cast_slice_mut(&mut slopes),
                words: is_last.then_some(&mut words[..]),
            };
            let table = step.table.as_deref().zip(self.slopes[at].as_deref());
            let finish = Finish { range: step.range, table };
            match &step.work {
                Work::Sums(sums) => {
                    let layer = self.layers[at].as_ref().expect("a step with weights is a layer");
                    sums::products(simd, layer, step.reads, tensors);
                    sums::finish::<S>(layer, sums, &finish, tensors, &mut to);
                }
                _ => plain::forward(simd, step, &finish, tensors, &mut to),
            }
            (tensors.codes[at + 1], tensors.slopes[at + 1], tensors.words) = (codes, slopes, words);
        }
    }

    /// From the gradient of the output's integers to those of all that is learned, which are added to `gradient`. The gradients of
    /// all other tensors must be zero; they are again in the end.
    #[inline(always)]
    pub(super) fn backward<S: Simd>(&self, simd: S, tensors: &mut Tensors<Lanes<S>>, gradient: &mut [f32]) {
        for (at, step) in self.program.steps.iter().enumerate().rev() {
            let mut d = std::mem::take(&mut tensors.d[at + 1]);
            d.iter_mut().zip(&tensors.slopes[at + 1]).for_each(|(d, &slope)| *d = simd.mul_f32s(*d, slope));
            match &step.work {
                Work::Sums(sums) => {
                    let layer = self.layers[at].as_ref().expect("a step with weights is a layer");
                    sums::backward(simd, layer, (sums, step.reads), &d, tensors, gradient);
                }
                _ => plain::backward(simd, step, &d, tensors),
            }
            d.fill(zero(simd));
            tensors.d[at + 1] = d;
        }
        tensors.d[0].fill(zero(simd));
    }
}

/// Adds a gradient so many times.
#[inline(always)]
pub(super) fn add<S: Simd>(simd: S, factor: f32, d: &[Lanes<S>], to: &mut [Lanes<S>]) {
    let factor = simd.splat_f32s(factor);
    to.iter_mut().zip(d).for_each(|(to, &d)| *to = fma(simd, factor, d, *to));
}
