//! Softmax and cross-entropy: the loss of a batch, and its gradient.

use bn_core::infer::argmax;
use ndarray::{Array2, Axis};

use crate::engine::Totals;
use crate::model::real::Real;

/// Sums the losses `-log softmax(logits)[label]` and counts the hits; returns the probabilities, `[n, classes]`, for
/// the backward pass.
///
/// With label smoothing `s` an example's target is its label to the share `1 - s` and every class to the share `s / classes`
/// (Szegedy et al. 2016, "Rethinking the Inception Architecture"). The largest logit is taken off first, which changes
/// nothing but keeps `exp` from overflowing.
pub fn cross_entropy_forward<T: Real>(logits: Array2<T>, labels: &[u8], smoothing: T) -> (Totals, Array2<T>) {
    assert_eq!(logits.nrows(), labels.len(), "one label an example");
    let mut totals = Totals { examples: labels.len(), ..Totals::default() };
    let mut probabilities = logits;
    for (mut row, &label) in probabilities.outer_iter_mut().zip(labels) {
        let label = usize::from(label);
        let best = argmax(row.as_slice().expect("logits are row-major"));
        totals.correct += usize::from(best == label);

        let largest = row[best];
        row.mapv_inplace(|logit| logit - largest);
        let target_logit = (T::one() - smoothing) * row[label] + smoothing * row.sum() / T::of(row.len() as f64);
        row.mapv_inplace(T::exp);
        let sum = row.sum();
        totals.loss += (sum.ln() - target_logit).as_f64();
        row.mapv_inplace(|e| e / sum);
    }
    (totals, probabilities)
}

/// Gradient of the batch's mean loss by the logits: `(softmax - target) / n`.
pub fn cross_entropy_backward<T: Real>(probabilities: Array2<T>, labels: &[u8], smoothing: T) -> Array2<T> {
    let mut d_logits = probabilities;
    for (mut row, &label) in d_logits.axis_iter_mut(Axis(0)).zip(labels) {
        row[usize::from(label)] -= T::one() - smoothing;
        let share = smoothing / T::of(row.len() as f64);
        row.mapv_inplace(|d| d - share);
    }
    d_logits / T::of(labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::*;
    use ndarray::array;

    #[test]
    fn forward_by_hand() {
        let (totals, probabilities) = cross_entropy_forward(array![[0.0, 3.0f64.ln()], [5.0, 5.0]], &[1, 1], 0.0);
        assert!((totals.loss - ((4.0f64 / 3.0).ln() + 2.0f64.ln())).abs() < 1e-15);
        assert!((probabilities - array![[0.25, 0.75], [0.5, 0.5]]).iter().all(|d: &f64| d.abs() < 1e-15));
        // The tie of the second row goes to class 0.
        assert_eq!((totals.examples, totals.correct), (2, 1));
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let (totals, probabilities) = cross_entropy_forward(array![[1000.0f32, 0.0], [-1000.0, 0.0]], &[0, 0], 0.0);
        assert_eq!(totals.loss, 1000.0);
        assert_eq!(probabilities, array![[1.0, 0.0], [0.0, 1.0]]);
    }

    #[test]
    fn a_nan_logit_makes_the_loss_nan() {
        for logits in [array![[f32::NAN, 0.0]], array![[0.0, f32::NAN]], array![[f32::NAN, f32::NAN]]] {
            assert!(cross_entropy_forward(logits, &[0], 0.0).0.loss.is_nan());
        }
    }

    #[test]
    fn gradient() {
        let (logits, labels) = (random(1, (4, 5)), [0, 3, 4, 3]);
        for smoothing in [0.0, 0.1] {
            let probabilities = cross_entropy_forward(logits.clone(), &labels, smoothing).1;
            let d_logits = cross_entropy_backward(probabilities, &labels, smoothing);
            let loss = |logits| cross_entropy_forward(logits, &labels, smoothing).0.mean_loss();
            check("d_logits", &d_logits, &logits, loss);
        }
    }

    #[test]
    fn smoothed_labels_by_hand() {
        let logits = array![[0.0, 3.0f64.ln()]];
        let (totals, probabilities) = cross_entropy_forward(logits, &[1], 0.2);
        // The target is [0.1, 0.9], the probabilities are [1/4, 3/4].
        assert!((totals.loss - (0.1 * 4.0f64.ln() + 0.9 * (4.0f64 / 3.0).ln())).abs() < 1e-15);
        let d = cross_entropy_backward(probabilities, &[1], 0.2);
        assert!((d - array![[0.15, -0.15]]).iter().all(|d| d.abs() < 1e-15));
    }
}
