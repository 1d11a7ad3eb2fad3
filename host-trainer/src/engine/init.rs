//! The network before training, the same for every engine.

use bn_core::lenet::{Role, TENSORS, TensorSpec};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::model::parameters::{Parameters, Variance};

/// Weights uniform after Xavier (PyTorch's `xavier_uniform_`): within `sqrt(6 / (fan_in + fan_out))`. Biases uniform within
/// `1 / sqrt(fan_in)`, PyTorch's default. BatchNorm: gamma 1, beta 0, mean 0, variance 1.
///
/// Every value is rounded to f32, so that engines of any precision start at the same place. One ChaCha8 stream of the
/// seed fills the tensors in the order of [`TENSORS`]: same seed, same bits, on every machine.
pub fn initial_parameters(seed: u64, variance: Variance) -> Parameters {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = Parameters::zero(variance);
    let mut fan_in = 0.0;
    for (spec, values) in TENSORS.iter().zip(&mut parameters.tensors) {
        let bound = match spec.role {
            Role::Weight => {
                let fans = fans(spec);
                fan_in = fans.0;
                (6.0 / (fans.0 + fans.1)).sqrt()
            }
            // A bias follows its weight in the table.
            Role::Bias => 1.0 / fan_in.sqrt(),
            Role::Gamma | Role::Beta | Role::RunningMean | Role::RunningVar => continue,
        };
        values.fill_with(|| f64::from((bound * (2.0 * rng.random::<f64>() - 1.0)) as f32));
    }
    parameters
}

/// Inputs that reach one output, and outputs that one input reaches: `[out, in, kernel, kernel]` or `[out, in]`.
fn fans(weight: &TensorSpec) -> (f64, f64) {
    let (out, rest) = (weight.shape[0], weight.len() / weight.shape[0]);
    let receptive_field = rest / weight.shape[1];
    (rest as f64, (out * receptive_field) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parameters::index;

    #[test]
    fn values_fill_their_bounds_and_batch_norm_is_untouched() {
        let parameters = initial_parameters(0, Variance::Biased);
        let zero = Parameters::zero(Variance::Biased);
        // fan_in, fan_out and fan_in of the two rows checked by hand: conv2 6*25, 16*25; linear1 256, 120.
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
        for spec in TENSORS.iter().filter(|spec| !matches!(spec.role, Role::Weight | Role::Bias)) {
            assert_eq!(parameters.get(spec.name), zero.get(spec.name), "{}", spec.name);
        }
    }

    #[test]
    fn one_seed_gives_the_same_bits_everywhere() {
        let [a, b] = [0, 0].map(|seed| initial_parameters(seed, Variance::Biased));
        assert_eq!(a, b);
        assert_ne!(a, initial_parameters(1, Variance::Biased));
        // Written down once: a change of the generator, or of the order of the draws, would silently change every run.
        let first = &a.tensors[index("0.weight")][..3];
        assert_eq!(first, [0.0774264857172966, -0.012620141729712486, 0.07374832779169083]);
        assert!(a.tensors.iter().flatten().all(|&v| v == f64::from(v as f32)));
    }
}
