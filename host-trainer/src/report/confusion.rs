//! Which class is taken for which: numbers in a table where there are few classes; a map, and the pairs that are confused most, where there are
//! many. Then the figures of each class.

use maud::{Markup, html};

use super::facts::Facts;
use super::table::wide;
use crate::by_class::{self, ClassFigures};
use crate::chart::round;
use crate::numbers::{percent, thousands};

/// Of so many classes every count is written out.
const AS_NUMBERS: usize = 20;
/// Of so few classes columns have names instead of numbers.
const NAMED_COLUMNS: usize = 4;
/// Pairs that are listed, and classes that are shown unfolded.
const LISTED: usize = 12;
/// Steps of a colour in the map.
const LEVELS: usize = 8;

/// The matrix; `form` is what classified.
pub(super) fn matrix(facts: &Facts<'_>, form: &str) -> Markup {
    let counts = facts.confusion();
    if counts.len() <= AS_NUMBERS {
        return table_of(facts, form, &counts);
    }
    html! { (map(form, &counts)) (pairs(facts, form, &counts)) }
}

fn table_of(facts: &Facts<'_>, form: &str, counts: &[Vec<usize>]) -> Markup {
    let by_name = counts.len() <= NAMED_COLUMNS;
    let columns = if by_name { "columns" } else { "columns, by the numbers of the rows" };
    let caption = format!("Images by label (rows) and by what {form} say ({columns})");
    let has_names = facts.checkpoint.parameters.network.has_classes();
    wide(
        &caption,
        html! {
            table.confusion {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "label" }
                        @for class in 0..counts.len() {
                            th scope="col" {
                                @if by_name { (facts.class_name(class)) } @else { abbr title=(facts.class_name(class)) { (class) } }
                            }
                        }
                        th.total scope="col" { "right" }
                    }
                }
                tbody {
                    @for (label, row) in counts.iter().enumerate() {
                        @let total = row.iter().sum::<usize>();
                        tr {
                            th scope="row" { @if !by_name && has_names { (label) " " } (facts.class_name(label)) }
                            @for (class, &count) in row.iter().enumerate() {
                                @let share = format!("--share:{:.3}", shade(count, total, label == class));
                                @let kind = if label == class { "right" } else if count == 0 { "none" } else { "wrong" };
                                td class=(kind) style=(share) { (thousands(count)) }
                            }
                            td.total { @if total == 0 { "–" } @else { (format!("{:.1} %", 100.0 * row[label] as f64 / total as f64)) } }
                        }
                    }
                }
            }
        },
    )
}

/// How strongly a cell is tinted, 0 to 1. A mistake of a fifth of the images is as strong as it gets.
fn shade(count: usize, total: usize, is_right: bool) -> f64 {
    let share = count as f64 / total.max(1) as f64;
    if is_right { share } else { (share * 5.0).min(1.0).sqrt() }
}

/// Size of the map in the units of the drawing, as a chart's: a phone shows one as about one pixel.
const SIDE: f64 = 320.0;
/// Room for the numbers of the classes.
const EDGE: f64 = 38.0;

/// A square of coloured cells.
fn map(form: &str, counts: &[Vec<usize>]) -> Markup {
    let classes = counts.len();
    let cell = SIDE / classes as f64;
    let step = [10, 20, 50].into_iter().find(|step| classes / step <= 10).unwrap_or(50);
    let ticks = || (0..classes).step_by(step);
    let middle = |class: usize| round(EDGE + (class as f64 + 0.5) * cell);
    let end = EDGE + SIDE;
    let right: usize = (0..classes).map(|class| counts[class][class]).sum();
    let summary = format!(
        "{} of {} images lie on the diagonal, where what is said is the label; the pairs that are confused most are listed below",
        thousands(right),
        thousands(counts.iter().flatten().sum())
    );
    html! {
        figure.chart.map {
            figcaption { "Images by label (down) and by what " (form) " say (across), by the numbers of the classes below" }
            svg viewBox=(format!("0 0 {} {}", end + 4.0, end + 4.0)) role="img" aria-label=(summary) {
                rect.ground x=(EDGE) y=(EDGE) width=(SIDE) height=(SIDE) {}
                @for class in ticks() {
                    path.ticks d=(format!("M{0} {EDGE}V{end}M{EDGE} {0}H{end}", round(EDGE + class as f64 * cell))) {}
                    text x=(middle(class)) y=(EDGE - 6.0) text-anchor="middle" { (class) }
                    text x=(EDGE - 4.0) y=(middle(class) + 4.0) text-anchor="end" { (class) }
                }
                @for (is_right, kind) in [(false, "wrong"), (true, "right")] {
                    @for (level, d) in cells(counts, is_right).iter().enumerate().filter(|(_, d)| !d.is_empty()) {
                        path class=(format!("cells {kind}")) d=(d) transform=(format!("translate({EDGE} {EDGE}) scale({})", round(cell * 1e3) / 1e3))
                            fill-opacity=(round((level + 1) as f64 / LEVELS as f64)) {}
                    }
                }
                text x=(EDGE + SIDE / 2.0) y="14" text-anchor="middle" { "said" }
                text x=(-EDGE - SIDE / 2.0) y="10" text-anchor="middle" transform="rotate(-90)" { "label" }
            }
            p.legend {
                span { (key("right")) " right" }
                span { (key("wrong")) " wrong; full colour: a fifth of the label's images or more" }
            }
        }
    }
}

fn key(kind: &str) -> Markup {
    html! { svg.key viewBox="0 0 26 10" aria-hidden="true" { path class=(format!("cells {kind}")) d="M8 0h10v10h-10z" {} } }
}

/// The cells of each level as a path, in units of cells.
fn cells(counts: &[Vec<usize>], is_right: bool) -> [String; LEVELS] {
    let mut paths = [const { String::new() }; LEVELS];
    for (label, row) in counts.iter().enumerate() {
        let total = row.iter().sum::<usize>();
        let of_kind = row.iter().enumerate().filter(|&(class, &count)| count > 0 && (class == label) == is_right);
        for (class, &count) in of_kind {
            let level = (shade(count, total, is_right) * LEVELS as f64).ceil() as usize;
            paths[level.clamp(1, LEVELS) - 1] += &format!("M{class} {label}h1v1h-1z");
        }
    }
    paths
}

/// The pairs of label and class that are confused most.
fn pairs(facts: &Facts<'_>, form: &str, counts: &[Vec<usize>]) -> Markup {
    let row = |label: usize| counts[label].iter().enumerate().map(move |(class, &count)| (label, class, count));
    let mut pairs: Vec<_> =
        (0..counts.len()).flat_map(row).filter(|&(label, class, count)| count > 0 && label != class).collect();
    // A stable sort: equals stay in the order of the classes.
    pairs.sort_by_key(|&(.., count)| std::cmp::Reverse(count));
    let caption = format!("What {form} confuse most, of {} pairs", thousands(pairs.len()));
    pairs.truncate(LISTED);
    if pairs.is_empty() {
        return html! {};
    }
    wide(
        &caption,
        html! {
            table.words {
                caption { (caption) }
                thead {
                    tr { @for heading in ["label", "said", "images", "of the label's"] { th scope="col" { (heading) } } }
                }
                tbody {
                    @for (label, class, count) in pairs {
                        @let total = counts[label].iter().sum::<usize>();
                        tr {
                            th scope="row" { (label) " " (facts.class_name(label)) }
                            td { (class) " " (facts.class_name(class)) }
                            td { (thousands(count)) } td { (percent(count as f64 / total as f64)) }
                        }
                    }
                }
            }
        },
    )
}

/// Precision, recall and F1 of each class; of many classes the worst first, and all of them folded up.
pub(super) fn figures(facts: &Facts<'_>, form: &str) -> Markup {
    let classes: Vec<(usize, ClassFigures)> = facts.by_class().into_iter().enumerate().collect();
    let caption = format!("What {form} say of each class");
    let note = html! {
        p.note {
            "Precision: the share of what is said to be of the class that is. Recall: the share of the class that is found. F1: their harmonic mean."
        }
    };
    if classes.len() <= AS_NUMBERS {
        return html! { (rows(&caption, &classes, true)) (note) };
    }
    let mut worst: Vec<_> = classes.iter().filter(|(_, class)| class.support > 0).cloned().collect();
    worst.sort_by(|(_, a), (_, b)| a.f1.unwrap_or(0.0).total_cmp(&b.f1.unwrap_or(0.0)));
    worst.truncate(LISTED);
    html! {
        (rows(&format!("The {} classes with the lowest F1", worst.len()), &worst, false))
        (note)
        details {
            summary { "All " (classes.len()) " classes in figures" }
            (rows(&caption, &classes, true))
        }
    }
}

fn rows(caption: &str, classes: &[(usize, ClassFigures)], with_mean: bool) -> Markup {
    let share = |share: Option<f64>| share.map_or("–".into(), percent);
    let numbered = classes.len() > NAMED_COLUMNS;
    let all: Vec<_> = classes.iter().map(|(_, class)| class.clone()).collect();
    let mean = with_mean.then(|| by_class::mean(&all)).flatten();
    wide(
        caption,
        html! {
            table.figures {
                caption { (caption) }
                thead {
                    tr { @for heading in ["class", "precision", "recall", "F1", "images"] { th scope="col" { (heading) } } }
                }
                tbody {
                    @for (number, class) in classes {
                        tr {
                            th scope="row" { @if numbered && class.class != number.to_string() { (number) " " } (class.class) }
                            td { (share(class.precision)) } td { (share(class.recall)) } td { (share(class.f1)) }
                            td { (thousands(class.support)) }
                        }
                    }
                    @if let Some(mean) = mean {
                        tr.mean {
                            th scope="row" { "mean of " (mean.classes) " classes" }
                            td { (percent(mean.precision)) } td { (percent(mean.recall)) } td { (percent(mean.f1)) } td {}
                        }
                    }
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_drawn_once_by_its_share() {
        let counts = vec![vec![9, 1, 0], vec![0, 10, 0], vec![0, 0, 0]];
        let right = cells(&counts, true);
        assert_eq!((right[7].as_str(), right[..7].concat().as_str()), ("M0 0h1v1h-1zM1 1h1v1h-1z", ""));
        let wrong = cells(&counts, false);
        assert_eq!(wrong.concat(), "M1 0h1v1h-1z");
        assert_eq!(wrong[5], "M1 0h1v1h-1z", "a tenth is the root of a half");
    }

    #[test]
    fn the_map_grows_with_the_classes_and_stays_small() {
        for classes in [21, 100, 256] {
            let counts = vec![vec![1; classes]; classes];
            let html = map("integers", &counts).into_string();
            assert!(html.len() < 24 * classes * classes && html.matches("<text").count() < 25, "{classes}");
        }
    }
}
