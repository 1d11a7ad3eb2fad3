//! Adam with decoupled weight decay. The formula stands at [`Coefficients`].

use bn_core::lenet::TENSOR_COUNT;

use super::network::LeNet;
use super::real::Real;
use crate::engine::steps::{ADAM_EPS, BETA1, BETA2, Coefficients, Moments, Treatment, treatment};

/// One step. Moving statistics and biases before a BatchNorm stay, see [`Treatment`].
pub fn adamw_step<T: Real>(
    net: &mut LeNet<T>,
    gradients: &LeNet<T>,
    moments: &mut Moments<T>,
    coefficients: &Coefficients,
) {
    let [beta1, beta2, eps] = [BETA1, BETA2, ADAM_EPS].map(T::of);
    let Coefficients { rate, decay, root } = *coefficients;
    let (rate, decay, root) = (T::of(rate), T::of(decay), T::of(root));
    let (parameters, gradients) = (net.tensors_mut(), gradients.tensors());
    for (at, parameters) in parameters.into_iter().enumerate().take(TENSOR_COUNT) {
        let decay = match treatment(at) {
            Treatment::Keep => continue,
            Treatment::Step => T::zero(),
            Treatment::StepAndDecay => decay,
        };
        let moments = moments.first[at].iter_mut().zip(&mut moments.second[at]);
        for ((parameter, &gradient), (first, second)) in parameters.iter_mut().zip(gradients[at]).zip(moments) {
            *first = beta1 * *first + (T::one() - beta1) * gradient;
            *second = beta2 * *second + (T::one() - beta2) * gradient * gradient;
            *parameter -= decay * *parameter;
            *parameter -= rate * *first / (root * second.sqrt() + eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Optimizer, Steps};
    use crate::model::parameters::{Parameters, Variance, index};

    /// Against the formula of the paper, written out for one weight with gradients 2 and -1.
    #[test]
    fn two_steps_by_hand() {
        let mut parameters = Parameters::zero(Variance::Biased);
        parameters.get_mut("9.weight")[5] = 0.5;
        parameters.get_mut("9.bias")[5] = 0.5;
        parameters.get_mut("15.bias")[5] = 0.5;
        let mut net: LeNet<f64> = LeNet::from_parameters(&parameters);
        let mut moments = Moments::zero();
        let steps = Steps { optimizer: Optimizer::Adamw, weight_decay: 0.1, ..Steps::sgd(2, &[0.01, 0.02]) };
        let (mut expected, mut undecayed, mut m, mut v) = (0.5, 0.5, 0.0, 0.0);
        for (i, gradient) in [2.0, -1.0].into_iter().enumerate() {
            let mut gradients = Parameters::zero(Variance::Biased);
            for name in ["9.weight", "9.bias", "15.bias"] {
                gradients.get_mut(name)[5] = gradient;
            }
            adamw_step(&mut net, &LeNet::from_parameters(&gradients), &mut moments, &steps.coefficients(i));
            m = 0.9 * m + 0.1 * gradient;
            v = 0.999 * v + 0.001 * gradient * gradient;
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(i as i32 + 1)), v / (1.0 - 0.999f64.powi(i as i32 + 1)));
            let step = steps.lrs[i] * m_hat / (v_hat.sqrt() + 1e-8);
            expected -= steps.lrs[i] * 0.1 * expected + step;
            undecayed -= step;
        }
        let after = |name| net.tensors()[index(name)][5];
        assert!((after("9.weight") - expected).abs() < 1e-15, "{} {expected}", after("9.weight"));
        assert!((after("15.bias") - undecayed).abs() < 1e-15);
        assert_eq!(after("9.bias"), 0.5, "a bias before a BatchNorm");
        assert!((moments.first[index("9.weight")][5] - m).abs() < 1e-15);
    }
}
