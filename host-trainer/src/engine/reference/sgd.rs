//! Stochastic gradient descent, without momentum or decay.

use crate::model::real::Real;
use crate::network::Network;

/// One step: `parameter -= lr * gradient` for every tensor that is trained. The moving statistics are not.
pub fn sgd_step<T: Real>(network: &Network, tensors: &mut [Vec<T>], gradients: &[Vec<T>], lr: T) {
    for ((spec, parameter), gradient) in network.parameters().iter().zip(tensors).zip(gradients) {
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
    use crate::engine::steps::Tensors;

    #[test]
    fn a_step_goes_against_the_gradient_and_leaves_the_statistics() {
        let lenet = Network::lenet();
        let ones: Tensors<f64> = lenet.parameters().iter().map(|p| vec![1.0; p.dims.len()]).collect();
        let mut tensors = ones.clone();
        sgd_step(&lenet, &mut tensors, &ones, 0.25);
        for (spec, tensor) in lenet.parameters().iter().zip(&tensors) {
            let expected = if spec.role.is_trained() { 0.75 } else { 1.0 };
            assert!(tensor.iter().all(|&v| v == expected), "{}", lenet.tensor_name(spec));
        }
    }
}
