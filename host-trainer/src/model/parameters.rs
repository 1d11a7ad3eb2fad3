//! Every number of a model on the host: the network and its tensors. The form in which models pass between engines,
//! checkpoints, other programs' files and the exporter.

use std::sync::Arc;

use bn_core::network::Role;

use crate::network::Network;

/// Which variance the moving statistics track. Normalisation itself always uses the biased one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Variance {
    /// Divide by n, as d2l's from-scratch BatchNorm does.
    Biased,
    /// Divide by n - 1, as PyTorch's `nn.BatchNorm` does.
    Unbiased,
}

impl Variance {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Variance::Biased => "biased",
            Variance::Unbiased => "unbiased",
        }
    }
}

/// A network and all its tensors. Values are held as f64, which keeps every f32 exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// The network. Each BatchNorm's `eps` is in its node.
    pub network: Arc<Network>,
    /// One flat row-major vector a tensor, in the order of [`Network::parameters`].
    pub tensors: Vec<Vec<f64>>,
    /// What `running_var` holds.
    pub variance: Variance,
}

impl Parameters {
    /// All weights zero, BatchNorm untouched: gamma 1, beta 0, mean 0, variance 1.
    pub fn zero(network: &Arc<Network>, variance: Variance) -> Self {
        let untouched = |role| if matches!(role, Role::Gamma | Role::RunningVar) { 1.0 } else { 0.0 };
        let tensors = network.parameters().iter().map(|p| vec![untouched(p.role); p.dims.len()]).collect();
        Self { network: network.clone(), tensors, variance }
    }

    /// Position of the tensor of that `state_dict` name.
    ///
    /// # Panics
    /// If the network has no tensor of that name.
    pub fn index(&self, name: &str) -> usize {
        self.network.index(name).unwrap_or_else(|| panic!("the network has no tensor {name}"))
    }

    /// The tensor of that `state_dict` name.
    ///
    /// # Panics
    /// If the network has no tensor of that name.
    pub fn get(&self, name: &str) -> &[f64] {
        &self.tensors[self.index(name)]
    }

    /// The tensor of that `state_dict` name, to be changed.
    ///
    /// # Panics
    /// If the network has no tensor of that name.
    pub fn get_mut(&mut self, name: &str) -> &mut Vec<f64> {
        let at = self.index(name);
        &mut self.tensors[at]
    }

    /// A node's tensors, in the order of its [`Op::roles`](bn_core::network::Op::roles).
    pub fn of(&self, node: usize) -> &[Vec<f64>] {
        let Some(first) = self.network.first_parameter(node) else { return &[] };
        &self.tensors[first..first + self.network.nodes()[node].op.roles().len()]
    }

    /// [`of`](Self::of), to be changed.
    pub fn of_mut(&mut self, node: usize) -> &mut [Vec<f64>] {
        let Some(first) = self.network.first_parameter(node) else { return &mut [] };
        &mut self.tensors[first..first + self.network.nodes()[node].op.roles().len()]
    }
}
