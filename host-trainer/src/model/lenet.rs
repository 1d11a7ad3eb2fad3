//! LeNet as bn-core's types of fixed size: what its own engines, the quantiser and the device work on.

use std::sync::Arc;

use bn_core::lenet::{self, LeNet};
use bn_core::network::{Node, Op, Role, Value};

use super::parameters::{Parameters, Variance};
use crate::network::{Network, Preprocessing};

/// Whether a network is LeNet as its own engines train it: the topology, one eps, pixels as shares of white.
pub fn is_lenet(network: &Network) -> bool {
    network.topology().digest() == lenet::NETWORK.topology.digest()
        && network.common_eps().is_some()
        && *network.preprocessing() == pixels()
}

fn pixels() -> Preprocessing {
    Preprocessing { divide: lenet::NETWORK.preprocessing.divide, ..Preprocessing::default() }
}

/// The way back from [`to_lenet`]: exact.
pub fn from_lenet(net: &LeNet, network: &Arc<Network>, variance: Variance) -> Parameters {
    let tensors = net.tensors().map(|tensor| tensor.iter().map(|&value| f64::from(value)).collect()).to_vec();
    Parameters { network: network.clone(), tensors, variance }
}

/// A model as LeNet, every value rounded to f32; `None` where the network is another.
///
/// A BatchNorm that is missing, because it was folded, becomes one that changes no bit, and a missing bias zeros. Where pixels
/// are taken in another way than as shares of white, that goes into the first layer, which has no padding: exact but for
/// rounding.
pub fn to_lenet(parameters: &Parameters) -> Option<Box<LeNet>> {
    let places = places(parameters.network.nodes())?;
    if parameters.network.input() != lenet::NETWORK.topology.input {
        return None;
    }
    let mut net = Box::new(LeNet::zero());
    let mut tensors = net.tensors_mut().into_iter();
    let mut eps = Vec::new();
    for (ours, place) in lenet::NODES.iter().zip(&places) {
        let values = place.map_or(&[][..], |node| parameters.of(node));
        if let Op::BatchNorm { eps: usual } = ours.op {
            eps.push(place.map_or(usual, |node| parameters.network.eps(node)));
        }
        for (at, role) in ours.op.roles().iter().enumerate() {
            let to = tensors.next().expect("bn-core's tensors are the description's");
            match values.get(at) {
                Some(from) => to.iter_mut().zip(from).for_each(|(to, &from)| *to = from as f32),
                None if *role == Role::RunningVar => to.fill(pass_through_variance(bn_core::batch_norm::DEFAULT_EPS)),
                None => {} // zeros, and gamma's ones, stand there
            }
        }
    }
    drop(tensors);
    net.set_eps_of_each(eps.try_into().expect("one eps a BatchNorm"));
    take_pixels(&mut net, parameters);
    Some(net)
}

/// The variance whose sum with `eps` rounds to 1: BatchNorm with it, gamma 1, beta 0 and mean 0 changes no bit. In f32 the
/// deviation is then 1. In f64, where the sum is off by at most 2^-25, its root is off by at most 2^-26, less than half a unit
/// of an f32, so that folding gives the layer back as it was.
pub fn pass_through_variance(eps: f32) -> f32 {
    1.0 - eps
}

/// For each of LeNet's nodes the node of the model that does it; `None` for a BatchNorm that is not there.
fn places(nodes: &[Node]) -> Option<Vec<Option<usize>>> {
    let (mut places, mut at) = (Vec::new(), 0);
    for ours in &lenet::NODES {
        let is_chained = |node: &Node| node.input == if at == 0 { Value::Input } else { Value::Node(at - 1) };
        let same = nodes.get(at).filter(|node| is_chained(node)).is_some_and(|node| is_same(&ours.op, &node.op));
        match ours.op {
            _ if same => {
                places.push(Some(at));
                at += 1;
            }
            Op::BatchNorm { .. } => places.push(None),
            _ => return None,
        }
    }
    (at == nodes.len()).then_some(places)
}

/// Whether two operations are the same but for eps and a missing bias.
fn is_same(ours: &Op, theirs: &Op) -> bool {
    match (*ours, *theirs) {
        (Op::BatchNorm { .. }, Op::BatchNorm { .. }) => true,
        (Op::Conv2d(ours), Op::Conv2d(theirs)) => ours == bn_core::network::Conv2d { bias: true, ..theirs },
        (Op::Linear { outputs, .. }, Op::Linear { outputs: theirs, .. }) => outputs == theirs,
        // Nothing is padded.
        (Op::AvgPool2d { pool, .. }, Op::AvgPool2d { pool: theirs, .. }) => pool == theirs,
        (ours, theirs) => ours == theirs,
    }
}

/// Lets the first layer take shares of white, whatever the model takes.
fn take_pixels(net: &mut LeNet, parameters: &Parameters) {
    let theirs = parameters.network.preprocessing();
    if *theirs == pixels() {
        return;
    }
    let ((scale, shift), (white, _)) = (theirs.affine(0), pixels().affine(0));
    let [weight, bias, ..] = net.tensors_mut();
    let run = weight.len() / bias.len();
    for (weights, bias) in weight.chunks_exact_mut(run).zip(bias.iter_mut()) {
        let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        *bias = (f64::from(*bias) + sum * shift) as f32;
        weights.iter_mut().for_each(|w| *w = (f64::from(*w) * scale / white) as f32);
    }
}

#[cfg(test)]
mod tests {
    use bn_core::lenet::TENSORS;

    use super::*;
    use crate::network::shipped;

    #[test]
    fn lenet_is_known_with_and_without_its_batch_norm() {
        assert!(is_lenet(&Network::lenet()) && !is_lenet(&shipped::get("lenet_plain").unwrap()));
        for network in shipped::all() {
            let net = to_lenet(&Parameters::zero(network, Variance::Biased));
            assert_eq!(net.is_some(), network.name().starts_with("lenet"), "{}", network.name());
        }
        let odd = Network::lenet().with_eps(1e-3).unwrap();
        assert!(is_lenet(&odd));
        assert!(!is_lenet(&odd.with_preprocessing(Preprocessing::default()).unwrap()));
    }

    #[test]
    fn a_batch_norm_that_is_passed_through_changes_no_bit() {
        for eps in [1e-5_f32, 1e-3, 7e-7, 0.3, 0.999, f32::MIN_POSITIVE] {
            assert_eq!(pass_through_variance(eps) + eps, 1.0, "{eps}");
        }
        let plain = shipped::get("lenet_plain").unwrap();
        let parameters = crate::engine::initial_parameters(&plain, 3, Variance::Biased);
        let (net, folded) = (to_lenet(&parameters).unwrap(), to_lenet(&parameters).unwrap().fold());
        let weights = net
            .tensors()
            .into_iter()
            .zip(&TENSORS)
            .filter(|(_, spec)| spec.role == Role::Weight && spec.shape.len() > 1);
        let kept: Vec<f32> = weights.flat_map(|(values, _)| values.iter().copied()).collect();
        let of = |parameters: &Parameters| -> Vec<f32> {
            let all = parameters.network.parameters().iter().zip(&parameters.tensors);
            all.filter(|(p, _)| p.role == Role::Weight).flat_map(|(_, v)| v.iter().map(|&v| v as f32)).collect()
        };
        assert_eq!(kept, of(&parameters));
        assert_eq!(folded, LeNet::fold(&net));
    }

    #[test]
    fn another_way_of_taking_pixels_goes_into_the_first_layer() {
        let lenet = Network::lenet();
        let mut parameters = crate::engine::initial_parameters(&lenet, 3, Variance::Biased);
        let plain = to_lenet(&parameters).unwrap();
        let taken = Preprocessing { mean: vec![0.25], std: vec![0.5], ..pixels() };
        parameters.network = Arc::new(lenet.with_preprocessing(taken).unwrap());
        let net = to_lenet(&parameters).unwrap();
        let ([w, b, ..], [w0, b0, ..]) = (net.tensors(), plain.tensors());
        assert!((w[7] - w0[7] / 0.5).abs() < 1e-6);
        let sum: f32 = w0[..25].iter().sum();
        assert!((b[0] - (b0[0] - sum * 0.25 / 0.5)).abs() < 1e-5);
    }
}
