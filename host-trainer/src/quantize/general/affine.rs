//! A step's weights and biases in f64, BatchNorm before and behind folded in.

use bn_core::network::Op;
use bn_core::plan::Layer;

use super::range::Codes;
use crate::model::parameters::Parameters;

/// Weights by output channel, in PyTorch's order, and biases.
pub(super) struct Affine {
    pub(super) weight: Vec<Vec<f64>>,
    pub(super) bias: Vec<f64>,
}

/// A BatchNorm as `scale * x + shift`, by channel.
pub(super) fn batch_norm(parameters: &Parameters, at: usize) -> (Vec<f64>, Vec<f64>) {
    let [gamma, beta, mean, var] = parameters.of(at) else { unreachable!("a BatchNorm has four tensors") };
    let eps = f64::from(parameters.network.eps(at));
    let scale: Vec<f64> = gamma.iter().zip(var).map(|(gamma, var)| gamma / (var + eps).sqrt()).collect();
    let shift = (0..gamma.len()).map(|c| beta[c] - scale[c] * mean[c]).collect();
    (scale, shift)
}

impl Affine {
    /// Of a convolution, linear or depthwise layer; of `channels` channels each on its own where a step has neither.
    pub(super) fn of(parameters: &Parameters, layer: &Layer, channels: usize) -> Self {
        let mut affine = match layer.node {
            Some(node) => Self::of_node(parameters, node),
            None => Self { weight: vec![vec![1.0]; channels], bias: vec![0.0; channels] },
        };
        if let Some(at) = layer.before {
            let (scale, shift) = batch_norm(parameters, at);
            for (weights, bias) in affine.weight.iter_mut().zip(&mut affine.bias) {
                let run = weights.len() / scale.len();
                for (k, weight) in weights.iter_mut().enumerate() {
                    *bias += *weight * shift[k / run];
                    *weight *= scale[k / run];
                }
            }
        }
        if let Some(at) = layer.after {
            let (scale, shift) = batch_norm(parameters, at);
            for (c, (weights, bias)) in affine.weight.iter_mut().zip(&mut affine.bias).enumerate() {
                weights.iter_mut().for_each(|weight| *weight *= scale[c]);
                *bias = *bias * scale[c] + shift[c];
            }
        }
        affine
    }

    fn of_node(parameters: &Parameters, node: usize) -> Self {
        let tensors = parameters.of(node);
        let outputs = match parameters.network.nodes()[node].op {
            Op::Conv2d(conv) => conv.channels,
            Op::Linear { outputs, .. } => outputs,
            other => unreachable!("{other:?} has no weights"),
        };
        let run = tensors[0].len() / outputs;
        let bias = tensors.get(1).cloned().unwrap_or_else(|| vec![0.0; outputs]);
        Self { weight: tensors[0].chunks_exact(run).map(<[f64]>::to_vec).collect(), bias }
    }

    /// A magnitude that no result exceeds, for weights that take codes: `zeros` says which code of each input of a channel stands
    /// for 0.
    pub(super) fn largest<Z: AsRef<[f64]>>(&self, zeros: impl Fn(usize) -> Z) -> f64 {
        let channel = |(c, (weights, bias)): (usize, (&Vec<f64>, &f64))| {
            let ends = weights.iter().zip(zeros(c).as_ref()).fold([*bias; 2], |[low, high], (weight, zero)| {
                let [a, b] = [weight * -zero, weight * (255.0 - zero)];
                [low + a.min(b), high + a.max(b)]
            });
            ends[0].abs().max(ends[1].abs())
        };
        self.weight.iter().zip(&self.bias).enumerate().map(channel).fold(0.0, f64::max)
    }

    /// Lets weights take a code less its zero where they took what it means; `channel` says which one weight `k` of an output
    /// meets.
    pub(super) fn take_codes(&mut self, codes: &Codes, channel: impl Fn(usize, usize) -> usize) {
        for (o, weights) in self.weight.iter_mut().enumerate() {
            for (k, weight) in weights.iter_mut().enumerate() {
                *weight *= codes.scale[channel(o, k)];
            }
        }
    }
}
