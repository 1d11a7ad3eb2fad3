//! Where the model errs: the confusion matrix, the figures of each class, and pictures of the mistakes that it is surest of.

use maud::{Markup, html};

use super::facts::{Facts, Mistake};
use super::{confusion, picture};
use crate::numbers::percent;

/// The section.
pub(super) fn section(facts: &Facts<'_>) -> Markup {
    let form = if facts.int8.is_ok() { "the integers" } else { "f32, BatchNorm on its own," };
    if facts.unfolded.score.accuracy().is_none() {
        return html! { p { "The network has no classes: it gives its input back, and has no mistakes but the error above." } };
    }
    let mistakes = facts.mistakes();
    html! {
        (confusion::matrix(facts, form))
        h3 { "Class by class" }
        (confusion::figures(facts, form))
        h3 { "The mistakes that it is surest of" }
        @if mistakes.is_empty() {
            p { "There are none." }
        } @else {
            p { "Test images that " (form) " classify wrongly, by the probability (softmax of the logits) that they give the wrong class." }
            ul.mistakes { @for mistake in &mistakes { li { (figure(facts, mistake)) } } }
        }
    }
}

fn figure(facts: &Facts<'_>, mistake: &Mistake) -> Markup {
    let (label, prediction) = (facts.class_name(mistake.label), facts.class_name(mistake.prediction));
    let alt = format!("test image {}, labelled {label}", mistake.index);
    html! {
        figure {
            @if let Some(source) = picture::source(&facts.test.inputs, mistake.index) {
                // What is larger than its place shrinks smoothly, what is smaller shows its pixels.
                @let class = if facts.test.inputs.shape().height > 84 { "photo" } else { "pixels" };
                img class=(class) src=(source) alt=(alt) width="84" height="84";
            }
            figcaption {
                "said " strong { (prediction) } br; "is " (label) br;
                small { (percent(mistake.confidence)) br; "no. " (mistake.index) }
            }
        }
    }
}
