//! Between two phases of a step: what has to be known of the whole batch. One thread computes it, group by group in their
//! order, while the others wait.

use std::sync::Mutex;

use bn_core::lenet::{CONV1_CHANNELS, CONV1_SIDE, CONV2_SIDE};
use pulp::Simd;

use super::batch_norm::{FeatureGradients, FeatureStatistics, Groups, Statistics, combine};
use super::dense::BLOCK;
use super::finish::{AdamwStep, conv1_gradient, fold_conv1, hold, sgd_step};
use super::kernels::Network;
use super::lanes::{Lanes, enter};
use super::moments::{PATCH, PatchMoments, mean_and_covariance};
use super::state::Dense;
use super::trainer::{Batch, Trainer, Update};
use crate::engine::{Moments, Optimizer, Totals};

/// Vectors of a layer in the linear part of a group.
pub(super) type Pick<S, const C: usize> = fn(&Dense<Lanes<S>>) -> &[Lanes<S>; C];

impl<S: Simd> Trainer<S> {
    pub(super) fn meet_moments(&self, groups: usize, count: usize) {
        let mut moments = PatchMoments::zero();
        for group in 0..groups {
            moments.add(&self.conv(group).moments);
        }
        let Batch { network, patches, eps, .. } = &mut *self.batch_mut();
        *patches = mean_and_covariance(&moments, count * CONV1_SIDE * CONV1_SIDE);
        let Network { net, conv1, bn1, .. } = &mut **network;
        let (mean, covariance) = patches;
        bn1.set(&net.bn1, *eps, |c| {
            let weight = net.conv1.weight[c].as_flattened().as_flattened();
            let dot = |row: &[f64]| weight.iter().zip(row).map(|(&w, m)| f64::from(w) * m).sum::<f64>();
            let var = weight.iter().zip(&*covariance).map(|(&w, row)| f64::from(w) * dot(row)).sum::<f64>();
            // Of a batch without contrast the variance is zero, give or take a rounding.
            (dot(mean) + f64::from(net.conv1.bias[c]), if var < 0.0 { 0.0 } else { var })
        });
        fold_conv1(net, bn1, conv1);
    }

    pub(super) fn meet_conv2(&self, groups: usize, count: usize) {
        const VALUES: usize = CONV2_SIDE * CONV2_SIDE;
        let mut statistics = self.conv(0).z2_statistics;
        let mut so_far = self.conv(0).count;
        for group in 1..groups {
            let conv = self.conv(group);
            for (a, &b) in statistics.iter_mut().zip(&conv.z2_statistics) {
                *a = combine(*a, so_far * VALUES, b, conv.count * VALUES);
            }
            so_far += conv.count;
        }
        let Batch { network, eps, .. } = &mut *self.batch_mut();
        let n = (count * VALUES) as f64;
        network.bn2.set(&network.net.bn2, *eps, |c| (statistics[c].0, statistics[c].1 / n));
    }

    pub(super) fn meet_loss(&self, groups: usize, count: usize) {
        let mut step = Totals { examples: count, ..Totals::default() };
        for group in 0..groups {
            let dense = self.dense(group);
            step.loss += dense.loss;
            step.correct += dense.correct;
        }
        let sums = self.gradients_of(groups, &self.batch().network.bn4, (|dense| &dense.z4, |dense| &dense.g4));
        let Batch { network, gradient, totals, .. } = &mut *self.batch_mut();
        *totals += step;
        network.bn4.set_backward(&mut gradient.bn4, count, |c| sums[c]);
    }

    pub(super) fn meet_gradients(&self, groups: usize, count: usize, update: Option<&Update<'_>>) {
        let mut patches = [([0.0; PATCH], 0.0); CONV1_CHANNELS];
        let Batch { network, gradient, patches: patch_moments, variance, moments, .. } = &mut *self.batch_mut();
        gradient.conv2.parts_mut().0.fill(0.0);
        gradient.linear3.bias.fill(0.0);
        for group in 0..groups {
            let (conv, dense) = (self.conv(group), self.dense(group));
            for (sum, d) in
                gradient.conv2.parts_mut().0.iter_mut().zip(conv.d_weight2.as_flattened().as_flattened().as_flattened())
            {
                *sum += d;
            }
            for (sum, (d_patch, d)) in patches.iter_mut().zip(&conv.g1_patches) {
                sum.0.iter_mut().zip(d_patch.as_flattened()).for_each(|(sum, d)| *sum += d);
                sum.1 += d;
            }
            for d_logits in &dense.d_logits_rows[..dense.count] {
                gradient.linear3.bias.iter_mut().zip(d_logits).for_each(|(sum, d)| *sum += d);
            }
        }
        conv1_gradient(&network.net, &mut network.bn1, count, patch_moments, &patches, gradient);
        copy_blocks(&self.blocks.linear1, &mut gradient.linear1.weight);
        copy_blocks(&self.blocks.linear2, &mut gradient.linear2.weight);
        copy_blocks(&self.blocks.linear3, &mut gradient.linear3.weight);
        let Some(update) = update else { return };
        network.follow(count, (update.bn_momentum, *variance));
        hold(gradient, update.bn_fixed);
        match update.optimizer {
            Optimizer::Sgd => sgd_step(&mut network.net, gradient, update.coefficients.rate as f32),
            Optimizer::Momentum | Optimizer::Adamw => {
                let moments = moments.get_or_insert_with(|| Moments::zero(&crate::network::Network::lenet()));
                let coefficients = &update.coefficients;
                enter(self.simd, AdamwStep { net: &mut network.net, gradient, moments, coefficients });
            }
        }
    }

    /// Mean and variance of each output of a linear layer.
    pub(super) fn features<const C: usize>(&self, groups: usize, count: usize, pick: Pick<S, C>) -> [(f64, f64); C] {
        let dense: Vec<_> = (0..groups).map(|group| self.dense(group)).collect();
        let z: Vec<_> = dense.iter().map(|dense| (pick(dense), dense.mask)).collect();
        let z: Groups<'_, _, C> = &z;
        enter(self.simd, FeatureStatistics { z, count })
    }

    /// Sums for the backward pass of a linear layer's BatchNorm.
    pub(super) fn gradients_of<const C: usize>(
        &self,
        groups: usize,
        statistics: &Statistics<C>,
        (z, g): (Pick<S, C>, Pick<S, C>),
    ) -> [(f64, f64); C] {
        let dense: Vec<_> = (0..groups).map(|group| self.dense(group)).collect();
        let z: Vec<_> = dense.iter().map(|dense| (z(dense), dense.mask)).collect();
        let g: Vec<_> = dense.iter().map(|dense| g(dense)).collect();
        enter(self.simd, FeatureGradients { z: &z, g: &g, statistics })
    }
}

/// Rows of the blocks to the rows of a weight, which may be shorter and fewer.
fn copy_blocks<const ROW: usize, const I: usize>(blocks: &[Mutex<[[f32; ROW]; BLOCK]>], weight: &mut [[f32; I]]) {
    for (block, weight) in blocks.iter().zip(weight.chunks_mut(BLOCK)) {
        let block = block.lock().expect("no thread has panicked");
        for (row, weight) in block.iter().zip(weight) {
            weight.copy_from_slice(&row[..I]);
        }
    }
}
