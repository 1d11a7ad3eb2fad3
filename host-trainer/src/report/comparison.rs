//! The page about a comparison: curves with their bands, what the last epoch gave, and every run.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::page::frame;
use super::table;
use crate::chart::lines;
use crate::compare::{Comparison, Last, Run, Spread, Variant, picture};
use crate::numbers::{figures, percent};
use crate::train::recipe::Recipe;

/// The whole page.
pub(super) fn page(comparison: &Comparison) -> Markup {
    let title = picture::title(comparison);
    let recipe = comparison.variants.first().map(|variant| &variant.recipe);
    let lead = html! {
        p.lead {
            (comparison.variants.len()) " variants, trained alike but for what is named, with "
            (comparison.seeds.len()) " seed" (if comparison.seeds.len() == 1 { "" } else { "s" }) " each."
        }
    };
    let sections = [
        ("last", "After the last epoch", last(comparison)),
        ("runs", "Every run", runs(comparison)),
        ("recipe", "Recipe", html! { @if let Some(recipe) = recipe { (shared(comparison, recipe)) } }),
    ];
    frame(&title, lead, curves(comparison), &sections)
}

fn curves(comparison: &Comparison) -> Markup {
    let labels: Vec<&str> = comparison.variants.iter().map(|variant| variant.label.as_str()).collect();
    let summary = |name: &str| format!("{name} over the epochs, one line each for {}", labels.join("; "));
    html! {
        div.charts {
            @for (name, series) in picture::charts(comparison) { (lines(name, &summary(name), &series)) }
        }
        @if comparison.seeds.len() > 1 { p.note { "A line is the mean over the seeds, its band reaches from the least to the most." } }
    }
}

/// A row a variant.
fn last(comparison: &Comparison) -> Markup {
    let caption = "Means over the seeds, with the least and the most";
    let has_classes = comparison.variants.iter().any(|variant| variant.last.test_accuracy.is_some());
    table::wide(
        caption,
        html! {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "variant" }
                        @for name in headings(has_classes) { th scope="col" { (name) } }
                    }
                }
                tbody {
                    @for variant in &comparison.variants {
                        tr {
                            th scope="row" { (variant.label) }
                            @for cell in cells(variant, has_classes) { td { (cell) } }
                        }
                    }
                }
            }
        },
    )
}

/// What the columns of figures are called.
pub(crate) fn headings(has_classes: bool) -> Vec<&'static str> {
    if has_classes { vec!["train loss", "train accuracy", "test accuracy"] } else { vec!["train loss", "test loss"] }
}

/// A variant's figures after the last epoch, as text; the first says so where runs diverged.
pub(crate) fn cells(variant: &Variant, has_classes: bool) -> Vec<String> {
    let Last { train_loss, train_accuracy, test_loss, test_accuracy } = variant.last;
    let share = |spread: Option<Spread>| spread.map_or("–".into(), |s| text(s, percent));
    let loss = |spread: Option<Spread>| match (spread, variant.diverged()) {
        (Some(spread), _) => text(spread, |value| format!("{value:.3}")),
        (None, 0) => "–".into(),
        (None, n) => format!("{n} of {} diverged", variant.runs.len()),
    };
    if has_classes {
        vec![loss(train_loss), share(train_accuracy), share(test_accuracy)]
    } else {
        vec![loss(train_loss), test_loss.map_or("–".into(), |s| text(s, figures))]
    }
}

/// `0.378 (0.376 to 0.381)`; of one seed the value alone.
fn text(Spread { mean, least, most }: Spread, number: impl Fn(f64) -> String) -> String {
    if least == most { number(mean) } else { format!("{} ({} to {})", number(mean), number(least), number(most)) }
}

fn runs(comparison: &Comparison) -> Markup {
    let row = |variant: &Variant, run: &Run| {
        let mut row = table::named("variant", variant.label.as_str(), &Map::<String, Value>::new());
        row.insert("seed".into(), run.seed.into());
        row.insert("engine".into(), run.engine.clone().into());
        row.insert("diverged_in_epoch".into(), run.diverged.into());
        if let Some(last) = run.epochs.last() {
            let mut last = table::fields(last);
            last.remove("examples_per_second");
            row.extend(last);
        }
        row
    };
    let rows: Vec<_> = comparison.variants.iter().flat_map(|v| v.runs.iter().map(move |run| row(v, run))).collect();
    html! { (table::of_rows("The last epoch of each run", &rows)) }
}

/// The recipe without what differs.
fn shared(comparison: &Comparison, recipe: &Recipe) -> Markup {
    let mut fields = table::fields(recipe);
    comparison.differ.iter().for_each(|name| drop(fields.remove(name)));
    fields.insert("digest_of_the_data".into(), comparison.dataset_digest.clone().into());
    html! { (table::of_one("What all variants have in common", &fields)) }
}
