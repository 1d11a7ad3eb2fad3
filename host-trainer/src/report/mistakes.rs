//! Where the model errs: the confusion matrix, and pictures of the mistakes that it is surest of.

use maud::{Markup, html};

use super::facts::{Facts, Mistake};
use super::picture;
use super::table::wide;
use crate::numbers::percent;

/// The section.
pub(super) fn section(facts: &Facts<'_>) -> Markup {
    let form = if facts.int8.is_ok() { "the integers" } else { "f32, BatchNorm on its own," };
    if facts.unfolded.score.accuracy().is_none() {
        return html! { p { "The network has no classes: it gives its input back, and has no mistakes but the error above." } };
    }
    let mistakes = facts.mistakes();
    html! {
        (confusion(facts, form))
        h3 { "The mistakes that it is surest of" }
        @if mistakes.is_empty() {
            p { "There are none." }
        } @else {
            p { "Test images that " (form) " classify wrongly, by the probability (softmax of the logits) that they give the wrong class." }
            ul.mistakes { @for mistake in &mistakes { li { (figure(facts, mistake)) } } }
        }
    }
}

fn confusion(facts: &Facts<'_>, form: &str) -> Markup {
    let counts = facts.confusion();
    let caption = format!("Images by label (rows) and by what {form} say (columns, by the numbers of the rows)");
    wide(
        &caption,
        html! {
            table.confusion {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "label" }
                        @for class in 0..counts.len() { th scope="col" { abbr title=(facts.class_name(class)) { (class) } } }
                        th.total scope="col" { "right" }
                    }
                }
                tbody {
                    @for (label, row) in counts.iter().enumerate() {
                        @let total = row.iter().sum::<usize>().max(1);
                        tr {
                            th scope="row" { (label) " " (if facts.checkpoint.parameters.network.has_classes() { facts.class_name(label) } else { String::new() }) }
                            @for (class, &count) in row.iter().enumerate() {
                                @let share = format!("--share:{:.3}", shade(count, total, label == class));
                                @let kind = if label == class { "right" } else if count == 0 { "none" } else { "wrong" };
                                td class=(kind) style=(share) { (count) }
                            }
                            td.total { (format!("{:.1} %", 100.0 * row[label] as f64 / total as f64)) }
                        }
                    }
                }
            }
        },
    )
}

/// How strongly a cell is tinted, 0 to 1. A mistake of a fifth of the images is as strong as it gets.
fn shade(count: usize, total: usize, is_right: bool) -> f64 {
    let share = count as f64 / total as f64;
    if is_right { share } else { (share * 5.0).min(1.0).sqrt() }
}

fn figure(facts: &Facts<'_>, mistake: &Mistake) -> Markup {
    let (label, prediction) = (facts.class_name(mistake.label), facts.class_name(mistake.prediction));
    let alt = format!("test image {}, labelled {label}", mistake.index);
    html! {
        figure {
            @if let Some(source) = picture::source(&facts.test.inputs, mistake.index) {
                img src=(source) alt=(alt) width="84" height="84";
            }
            figcaption {
                "said " strong { (prediction) } br; "is " (label) br;
                small { (percent(mistake.confidence)) br; "no. " (mistake.index) }
            }
        }
    }
}
