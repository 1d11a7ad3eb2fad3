//! Mean squared error over all outputs: the loss of networks without classes, whose target is their own input.

use ndarray::{ArrayView2, Zip};

use crate::engine::Totals;
use crate::model::real::Real;

/// Sums the examples' losses: of each the mean over its outputs of `(y - target)²`. `[n, outputs]` both.
pub fn mse_forward<T: Real>(y: ArrayView2<'_, T>, target: ArrayView2<'_, T>) -> Totals {
    assert_eq!(y.dim(), target.dim(), "one target an output");
    let mut totals = Totals { examples: y.nrows(), ..Totals::default() };
    for (y, target) in y.outer_iter().zip(target.outer_iter()) {
        let squares = Zip::from(y).and(target).fold(0.0, |sum, &y, &target| sum + (y - target).as_f64().powi(2));
        totals.loss += squares / y.len() as f64;
    }
    totals
}

/// Gradient of the batch's mean loss by the outputs: `2 (y - target) / (n * outputs)`.
pub fn mse_backward<T: Real>(y: ArrayView2<'_, T>, target: ArrayView2<'_, T>) -> ndarray::Array2<T> {
    let scale = T::of(2.0 / y.len() as f64);
    (&y - &target) * scale
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn forward_by_hand() {
        let totals = mse_forward(array![[1.0, 2.0], [0.0, 0.0]].view(), array![[1.0, 4.0], [3.0, 1.0]].view());
        assert_eq!(totals, Totals { examples: 2, loss: 2.0 + 5.0, correct: 0 });
    }

    #[test]
    fn gradient() {
        let (y, target): (Array2<f64>, Array2<f64>) = (random(1, (4, 5)), random(2, (4, 5)));
        let d_y = mse_backward(y.view(), target.view());
        check("d_y", &d_y, &y, |y| mse_forward(y.view(), target.view()).mean_loss());
    }
}
