//! Charts as SVG inside the page. Colours are classes of the style sheet, so that they follow light and dark.

use maud::{Markup, html};

use super::table::figures;

/// Size in the units of the drawing; a phone shows one such unit as about one pixel.
const WIDTH: f64 = 360.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;

/// One line of [`lines`].
pub(super) struct Series {
    /// For the legend.
    pub(super) label: String,
    /// One value an epoch; `None` where there was none.
    pub(super) values: Vec<Option<f64>>,
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
pub(super) fn lines(title: &str, summary: &str, series: &[Series]) -> Markup {
    let epochs = series.iter().map(|s| s.values.len()).max().unwrap_or(0);
    let all = || series.iter().flat_map(|s| s.values.iter().flatten().copied());
    let (low, high) = range(all());
    let ticks = ticks(low, high);
    let frame = Frame { x: [1.0, epochs.max(2) as f64], y: ends(&ticks), top: 8.0, bottom: 190.0 };
    let step = (epochs as f64 / 6.0).ceil().max(1.0) as usize;
    html! {
        figure.chart {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} 224")) role="img" aria-label=(summary) {
                @for &tick in &ticks {
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(frame.y(tick)) y2=(frame.y(tick)) {}
                    text x=(LEFT - 6.0) y=(frame.y(tick) + 4.0) text-anchor="end" { (figures(round(tick))) }
                }
                @for epoch in (1..=epochs).filter(|e| *e == 1 || e % step == 0) {
                    text x=(frame.x(epoch as f64)) y="206" text-anchor="middle" { (epoch) }
                }
                text x=((WIDTH + LEFT) / 2.0) y="221" text-anchor="middle" { "epoch" }
                @for (i, series) in series.iter().enumerate() {
                    path class=(format!("line s{i}")) d=(path(&frame, &series.values)) {}
                    @if epochs <= 30 || series.values.contains(&None) {
                        @for (epoch, value) in series.values.iter().enumerate() {
                            @if let Some(value) = value {
                                circle class=(format!("dot s{i}")) cx=(frame.x(epoch as f64 + 1.0)) cy=(frame.y(*value)) r="2.5" {}
                            }
                        }
                    }
                }
            }
            p.legend {
                @for (i, series) in series.iter().enumerate() {
                    span {
                        svg.key viewBox="0 0 26 10" aria-hidden="true" {
                            path class=(format!("line s{i}")) d="M0 5H26" {}
                        }
                        " " (series.label)
                    }
                }
            }
        }
    }
}

/// One bar a channel, from zero.
pub(super) fn bars(title: &str, summary: &str, values: &[f64]) -> Markup {
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
pub(super) fn round(value: f64) -> f64 {
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
    fn missing_values_leave_gaps_and_nothing_is_not_finite() {
        let series = |values| [Series { label: "loss".into(), values }];
        let svg = lines("t", "s", &series(vec![Some(1.0), None, Some(0.5), Some(0.25)])).into_string();
        assert_eq!(svg.matches('M').count(), 2 + 1, "two pieces and the legend's key");
        for values in [vec![], vec![None], vec![Some(0.5)], vec![Some(0.5); 200]] {
            let svg = lines("t", "s", &series(values)).into_string();
            assert!(!svg.contains("inf"), "{svg}");
        }
        assert!(!bars("t", "s", &[0.0; 6]).into_string().contains("NaN"));
    }
}
