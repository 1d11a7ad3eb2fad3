//! Which integers stand for a row of weights: those whose output differs least on the inputs that occur.
//!
//! An error `e` of a row's weights shifts its output by `e . x`. The mean of that goes into the bias; what remains has the
//! variance `e^T C e`, with `C` the covariance of the inputs. Rounding each weight to its nearest integer makes every `e`
//! small, but inputs are correlated: an error of one weight can take back another's. So, from the nearest integers on,
//! single weights and pairs of them move as long as the cost falls (coordinate descent; the idea of choosing the rounding by
//! what it costs on inputs is AdaRound's, Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training
//! Quantization").

use std::thread;

use crate::cores::cores;

/// Passes over a row before it is left as it is. Rows settle after some five.
const PASSES: usize = 30;
/// A move must lower the cost by more than this share of it: below, rounding decides.
const LEAST_GAIN: f64 = 1e-9;

/// Covariance of a layer's inputs over some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Covariance {
    size: usize,
    /// `[size][size]`, symmetric.
    values: Vec<f64>,
}

impl Covariance {
    /// Of independent inputs of variance 1: the cost is the sum of squared errors. What is taken where no image is known.
    pub fn identity(size: usize) -> Self {
        let mut values = vec![0.0; size * size];
        values.iter_mut().step_by(size + 1).for_each(|v| *v = 1.0);
        Self { size, values }
    }

    /// Of rows of `size` inputs, in two passes.
    pub fn of(rows: &[f32], size: usize) -> Self {
        let count = rows.len() / size;
        if count < 2 {
            return Self::identity(size);
        }
        let mut means = vec![0.0; size];
        for row in rows.chunks_exact(size) {
            means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / count as f64);
        }
        let mut values = vec![0.0; size * size];
        // Each core takes some rows of the matrix, so that every sum is taken in the order of the inputs.
        let share = size.div_ceil(cores());
        thread::scope(|scope| {
            for (at, values) in values.chunks_mut(share * size).enumerate() {
                let means = &means;
                scope.spawn(move || add_products(rows, means, share * at, values));
            }
        });
        Self { size, values }
    }

    /// With that share of everything but the variances taken off: what few rows say of how inputs move together is mostly chance.
    pub fn towards_its_diagonal(mut self, share: f64) -> Self {
        for (at, row) in self.values.chunks_exact_mut(self.size).enumerate() {
            row.iter_mut().enumerate().filter(|(other, _)| *other != at).for_each(|(_, v)| *v *= 1.0 - share);
        }
        self
    }

    fn row(&self, at: usize) -> &[f64] {
        &self.values[at * self.size..][..self.size]
    }

    /// `C e`.
    fn times(&self, e: &[f64]) -> Vec<f64> {
        let dot = |row: &[f64]| row.iter().zip(e).map(|(c, e)| c * e).sum();
        self.values.chunks_exact(self.size).map(dot).collect()
    }

    /// `e^T C e`: the variance of the output's error.
    pub fn cost(&self, e: &[f64]) -> f64 {
        self.times(e).iter().zip(e).map(|(g, e)| g * e).sum()
    }
}

/// Adds to some rows of a covariance, from `first` on.
fn add_products(rows: &[f32], means: &[f64], first: usize, values: &mut [f64]) {
    let size = means.len();
    let count = (rows.len() / size) as f64;
    let mut centred = vec![0.0; size];
    for row in rows.chunks_exact(size) {
        centred.iter_mut().zip(row).zip(means).for_each(|((c, &x), mean)| *c = f64::from(x) - mean);
        for (&a, sums) in centred[first..].iter().zip(values.chunks_exact_mut(size)) {
            sums.iter_mut().zip(&centred).for_each(|(sum, b)| *sum += a * b / count);
        }
    }
}

/// A row of integers, and what they cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    /// In `[-max, max]`.
    pub integers: Vec<i32>,
    /// Variance of the output's error.
    pub cost: f64,
}

/// Every weight by its nearest integer of `scale`.
pub fn nearest(weights: &[f64], scale: f64, max: i32, covariance: &Covariance) -> Rounded {
    let integers = weights.iter().map(|w| ((w / scale).round() as i32).clamp(-max, max)).collect();
    let mut rounded = Rounded { integers, cost: 0.0 };
    rounded.cost = covariance.cost(&errors(weights, scale, &rounded.integers));
    rounded
}

/// The nearest integers, improved one weight at a time.
pub fn by_cost(weights: &[f64], scale: f64, max: i32, covariance: &Covariance) -> Rounded {
    let Rounded { mut integers, cost } = nearest(weights, scale, max, covariance);
    let mut gradient = covariance.times(&errors(weights, scale, &integers));
    for _ in 0..PASSES {
        let mut moved = false;
        for at in 0..integers.len() {
            let row = covariance.row(at);
            let curvature = scale * row[at];
            // The best whole number of steps for this weight alone.
            let wanted = integers[at] - (gradient[at] / curvature.max(f64::MIN_POSITIVE)).round() as i32;
            let step = f64::from(wanted.clamp(-max, max) - integers[at]);
            let gain = -step * scale * (2.0 * gradient[at] + step * curvature);
            if gain > LEAST_GAIN * cost {
                integers[at] += step as i32;
                gradient.iter_mut().zip(row).for_each(|(g, c)| *g += step * scale * c);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let cost = covariance.cost(&errors(weights, scale, &integers));
    Rounded { integers, cost }
}

/// [`by_cost`], improved by moving two weights at once, each a step up or down: what leaves the common part of correlated
/// inputs alone, which no single move does.
pub fn by_pairs(weights: &[f64], scale: f64, max: i32, covariance: &Covariance) -> Rounded {
    let Rounded { mut integers, cost } = by_cost(weights, scale, max, covariance);
    let mut gradient = covariance.times(&errors(weights, scale, &integers));
    let room = |integer: i32, step: i32| (integer + step).abs() <= max;
    let curvatures: Vec<f64> = (0..integers.len()).map(|at| scale * covariance.row(at)[at]).collect();
    for _ in 0..PASSES {
        let mut moved = false;
        for at in 0..integers.len() {
            for step in [-1, 1] {
                if !room(integers[at], step) {
                    continue;
                }
                let (row, sign) = (covariance.row(at), f64::from(step));
                let alone = sign * gradient[at] * 2.0 + curvatures[at];
                // Of the other weight the change of cost by a step down and up, the first weight's step made.
                let (mut least, mut best) = (f64::INFINITY, None);
                for other in (0..integers.len()).filter(|&other| other != at) {
                    let with = 2.0 * (gradient[other] + sign * scale * row[other]);
                    for other_step in [-1, 1] {
                        let change = alone + f64::from(other_step) * with + curvatures[other];
                        if change < least && room(integers[other], other_step) {
                            (least, best) = (change, Some((other, other_step)));
                        }
                    }
                }
                let Some((other, other_step)) = best.filter(|_| least * scale < -LEAST_GAIN * cost) else { continue };
                for (at, step) in [(at, step), (other, other_step)] {
                    integers[at] += step;
                    let row = covariance.row(at);
                    gradient.iter_mut().zip(row).for_each(|(g, c)| *g += f64::from(step) * scale * c);
                }
                moved = true;
                break;
            }
        }
        if !moved {
            break;
        }
    }
    let cost = covariance.cost(&errors(weights, scale, &integers));
    Rounded { integers, cost }
}

fn errors(weights: &[f64], scale: f64, integers: &[i32]) -> Vec<f64> {
    integers.iter().zip(weights).map(|(&q, w)| f64::from(q) * scale - w).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Inputs that share a common part, as activations do, and a row of weights.
    fn example(seed: u64, size: usize) -> (Vec<f64>, Covariance) {
        let mut rng = chacha20::ChaCha8Rng::seed_from_u64(seed);
        let mut rows = Vec::new();
        for _ in 0..200 {
            let common: f32 = rng.random();
            rows.extend((0..size).map(|_| common + 0.3 * rng.random::<f32>()));
        }
        ((0..size).map(|_| rng.random_range(-1.0..1.0)).collect(), Covariance::of(&rows, size))
    }

    #[test]
    fn covariance_by_hand() {
        let covariance = Covariance::of(&[1.0, 2.0, 3.0, 6.0], 2);
        assert_eq!(covariance.values, [1.0, 2.0, 2.0, 4.0]);
        assert_eq!(covariance.cost(&[1.0, -1.0]), 1.0);
        assert_eq!(Covariance::of(&[], 3), Covariance::identity(3));
    }

    /// The cost is the variance of the outputs' errors, measured.
    #[test]
    fn the_cost_is_the_variance_of_the_error() {
        let rows = [0.1f32, 0.9, 0.4, 0.3, 0.8, 0.2];
        let e = [0.5, -2.0];
        let outputs: Vec<f64> = rows.chunks(2).map(|x| e[0] * f64::from(x[0]) + e[1] * f64::from(x[1])).collect();
        let mean = outputs.iter().sum::<f64>() / 3.0;
        let variance = outputs.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / 3.0;
        assert!((Covariance::of(&rows, 2).cost(&e) - variance).abs() < 1e-12);
    }

    #[test]
    fn no_move_is_better_and_correlated_inputs_gain_much() {
        let mut sums = [0.0; 2];
        for seed in 0..5 {
            let (weights, covariance) = example(seed, 24);
            let (plain, best) = (nearest(&weights, 0.1, 10, &covariance), by_pairs(&weights, 0.1, 10, &covariance));
            assert!(best.cost <= plain.cost, "{} {}", best.cost, plain.cost);
            sums = [sums[0] + best.cost, sums[1] + plain.cost];
            for at in 0..weights.len() {
                for step in [-1, 1] {
                    let mut moved = best.integers.clone();
                    moved[at] = (moved[at] + step).clamp(-10, 10);
                    assert!(covariance.cost(&errors(&weights, 0.1, &moved)) >= best.cost * (1.0 - 1e-6));
                }
            }
        }
        assert!(sums[0] < 0.5 * sums[1], "{sums:?}");
    }

    /// Against all roundings of a small row up or down.
    #[test]
    fn a_small_row_comes_close_to_the_best_of_all_roundings() {
        let (weights, covariance) = example(9, 8);
        let cost = |choice: u32| {
            let up = |(at, w): (usize, &f64)| (w / 0.1).floor() as i32 + (choice >> at & 1) as i32;
            covariance.cost(&errors(&weights, 0.1, &weights.iter().enumerate().map(up).collect::<Vec<_>>()))
        };
        let best = (0..256).map(cost).fold(f64::INFINITY, f64::min);
        let found = by_pairs(&weights, 0.1, 10, &covariance).cost;
        assert!(found <= 2.0 * best, "{found} {best}");
    }

    #[test]
    fn independent_inputs_keep_the_nearest_integers_and_dead_ones_do_no_harm() {
        let (weights, _) = example(3, 16);
        let identity = Covariance::identity(16);
        assert_eq!(by_pairs(&weights, 0.01, 127, &identity), nearest(&weights, 0.01, 127, &identity));
        let dead = Covariance { size: 16, values: vec![0.0; 256] };
        assert_eq!(by_pairs(&weights, 0.01, 127, &dead), nearest(&weights, 0.01, 127, &dead));
    }
}
