//! What one group of examples does between two meetings of a step, each phase a kernel: forward through a layer as far as
//! the next BatchNorm has to know the whole batch, and the same way back.

use std::array::from_fn;

use bn_core::lenet::{
    CLASSES, CONV1_CHANNELS, CONV2_CHANNELS, Conv2d, FLAT, Image, LINEAR1, LINEAR2, LeNet, POOL1_SIDE, POOL2_SIDE,
};
use pulp::Simd;

use super::batch_norm::{Statistics, statistics_of_group, sum_lanes};
use super::conv::{conv1_backward, conv1_forward, conv2_backward_input, conv2_backward_weight, conv2_forward};
use super::dense::{linear_backward, linear_forward, to_rows};
use super::lanes::{Kernel, Lanes, MAX_LANES, at_least, enter, exp2, fma, mask, sigmoid_slice, values, zero};
use super::moments::{Moments, PatchMoments};
use super::state::{Conv, Dense};
use crate::engine::distill::Soft;

/// What a step knows besides its examples: parameters, and the coefficients of each BatchNorm.
pub(super) struct Network {
    /// The model.
    pub(super) net: LeNet,
    /// Convolution 1 with BatchNorm 1 of this batch folded in, for pixels from 0 to 255.
    pub(super) conv1: Conv2d<1, CONV1_CHANNELS>,
    /// BatchNorm 1.
    pub(super) bn1: Statistics<CONV1_CHANNELS>,
    /// BatchNorm 2.
    pub(super) bn2: Statistics<CONV2_CHANNELS>,
    /// BatchNorm 3.
    pub(super) bn3: Statistics<LINEAR1>,
    /// BatchNorm 4.
    pub(super) bn4: Statistics<LINEAR2>,
}

/// Lays the images of a group side by side.
pub(super) struct Load<'a, V> {
    /// The examples, one a lane; black where there is none.
    pub(super) images: [&'a Image; MAX_LANES],
    /// How many there are.
    pub(super) count: usize,
    /// Whether BatchNorm 1 will ask for the patches' moments.
    pub(super) moments: bool,
    /// Where they go.
    pub(super) conv: &'a mut Conv<V>,
}

impl<S: Simd> Kernel<S> for Load<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let conv = self.conv;
        conv.mask = mask(simd, self.count);
        conv.count = self.count;
        for (y, row) in conv.image.iter_mut().enumerate() {
            let rows = self.images.each_ref().map(|image| &image[y]);
            let lanes: &mut [f32] = bytemuck::cast_slice_mut(row);
            for (x, pixels) in lanes.chunks_exact_mut(S::F32_LANES).enumerate() {
                let bytes = rows.map(|row| row[x]);
                for (pixel, byte) in pixels.iter_mut().zip(bytes) {
                    *pixel = f32::from(byte);
                }
            }
        }
        if self.moments {
            conv.moments = PatchMoments::zero();
            Moments { image: &conv.image, moments: &mut conv.moments }.run(simd);
        }
    }
}

/// Layer 1, and convolution 2.
pub(super) struct ForwardConv<'a, V> {
    /// Parameters.
    pub(super) network: &'a Network,
    /// The group.
    pub(super) conv: &'a mut Conv<V>,
}

impl<S: Simd> Kernel<S> for ForwardConv<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self { network, conv } = self;
        conv1_forward(simd, &conv.image, &network.conv1, &mut conv.s1, &mut conv.p1);
        conv2_forward(simd, &conv.p1, &network.net.conv2, &mut conv.z2);
        for (statistics, z2) in conv.z2_statistics.iter_mut().zip(&conv.z2) {
            *statistics = statistics_of_group(simd, z2.as_flattened(), conv.mask, conv.count);
        }
    }
}

/// The rest of layer 2, and linear layer 1.
pub(super) struct ForwardLinear1<'a, V> {
    /// Parameters.
    pub(super) network: &'a Network,
    /// The group.
    pub(super) conv: &'a mut Conv<V>,
    /// The group.
    pub(super) dense: &'a mut Dense<V>,
}

impl<S: Simd> Kernel<S> for ForwardLinear1<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self { network, conv, dense } = self;
        dense.mask = conv.mask;
        dense.count = conv.count;
        let quarter = simd.splat_f32s(0.25);
        let mut flat = [zero(simd); FLAT];
        for (c, pooled) in flat.as_chunks_mut::<{ POOL2_SIDE * POOL2_SIDE }>().0.iter_mut().enumerate() {
            let s2 = conv.s2[c].as_flattened_mut();
            for (s, &z) in s2.iter_mut().zip(conv.z2[c].as_flattened()) {
                *s = network.bn2.normalize(simd, c, z);
            }
            sigmoid_slice(simd, s2);
            let s2 = &conv.s2[c];
            for y in 0..POOL2_SIDE {
                for x in 0..POOL2_SIDE {
                    let top = simd.add_f32s(s2[2 * y][2 * x], s2[2 * y][2 * x + 1]);
                    let bottom = simd.add_f32s(s2[2 * y + 1][2 * x], s2[2 * y + 1][2 * x + 1]);
                    pooled[y * POOL2_SIDE + x] = simd.mul_f32s(simd.add_f32s(top, bottom), quarter);
                }
            }
        }
        to_rows::<S, _>(&flat, &mut dense.flat_rows);
        linear_forward(simd, &flat, &network.net.linear1, &mut dense.z3);
    }
}

/// The rest of layer 3, and linear layer 2.
pub(super) struct ForwardLinear2<'a, V> {
    /// Parameters.
    pub(super) network: &'a Network,
    /// The group.
    pub(super) dense: &'a mut Dense<V>,
}

impl<S: Simd> Kernel<S> for ForwardLinear2<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self { network, dense } = self;
        for c in 0..LINEAR1 {
            dense.s3[c] = network.bn3.normalize(simd, c, dense.z3[c]);
        }
        sigmoid_slice(simd, &mut dense.s3);
        to_rows::<S, _>(&dense.s3, &mut dense.s3_rows);
        linear_forward(simd, &dense.s3, &network.net.linear2, &mut dense.z4);
    }
}

/// The rest of layer 4, linear layer 3, the loss; in training also its gradient, back to BatchNorm 4.
pub(super) struct Loss<'a, V> {
    /// Parameters.
    pub(super) network: &'a Network,
    /// Classes of the examples.
    pub(super) labels: [u8; MAX_LANES],
    /// Examples of the batch, by which the gradient is divided, and label smoothing; `None` in inference.
    pub(super) batch: Option<(usize, f32)>,
    /// What a teacher says of the examples.
    pub(super) soft: Option<Soft<'a>>,
    /// The group.
    pub(super) dense: &'a mut Dense<V>,
}

impl<S: Simd> Kernel<S> for Loss<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self { network, labels, batch, soft, dense } = self;
        for c in 0..LINEAR2 {
            dense.s4[c] = network.bn4.normalize(simd, c, dense.z4[c]);
        }
        sigmoid_slice(simd, &mut dense.s4);
        linear_forward(simd, &dense.s4, &network.net.linear3, &mut dense.logits);
        let probabilities = cross_entropy(simd, dense, &labels);
        let Some((batch, smoothing)) = batch else { return };
        if smoothing != 0.0 {
            dense.loss += smoothed_loss::<S>(dense, &labels, f64::from(smoothing));
        }

        let mut d_logits = probabilities;
        let share = simd.splat_f32s(smoothing / CLASSES as f32);
        for d in &mut d_logits {
            *d = simd.sub_f32s(*d, share);
        }
        let d_values: &mut [f32] = bytemuck::cast_slice_mut(&mut d_logits);
        for lane in 0..dense.count {
            d_values[usize::from(labels[lane]) * S::F32_LANES + lane] -= 1.0 - smoothing;
        }
        if let Some(soft) = soft {
            soften::<S>(&soft, dense, bytemuck::cast_slice_mut(&mut d_logits));
        }
        for d in &mut d_logits {
            *d = simd.mul_f32s(simd.mul_f32s(*d, dense.mask), simd.splat_f32s(1.0 / batch as f32));
        }
        to_rows::<S, _>(&dense.s4, &mut dense.s4_rows);
        to_rows::<S, _>(&d_logits, &mut dense.d_logits_rows);
        linear_backward::<S, 12, _, _>(simd, &d_logits, &network.net.linear3, &mut dense.g4);
        times_slope(simd, &mut dense.g4, &dense.s4);
    }
}

/// The loss of a group with a teacher, from the one with its labels, and likewise the gradients.
fn soften<S: Simd>(soft: &Soft<'_>, dense: &mut Dense<Lanes<S>>, d_logits: &mut [f32]) {
    let logits: &[f32] = bytemuck::cast_slice(&dense.logits);
    dense.loss *= 1.0 - soft.weight;
    for lane in 0..dense.count {
        let row = |values: &[f32]| -> [f64; CLASSES] { from_fn(|class| values[class * S::F32_LANES + lane].into()) };
        let mut d = row(d_logits);
        dense.loss += soft.add(&row(logits), soft.row(lane, CLASSES), 0.0, &mut d);
        d.iter().enumerate().for_each(|(class, &d)| d_logits[class * S::F32_LANES + lane] = d as f32);
    }
}

/// What smoothing adds to the loss of a group: the label's share goes from its logit to the mean of all.
#[inline(always)]
fn smoothed_loss<S: Simd>(dense: &Dense<Lanes<S>>, labels: &[u8; MAX_LANES], smoothing: f64) -> f64 {
    let logits: &[f32] = bytemuck::cast_slice(&dense.logits);
    let of_lane = |lane: usize| {
        let of_class = |class: usize| f64::from(logits[class * S::F32_LANES + lane]);
        of_class(usize::from(labels[lane])) - (0..CLASSES).map(of_class).sum::<f64>() / CLASSES as f64
    };
    smoothing * (0..dense.count).map(of_lane).sum::<f64>()
}

/// Loss and hits of a group; returns the probabilities of the classes.
#[inline(always)]
fn cross_entropy<S: Simd>(simd: S, dense: &mut Dense<Lanes<S>>, labels: &[u8; MAX_LANES]) -> [Lanes<S>; CLASSES] {
    let mut largest = dense.logits[0];
    for &logit in &dense.logits[1..] {
        largest = simd.max_f32s(largest, logit);
    }
    let mut probabilities = dense.logits;
    let mut sum = zero(simd);
    for p in &mut probabilities {
        let t = simd.mul_f32s(simd.sub_f32s(*p, largest), simd.splat_f32s(std::f32::consts::LOG2_E));
        *p = exp2(simd, at_least(simd, -126.0, t));
        sum = simd.add_f32s(sum, *p);
    }
    (dense.loss, dense.correct) = (0.0, 0);
    let logits: &[f32] = bytemuck::cast_slice(&dense.logits);
    for lane in 0..dense.count {
        let of_class = |class: usize| logits[class * S::F32_LANES + lane];
        let label = usize::from(labels[lane]);
        let distance = f64::from(values::<S>(&largest)[lane]) - f64::from(of_class(label));
        dense.loss += f64::from(values::<S>(&sum)[lane]).ln() + distance;
        let first = (0..CLASSES).find(|&class| of_class(class) == values::<S>(&largest)[lane]);
        dense.correct += usize::from(first == Some(label));
    }
    let inverse = simd.div_f32s(simd.splat_f32s(1.0), sum);
    for p in &mut probabilities {
        *p = simd.mul_f32s(*p, inverse);
    }
    probabilities
}

/// Multiplies gradients of sigmoids by `s (1 - s)`.
#[inline(always)]
fn times_slope<S: Simd>(simd: S, d: &mut [Lanes<S>], s: &[Lanes<S>]) {
    for (d, &s) in d.iter_mut().zip(s) {
        *d = simd.mul_f32s(*d, simd.mul_f32s(s, simd.sub_f32s(simd.splat_f32s(1.0), s)));
    }
}

/// From BatchNorm 4 back to BatchNorm 3.
pub(super) struct BackwardLinear2<'a, V> {
    /// Parameters.
    pub(super) network: &'a Network,
    /// The group.
    pub(super) dense: &'a mut Dense<V>,
}

impl<S: Simd> Kernel<S> for BackwardLinear2<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self { network, dense } = self;
        let mut d_z4 = dense.z4;
        for c in 0..LINEAR2 {
            d_z4[c] = network.bn4.d_z(simd, c, dense.z4[c], dense.g4[c]);
        }
        to_rows::<S, _>(&d_z4, &mut dense.d_z4_rows);
        linear_backward::<S, 12, _, _>(simd, &d_z4, &network.net.linear2, &mut dense.g3);
        times_slope(simd, &mut dense.g3, &dense.s3);
    }
}

/// From BatchNorm 3 back to BatchNorm 2.
pub(super) struct BackwardLinear1<'a, V> {
    /// Parameters.
    pub(super) network: &'a Network,
    /// The group.
    pub(super) conv: &'a mut Conv<V>,
    /// The group.
    pub(super) dense: &'a mut Dense<V>,
}

impl<S: Simd> Kernel<S> for BackwardLinear1<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self { network, conv, dense } = self;
        let mut d_z3 = dense.z3;
        for c in 0..LINEAR1 {
            d_z3[c] = network.bn3.d_z(simd, c, dense.z3[c], dense.g3[c]);
        }
        to_rows::<S, _>(&d_z3, &mut dense.d_z3_rows);
        let mut d_flat = [zero(simd); FLAT];
        linear_backward::<S, 16, _, _>(simd, &d_z3, &network.net.linear1, &mut d_flat);

        let (one, quarter) = (simd.splat_f32s(1.0), simd.splat_f32s(0.25));
        for (c, d_pooled) in d_flat.as_chunks::<{ POOL2_SIDE * POOL2_SIDE }>().0.iter().enumerate() {
            let mean = simd.splat_f32s(network.bn2.mean[c] as f32);
            let (mut sum, mut along) = (zero(simd), zero(simd));
            for (y, (g, z)) in conv.s2[c].iter_mut().zip(&conv.z2[c]).enumerate() {
                for (x, (g, &z)) in g.iter_mut().zip(z).enumerate() {
                    let share = simd.mul_f32s(d_pooled[y / 2 * POOL2_SIDE + x / 2], quarter);
                    *g = simd.mul_f32s(share, simd.mul_f32s(*g, simd.sub_f32s(one, *g)));
                    sum = simd.add_f32s(sum, *g);
                    along = fma(simd, *g, simd.sub_f32s(z, mean), along);
                }
            }
            let sum = sum_lanes(simd, simd.mul_f32s(sum, conv.mask));
            let along = sum_lanes(simd, simd.mul_f32s(along, conv.mask));
            conv.g2_sums[c] = (sum, along * network.bn2.inverse[c]);
        }
    }
}

/// From BatchNorm 2 back to BatchNorm 1, and the weights of both convolutions.
pub(super) struct BackwardConv<'a, V> {
    /// Parameters.
    pub(super) network: &'a Network,
    /// The group.
    pub(super) conv: &'a mut Conv<V>,
}

impl<S: Simd> Kernel<S> for BackwardConv<'_, Lanes<S>> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: S) {
        let Self { network, conv } = self;
        for c in 0..CONV2_CHANNELS {
            for (z, &g) in conv.z2[c].as_flattened_mut().iter_mut().zip(conv.s2[c].as_flattened()) {
                *z = network.bn2.d_z(simd, c, *z, g);
            }
        }
        conv2_backward_weight(simd, &conv.p1, &conv.z2, conv.mask, &mut conv.d_weight2);
        let mut d_p1 = [[[zero(simd); POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS];
        conv2_backward_input(simd, &conv.z2, &network.net.conv2.weight, &mut d_p1);
        conv1_backward(simd, &conv.image, &conv.s1, &d_p1, conv.mask, &mut conv.g1_patches);
    }
}

/// Two phases of a step that are one in inference need no meeting: all layers, with the moving statistics.
pub(super) fn infer<S: Simd>(
    simd: S,
    network: &Network,
    labels: [u8; MAX_LANES],
    conv: &mut Conv<Lanes<S>>,
    dense: &mut Dense<Lanes<S>>,
) {
    enter(simd, ForwardConv { network, conv });
    enter(simd, ForwardLinear1 { network, conv, dense });
    enter(simd, ForwardLinear2 { network, dense });
    enter(simd, Loss { network, labels, batch: None, soft: None, dense });
}
