//! Every number of a model on the host: the tensors of [`bn_core::lenet::TENSORS`], their `eps`, and the convention of
//! their statistics. The form in which models pass between engines, checkpoints and the exporter.

use bn_core::batch_norm::DEFAULT_EPS;
use bn_core::lenet::{LeNet, TENSOR_COUNT, TENSORS};

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

/// All tensors of the unfolded network. Values are held as f64, which keeps every f32 exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// One flat row-major vector a tensor, in the order of [`TENSORS`].
    pub tensors: [Vec<f64>; TENSOR_COUNT],
    /// BatchNorm's `eps`, one for all layers.
    pub eps: f64,
    /// What `running_var` holds.
    pub variance: Variance,
}

impl Parameters {
    /// All weights zero, BatchNorm untouched.
    pub fn zero(variance: Variance) -> Self {
        let tensors = LeNet::zero().tensors().map(|t| t.iter().map(|&v| f64::from(v)).collect());
        Self { tensors, eps: f64::from(DEFAULT_EPS), variance }
    }

    /// The tensor of that `state_dict` name.
    ///
    /// # Panics
    /// If the network has no tensor of that name.
    pub fn get(&self, name: &str) -> &[f64] {
        &self.tensors[index(name)]
    }

    /// The tensor of that `state_dict` name, to be changed.
    ///
    /// # Panics
    /// If the network has no tensor of that name.
    pub fn get_mut(&mut self, name: &str) -> &mut Vec<f64> {
        &mut self.tensors[index(name)]
    }

    /// As bn-core's network, every value rounded to f32.
    pub fn to_lenet(&self) -> Box<LeNet> {
        let mut net = Box::new(LeNet::zero());
        net.set_eps(self.eps as f32);
        for (to, from) in net.tensors_mut().into_iter().zip(&self.tensors) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from as f32;
            }
        }
        net
    }
}

/// Position in [`TENSORS`] of a `state_dict` name.
///
/// # Panics
/// If the network has no tensor of that name.
pub fn index(name: &str) -> usize {
    TENSORS.iter().position(|t| t.name == name).unwrap_or_else(|| panic!("the network has no tensor {name}"))
}
