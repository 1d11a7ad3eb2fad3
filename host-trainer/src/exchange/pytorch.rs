//! PyTorch `state_dict`s in safetensors, for a network that is described elsewhere.
//!
//! Two vocabularies are read: that of `nn.BatchNorm2d/1d` (`1.weight, 1.bias, 1.running_mean, 1.running_var`, and
//! `num_batches_tracked` where it is there) and that of d2l's own layer (`1.gamma, 1.beta, 1.moving_mean, 1.moving_var`, of
//! shape `[1, C, 1, 1]` or `[1, C]`). [`super::modules`] finds the nodes. A bias that is missing is zeros, a missing pair of
//! gamma and beta ones and zeros, a missing BatchNorm one that changes nothing: it was folded. PyTorch's names are written.

use std::collections::BTreeMap;
use std::path::Path;

use bn_core::network::{Parameter, Role};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::modules::{self, COUNTER, Modules, names, same_shape};
use super::{ImportOptions, Source};
use crate::error::{Error, Result};
use crate::model::lenet::pass_through_variance;
use crate::model::parameters::{Parameters, Variance};
use crate::model::state_dict::StateDict;
use crate::network::Network;

const REMEDY: &str =
    "save it with safetensors.torch.save_file(model.state_dict(), FILE), and name its network with --network";

/// A model out of a file.
pub(super) struct Read {
    /// The model.
    pub(super) parameters: Parameters,
    /// Batches that its statistics have seen, where the file says.
    pub(super) batches_tracked: u64,
    /// What was filled in or renamed, one line each.
    pub(super) notes: Vec<String>,
}

/// Reads a `state_dict` of floats of any width in any order; `path` is for messages.
///
/// # Errors
/// [`crate::Error::BadFile`] with the first thing that is wrong.
pub(super) fn read(path: &Path, bytes: &[u8], options: &ImportOptions) -> Result<(Read, Source)> {
    let file = StateDict::parse(path, bytes, REMEDY)?;
    let mut network = options.network.clone().unwrap_or_else(Network::lenet);
    if let Some(eps) = options.eps {
        let with_eps = network.with_eps(eps);
        network = std::sync::Arc::new(with_eps.map_err(|fault| file.damaged(fault.to_string()))?);
    }
    let shapes = file.shapes();
    let tensors: Vec<(&str, &[usize])> = shapes.iter().map(|(name, shape)| (&**name, &**shape)).collect();
    let (all, prefix) = modules::group(&tensors, &network);
    let found = modules::assign(&all, &network).map_err(|problem| file.damaged(problem))?;
    let source = vocabulary(&all);
    // Folding gives a layer a bias that it did not have.
    let has_bias =
        |(_, module): &(&usize, &Option<&str>)| module.is_some_and(|module| all[module].contains_key("bias"));
    let with_bias: Vec<usize> = found.iter().filter(has_bias).map(|(&node, _)| node).collect();
    let network = std::sync::Arc::new(network.with_biases(&with_bias));
    let mut reader = Reader { file: &file, modules: &all, prefix, notes: Vec::new(), batches_tracked: 0 };
    if !prefix.is_empty() {
        reader.notes.push(format!("names begin behind {prefix:?}"));
    }
    let variance = options.variance.unwrap_or(source.variance());
    let mut parameters = Parameters::zero(&network, variance);
    for (&node, module) in &found {
        match module {
            Some(module) => reader.node(&mut parameters, node, module)?,
            None => {
                let eps = network.eps(node);
                parameters.of_mut(node)[3].fill(f64::from(pass_through_variance(eps)));
                reader.notes.push(format!(
                    "module {} is a BatchNorm that changes nothing: it was folded away",
                    network.module(node)
                ));
            }
        }
    }
    reader.refuse_unknown(&found)?;
    let Reader { notes, batches_tracked, .. } = reader;
    Ok((Read { parameters, batches_tracked, notes }, source))
}

struct Reader<'a> {
    file: &'a StateDict<'a>,
    modules: &'a Modules<'a>,
    prefix: &'a str,
    notes: Vec<String>,
    batches_tracked: u64,
}

impl Reader<'_> {
    /// All tensors of a node.
    fn node(&mut self, parameters: &mut Parameters, node: usize, module: &str) -> Result<()> {
        let network = parameters.network.clone();
        let here = &self.modules[module];
        if network.module(node) != module {
            self.notes.push(format!("module {module} is node {}", network.module(node)));
        }
        let specs: Vec<&Parameter> = network.parameters().iter().filter(|p| p.node == node).collect();
        let name_of = |role: Role| names(role).iter().copied().find(|name| here.contains_key(name));
        let lacks_affine = name_of(Role::Gamma).is_none() && name_of(Role::Beta).is_none();
        for (spec, values) in specs.iter().zip(parameters.of_mut(node)) {
            let Some(name) = name_of(spec.role) else {
                match spec.role {
                    Role::Bias => self.notes.push(format!("module {module} has no bias; it is zeros")),
                    Role::Gamma if lacks_affine => {
                        self.notes.push(format!("module {module} has no gamma and beta; they are 1 and 0"));
                    }
                    Role::Beta if lacks_affine => {}
                    role => return Err(self.lacks(module, role)),
                }
                continue;
            };
            let full = self.full(module, name);
            if !same_shape(here[name], spec) {
                let wanted = spec.dims.as_slice();
                let problem = format!("tensor {full} has the shape {:?}, the network's is {wanted:?}", here[name]);
                return Err(self.file.damaged(problem));
            }
            // A checkpoint holds f32: round here, so that what was imported is what is read back.
            *values = self.file.floats(&full, spec.role, &[Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16])?;
            values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        }
        if specs[0].role == Role::Gamma {
            let count = self.file.counter(&self.full(module, COUNTER))?.unwrap_or(0);
            self.batches_tracked = self.batches_tracked.max(count);
        }
        Ok(())
    }

    fn full(&self, module: &str, name: &str) -> String {
        let dot = if module.is_empty() { "" } else { "." };
        format!("{}{module}{dot}{name}", self.prefix)
    }

    /// A tensor that cannot be done without.
    fn lacks(&self, module: &str, role: Role) -> Error {
        let name = self.full(module, names(role)[usize::from(self.modules[module].contains_key("gamma"))]);
        let there = modules::list(self.modules);
        let problem = match role {
            Role::RunningMean | Role::RunningVar => format!(
                "it has no tensor {name}: d2l's layer keeps its statistics as plain attributes, which no state_dict holds, until \
                 `register_buffer` saves them (docs/chapter.md); it has {there}"
            ),
            _ => format!("it has no tensor {name}; it has {there}"),
        };
        self.file.damaged(problem)
    }

    /// Every tensor of the file belongs to a node.
    fn refuse_unknown(&self, found: &BTreeMap<usize, Option<&str>>) -> Result<()> {
        for (module, tensors) in self.modules {
            let is_assigned = found.values().flatten().any(|name| name == module);
            let known = |name: &str| name == COUNTER || ROLES.iter().any(|&role| names(role).contains(&name));
            if let Some(name) = tensors.keys().find(|name| !is_assigned || !known(name)) {
                let name = self.full(module, name);
                return Err(self.file.damaged(format!("it has a tensor {name}, which the network has not")));
            }
        }
        Ok(())
    }
}

const ROLES: [Role; 6] = [Role::Weight, Role::Bias, Role::Gamma, Role::Beta, Role::RunningMean, Role::RunningVar];

impl Source {
    fn variance(self) -> Variance {
        if self == Source::D2l { Variance::Biased } else { Variance::Unbiased }
    }
}

fn vocabulary(modules: &Modules<'_>) -> Source {
    let of_d2l = |name: &&str| ["gamma", "beta", "moving_mean", "moving_var"].contains(name);
    if modules.values().flat_map(BTreeMap::keys).any(of_d2l) { Source::D2l } else { Source::Torch }
}

/// The bytes of a `state_dict` that `load_state_dict(strict=True)` takes; `modules` are the names of the nodes' modules. Of a
/// folded model that is a network with `nn.Identity()` where BatchNorm stood.
pub(super) fn to_bytes(parameters: &Parameters, modules: &[String], batches_tracked: u64) -> Vec<u8> {
    let network = &parameters.network;
    let mut tensors = Vec::new();
    for (parameter, values) in network.parameters().iter().zip(&parameters.tensors) {
        let data: Vec<u8> = values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
        let name = format!("{}.{}", modules[parameter.node], parameter.role.name());
        tensors.push((name, Dtype::F32, parameter.dims.as_slice().to_vec(), data));
    }
    let counter = |node: usize| format!("{}.{COUNTER}", modules[node]);
    tensors
        .extend(network.batch_norms().map(|n| (counter(n), Dtype::I64, vec![], batches_tracked.to_le_bytes().into())));
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), data).expect("as many bytes as the shape has"))
    });
    safetensors::serialize(views, None).expect("sound tensors make a sound file")
}

#[cfg(test)]
mod tests;
