//! Steps without weights: pools, sums of two maps, flatten.

use bn_core::kernels::packed::Window;
use bn_core::kernels::pool::{MEAN_UNIT, Pool};
use bn_core::network::{self, Pads};
use bn_core::quant::requantize;
use pulp::Simd;

use super::super::super::lanes::{Lanes, zero};
use super::super::pool;
use super::program::{Step, Work};
use super::tensors::{Finish, Results, Tensors, add, area};

/// Forward.
#[inline(always)]
pub(super) fn forward<S: Simd>(
    simd: S,
    step: &Step,
    finish: &Finish<'_>,
    tensors: &mut Tensors<Lanes<S>>,
    to: &mut Results<'_>,
) {
    match &step.work {
        Work::Mean { pool, zero, shift, multipliers } => {
            means(simd, pool, &tensors.codes[step.reads], &mut tensors.sums);
            let sums: &[f32] = bytemuck::cast_slice(&tensors.sums[..step.shape.len()]);
            let (counts, positions) = (counts(pool), pool.window.positions());
            for (i, &sum) in sums.iter().enumerate() {
                let values = counts[i / S::F32_LANES % positions];
                let multiplier = multipliers[if multipliers.len() > 1 { values - 1 } else { 0 }];
                let sum = MEAN_UNIT * (sum as i32 - values as i32 * zero);
                let value = requantize(sum, multiplier).wrapping_add(*shift);
                to.put(i, finish.of(value, mean_rise(multiplier)));
            }
        }
        Work::Max(window) => {
            tensors.sums.resize(tensors.sums.len().max(step.shape.len()), zero(simd));
            let maps = tensors.codes[step.reads].chunks_exact(window.area());
            for (x, y) in maps.zip(tensors.sums.chunks_exact_mut(area(step.shape))) {
                pool::max(simd, &pool_of(window), [window.input, step.shape], x, y);
            }
            let codes: &[f32] = bytemuck::cast_slice(&tensors.sums[..step.shape.len()]);
            codes.iter().enumerate().for_each(|(i, &code)| to.put(i, (code as i32, 1.0)));
        }
        Work::Add { other, multipliers: [a, b], start, shift } => {
            let [x, y] = [step.reads, *other].map(|t| bytemuck::cast_slice::<_, f32>(&tensors.codes[t]));
            for (i, (&x, &y)) in x.iter().zip(y).enumerate() {
                let sum = start.wrapping_add(x as i32 * a).wrapping_add(y as i32 * b);
                to.put(i, finish.of(sum >> shift, 1.0));
            }
        }
        _ => {
            let codes: &[f32] = bytemuck::cast_slice(&tensors.codes[step.reads]);
            codes.iter().enumerate().for_each(|(i, &code)| to.put(i, (code as i32, 1.0)));
        }
    }
}

/// Adds the gradients of what a step reads, from those of its results before they were clipped.
#[inline(always)]
pub(super) fn backward<S: Simd>(simd: S, step: &Step, d: &[Lanes<S>], tensors: &mut Tensors<Lanes<S>>) {
    match &step.work {
        Work::Mean { pool: Pool { window, .. }, .. } => {
            let maps = tensors.d[step.reads].chunks_exact_mut(window.area());
            for (to, d) in maps.zip(d.chunks_exact(window.positions())) {
                for (position, &d) in d.iter().enumerate() {
                    each(window, position, |at| to[at] = simd.add_f32s(to[at], d));
                }
            }
        }
        Work::Max(window) => {
            let maps = tensors.codes[step.reads].chunks_exact(window.area());
            let maps = maps.zip(tensors.d[step.reads].chunks_exact_mut(window.area()));
            for ((x, to), d) in maps.zip(d.chunks_exact(window.positions())) {
                pool::max_backward(simd, &pool_of(window), [window.input, step.shape], [x, d], to);
            }
        }
        Work::Add { other, multipliers, shift, .. } => {
            for (tensor, multiplier) in [step.reads, *other].into_iter().zip(multipliers) {
                let rise = *multiplier as f32 / (*shift as f32).exp2();
                add(simd, rise, d, &mut tensors.d[tensor]);
            }
        }
        _ => add(simd, 1.0, d, &mut tensors.d[step.reads]),
    }
}

fn mean_rise(multiplier: i32) -> f32 {
    multiplier as f32 * MEAN_UNIT as f32 / 2.0_f32.powi(32)
}

/// Pads of windows, of which only the first count: the others follow from the sizes.
fn pool_of(window: &Window) -> network::Pool {
    let pads = Pads { top: window.before[0], left: window.before[1], bottom: 0, right: 0 };
    network::Pool { kernel: window.kernel, stride: window.stride, pads }
}

/// The positions of a window that lie in the map.
#[inline(always)]
fn each(window: &Window, position: usize, mut f: impl FnMut(usize)) {
    window.each(position / window.output[1], position % window.output[1], |at| {
        if let Some(at) = at {
            f(at);
        }
    });
}

/// By position how many values a window has.
fn counts(pool: &Pool) -> Vec<usize> {
    let count = |position: usize| {
        let mut count = 0;
        each(&pool.window, position, |_| count += 1);
        count
    };
    (0..pool.window.positions()).map(count).collect()
}

/// The sum of each window's codes.
#[inline(always)]
fn means<S: Simd>(simd: S, pool: &Pool, codes: &[Lanes<S>], sums: &mut Vec<Lanes<S>>) {
    let (window, positions) = (&pool.window, pool.window.positions());
    sums.resize(sums.len().max(window.input.channels * positions), zero(simd));
    for (codes, sums) in codes.chunks_exact(window.area()).zip(sums.chunks_exact_mut(positions)) {
        for (position, sum) in sums.iter_mut().enumerate() {
            *sum = zero(simd);
            each(window, position, |at| *sum = simd.add_f32s(*sum, codes[at]));
        }
    }
}
