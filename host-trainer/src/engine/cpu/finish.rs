//! The ends of a step that concern no single example: folding BatchNorm 1, the gradient of layer 1, and the step itself.

use std::sync::LazyLock;

use bn_core::lenet::{CONV1_CHANNELS, CONV1_SIDE, CONV2_SIDE, Conv2d, LeNet, TENSORS};
use pulp::Simd;

use super::batch_norm::{MINUS_LOG2_E, Statistics};
use super::kernels::Network;
use super::lanes::Kernel;
use super::moments::PATCH;
use crate::engine::steps::{ADAM_EPS, BETA1, BETA2, Coefficients, Treatment, treatments};
use crate::engine::{Fixed, Moments};
use crate::model::parameters::Variance;

/// Largest pixel.
const WHITE: f64 = 255.0;

impl Network {
    /// Before the first batch.
    pub(super) fn new(net: LeNet) -> Self {
        Self {
            net,
            conv1: Conv2d::zero(),
            bn1: Statistics::zero(),
            bn2: Statistics::zero(),
            bn3: Statistics::zero(),
            bn4: Statistics::zero(),
        }
    }

    /// For inference: every BatchNorm by its moving statistics.
    pub(super) fn set_moving(&mut self, eps: f64) {
        self.bn1.set_moving(&self.net.bn1, eps);
        self.bn2.set_moving(&self.net.bn2, eps);
        self.bn3.set_moving(&self.net.bn3, eps);
        self.bn4.set_moving(&self.net.bn4, eps);
        fold_conv1(&self.net, &self.bn1, &mut self.conv1);
    }

    /// Lets the moving statistics of every BatchNorm follow a batch of `count` examples.
    pub(super) fn follow(&mut self, count: usize, how: (f64, Variance)) {
        self.bn1.follow(&mut self.net.bn1, count * CONV1_SIDE * CONV1_SIDE, how);
        self.bn2.follow(&mut self.net.bn2, count * CONV2_SIDE * CONV2_SIDE, how);
        self.bn3.follow(&mut self.net.bn3, count, how);
        self.bn4.follow(&mut self.net.bn4, count, how);
    }
}

/// Convolution 1 with BatchNorm 1 folded in, for pixels from 0 to 255, giving the `t` of
/// [`sigmoids`](super::lanes::sigmoids).
pub(super) fn fold_conv1(net: &LeNet, bn: &Statistics<CONV1_CHANNELS>, folded: &mut Conv2d<1, CONV1_CHANNELS>) {
    for c in 0..CONV1_CHANNELS {
        let factor = MINUS_LOG2_E * bn.scale[c];
        let to = folded.weight[c].as_flattened_mut().as_flattened_mut();
        for (to, &from) in to.iter_mut().zip(net.conv1.weight[c].as_flattened().as_flattened()) {
            *to = (factor / WHITE * f64::from(from)) as f32;
        }
        let shift = factor * (f64::from(net.conv1.bias[c]) - bn.mean[c]);
        folded.bias[c] = (shift + MINUS_LOG2_E * f64::from(net.bn1.beta[c])) as f32;
    }
}

/// Gradients of convolution 1 and BatchNorm 1, from the sums over all positions of `g` (the gradient of the sigmoid's
/// argument) times the pixels under each weight, and of `g` alone.
///
/// What BatchNorm's backward pass takes away from `g`, its mean and its component along the normalised values, is linear in
/// the patches too, and their moments are known:
///
/// ```text
/// d_weight = scale * (sum(g (p - m)) - d_gamma / sqrt(var + eps) * C w)
/// d_gamma  = sum(g x_hat) = (w . sum(g (p - m))) / sqrt(var + eps)
/// ```
pub(super) fn conv1_gradient(
    net: &LeNet,
    bn: &mut Statistics<CONV1_CHANNELS>,
    count: usize,
    (mean, covariance): &([f64; PATCH], [[f64; PATCH]; PATCH]),
    sums: &[([f64; PATCH], f64); CONV1_CHANNELS],
    gradient: &mut LeNet,
) {
    let mut d_gammas = [0.0; CONV1_CHANNELS];
    for c in 0..CONV1_CHANNELS {
        let (patches, alone) = &sums[c];
        let weight = net.conv1.weight[c].as_flattened().as_flattened();
        let centred: [f64; PATCH] = std::array::from_fn(|p| patches[p] / WHITE - mean[p] * alone);
        let dot = |row: &[f64; PATCH]| weight.iter().zip(row).map(|(&w, r)| f64::from(w) * r).sum::<f64>();
        d_gammas[c] = dot(&centred) * bn.inverse[c];
        let d_weight = gradient.conv1.weight[c].as_flattened_mut().as_flattened_mut();
        for (p, d_weight) in d_weight.iter_mut().enumerate() {
            let along = d_gammas[c] * bn.inverse[c] * dot(&covariance[p]);
            *d_weight = (bn.scale[c] * (centred[p] - along)) as f32;
        }
    }
    bn.set_backward(&mut gradient.bn1, count * CONV1_SIDE * CONV1_SIDE, |c| (sums[c].1, d_gammas[c]));
}

/// Takes away the gradients of what is held.
pub(super) fn hold(gradient: &mut LeNet, fixed: Fixed) {
    for (spec, gradient) in TENSORS.iter().zip(gradient.tensors_mut()) {
        fixed.hold(spec.role, gradient);
    }
}

/// One step of gradient descent: `parameter -= lr * gradient`. The moving statistics are not trained.
///
/// The gradient of a bias before a BatchNorm is zero, and is left so: BatchNorm takes every shift away again.
pub(super) fn sgd_step(net: &mut LeNet, gradient: &LeNet, lr: f32) {
    for ((spec, parameters), gradients) in TENSORS.iter().zip(net.tensors_mut()).zip(gradient.tensors()) {
        if spec.role.is_trained() {
            for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
                *parameter -= lr * gradient;
            }
        }
    }
}

/// What AdamW does with each tensor.
static TREATMENTS: LazyLock<Vec<Treatment>> = LazyLock::new(|| treatments(&crate::network::Network::lenet()));

/// One step of AdamW; the formula stands at [`Coefficients`]. Plain loops, compiled for the instruction set.
pub(super) struct AdamwStep<'a> {
    /// The model.
    pub(super) net: &'a mut LeNet,
    /// Gradients of its parameters.
    pub(super) gradient: &'a LeNet,
    /// What AdamW remembers.
    pub(super) moments: &'a mut Moments<f32>,
    /// The step's numbers.
    pub(super) coefficients: &'a Coefficients,
}

impl<S: Simd> Kernel<S> for AdamwStep<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: S) {
        let Coefficients { rate, decay, root } = *self.coefficients;
        let (rate, decay, root) = (rate as f32, decay as f32, root as f32);
        const BETAS: [f32; 2] = [BETA1 as f32, BETA2 as f32];
        for (at, (parameters, gradients)) in self.net.tensors_mut().into_iter().zip(self.gradient.tensors()).enumerate()
        {
            let decay = match TREATMENTS[at] {
                Treatment::Keep => continue,
                Treatment::Step => 0.0,
                Treatment::StepAndDecay => decay,
            };
            let moments = self.moments.first[at].iter_mut().zip(&mut self.moments.second[at]);
            for ((parameter, &g), (first, second)) in parameters.iter_mut().zip(gradients).zip(moments) {
                *first = BETAS[0] * *first + (1.0 - BETAS[0]) * g;
                *second = BETAS[1] * *second + (1.0 - BETAS[1]) * g * g;
                *parameter -= decay * *parameter;
                *parameter -= rate * *first / (root * second.sqrt() + ADAM_EPS as f32);
            }
        }
    }
}
