//! Charts as SVG, inside a page or as a file. Colours are classes of one style sheet, so that they follow light and dark.

use maud::{Markup, PreEscaped, html};

use crate::numbers::figures;

/// The colours, and how lines and texts look.
pub(crate) const STYLE: &str = include_str!("chart.css");
/// Colours that are told apart.
pub(crate) const COLOURS: usize = 6;
/// Kinds of dashes that are.
pub(crate) const DASHES: usize = 4;

/// Size in the units of the drawing; a phone shows one such unit as about one pixel.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 224.0;
const GAP: f64 = 12.0;
/// Room for a legend's line, and for a letter of its text.
const KEY: f64 = 32.0;
const LETTER: f64 = 6.6;
/// Room for a letter of a title.
const HEADING: f64 = 7.8;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;

/// One line of a chart.
#[derive(Clone)]
pub(crate) struct Series {
    /// For the legend.
    pub(crate) label: String,
    /// One value an epoch; `None` where there was none.
    pub(crate) values: Vec<Option<f64>>,
    /// The least and the most an epoch, of several runs; empty of one.
    pub(crate) band: Vec<Option<[f64; 2]>>,
    /// Which of the [`COLOURS`], and which of the [`DASHES`].
    pub(crate) look: [usize; 2],
}

impl Series {
    /// The `i`th line of a chart, without a band.
    pub(crate) fn new(i: usize, label: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        Self { label: label.into(), values, band: Vec::new(), look: [i % COLOURS, i % DASHES] }
    }

    fn class(&self, what: &str) -> String {
        let [colour, dash] = self.look;
        format!("{what} s{colour} d{dash}")
    }

    /// Every value that has to be in the picture.
    fn all(&self) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().flatten().copied().chain(self.band.iter().flatten().flatten().copied())
    }
}

/// Where data lies in the drawing.
struct Frame {
    x: [f64; 2],
    y: [f64; 2],
    top: f64,
    bottom: f64,
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        round(LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT))
    }

    fn y(&self, value: f64) -> f64 {
        round(self.bottom - (value - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top))
    }
}

/// Values over epochs, counted from 1, with a legend. `summary` is what a screen reader says.
pub(crate) fn lines(title: &str, summary: &str, series: &[Series]) -> Markup {
    html! {
        figure.chart {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(summary) { (plot(series)) }
            p.legend {
                @for series in series {
                    span {
                        svg.key viewBox="0 0 26 10" aria-hidden="true" { path class=(series.class("line")) d="M0 5H26" {} }
                        " " (series.label)
                    }
                }
            }
        }
    }
}

/// Charts one above the other as the text of an SVG file, which a phone shows at full size: under one title, with one legend,
/// in the colours that the reader's screen asks for. A chart is its title and its lines; all have the same lines.
pub(crate) fn file(title: &str, charts: &[(&str, Vec<Series>)]) -> String {
    let width = WIDTH + 2.0 * GAP;
    let legend = charts.first().map_or(&[][..], |(_, series)| series);
    let longest = legend.iter().map(|series| series.label.chars().count()).max().unwrap_or(0) as f64;
    let fitting = ((WIDTH / (KEY + LETTER * longest + GAP)) as usize).clamp(1, legend.len().max(1));
    // Read down the columns: what differs first stays together.
    let rows = legend.len().div_ceil(fitting).max(1);
    let columns = legend.len().div_ceil(rows).max(1);
    let headings = wrapped(title, (WIDTH / HEADING) as usize);
    let top = 10.0 + headings.len() as f64 * 20.0;
    let named = if charts.len() > 1 { 22.0 } else { 0.0 };
    let at = |i: usize| top + i as f64 * (named + HEIGHT + GAP);
    let bottom = at(charts.len());
    let height = bottom + rows as f64 * 20.0;
    let place = |i: usize| (GAP + (i / rows) as f64 * WIDTH / columns as f64, bottom + 2.0 + (i % rows) as f64 * 20.0);
    let svg = html! {
        svg.chart xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox=(format!("0 0 {width} {height}"))
            role="img" aria-label=(title) {
            style { (PreEscaped(STYLE)) }
            rect.paper width=(width) height=(height) {}
            @for (i, line) in headings.iter().enumerate() { text.title x=(GAP) y=(20.0 + i as f64 * 20.0) { (line) } }
            @for (i, (name, series)) in charts.iter().enumerate() {
                @if charts.len() > 1 { text x=(GAP + LEFT) y=(at(i) + 14.0) { (name) } }
                g transform=(format!("translate({GAP} {})", at(i) + named)) { (plot(series)) }
            }
            @for (i, series) in legend.iter().enumerate() {
                @let (x, y) = place(i);
                path class=(series.class("line")) d=(format!("M{x} {y}h26")) {}
                text x=(x + KEY) y=(y + 4.0) { (series.label) }
            }
        }
    };
    svg.into_string() + "\n"
}

/// A text in lines of at most so many letters, where its words allow.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Grid, axes, bands and lines.
fn plot(series: &[Series]) -> Markup {
    let epochs = series.iter().map(|s| s.values.len()).max().unwrap_or(0);
    let (low, high) = range(series.iter().flat_map(Series::all));
    let ticks = ticks(low, high);
    let frame = Frame { x: [1.0, epochs.max(2) as f64], y: ends(&ticks), top: 8.0, bottom: 190.0 };
    let step = (epochs as f64 / 6.0).ceil().max(1.0) as usize;
    html! {
        @for &tick in &ticks {
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(frame.y(tick)) y2=(frame.y(tick)) {}
            text x=(LEFT - 6.0) y=(frame.y(tick) + 4.0) text-anchor="end" { (figures(round(tick))) }
        }
        @for epoch in (1..=epochs).filter(|e| *e == 1 || e % step == 0) {
            text x=(frame.x(epoch as f64)) y="206" text-anchor="middle" { (epoch) }
        }
        text x=((WIDTH + LEFT) / 2.0) y="221" text-anchor="middle" { "epoch" }
        @for series in series.iter().filter(|series| !series.band.is_empty()) {
            path class=(series.class("band")) d=(band(&frame, &series.band)) {}
        }
        @for series in series {
            path class=(series.class("line")) d=(path(&frame, &series.values)) {}
            @if epochs <= 30 || series.values.contains(&None) {
                @for (epoch, value) in series.values.iter().enumerate() {
                    @if let Some(value) = value {
                        circle class=(series.class("dot")) cx=(frame.x(epoch as f64 + 1.0)) cy=(frame.y(*value)) r="2.5" {}
                    }
                }
            }
        }
    }
}

/// One bar a channel, from zero.
pub(crate) fn bars(title: &str, summary: &str, values: &[f64]) -> Markup {
    let (low, high) = range(values.iter().copied().chain([0.0]));
    let frame = Frame { x: [0.0, values.len() as f64], y: [low, high], top: 10.0, bottom: 92.0 };
    let zero = frame.y(0.0);
    let bar = |(i, &value): (usize, &f64)| format!("M{} {zero}V{}", frame.x(i as f64 + 0.5), frame.y(value));
    let d: String = values.iter().enumerate().map(bar).collect();
    let width = round(((WIDTH - LEFT - RIGHT) / values.len() as f64 * 0.7).min(14.0));
    html! {
        figure.chart {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} 100")) role="img" aria-label=(summary) {
                @for end in [low, high].into_iter().filter(|end| *end != 0.0) {
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(frame.y(end)) y2=(frame.y(end)) {}
                    text x=(LEFT - 6.0) y=(frame.y(end) + 4.0) text-anchor="end" { (figures(round(end))) }
                }
                path.bar d=(d) stroke-width=(width) {}
                line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(zero) y2=(zero) {}
                text x=(LEFT - 6.0) y=(zero + 4.0) text-anchor="end" { "0" }
            }
        }
    }
}

/// A line with gaps where values are missing.
fn path(frame: &Frame, values: &[Option<f64>]) -> String {
    let mut d = String::new();
    let mut pen_is_down = false;
    for (epoch, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let verb = if pen_is_down { 'L' } else { 'M' };
            d += &format!("{verb}{} {}", frame.x(epoch as f64 + 1.0), frame.y(*value));
        }
        pen_is_down = value.is_some();
    }
    d
}

/// The area between least and most, up to the first epoch that has none.
fn band(frame: &Frame, band: &[Option<[f64; 2]>]) -> String {
    let ends: Vec<[f64; 2]> = band.iter().map_while(|ends| *ends).collect();
    let point =
        |(epoch, side): (usize, usize)| format!("{} {}", frame.x(epoch as f64 + 1.0), frame.y(ends[epoch][side]));
    let (below, above) = ((0..ends.len()).map(|e| (e, 0)), (0..ends.len()).rev().map(|e| (e, 1)));
    let points: Vec<String> = below.chain(above).map(point).collect();
    if points.is_empty() { String::new() } else { format!("M{}Z", points.join("L")) }
}

/// Smallest and largest finite value, apart.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    match high - low {
        width if width > 0.0 => (low, high),
        _ if low.is_finite() => (low - 0.5, high + 0.5),
        _ => (0.0, 1.0),
    }
}

/// Round numbers from below the smallest to above the largest value.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

fn ends(ticks: &[f64]) -> [f64; 2] {
    [ticks[0], ticks[ticks.len() - 1]]
}

/// Two decimals are finer than a pixel.
pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_values() {
        assert_eq!(
            ticks(0.27, 0.71).iter().map(|t| figures(round(*t))).collect::<Vec<_>>(),
            ["0.2", "0.4", "0.6", "0.8"]
        );
        for (low, high) in [(0.0, 1e-3), (-5.0, 5.0), (0.859, 0.902), (1e6, 3e6)] {
            let ticks = ticks(low, high);
            assert!((3..=8).contains(&ticks.len()) && ticks[0] <= low && ticks[ticks.len() - 1] >= high, "{ticks:?}");
        }
    }

    #[test]
    fn titles_of_any_length_are_wrapped() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable a", 3), ["unbreakable", "a"]);
        assert!(wrapped("", 7).is_empty());
        let series = || vec![Series::new(0, "loss", vec![Some(1.0)])];
        let svg = file(&"word ".repeat(30), &[("one", series()), ("two", series())]);
        assert_eq!((svg.matches("class=\"title\"").count(), svg.contains("width=\"384\"")), (4, true), "{svg}");
    }

    #[test]
    fn missing_values_leave_gaps_and_nothing_is_not_finite() {
        let series = |values| [Series::new(0, "loss", values)];
        let svg = lines("t", "s", &series(vec![Some(1.0), None, Some(0.5), Some(0.25)])).into_string();
        assert_eq!(svg.matches('M').count(), 2 + 1, "two pieces and the legend's key");
        for values in [vec![], vec![None], vec![Some(0.5)], vec![Some(0.5); 200]] {
            let svg = lines("t", "s", &series(values)).into_string();
            assert!(!svg.contains("inf"), "{svg}");
        }
        let banded = Series {
            band: vec![Some([0.5, 1.0]), Some([0.25, 0.5]), None],
            ..series(vec![Some(0.75), Some(0.3)])[0].clone()
        };
        assert!(plot(&[banded]).into_string().contains(r#"class="band s0 d0" d="M44 "#));
        assert!(!bars("t", "s", &[0.0; 6]).into_string().contains("NaN"));
    }
}
