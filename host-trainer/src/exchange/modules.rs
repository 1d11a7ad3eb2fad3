//! Which module of a state_dict belongs to which node of a network: by name, behind a common prefix, or, where names tell
//! nothing, by shapes, if those leave one meaning.

use std::collections::{BTreeMap, BTreeSet};

use bn_core::network::{Op, Parameter, Role};

use crate::network::Network;

/// A module of a file: its tensors' shapes by their last name.
pub(super) type Modules<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a [usize]>>;

/// The names that a tensor of that role may have: PyTorch's and d2l's.
pub(super) fn names(role: Role) -> &'static [&'static str] {
    match role {
        Role::Weight => &["weight"],
        Role::Bias => &["bias"],
        Role::Gamma => &["weight", "gamma"],
        Role::Beta => &["bias", "beta"],
        Role::RunningMean => &["running_mean", "moving_mean"],
        Role::RunningVar => &["running_var", "moving_var"],
    }
}

/// What PyTorch's BatchNorm counts its batches with.
pub(super) const COUNTER: &str = "num_batches_tracked";

/// The file's modules, a common prefix taken off, and that prefix.
pub(super) fn group<'a>(tensors: &[(&'a str, &'a [usize])], network: &Network) -> (Modules<'a>, &'a str) {
    let split = |name: &'a str| name.rsplit_once('.').unwrap_or(("", name));
    let known: BTreeSet<_> = (0..network.nodes().len()).map(|node| network.module(node).into_owned()).collect();
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| *name).collect();
    let mut prefix = "";
    // As long as no module is known, what all names begin with is not a name.
    while !names.iter().any(|name| known.contains(split(name).0)) {
        let Some(first) =
            names.first().and_then(|name| split(name).0.split('.').next()).filter(|first| !first.is_empty())
        else {
            break;
        };
        let rest: Option<Vec<_>> =
            names.iter().map(|name| name.strip_prefix(first).and_then(|rest| rest.strip_prefix('.'))).collect();
        let Some(rest) = rest.filter(|rest| rest.iter().all(|name| name.contains('.'))) else { break };
        prefix = &tensors[0].0[..prefix.len() + first.len() + 1];
        names = rest;
    }
    let mut modules = Modules::new();
    for (name, (_, shape)) in names.iter().zip(tensors) {
        let (module, tensor) = split(name);
        modules.entry(module).or_default().insert(tensor, *shape);
    }
    (modules, prefix)
}

/// For each node with parameters the file's module, `None` for a BatchNorm that the file does not have.
///
/// # Errors
/// What does not fit, and the modules that are there.
pub(super) fn assign<'a>(modules: &Modules<'a>, network: &Network) -> Result<BTreeMap<usize, Option<&'a str>>, String> {
    let nodes: Vec<usize> =
        (0..network.nodes().len()).filter(|&node| !network.nodes()[node].op.roles().is_empty()).collect();
    let by_name = |node: usize| modules.get_key_value(&*network.module(node)).map(|(name, _)| *name);
    let is_batch_norm = |node: usize| matches!(network.nodes()[node].op, Op::BatchNorm { .. });
    let named: BTreeMap<_, _> = nodes.iter().map(|&node| (node, by_name(node))).collect();
    if named.iter().all(|(&node, name)| name.is_some() || is_batch_norm(node)) {
        return Ok(named);
    }
    let missing = nodes.iter().find(|node| named[node].is_none() && !is_batch_norm(**node));
    if let Some(&node) = missing
        && named.values().any(Option::is_some)
    {
        return Err(format!("it has no tensor {}.weight; it has {}", network.module(node), list(modules)));
    }
    by_shape(modules, network, &nodes)
}

/// Nodes and modules of which each fits one other alone, again and again.
fn by_shape<'a>(
    modules: &Modules<'a>,
    network: &Network,
    nodes: &[usize],
) -> Result<BTreeMap<usize, Option<&'a str>>, String> {
    let has_batch_norm = modules.values().any(is_batch_norm);
    let left_out = |node: usize| matches!(network.nodes()[node].op, Op::BatchNorm { .. }) && !has_batch_norm;
    let mut assigned: BTreeMap<usize, Option<&str>> =
        nodes.iter().filter(|&&n| left_out(n)).map(|&n| (n, None)).collect();
    let mut open: Vec<usize> = nodes.iter().copied().filter(|&node| !left_out(node)).collect();
    let mut free: Vec<&str> = modules.keys().copied().collect();
    while !open.is_empty() {
        let candidates = |node: usize| free.iter().copied().filter(move |name| fits(&modules[name], network, node));
        let single = open.iter().position(|&node| candidates(node).count() == 1);
        if let Some(at) = single {
            let name = candidates(open[at]).next().expect("there is one");
            assigned.insert(open.remove(at), Some(name));
            free.retain(|other| *other != name);
            continue;
        }
        let node = open[0];
        let module = network.module(node);
        let problem = match candidates(node).count() {
            0 => format!("no module of it fits node {module} ({})", describe(network, node)),
            n => format!(
                "{n} modules of it fit node {module} ({}): name the nodes with `as` in the .net",
                describe(network, node)
            ),
        };
        return Err(format!("{problem}; it has {}", list(modules)));
    }
    Ok(assigned)
}

fn is_batch_norm(tensors: &BTreeMap<&str, &[usize]>) -> bool {
    tensors.contains_key("running_mean") || tensors.contains_key("moving_mean")
}

/// Whether a module can be a node's: the same kind, the same shapes, nothing unknown.
fn fits(tensors: &BTreeMap<&str, &[usize]>, network: &Network, node: usize) -> bool {
    let parameters: Vec<&Parameter> = network.parameters().iter().filter(|p| p.node == node).collect();
    let of = |name: &str| parameters.iter().find(|p| names(p.role).contains(&name));
    // A bias that the description leaves out.
    let outputs = [parameters[0].dims.as_slice()[0]];
    let is_bias =
        |name: &str, shape: &[usize]| parameters[0].role == Role::Weight && name == "bias" && shape == outputs;
    let shapes_agree = tensors
        .iter()
        .filter(|(name, _)| **name != COUNTER)
        .all(|(name, shape)| of(name).map_or(is_bias(name, shape), |p| same_shape(shape, p)));
    let has_weight = parameters[0].role != Role::Weight || tensors.contains_key("weight");
    shapes_agree && has_weight && is_batch_norm(tensors) == (parameters[0].role == Role::Gamma)
}

/// Whether a tensor of a file has a parameter's shape: d2l's BatchNorm keeps `[1, C, 1, 1]`, a convolution over a sequence
/// has no last dimension.
pub(super) fn same_shape(shape: &[usize], parameter: &Parameter) -> bool {
    let wanted = parameter.dims.as_slice();
    match parameter.role {
        Role::Weight => shape == wanted || (wanted.len() == 4 && wanted[3] == 1 && shape == &wanted[..3]),
        Role::Bias => shape == wanted,
        _ => shape.iter().filter(|&&d| d != 1).eq(wanted.iter().filter(|&&d| d != 1)) && shape.len() <= 4,
    }
}

fn describe(network: &Network, node: usize) -> String {
    crate::network::text::op(&network.nodes()[node].op, network.input_of(node).channels, |_| String::new())
}

/// The modules that are there, the first dozen.
pub(super) fn list(modules: &Modules<'_>) -> String {
    let shape = |(name, shape): (&&str, &&[usize])| format!("{name} {shape:?}");
    let module = |(name, tensors): (&&str, &BTreeMap<&str, &[usize]>)| {
        let tensors: Vec<_> = tensors.iter().map(shape).collect();
        format!("{name}: {}", tensors.join(" "))
    };
    let mut all: Vec<_> = modules.iter().take(12).map(module).collect();
    if modules.len() > 12 {
        all.push(format!("and {} more", modules.len() - 12));
    }
    all.join(", ")
}
