//! Stochastic gradient descent, without momentum or decay.

use bn_core::lenet::TENSORS;

use super::network::LeNet;
use super::real::Real;

/// One step: `parameter -= lr * gradient` for every tensor that is trained. The moving statistics are not.
pub fn sgd_step<T: Real>(net: &mut LeNet<T>, gradients: &LeNet<T>, lr: T) {
    for ((spec, parameter), gradient) in TENSORS.iter().zip(net.tensors_mut()).zip(gradients.tensors()) {
        if spec.role.is_trained() {
            for (parameter, &gradient) in parameter.iter_mut().zip(gradient) {
                *parameter -= lr * gradient;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parameters::{Parameters, Variance};

    #[test]
    fn a_step_goes_against_the_gradient_and_leaves_the_statistics() {
        let mut parameters = Parameters::zero(Variance::Biased);
        parameters.tensors.iter_mut().for_each(|tensor| tensor.fill(1.0));
        let mut net: LeNet<f64> = LeNet::from_parameters(&parameters);
        sgd_step(&mut net, &LeNet::from_parameters(&parameters), 0.25);
        for (spec, tensor) in TENSORS.iter().zip(net.tensors()) {
            let expected = if spec.role.is_trained() { 0.75 } else { 1.0 };
            assert!(tensor.iter().all(|&v| v == expected), "{}", spec.name);
        }
    }
}
