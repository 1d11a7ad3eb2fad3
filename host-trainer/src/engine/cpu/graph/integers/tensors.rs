//! What steps read and write: codes, slopes and gradients of a group of examples, and what stands behind a sum.

use std::ops::Range;

use bn_core::network::Shape;
use pulp::Simd;

use super::super::super::lanes::{Lanes, fma};
use super::program::Program;

/// What a group of examples is worked on in.
#[derive(Default)]
pub(super) struct Tensors<V> {
    /// By tensor codes as they are, `[channel][row][column][lane]`; of the last none.
    pub(super) codes: Vec<Vec<V>>,
    /// By tensor, how fast its values rise with what was rounded to them: 0 where that was clipped.
    pub(super) slopes: Vec<Vec<V>>,
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
    pub(super) range: [i32; 2],
    /// Codes by index, and how fast they rise.
    pub(super) table: Option<(&'a [u8], &'a [f32])>,
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
    pub(super) codes: &'a mut [f32],
    pub(super) slopes: &'a mut [f32],
    pub(super) words: Option<&'a mut [i32]>,
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

/// Adds a gradient so many times.
#[inline(always)]
pub(super) fn add<S: Simd>(simd: S, factor: f32, d: &[Lanes<S>], to: &mut [Lanes<S>]) {
    let factor = simd.splat_f32s(factor);
    to.iter_mut().zip(d).for_each(|(to, &d)| *to = fma(simd, factor, d, *to));
}
