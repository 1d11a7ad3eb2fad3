//! The three curves of d2l's figure, train loss, train accuracy and test accuracy over the epochs, as an SVG.

use crate::chart::{Series, file};
use crate::train::metrics::EpochMetrics;

/// A curve's legend, and its value of an epoch.
type Curve = (&'static str, fn(&EpochMetrics) -> Option<f64>);

const CURVES: [Curve; 3] = [
    ("train loss", |m| Some(m.train_loss)),
    ("train accuracy", |m| m.train_accuracy),
    ("test accuracy", |m| m.test_accuracy),
];

/// The figure as SVG text. `title` stands above it.
pub fn svg(title: &str, epochs: &[EpochMetrics]) -> String {
    let series = CURVES.iter().enumerate().map(|(i, (label, value))| {
        let values: Vec<_> = epochs.iter().map(value).collect();
        Series::new(i, *label, values)
    });
    let shown = series.filter(|series| series.values.iter().any(Option::is_some)).collect();
    file(title, &[("", shown)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(n: usize) -> Vec<EpochMetrics> {
        let metrics = |i: usize| EpochMetrics {
            epoch: i + 1,
            train_loss: 0.7 / (i + 1) as f64,
            train_accuracy: Some(0.8),
            test_loss: Some(0.5),
            test_accuracy: i.is_multiple_of(2).then_some(0.75),
            examples_per_second: None,
        };
        (0..n).map(metrics).collect()
    }

    #[test]
    fn the_figure_names_its_curves() {
        let svg = svg("BatchNorm LeNet on garments", &epochs(10));
        for text in ["train loss", "train accuracy", "test accuracy", "epoch", "BatchNorm LeNet on garments"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn one_epoch_and_a_hundred_can_be_drawn() {
        for n in [1, 2, 100] {
            assert!(svg("", &epochs(n)).contains("train loss"), "{n}");
        }
    }
}
