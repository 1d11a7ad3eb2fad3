//! The network before training, the same for every engine.

use std::sync::Arc;

use bn_core::network::{Parameter, Role};
use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::data::{Inputs, Values, normal};
use crate::model::parameters::{Parameters, Variance};
use crate::network::Network;
use crate::train::reestimate::reestimate;

/// Weights uniform after Xavier (PyTorch's `xavier_uniform_`): within `sqrt(6 / (fan_in + fan_out))`. Biases uniform within
/// `1 / sqrt(fan_in)`, PyTorch's default. BatchNorm: gamma 1, beta 0, mean 0, variance 1.
///
/// Every value is rounded to f32, so that engines of any precision start at the same place. One ChaCha8 stream of the
/// seed fills the tensors in the order of [`Network::parameters`]: same seed, same bits, on every machine.
pub fn initial_parameters(network: &Arc<Network>, seed: u64, variance: Variance) -> Parameters {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = Parameters::zero(network, variance);
    let mut fan_in = 0.0;
    for (parameter, values) in network.parameters().iter().zip(&mut parameters.tensors) {
        let bound = match parameter.role {
            Role::Weight => {
                let fans = fans(parameter);
                fan_in = fans.0;
                (6.0 / (fans.0 + fans.1)).sqrt()
            }
            // A bias follows its weight.
            Role::Bias => 1.0 / fan_in.sqrt(),
            Role::Gamma | Role::Beta | Role::RunningMean | Role::RunningVar => continue,
        };
        values.fill_with(|| f64::from((bound * (2.0 * rng.random::<f64>() - 1.0)) as f32));
    }
    parameters
}

/// Inputs that [`kaiming_parameters`] takes the moving statistics of.
const INPUTS: usize = 256;
/// Stream of the seed's generator that draws them.
const INPUT_STREAM: u64 = 1 << 48;

/// An untrained network that behaves like a trained one, for measuring: weights normal after Kaiming (He et al. 2015,
/// "Delving Deep into Rectifiers"), with a deviation of `sqrt(2 / fan_in)`; biases 0, gamma 1, beta 0. The moving statistics are
/// those of 256 seeded inputs, see [`reestimate`], so that no channel dies. The inputs are uniform bytes where the network has
/// preprocessing, else normal values.
pub fn kaiming_parameters(network: &Arc<Network>, seed: u64, variance: Variance) -> Parameters {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = Parameters::zero(network, variance);
    for (parameter, values) in network.parameters().iter().zip(&mut parameters.tensors) {
        if parameter.role == Role::Weight {
            let deviation = (2.0 / fans(parameter).0).sqrt();
            values.fill_with(|| f64::from((deviation * normal(&mut rng)) as f32));
        }
    }
    rng.set_stream(INPUT_STREAM);
    let count = INPUTS * network.input().len();
    let values = if network.preprocessing().is_none() {
        Values::F32((0..count).map(|_| normal(&mut rng) as f32).collect())
    } else {
        Values::U8((0..count).map(|_| rng.random::<u8>()).collect())
    };
    reestimate(&parameters, &Inputs::new(network.input(), values))
}

/// Inputs that reach one output, and outputs that one input reaches: `[out, in, kernel, kernel]` or `[out, in]`.
fn fans(weight: &Parameter) -> (f64, f64) {
    let dims = weight.dims.as_slice();
    let (out, rest) = (dims[0], weight.dims.len() / dims[0]);
    let receptive_field = rest / dims[1];
    (rest as f64, (out * receptive_field) as f64)
}

#[cfg(test)]
mod tests {
    use bn_core::network::Value;
    use ndarray::{Array4, Axis};

    use super::*;
    use crate::engine::reference::network::Net;
    use crate::network::shipped;

    #[test]
    fn values_fill_their_bounds_and_batch_norm_is_untouched() {
        let parameters = initial_parameters(&Network::lenet(), 0, Variance::Biased);
        let zero = Parameters::zero(&Network::lenet(), Variance::Biased);
        // fan_in, fan_out and fan_in of the two rows checked by hand: second convolution 6*25, 16*25; first linear layer 256, 120.
        for (name, bound) in [
            ("4.weight", (6.0f64 / (150.0 + 400.0)).sqrt()),
            ("4.bias", 1.0 / 150.0f64.sqrt()),
            ("9.weight", (6.0f64 / (256.0 + 120.0)).sqrt()),
            ("9.bias", 1.0 / 16.0),
        ] {
            let values = parameters.get(name);
            let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!(largest <= bound && largest > 0.8 * bound, "{name}: {largest} of {bound}");
            assert!(mean.abs() < 3.0 * bound / (3.0 * values.len() as f64).sqrt(), "{name}: mean {mean}");
        }
        for (at, p) in parameters.network.parameters().iter().enumerate() {
            if !matches!(p.role, Role::Weight | Role::Bias) {
                assert_eq!(parameters.tensors[at], zero.tensors[at], "{}", parameters.network.tensor_name(p));
            }
        }
    }

    #[test]
    fn one_seed_gives_the_same_bits_everywhere() {
        let [a, b] = [0, 0].map(|seed| initial_parameters(&Network::lenet(), seed, Variance::Biased));
        assert_eq!(a, b);
        assert_ne!(a, initial_parameters(&Network::lenet(), 1, Variance::Biased));
        // Written down once: a change of the generator, or of the order of the draws, would silently change every run.
        let first = &a.get("0.weight")[..3];
        assert_eq!(first, [0.0774264857172966, -0.012620141729712486, 0.07374832779169083]);
        assert!(a.tensors.iter().flatten().all(|&v| v == f64::from(v as f32)));
    }

    #[test]
    fn kaiming_weights_have_their_deviation_and_no_channel_dies() {
        for name in ["lenet", "sequence", "autoencoder"] {
            let network = shipped::get(name).unwrap();
            let parameters = kaiming_parameters(&network, 5, Variance::Unbiased);
            for (spec, values) in network.parameters().iter().zip(&parameters.tensors) {
                let square = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
                match spec.role {
                    Role::Weight => {
                        // Five deviations of a mean of that many squares.
                        let (expected, off) = (2.0 / fans(spec).0, 5.0 * (2.0 / values.len() as f64).sqrt());
                        assert!((square / expected - 1.0).abs() < off, "{name}: {square} {expected}");
                    }
                    Role::Bias | Role::Beta => assert_eq!(square, 0.0),
                    Role::Gamma => assert!(values.iter().all(|&v| v == 1.0)),
                    _ => assert!(values.iter().all(|&v| v == f64::from(v as f32) && v != 1.0)),
                }
            }
            // On fresh inputs: each channel behind each BatchNorm varies, by about one.
            let net = Net::<f64>::from_parameters(&parameters);
            let [c, h, w] = network.input().dims();
            let mut rng = ChaCha8Rng::seed_from_u64(6);
            let is_bytes = !network.preprocessing().is_none();
            let x =
                Array4::from_shape_simple_fn((64, c, h, w), || if is_bytes { rng.random() } else { normal(&mut rng) });
            for node in network.batch_norms() {
                for channel in net.value(x.clone(), Value::Node(node)).axis_iter(Axis(1)) {
                    let var = channel.var(0.0);
                    assert!((0.2..5.0).contains(&var), "{name} node {node}: {var}");
                }
            }
        }
    }

    #[test]
    fn kaiming_is_seeded_and_keeps_the_convention_of_the_variance() {
        let of = |seed, variance| kaiming_parameters(&shipped::get("sequence").unwrap(), seed, variance);
        let [biased, unbiased] = [Variance::Biased, Variance::Unbiased].map(|variance| of(7, variance));
        assert_eq!(biased, of(7, Variance::Biased));
        assert_eq!(biased.get("0.weight"), unbiased.get("0.weight"));
        assert_ne!(biased.get("0.weight"), of(8, Variance::Biased).get("0.weight"));
        let count = 256.0 * 64.0;
        let ratio = unbiased.get("1.running_var")[0] / biased.get("1.running_var")[0];
        assert!((ratio - count / (count - 1.0)).abs() < 2e-7, "{ratio}");
    }
}
