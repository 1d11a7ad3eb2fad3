//! The curves of a comparison: training loss, and the test figure, each over the epochs, with the seeds as a band.

use super::grid::looks;
use super::{Comparison, Figure, Variant};
use crate::chart::{Series, file};

/// A chart: its title and what it shows.
type Chart = (&'static str, Figure);

const LOSS: Chart = ("train loss", |m| Some(m.train_loss));
const ACCURACY: Chart = ("test accuracy", |m| m.test_accuracy);
const TEST_LOSS: Chart = ("test loss", |m| m.test_loss);

/// The picture as SVG text.
pub fn svg(comparison: &Comparison) -> String {
    file(&title(comparison), &charts(comparison))
}

/// What stands above it.
pub(crate) fn title(comparison: &Comparison) -> String {
    let seeds = comparison.seeds.len();
    let seeds =
        if seeds > 1 { format!(": mean of {seeds} seeds, in a band from least to most") } else { String::new() };
    format!("{} on {}{seeds}", names(&comparison.differ), comparison.dataset)
}

/// What differs, for people.
fn names(differ: &[String]) -> String {
    let name = |name: &String| match name.as_str() {
        "lr" => "learning rate".to_owned(),
        "batch_size" => "batch size".to_owned(),
        "bn_momentum" => "momentum".to_owned(),
        "bn_fixed" => "gamma and beta".to_owned(),
        other => other.to_owned(),
    };
    let text = differ.iter().map(name).collect::<Vec<_>>().join(" and ");
    text[..1].to_uppercase() + &text[1..]
}

/// Both charts; without classes the second is of the loss.
pub(crate) fn charts(comparison: &Comparison) -> [(&'static str, Vec<Series>); 2] {
    let has_classes =
        comparison.variants.iter().flat_map(|v| &v.runs).flat_map(|r| &r.epochs).any(|e| e.test_accuracy.is_some());
    [LOSS, if has_classes { ACCURACY } else { TEST_LOSS }].map(|(name, figure)| (name, series(comparison, figure)))
}

fn series(comparison: &Comparison, figure: Figure) -> Vec<Series> {
    // A file that was written by hand may hold any variants: those that do not make a grid look alike in turn.
    let looks = looks(&counts(comparison)).unwrap_or_default();
    let series = |(i, variant): (usize, &Variant)| {
        let curve = variant.curve(figure);
        let plain = Series::new(i, legend(variant), curve.iter().map(|s| s.map(|s| s.mean)).collect());
        let band = curve.iter().map(|s| s.map(|s| [s.least, s.most])).collect();
        Series {
            band: if variant.runs.len() > 1 { band } else { Vec::new() },
            look: looks.get(i).copied().unwrap_or(plain.look),
            ..plain
        }
    };
    comparison.variants.iter().enumerate().map(series).collect()
}

/// How many values each thing that differs has.
fn counts(comparison: &Comparison) -> Vec<usize> {
    let count = |name: &String| {
        let mut values: Vec<String> = comparison
            .variants
            .iter()
            .map(|v| v.values.get(name).map(ToString::to_string).unwrap_or_default())
            .collect();
        values.sort();
        values.dedup();
        values.len()
    };
    comparison.differ.iter().map(count).collect()
}

fn legend(variant: &Variant) -> String {
    match (variant.diverged(), variant.runs.len()) {
        (0, _) => variant.label.clone(),
        (n, all) if n == all => format!("{} (diverged)", variant.label),
        (n, all) => format!("{} ({n} of {all} diverged)", variant.label),
    }
}
