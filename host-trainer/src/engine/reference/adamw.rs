//! Adam with decoupled weight decay. The formula stands at [`Coefficients`].

use crate::engine::steps::{ADAM_EPS, BETA1, BETA2, Coefficients, Moments, Treatment};
use crate::model::real::Real;

/// One step. Moving statistics and biases before a BatchNorm stay, see [`Treatment`].
pub fn adamw_step<T: Real>(
    treatments: &[Treatment],
    tensors: &mut [Vec<T>],
    gradients: &[Vec<T>],
    moments: &mut Moments<T>,
    coefficients: &Coefficients,
) {
    let [beta1, beta2, eps] = [BETA1, BETA2, ADAM_EPS].map(T::of);
    let Coefficients { rate, decay, root } = *coefficients;
    let (rate, decay, root) = (T::of(rate), T::of(decay), T::of(root));
    for (at, parameters) in tensors.iter_mut().enumerate() {
        let decay = match treatments[at] {
            Treatment::Keep => continue,
            Treatment::Step => T::zero(),
            Treatment::StepAndDecay => decay,
        };
        let moments = moments.first[at].iter_mut().zip(&mut moments.second[at]);
        for ((parameter, &gradient), (first, second)) in parameters.iter_mut().zip(&gradients[at]).zip(moments) {
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

    /// Against the formula of the paper, written out for one weight with gradients 2 and -1.
    #[test]
    fn two_steps_by_hand() {
        let mut tensors = vec![vec![0.5]; 3];
        let zero = || vec![vec![0.0]; 3];
        let mut moments = Moments { first: zero(), second: zero() };
        let treatments = [Treatment::StepAndDecay, Treatment::Step, Treatment::Keep];
        let steps = Steps { optimizer: Optimizer::Adamw, weight_decay: 0.1, ..Steps::sgd(2, &[0.01, 0.02]) };
        let (mut expected, mut undecayed, mut m, mut v) = (0.5, 0.5, 0.0, 0.0);
        for (i, gradient) in [2.0, -1.0].into_iter().enumerate() {
            let gradients = vec![vec![gradient]; 3];
            adamw_step(&treatments, &mut tensors, &gradients, &mut moments, &steps.coefficients(i));
            m = 0.9 * m + 0.1 * gradient;
            v = 0.999 * v + 0.001 * gradient * gradient;
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(i as i32 + 1)), v / (1.0 - 0.999f64.powi(i as i32 + 1)));
            let step = steps.lrs[i] * m_hat / (v_hat.sqrt() + 1e-8);
            expected -= steps.lrs[i] * 0.1 * expected + step;
            undecayed -= step;
        }
        let [[decayed], [stepped], [kept]] = [0, 1, 2].map(|at| [tensors[at][0]]);
        assert!((decayed - expected).abs() < 1e-15, "{decayed} {expected}");
        assert!((stepped - undecayed).abs() < 1e-15);
        assert_eq!(kept, 0.5);
        assert!((moments.first[0][0] - m).abs() < 1e-15);
    }
}
