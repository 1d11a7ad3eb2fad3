//! Figures by class: how often a class is named rightly, and how often its examples are found.

use serde::Serialize;

use crate::network::Network;

/// One class. The keys of `classes` in `evaluate --json`. A share of nothing is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Its name, or its number where the network's classes have no names.
    pub class: String,
    /// Share of the examples said to be of the class that are.
    pub precision: Option<f64>,
    /// Share of the class's examples that are said to be of it.
    pub recall: Option<f64>,
    /// Harmonic mean of both.
    pub f1: Option<f64>,
    /// Examples of the class.
    pub support: usize,
    /// Examples said to be of the class.
    pub predicted: usize,
    /// Examples of the class that are said to be of it.
    pub correct: usize,
}

/// Means over the classes that have examples, each class with the same weight ("macro"). The keys of `class_mean` in
/// `evaluate --json`. A class that is never named has no precision and counts as 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassMean {
    /// Classes with examples.
    pub classes: usize,
    /// Mean precision.
    pub precision: f64,
    /// Mean recall: the balanced accuracy.
    pub recall: f64,
    /// Mean F1.
    pub f1: f64,
}

/// Name of a class: the network's, or its number.
pub fn class_name(network: &Network, class: usize) -> String {
    network.class_names().nth(class).map_or_else(|| class.to_string(), String::from)
}

/// One row an output of the network. `said` are classes below the number of outputs, and so are labels.
///
/// # Panics
/// If one is not.
pub fn by_class(network: &Network, said: &[usize], labels: &[u8]) -> Vec<ClassFigures> {
    let mut counts = vec![[0_usize; 3]; network.output().len()];
    for (&said, &label) in said.iter().zip(labels) {
        let label = usize::from(label);
        counts[label][0] += 1;
        counts[said][1] += 1;
        counts[label][2] += usize::from(said == label);
    }
    let share = |of: usize, all: usize| (all > 0).then(|| of as f64 / all as f64);
    let row = |(class, [support, predicted, correct]): (usize, [usize; 3])| ClassFigures {
        class: class_name(network, class),
        precision: share(correct, predicted),
        recall: share(correct, support),
        f1: share(2 * correct, support + predicted),
        support,
        predicted,
        correct,
    };
    counts.into_iter().enumerate().map(row).collect()
}

/// Means over the classes with examples; `None` where no class has any.
pub fn mean(classes: &[ClassFigures]) -> Option<ClassMean> {
    let tested: Vec<_> = classes.iter().filter(|class| class.support > 0).collect();
    let mean = |figure: fn(&ClassFigures) -> Option<f64>| {
        tested.iter().map(|class| figure(class).unwrap_or(0.0)).sum::<f64>() / tested.len() as f64
    };
    (!tested.is_empty()).then(|| ClassMean {
        classes: tested.len(),
        precision: mean(|class| class.precision),
        recall: mean(|class| class.recall),
        f1: mean(|class| class.f1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::text;

    #[test]
    fn figures_are_those_of_scikit_learn() {
        let network = text::parse("network n\ninput 2\nclasses a, b, c, d\n\nlinear 4").unwrap();
        // classification_report([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 3, 0]) of scikit-learn 1.7, which writes 0 for null.
        let rows = by_class(&network, &[0, 0, 1, 1, 3, 0], &[0, 0, 0, 1, 1, 2]);
        let third = 2.0 / 3.0;
        let figures = |at: usize| (rows[at].precision, rows[at].recall, rows[at].f1, rows[at].support);
        assert_eq!(figures(0), (Some(third), Some(third), Some(third), 3));
        assert_eq!(figures(1), (Some(0.5), Some(0.5), Some(0.5), 2));
        assert_eq!(figures(2), (None, Some(0.0), Some(0.0), 1));
        assert_eq!(figures(3), (Some(0.0), None, Some(0.0), 0));
        assert_eq!((rows[0].class.as_str(), rows[0].predicted, rows[0].correct), ("a", 3, 2));
        let mean = mean(&rows).unwrap();
        assert_eq!((mean.classes, mean.precision), (3, (third + 0.5) / 3.0));
        assert_eq!(super::mean(&rows[3..]), None);
        let nameless = text::parse("network n\ninput 2\n\nlinear 3").unwrap();
        assert_eq!(by_class(&nameless, &[2], &[1])[2].class, "2");
    }
}
