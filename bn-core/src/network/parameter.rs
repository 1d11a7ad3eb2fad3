//! The tensors of a network's parameters, in the order and under the names of PyTorch.

use super::{Op, Shape, Topology};

/// What a tensor of the network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weights of a convolution or linear layer.
    Weight,
    /// Bias of a convolution or linear layer.
    Bias,
    /// BatchNorm's learned scale.
    Gamma,
    /// BatchNorm's learned shift.
    Beta,
    /// BatchNorm's moving mean; tracked, not trained.
    RunningMean,
    /// BatchNorm's moving variance; tracked, not trained.
    RunningVar,
}

impl Role {
    /// Whether gradient descent changes it.
    pub const fn is_trained(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVar)
    }

    /// Its name within a module of PyTorch: `weight`, `bias`, `running_mean`, `running_var`.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Weight | Role::Gamma => "weight",
            Role::Bias | Role::Beta => "bias",
            Role::RunningMean => "running_mean",
            Role::RunningVar => "running_var",
        }
    }
}

/// Up to four dimensions of a tensor, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    dims: [usize; 4],
    rank: usize,
}

impl Dims {
    const fn of<const N: usize>(from: [usize; N]) -> Self {
        let (mut dims, mut i) = ([1; 4], 0);
        while i < N {
            dims[i] = from[i];
            i += 1;
        }
        Self { dims, rank: N }
    }

    /// The dimensions, outermost first.
    pub const fn as_slice(&self) -> &[usize] {
        self.dims.split_at(self.rank).0
    }

    /// Number of values.
    pub const fn len(&self) -> usize {
        self.dims[0] * self.dims[1] * self.dims[2] * self.dims[3]
    }

    /// Whether it holds no value; no tensor of a sound network does.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One tensor of a network's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Position of the node that it belongs to.
    pub node: usize,
    /// What it is for.
    pub role: Role,
    /// `[out, in / groups, kernel height, kernel width]`, `[out, in]` or `[channels]`.
    pub dims: Dims,
}

const LAYER: [Role; 2] = [Role::Weight, Role::Bias];
const BATCH_NORM: [Role; 4] = [Role::Gamma, Role::Beta, Role::RunningMean, Role::RunningVar];

impl Op {
    /// What its tensors are for, in the order of PyTorch's `state_dict`.
    pub const fn roles(&self) -> &'static [Role] {
        match *self {
            Op::Conv2d(conv) => LAYER.split_at(1 + conv.bias as usize).0,
            Op::Linear { bias, .. } => LAYER.split_at(1 + bias as usize).0,
            Op::BatchNorm { .. } => &BATCH_NORM,
            _ => &[],
        }
    }

    /// Shape of its tensor of that role, for an input of that shape.
    const fn dims(&self, role: Role, input: Shape) -> Dims {
        match (*self, role) {
            (Op::Conv2d(conv), Role::Weight) => {
                Dims::of([conv.channels, input.channels / conv.groups, conv.kernel[0], conv.kernel[1]])
            }
            (Op::Linear { outputs, .. }, Role::Weight) => Dims::of([outputs, input.len()]),
            _ => Dims::of([self.output(input).channels]),
        }
    }
}

impl<'a> Topology<'a> {
    /// Every tensor, in the order of PyTorch's `state_dict`: node by node.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> + use<'a> {
        let topology = *self;
        (0..self.nodes.len()).flat_map(move |node| {
            let (op, input) = (topology.nodes[node].op, topology.input_of(node));
            op.roles().iter().map(move |&role| Parameter { node, role, dims: op.dims(role, input) })
        })
    }

    /// Tensor number `index` of [`parameters`](Self::parameters), where there is one.
    pub const fn parameter(&self, index: usize) -> Option<Parameter> {
        let (mut node, mut left) = (0, index);
        while node < self.nodes.len() {
            let op = &self.nodes[node].op;
            let roles = op.roles();
            if left < roles.len() {
                return Some(Parameter { node, role: roles[left], dims: op.dims(roles[left], self.input_of(node)) });
            }
            left -= roles.len();
            node += 1;
        }
        None
    }

    /// Numbers that gradient descent changes: weights, biases, gammas and betas.
    pub const fn trained_parameters(&self) -> usize {
        let (mut sum, mut index) = (0, 0);
        while let Some(parameter) = self.parameter(index) {
            if parameter.role.is_trained() {
                sum += parameter.dims.len();
            }
            index += 1;
        }
        sum
    }
}
