//! What stands between two phases and at a step's end: what has to be known of the whole batch, and the step itself.

use pulp::Simd;

use super::moments::{backward, coefficients, join};
use super::plan::Work;
use super::state::{Parameter, plane, positions};
use super::trainer::{Trainer, Update};
use crate::engine::steps::{ADAM_EPS, BETA1, BETA2, Coefficients, Treatment};
use crate::engine::{Moments, Optimizer};
use crate::model::parameters::{Parameters, Variance};

impl<S: Simd> Trainer<S> {
    /// After a unit's forward phase: statistics of the batch, and what its readers do with them.
    pub(super) fn meet_moments(&self, unit: usize, count: usize) {
        let stage = &self.stages[unit];
        let Some(norm) = stage.unit.batch_norm else { return };
        let map = plane(stage.unit.shape);
        assert!(count * map > 1, "BatchNorm cannot train on one value per channel; use a batch of two or more");
        let mut sums = stage.z(0).sums.clone();
        for group in 1..self.groups_of(count) {
            let so_far = group * S::F32_LANES * map;
            for (sum, &new) in sums.iter_mut().zip(&stage.z(group).sums) {
                *sum = join(*sum, so_far, new, self.lanes_of(group, count) * map);
            }
        }
        let n = (count * map) as f64;
        let mut derived = stage.derived_mut();
        let (gamma, beta) = (self.parameter(norm.parameter), self.parameter(norm.parameter + 1));
        for (channel, [mean, squares]) in sums.into_iter().enumerate() {
            // Of equal values the corrected sum may lie a rounding below zero. A NaN stays one.
            let var = if squares < 0.0 { 0.0 } else { squares / n };
            derived.batch[channel] = [mean, var];
            derived.channels[channel] = coefficients([mean, var], gamma.value[channel], beta.value[channel], norm.eps);
        }
    }

    /// Before inference: the moving statistics instead of a batch's.
    pub(super) fn set_moving(&self) {
        for stage in &self.stages {
            let Some(norm) = stage.unit.batch_norm else { continue };
            let [gamma, beta, mean, var] = [0, 1, 2, 3].map(|role| self.parameter(norm.parameter + role));
            for (c, channel) in stage.derived_mut().channels.iter_mut().enumerate() {
                let moving = [mean.value[c], var.value[c]].map(f64::from);
                *channel = coefficients(moving, gamma.value[c], beta.value[c], norm.eps);
            }
        }
    }

    pub(super) fn meet_loss(&self, count: usize) {
        let mut sum = self.totals.lock().expect("no thread has panicked");
        for outcome in &self.outcomes[..self.groups_of(count)] {
            *sum += outcome.lock().expect("no thread has panicked").totals;
        }
    }

    /// Once a unit's gradient is complete: those of gamma, beta or bias, and what makes of it the gradient of the tensor.
    pub(super) fn meet_gradients(&self, unit: usize, count: usize) {
        let stage = &self.stages[unit];
        if !stage.unit.wants_gradient {
            return;
        }
        let mut sums = vec![[0.0; 2]; stage.unit.shape.channels];
        for group in 0..self.groups_of(count) {
            for (sum, new) in sums.iter_mut().zip(&stage.g(group).sums) {
                *sum = [sum[0] + new[0], sum[1] + new[1]];
            }
        }
        let Some(norm) = stage.unit.batch_norm else {
            if let Some(at) = stage.unit.parameter.filter(|_| stage.unit.bias) {
                self.parameter_mut(at + 1).gradient = sums.iter().map(|sum| sum[0] as f32).collect();
            }
            return;
        };
        let n = (count * plane(stage.unit.shape)) as f64;
        let mut derived = stage.derived_mut();
        let (mut gamma, mut beta) = (self.parameter_mut(norm.parameter), self.parameter_mut(norm.parameter + 1));
        for (channel, sums) in sums.into_iter().enumerate() {
            let batch = derived.batch[channel];
            let (d, [d_gamma, d_beta]) = backward(batch, gamma.value[channel], norm.eps, sums, n);
            derived.channels[channel].d = d;
            (gamma.gradient[channel], beta.gradient[channel]) = (d_gamma, d_beta);
        }
    }

    /// Gradient of a unit's weight, and the step of all its parameters.
    pub(super) fn finish(&self, unit: usize, groups: usize, count: usize, update: Option<&Update<'_>>) {
        let stage = &self.stages[unit];
        if let Some(at) = stage.unit.parameter {
            let gradient = &mut self.parameter_mut(at).gradient;
            if stage.unit.work == Work::Linear {
                gradient.clear();
                stage
                    .parts
                    .iter()
                    .for_each(|part| gradient.extend_from_slice(&part.lock().expect("no thread has panicked")));
            } else {
                gradient.fill(0.0);
                for part in &stage.parts[..groups] {
                    let part = part.lock().expect("no thread has panicked");
                    gradient.iter_mut().zip(&*part).for_each(|(sum, part)| *sum += part);
                }
            }
        }
        let Some(update) = update else { return };
        positions(&stage.unit).for_each(|at| advance(&mut self.parameter_mut(at), update));
        if let Some(norm) = stage.unit.batch_norm {
            let n = (count * plane(stage.unit.shape)) as f64;
            let correction = if self.variance == Variance::Unbiased { n / (n - 1.0) } else { 1.0 };
            let (derived, momentum) = (stage.derived(), update.bn_momentum);
            for (role, factor) in [(2, 1.0), (3, correction)] {
                for (moving, batch) in self.parameter_mut(norm.parameter + role).value.iter_mut().zip(&derived.batch) {
                    let new = factor * batch[role - 2];
                    *moving = ((1.0 - momentum) * f64::from(*moving) + momentum * new) as f32;
                }
            }
        }
        self.pack(unit);
    }

    /// Lays a unit's weight out as its passes read it.
    fn pack(&self, unit: usize) {
        let stage = &self.stages[unit];
        let (Some(passes), Some(at)) = (&stage.passes, stage.unit.parameter) else { return };
        let weight = self.parameter(at);
        let mut derived = stage.derived_mut();
        passes.iter().zip(&mut derived.packed).for_each(|(pass, packed)| pass.pack(&weight.value, packed));
    }

    /// Takes over a model's values.
    pub(super) fn set_values(&self, from: &Parameters) {
        for (at, tensor) in from.tensors.iter().enumerate() {
            self.parameter_mut(at).value = tensor.iter().map(|&value| value as f32).collect();
        }
        (0..self.stages.len()).for_each(|unit| self.pack(unit));
    }

    /// A copy of one number of every parameter.
    pub(super) fn copy(&self, of: impl Fn(&Parameter) -> &Vec<f32>) -> Parameters {
        let tensor = |at| of(&self.parameter(at)).iter().map(|&value| f64::from(value)).collect();
        let tensors = (0..self.parameters.len()).map(tensor).collect();
        Parameters { network: self.network.clone(), tensors, variance: self.variance }
    }

    /// What an optimiser remembers, as f64.
    pub(super) fn copy_moments(&self) -> Option<Moments<f64>> {
        let of = |which: usize| self.copy(|parameter| &parameter.moments[which]).tensors;
        self.has_moments.then(|| Moments { first: of(0), second: of(1) })
    }

    /// Replaces what an optimiser remembers.
    pub(super) fn replace_moments(&mut self, moments: &Moments<f64>) {
        for (at, (first, second)) in moments.first.iter().zip(&moments.second).enumerate() {
            self.parameter_mut(at).moments = [first, second].map(|m| m.iter().map(|&value| value as f32).collect());
        }
        self.has_moments = true;
    }
}

/// One step of a parameter: see [`Coefficients`].
fn advance(parameter: &mut Parameter, update: &Update<'_>) {
    let Parameter { value, gradient, moments: [first, second], role, treatment } = parameter;
    update.bn_fixed.hold(*role, gradient);
    let Coefficients { rate, decay, root } = update.coefficients;
    let (rate, decay, root) = (rate as f32, decay as f32, root as f32);
    if update.optimizer == Optimizer::Sgd {
        if role.is_trained() {
            value.iter_mut().zip(gradient).for_each(|(value, gradient)| *value -= rate * *gradient);
        }
        return;
    }
    let decay = match treatment {
        Treatment::Keep => return,
        Treatment::Step => 0.0,
        Treatment::StepAndDecay => decay,
    };
    let [beta1, beta2, eps] = [BETA1, BETA2, ADAM_EPS].map(|value| value as f32);
    for ((value, &mut gradient), (first, second)) in value.iter_mut().zip(gradient).zip(first.iter_mut().zip(second)) {
        *first = beta1 * *first + (1.0 - beta1) * gradient;
        *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
        *value -= decay * *value;
        *value -= rate * *first / (root * second.sqrt() + eps);
    }
}
