//! The page: head, key figures, training, stages, device. [`batch_norm`] and [`mistakes`]
//! have sections of their own.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::facts::{Device, Facts, Stage};
use super::{batch_norm, mistakes, table};
use crate::chart::{self, Series, lines};
use crate::model::inference;
use crate::numbers::{figures, percent, thousands};
use crate::quantize::fine_tune::FineTuned;
use crate::train::checkpoint::{Origin, TrainingState};
use crate::train::reestimate::Reestimated;

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn page(facts: &Facts<'_>) -> Markup {
    let title = format!("{} on {}", facts.checkpoint.parameters.network.name(), facts.dataset);
    let sections = [
        ("training", "Training", training(facts)),
        ("stages", "Accuracy at each stage", stages(facts)),
        ("mistakes", "Where it errs", mistakes::section(facts)),
        ("batch-norm", "BatchNorm", batch_norm::section(&facts.checkpoint.parameters)),
        ("quantiser", "The quantiser", quantiser(facts)),
        ("device", "The device", device(facts)),
    ];
    let lead = html! { p.lead { (origin(facts)) } };
    frame(&title, lead, key_figures(facts), &sections)
}

/// Head, headings, sections and foot of a page.
pub(super) fn frame(title: &str, lead: Markup, first: Markup, sections: &[(&str, &str, Markup)]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(chart::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (lead)
                    nav aria-label="Sections" {
                        ul { @for (id, heading, _) in sections { li { a href=(format!("#{id}")) { (heading) } } } }
                    }
                }
                main {
                    (first)
                    @for (id, heading, content) in sections {
                        section aria-labelledby=(id) { h2 id=(id) { (heading) } (content) }
                    }
                }
                footer { "Written by host-trainer " (env!("CARGO_PKG_VERSION")) "." }
            }
        }
    }
}

fn origin(facts: &Facts<'_>) -> String {
    let parameters = thousands(facts.checkpoint.parameters.network.topology().trained_parameters());
    match &facts.checkpoint.origin {
        Origin::Imported(name) => format!("{parameters} trained parameters, imported from {name}."),
        Origin::Initial(seed) => format!("{parameters} parameters, untrained, seed {seed}."),
        Origin::Trained(state) => format!(
            "{parameters} trained parameters, recipe {}, {} of {} epochs, seed {}, engine {}.",
            state.recipe.name, state.epoch, state.recipe.epochs, state.seed, state.engine
        ),
    }
}

/// What most readers came for.
fn key_figures(facts: &Facts<'_>) -> Markup {
    let score = facts.unfolded.score;
    let mut figures = vec![(format!("{} in f32", score.name()), score.to_string())];
    if let Ok(int8) = &facts.int8 {
        figures.push((format!("{} in integers", score.name()), int8.stage.score.to_string()));
        figures.push(("bytes of weights".into(), thousands(int8.export.bytes)));
    }
    if let Device::Ran(report) = &facts.device
        && let Some(cost) = &report.cost
    {
        figures.push(("instructions an image".into(), thousands(cost.instructions_per_inference as usize)));
        figures.push(("bytes of RAM".into(), thousands(cost.ram_bytes as usize)));
    }
    html! {
        dl.key-figures { @for (name, value) in figures { div { dt { (name) } dd { (value) } } } }
    }
}

fn training(facts: &Facts<'_>) -> Markup {
    let Some(state) = facts.checkpoint.training() else {
        return html! {
            p { "This model was not trained here. Its file says nothing of how it was trained, so there are no curves and no recipe." }
        };
    };
    html! {
        (curves(facts))
        div.side {
            (table::of_one("Recipe", &table::fields(&state.recipe)))
            (run(state, facts))
        }
        @if let Some(changed) = &state.reestimated { (reestimated(changed)) }
    }
}

/// Two charts of whatever figures the epochs have: losses and accuracies.
fn curves(facts: &Facts<'_>) -> Markup {
    let epochs: Vec<_> = facts.metrics.iter().map(table::fields).collect();
    let Some(last) = epochs.last() else { return html! { p { "No epoch has ended yet." } } };
    let chart = |title: &str, part: &str| {
        let keys: Vec<_> = last.keys().filter(|key| key.contains(part)).collect();
        let finite = |value: &Value| value.as_f64().filter(|v| v.is_finite());
        let values = |key: &str| epochs.iter().map(|epoch| epoch.get(key).and_then(finite)).collect();
        let series = |(i, key): (usize, &&String)| Series::new(i, table::label(key), values(key));
        let at_last = |key: &&String| format!("{} {}", table::label(key), table::text(key, &last[*key]));
        let after = keys.iter().map(at_last).collect::<Vec<_>>().join(", ");
        let summary = format!("{title} over {} epochs; after the last: {after}", epochs.len());
        lines(title, &summary, &keys.iter().enumerate().map(series).collect::<Vec<_>>())
    };
    html! {
        div.charts { (chart("Loss", "loss")) (chart("Accuracy", "accuracy")) }
        details {
            summary { "The epochs in figures" }
            (table::of_rows("Losses are means over the examples; a test figure is of the model after the epoch", &facts.metrics))
        }
    }
}

/// What is not the recipe's but the run's.
fn run(state: &TrainingState, facts: &Facts<'_>) -> Markup {
    let parameters = &facts.checkpoint.parameters;
    html! {
        table.pairs {
            caption { "Run" }
            tbody {
                tr { th scope="row" { "data" } td { (state.dataset) " (digest " (state.dataset_digest) ")" } }
                tr { th scope="row" { "engine" } td { (state.engine) } }
                tr { th scope="row" { "seed" } td { (state.seed) } }
                tr { th scope="row" { "BatchNorm's eps" } td { (parameters.network.common_eps().map_or("one a layer".into(), |eps| figures(f64::from(eps)))) } }
                tr { th scope="row" { "running variance" } td { (parameters.variance.name()) } }
                tr { th scope="row" { "batches tracked" } td { (thousands(facts.checkpoint.batches_tracked as usize)) } }
                @if state.holdout > 0 {
                    tr {
                        th scope="row" { "held out" }
                        td { "the last " (thousands(state.holdout)) " training images; they stand in for the test images above" }
                    }
                }
            }
        }
    }
}

/// What exact statistics changed.
fn reestimated(changed: &Reestimated) -> Markup {
    let Reestimated { mean_shift, variance_ratio, before, after, test_before, test_after } = changed;
    html! {
        p {
            "In the end the moving statistics of BatchNorm gave way to the exact ones of the training images: a mean moved by at most "
            (figures(*mean_shift)) " standard deviations, a variance changed by at most a factor of "
            (figures(*variance_ratio)) "."
        }
        table {
            caption { "In inference mode, the training images as they are" }
            thead {
                tr {
                    th scope="col" { "statistics" } th scope="col" { "train loss" } th scope="col" { "train accuracy" }
                    th scope="col" { "test accuracy" }
                }
            }
            tbody {
                @for (name, totals, test) in [("moving", before, test_before), ("exact", after, test_after)] {
                    tr {
                        th scope="row" { (name) }
                        td { (figures(totals.mean_loss())) } td { (percent(totals.accuracy())) }
                        td { (test.map_or("–".into(), |test| percent(test.accuracy()))) }
                    }
                }
            }
        }
    }
}

fn stages(facts: &Facts<'_>) -> Markup {
    let differ = |stage: &Stage| percent(inference::disagreement(&stage.classes, &facts.unfolded.classes));
    html! {
        p { "The same model on the same " (thousands(facts.test.len())) " test images, from what was trained to what is flashed." }
        table {
            caption { "Share of images that are classified right, and that are classified differently from the first line" }
            thead { tr { th scope="col" { "stage" } th scope="col" { "right" } th scope="col" { "differently" } } }
            tbody {
                tr { th scope="row" { "f32, BatchNorm on its own" } td { (facts.unfolded.score) } td { "–" } }
                tr {
                    th scope="row" { "f32, BatchNorm folded" }
                    td { (facts.folded.score) } td { (differ(&facts.folded)) }
                }
                @if let Ok(int8) = &facts.int8 {
                    tr {
                        th scope="row" { "int8 on the host" }
                        td { (int8.stage.score) } td { (differ(&int8.stage)) }
                    }
                    tr {
                        th scope="row" { "int8 on the device, emulated" }
                        @match &facts.device {
                            // Every logit was the host's, or there would be no report.
                            Device::Ran(report) => { td { (report.accuracy.map_or_else(|| int8.stage.score.to_string(), percent)) } td { (differ(&int8.stage)) } }
                            Device::NotRun(_) => { td { "not run" } td { "–" } }
                        }
                    }
                }
            }
        }
        @if let Err(refusal) = &facts.int8 { p { "There are no integers: " (refusal) "." } }
        @if let Device::NotRun(why) = &facts.device { (not_run(why)) }
    }
}

fn not_run(why: &str) -> Markup {
    html! {
        p.note {
            "The device was not run: " (why) ". " code { "host-trainer report RUN" } " with QEMU installed runs every test image through it."
        }
    }
}

fn quantiser(facts: &Facts<'_>) -> Markup {
    let int8 = match &facts.int8 {
        Ok(int8) => int8,
        Err(refusal) => return html! { p { "The exporter refuses this model: " (refusal) "." } },
    };
    let export = &int8.export;
    html! {
        p {
            "BatchNorm folded into the layers before it, then rounded to integers: " (thousands(export.bytes)) " bytes, checksum "
            code { (format!("{:08x}", export.checksum)) } ". "
            @match int8.is_the_runs_file {
                Some(true) => { "It is the run's weights.bin." }
                Some(false) => {
                    "The run's weights.bin is another file: it was exported from another checkpoint or with other flags."
                }
                None => { "The run has no weights.bin; " code { "host-trainer export" } " writes it." }
            }
        }
        (table::of_many("What rounding did to the weights of each layer", "layer", &export.layers))
        @if let Some(tuned) = &export.fine_tuned { (fine_tuned(tuned)) }
        (table::of_many(
            "And to its outputs, behind activation and pool, on the training images that calibrated it",
            "layer",
            &export.activations,
        ))
        @if let Some(dead) = &export.dead_channels && !dead.layers_of_note().is_empty() {
            (table::of_many(
                "Dead channels: one integer value for every input. Without those that are removed no bit of the others changes",
                "layer",
                &dead.layers_of_note(),
            ))
        }
        (table::of_one("Of the file, read back, on the training images that calibrated it", &table::fields(&export.calibration)))
    }
}

/// What `--qat` found.
fn fine_tuned(tuned: &FineTuned) -> Markup {
    let changed: usize = tuned.layers.iter().map(|layer| layer.changed).sum();
    let all: usize = tuned.layers.iter().map(|layer| layer.weights).sum();
    let integers = |epoch| if epoch == 0 { "before".into() } else { format!("after epoch {epoch}") };
    let rows = tuned.agreement.iter().enumerate();
    let rows: Vec<_> = rows.map(|(epoch, agreement)| table::named("integers", integers(epoch), agreement)).collect();
    html! {
        p {
            "Fine-tuned for " (tuned.epochs) " epochs towards what f32 says, BatchNorm folded and fixed. "
            @match tuned.kept {
                0 => { "No epoch made the integers better, so they are those of before." }
                epoch => {
                    "Those after epoch " (epoch) " were kept, the nearest to f32: " (thousands(changed)) " of "
                    (thousands(all)) " weights of the layers that moved changed."
                }
            }
        }
        (table::of_rows(
            &format!("On {} training examples held out from it", thousands(tuned.held_out)),
            &rows,
        ))
    }
}

fn device(facts: &Facts<'_>) -> Markup {
    let report = match &facts.device {
        Device::Ran(report) => report,
        Device::NotRun(why) => return not_run(why),
    };
    let mut figures = table::fields(report);
    // How long it took here is no property of the run.
    ["layers", "seconds", "emulators"].iter().for_each(|key| drop(figures.remove(*key)));
    html! {
        p {
            "The firmware on the emulated " code { (report.machine) } ", over " (thousands(report.images)) " test images: all "
            (thousands(report.outputs_compared)) " outputs of its layers are the host's, bit for bit."
            @if report.cost.is_some() { " Executed instructions, not cycles." }
        }
        (table::of_one("An inference on the device", &figures))
        (table::of_many("Each layer of an inference, its activation and pool included", "name", &report.layers))
    }
}
