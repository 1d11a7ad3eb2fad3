//! What a call of [`Engine::train_steps`](super::Engine::train_steps) does with its batches: the optimiser, and the numbers
//! of each step. They are worked out here, in f64, so that every engine takes the same steps.

use bn_core::network::{Op, Role, Value};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::distill::Soft;
use super::{MOMENTUM, Totals};
use crate::network::Network;

/// One flat row-major vector a tensor, in the order of [`Network::parameters`].
pub type Tensors<T> = Vec<Vec<T>>;

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// `parameter -= lr * gradient`
    Sgd,
    /// Gradient descent along a running sum of gradients, in which an older one counts [`BETA1`] of the next, with decoupled
    /// weight decay (SGDW of the paper below)
    Momentum,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization")
    Adamw,
}

impl Optimizer {
    /// Whether it remembers anything between steps: has [`Moments`].
    pub fn has_moments(self) -> bool {
        self != Self::Sgd
    }
}

/// Which of BatchNorm's learned parameters stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Fixed {
    /// Neither: both are trained
    #[default]
    None,
    /// The scales
    Gamma,
    /// The shifts
    Beta,
    /// Scales and shifts: BatchNorm normalises and no more
    Both,
}

impl Fixed {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gamma => "gamma",
            Self::Beta => "beta",
            Self::Both => "both",
        }
    }

    /// In words.
    pub fn described(self) -> &'static str {
        if self == Self::Both { "gamma and beta" } else { self.name() }
    }

    /// Whether a parameter of that role is held.
    pub fn holds(self, role: Role) -> bool {
        match role {
            Role::Gamma => matches!(self, Self::Gamma | Self::Both),
            Role::Beta => matches!(self, Self::Beta | Self::Both),
            _ => false,
        }
    }

    /// Takes away the gradient of a parameter of that role, if it is held.
    pub fn hold<T: Copy + From<f32>>(self, role: Role, gradient: &mut [T]) {
        if self.holds(role) {
            gradient.fill(T::from(0.0));
        }
    }
}

/// AdamW's and momentum's weight of the old mean of gradients.
pub const BETA1: f64 = 0.9;
/// AdamW's weight of the old mean of squared gradients.
pub const BETA2: f64 = 0.999;
/// Keeps AdamW from dividing by zero.
pub const ADAM_EPS: f64 = 1e-8;

/// The steps of one call.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// Examples a step; at least 2.
    pub batch_size: usize,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// One learning rate a step.
    pub lrs: &'a [f64],
    /// Share of a weight that a step of rate 1 takes off. Not with plain gradient descent.
    pub weight_decay: f64,
    /// Steps that the optimiser took before this call.
    pub before: u64,
    /// Share of every label that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// Weight of the newest batch in BatchNorm's moving statistics, above 0 and at most 1.
    pub bn_momentum: f64,
    /// What of BatchNorm is not trained. Its gradient counts as zero, so that every optimiser leaves it.
    pub bn_fixed: Fixed,
    /// What a teacher says of the samples, where there is one.
    pub soft: Option<Soft<'a>>,
}

impl<'a> Steps<'a> {
    /// Plain gradient descent.
    pub fn sgd(batch_size: usize, lrs: &'a [f64]) -> Self {
        Self {
            batch_size,
            optimizer: Optimizer::Sgd,
            lrs,
            weight_decay: 0.0,
            before: 0,
            label_smoothing: 0.0,
            bn_momentum: MOMENTUM,
            bn_fixed: Fixed::None,
            soft: None,
        }
    }

    /// Whether BatchNorm has its usual momentum, gamma and beta are trained.
    pub fn trains_batch_norm_as_usual(&self) -> bool {
        self.bn_momentum == MOMENTUM && self.bn_fixed == Fixed::None
    }

    /// Looks at what [`Engine::train_steps`](super::Engine::train_steps) promises to refuse.
    ///
    /// # Panics
    /// If the batch size is 0 or 1, or the order is not `lrs.len()` whole batches.
    pub fn check(&self, order: &[u32]) {
        let Self { batch_size, lrs, .. } = self;
        assert!(*batch_size > 1, "BatchNorm cannot train on batches of {batch_size}; use two examples or more");
        let steps = lrs.len();
        assert_eq!(order.len(), steps * batch_size, "the order is not {steps} whole batches of {batch_size}");
    }

    /// What the teacher says of the samples of step `i` of the call, for a network with so many outputs.
    pub(super) fn soft(&self, i: usize, outputs: usize) -> Option<Soft<'a>> {
        self.soft.map(|soft| soft.part(i * self.batch_size..(i + 1) * self.batch_size, outputs))
    }

    /// The numbers of step `i` of the call.
    pub fn coefficients(&self, i: usize) -> Coefficients {
        let lr = self.lrs[i];
        match self.optimizer {
            Optimizer::Sgd => Coefficients { rate: lr, decay: 0.0, root: 0.0 },
            // In AdamW's step: the mean of gradients is (1 - BETA1) times their sum, squares count for nothing, and what keeps
            // from dividing by zero divides itself away.
            Optimizer::Momentum => {
                Coefficients { rate: lr * ADAM_EPS / (1.0 - BETA1), decay: lr * self.weight_decay, root: 0.0 }
            }
            Optimizer::Adamw => {
                let taken = (self.before + i as u64 + 1) as f64;
                let rate = lr / (1.0 - BETA1.powf(taken));
                let root = 1.0 / (1.0 - BETA2.powf(taken)).sqrt();
                Coefficients { rate, decay: lr * self.weight_decay, root }
            }
        }
    }
}

/// The numbers of one step. With AdamW, and with momentum, which is the same step with a `root` of 0, of a gradient `g`:
///
/// ```text
/// m = BETA1 * m + (1 - BETA1) * g        v = BETA2 * v + (1 - BETA2) * g * g
/// parameter -= decay * parameter (weights only), then rate * m / (root * sqrt(v) + ADAM_EPS)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// Learning rate; with AdamW divided by the first mean's bias correction; with momentum times what makes it one.
    pub rate: f64,
    /// Share of a weight that is taken off.
    pub decay: f64,
    /// The second mean's bias correction.
    pub root: f64,
}

/// What AdamW and momentum remember between steps: running means of the gradients and of their squares (which momentum does not
/// use). An engine that has not taken a step of either has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments<T> {
    /// `m`; zero where nothing is trained.
    pub first: Tensors<T>,
    /// `v`; likewise.
    pub second: Tensors<T>,
}

impl<T: Copy + From<f32>> Moments<T> {
    /// Before the first step.
    pub fn zero(network: &Network) -> Self {
        let zero = || network.parameters().iter().map(|p| vec![T::from(0.0); p.dims.len()]).collect();
        Self { first: zero(), second: zero() }
    }
}

impl<T: Copy> Moments<T> {
    /// In another precision.
    pub fn map<U>(&self, to: impl Fn(T) -> U) -> Moments<U> {
        let tensor = |from: &Vec<T>| from.iter().map(|&value| to(value)).collect();
        let tensors = |from: &Tensors<T>| from.iter().map(tensor).collect();
        Moments { first: tensors(&self.first), second: tensors(&self.second) }
    }
}

/// What AdamW does with a tensor. The numbers are the CUDA kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Treatment {
    /// Nothing: moving statistics, and biases before a BatchNorm. Their gradient is zero, and AdamW would make full steps
    /// of its rounding.
    Keep,
    /// Trained: BatchNorm's gamma and beta, the last layer's bias.
    Step,
    /// Trained, and decayed: the weights of convolutions and linear layers.
    StepAndDecay,
}

/// What AdamW does with each tensor of a network.
pub fn treatments(network: &Network) -> Vec<Treatment> {
    let (topology, nodes) = (network.topology(), network.nodes());
    // A BatchNorm takes off whatever its input has in common: where nothing else reads a layer, its bias has no effect.
    let is_normalized = |node: usize| {
        let mut readers = topology.readers(Value::Node(node)).peekable();
        readers.peek().is_some() && readers.all(|at| matches!(nodes[at].op, Op::BatchNorm { .. }))
    };
    let of = |parameter: &bn_core::network::Parameter| match parameter.role {
        Role::Weight => Treatment::StepAndDecay,
        Role::Bias if is_normalized(parameter.node) => Treatment::Keep,
        role if role.is_trained() => Treatment::Step,
        _ => Treatment::Keep,
    };
    network.parameters().iter().map(of).collect()
}

/// Adds a step's loss and hits; false if the loss is not finite, which ends the call.
pub(super) fn add_step(totals: &mut Totals, step: Totals) -> bool {
    *totals += step;
    step.loss.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_decay_and_biases_before_a_batch_norm_stay() {
        let (lenet, treatments) = (Network::lenet(), treatments(&Network::lenet()));
        let of = |name| treatments[lenet.index(name).unwrap()];
        for name in ["0.weight", "4.weight", "9.weight", "12.weight", "15.weight"] {
            assert_eq!(of(name), Treatment::StepAndDecay, "{name}");
        }
        for name in ["1.weight", "1.bias", "13.weight", "13.bias", "15.bias"] {
            assert_eq!(of(name), Treatment::Step, "{name}");
        }
        for name in ["0.bias", "4.bias", "9.bias", "12.bias", "1.running_mean", "13.running_var"] {
            assert_eq!(of(name), Treatment::Keep, "{name}");
        }
    }

    /// Against the usual form: `sum = BETA1 * sum + g`, `parameter -= lr * sum`.
    #[test]
    fn momentum_is_a_step_along_the_sum_of_gradients() {
        let steps = Steps { optimizer: Optimizer::Momentum, weight_decay: 0.5, ..Steps::sgd(2, &[0.1, 0.2, 0.1]) };
        let (mut mean, mut sum) = (0.0, 0.0);
        for (i, (&lr, g)) in steps.lrs.iter().zip([3.0, -1.0, 1e-3]).enumerate() {
            (mean, sum) = (BETA1 * mean + (1.0 - BETA1) * g, BETA1 * sum + g);
            let Coefficients { rate, decay, root } = steps.coefficients(i);
            assert!((rate * mean / (root * f64::sqrt(g * g) + ADAM_EPS) - lr * sum).abs() < 1e-12);
            assert_eq!((decay, root), (lr * 0.5, 0.0));
        }
    }

    /// A constant gradient: the corrected means are the gradient and its square from the first step on.
    #[test]
    fn the_first_steps_of_adamw_are_as_long_as_the_rate() {
        let steps = Steps { optimizer: Optimizer::Adamw, weight_decay: 0.5, ..Steps::sgd(2, &[0.1, 0.2, 0.1]) };
        let (mut m, mut v) = (0.0, 0.0);
        for (i, &lr) in steps.lrs.iter().enumerate() {
            (m, v) = (BETA1 * m + (1.0 - BETA1) * 3.0, BETA2 * v + (1.0 - BETA2) * 9.0);
            let Coefficients { rate, decay, root } = steps.coefficients(i);
            assert!((rate * m / (root * f64::sqrt(v) + ADAM_EPS) - lr).abs() < 1e-9);
            assert_eq!(decay, lr * 0.5);
        }
        let later = Steps { before: 2, lrs: &[0.1], ..steps };
        assert_eq!(later.coefficients(0), steps.coefficients(2));
    }
}
