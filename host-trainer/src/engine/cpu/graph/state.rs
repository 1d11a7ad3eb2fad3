//! What the engine keeps: the numbers of the network, and the tensors of every unit for every group of examples.

use std::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bn_core::network::{Conv2d, Op, Role, Shape};

use super::pass::Pass;
use super::plan::{Unit, Work};
use super::read::{Coefficients, Curve};
use crate::engine::steps::Treatment;
use crate::network::Network;

/// Groups whose outputs a linear layer computes at once, as positions of one row.
pub(super) const BUNCH: usize = 3;

/// Output rows of a linear layer's weight that one task makes the gradient of.
pub(super) const BLOCK: usize = 16;

/// One tensor of one group of examples, and of each channel two sums over it: of a unit's values the mean and the squared distances from
/// it; of gradients themselves and their products with the distance from the batch's mean.
pub(super) struct Tensor<V> {
    pub(super) values: Vec<V>,
    pub(super) sums: Vec<[f64; 2]>,
}

/// What follows from a unit's parameters and from the batch.
pub(super) struct Derived {
    /// Weights as the forward and the backward pass read them.
    pub(super) packed: [Vec<f32>; 2],
    /// Of each channel.
    pub(super) channels: Vec<Coefficients>,
    /// Of each channel mean and biased variance of the batch.
    pub(super) batch: Vec<[f64; 2]>,
}

/// A unit with its tensors.
pub(super) struct Stage<V> {
    pub(super) unit: Unit,
    pub(super) curve: Curve,
    /// Forward and backward pass of a convolution or linear layer.
    pub(super) passes: Option<[Pass; 2]>,
    pub(super) derived: RwLock<Derived>,
    z: Vec<RwLock<Tensor<V>>>,
    g: Vec<RwLock<Tensor<V>>>,
    /// Gradients of the weight: of a convolution by groups of examples, of a linear layer by blocks of rows.
    pub(super) parts: Vec<Mutex<Vec<f32>>>,
}

/// One of the network's tensors.
pub(super) struct Parameter {
    pub(super) value: Vec<f32>,
    pub(super) gradient: Vec<f32>,
    /// What the optimiser remembers: running means of the gradient and of its square.
    pub(super) moments: [Vec<f32>; 2],
    pub(super) role: Role,
    pub(super) treatment: Treatment,
}

/// Values of a channel.
pub(super) fn plane(shape: Shape) -> usize {
    shape.height * shape.width
}

/// A convolution with a window of one position, for a linear layer whose positions are groups.
pub(super) fn pointwise(outputs: usize) -> Conv2d {
    Conv2d::new(outputs, 1)
}

impl<V: bytemuck::Zeroable + Clone> Stage<V> {
    pub(super) fn new(unit: Unit, input: Option<Shape>) -> Self {
        let passes = match (unit.work, input) {
            (Work::Conv(conv), Some(input)) => Some(Pass::pair(&conv, input, unit.shape)),
            (Work::Linear, Some(input)) => {
                let conv = pointwise(unit.shape.channels);
                let [input, output] = [input, unit.shape].map(|shape| Shape::new(shape.channels, 1, BUNCH));
                Some(Pass::pair(&conv, input, output))
            }
            _ => None,
        };
        let curve = Curve::of(unit.activation);
        let channels = vec![Coefficients::NONE; unit.shape.channels];
        let derived = Derived { packed: Default::default(), batch: vec![[0.0; 2]; channels.len()], channels };
        Self { curve, passes, derived: RwLock::new(derived), z: Vec::new(), g: Vec::new(), parts: Vec::new(), unit }
    }

    /// Makes room for so many groups; `trains` asks for gradients too.
    pub(super) fn reserve(&mut self, groups: usize, trains: bool) {
        let tensor = |shape: Shape| {
            let values = vec![V::zeroed(); shape.len()];
            RwLock::new(Tensor { values, sums: vec![[0.0; 2]; shape.channels] })
        };
        self.z.resize_with(groups.max(self.z.len()), || tensor(self.unit.shape));
        if !trains || !self.unit.wants_gradient {
            return;
        }
        self.g.resize_with(groups.max(self.g.len()), || tensor(self.unit.shape));
        let parts = match (self.unit.work, &self.passes) {
            (Work::Linear, _) => self.unit.shape.channels.div_ceil(BLOCK),
            (_, Some(_)) => groups,
            _ => 0,
        };
        self.parts.resize_with(parts.max(self.parts.len()), Mutex::default);
    }

    /// Values of the weight.
    pub(super) fn weights(&self) -> usize {
        let Some([pass, _]) = &self.passes else { return 0 };
        pass.phases[0].taps.len() * pass.to.channels
    }

    pub(super) fn z(&self, group: usize) -> RwLockReadGuard<'_, Tensor<V>> {
        self.z[group].read().expect("no thread has panicked")
    }

    pub(super) fn z_mut(&self, group: usize) -> RwLockWriteGuard<'_, Tensor<V>> {
        self.z[group].write().expect("no thread has panicked")
    }

    pub(super) fn g(&self, group: usize) -> RwLockReadGuard<'_, Tensor<V>> {
        self.g[group].read().expect("no thread has panicked")
    }

    pub(super) fn g_mut(&self, group: usize) -> RwLockWriteGuard<'_, Tensor<V>> {
        self.g[group].write().expect("no thread has panicked")
    }

    pub(super) fn derived(&self) -> RwLockReadGuard<'_, Derived> {
        self.derived.read().expect("no thread has panicked")
    }

    pub(super) fn derived_mut(&self) -> RwLockWriteGuard<'_, Derived> {
        self.derived.write().expect("no thread has panicked")
    }
}

/// The parameters of a network, zero.
pub(super) fn parameters(network: &Network) -> Vec<RwLock<Parameter>> {
    let treatments = crate::engine::steps::treatments(network);
    let zero = |(spec, treatment): (&bn_core::network::Parameter, Treatment)| {
        let zero = vec![0.0; spec.dims.len()];
        let moments = [zero.clone(), zero.clone()];
        RwLock::new(Parameter { value: zero.clone(), gradient: zero, moments, role: spec.role, treatment })
    };
    network.parameters().iter().zip(treatments).map(zero).collect()
}

/// Positions of a unit's own parameters and of its BatchNorm's.
pub(super) fn positions(unit: &Unit) -> impl Iterator<Item = usize> + use<> {
    let own = unit.parameter.map_or(0..0, |at| at..at + 1 + usize::from(unit.bias));
    let norm =
        unit.batch_norm.map_or(0..0, |norm| norm.parameter..norm.parameter + Op::BatchNorm { eps: 0.0 }.roles().len());
    own.chain(norm)
}
