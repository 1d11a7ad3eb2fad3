//! Distillation: a network learns what a larger one says of the same examples, see [`Soft`].

/// A teacher's outputs and how much they count (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"). With
/// the softmax `p` of logits divided by the temperature `T`, and the teacher's `q` likewise, an example's loss is
///
/// ```text
/// (1 - weight) * cross-entropy with the label + weight * T² * sum(q * ln(q / p))
/// ```
///
/// `T²` keeps the gradient's size when the temperature changes.
#[derive(Clone, Copy, Debug)]
pub struct Soft<'a> {
    /// The teacher's logits: one row a sample of the order.
    pub logits: &'a [f32],
    /// Temperature.
    pub temperature: f64,
    /// Weight of the teacher, 0 to 1.
    pub weight: f64,
}

impl<'a> Soft<'a> {
    /// The part of some samples of the order.
    pub(crate) fn part(self, samples: std::ops::Range<usize>, classes: usize) -> Self {
        Self { logits: &self.logits[samples.start * classes..samples.end * classes], ..self }
    }

    /// The teacher's logits of one sample.
    pub(crate) fn row(&self, sample: usize, classes: usize) -> &'a [f32] {
        &self.logits[sample * classes..(sample + 1) * classes]
    }

    /// An example's loss, from the one with its label, and in place of that one's gradient by the logits the whole gradient.
    pub(crate) fn add(&self, logits: &[f64], teacher: &[f32], loss: f64, d: &mut [f64]) -> f64 {
        let Self { temperature, weight, .. } = *self;
        let ours = log_softmax(logits.iter().map(|logit| logit / temperature));
        let theirs = log_softmax(teacher.iter().map(|&logit| f64::from(logit) / temperature));
        let mut divergence = 0.0;
        for ((d, ours), theirs) in d.iter_mut().zip(ours).zip(theirs) {
            divergence += theirs.exp() * (theirs - ours);
            *d = (1.0 - weight) * *d + weight * temperature * (ours.exp() - theirs.exp());
        }
        (1.0 - weight) * loss + weight * temperature * temperature * divergence
    }
}

fn log_softmax(logits: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.clone().map(|logit| (logit - largest).exp()).sum();
    logits.map(|logit| logit - largest - sum.ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let soft = Soft { logits: &[], temperature: 2.0, weight: 0.25 };
        // Softened probabilities 1/4 and 3/4, the teacher's halves.
        let mut d = [0.5, -0.5];
        let loss = soft.add(&[0.0, 2.0 * 3.0_f64.ln()], &[7.0, 7.0], 1.0, &mut d);
        let divergence = 0.5 * 2.0_f64.ln() + 0.5 * (2.0 / 3.0_f64).ln();
        assert!((loss - (0.75 + 0.25 * 4.0 * divergence)).abs() < 1e-12, "{loss}");
        assert!((d[0] - (0.375 - 0.125)).abs() < 1e-12 && (d[1] + 0.375 - 0.125).abs() < 1e-12, "{d:?}");
    }

    #[test]
    fn the_gradient_is_the_losss() {
        let (logits, teacher) = ([0.3, -1.2, 2.0], [1.0_f32, 0.5, -0.25]);
        let soft = Soft { logits: &[], temperature: 3.0, weight: 1.0 };
        let loss = |logits: &[f64]| soft.add(logits, &teacher, 0.0, &mut [0.0; 3]);
        let mut d = [0.0; 3];
        soft.add(&logits, &teacher, 0.0, &mut d);
        for at in 0..3 {
            let mut moved = [logits, logits];
            (moved[0][at], moved[1][at]) = (logits[at] + 1e-5, logits[at] - 1e-5);
            let slope = (loss(&moved[0]) - loss(&moved[1])) / 2e-5;
            assert!((slope - d[at]).abs() < 1e-8, "{slope} {d:?}");
        }
    }

    #[test]
    fn a_nan_stays_one() {
        let soft = Soft { logits: &[], temperature: 1.0, weight: 0.5 };
        assert!(soft.add(&[f64::NAN, 0.0], &[0.0, 0.0], 0.0, &mut [0.0; 2]).is_nan());
    }
}
