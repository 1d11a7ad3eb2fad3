//! The three curves of d2l's figure, train loss, train accuracy and test accuracy over the epochs, as an SVG.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::train::run_dir::EpochMetrics;

const SIZE: (u32, u32) = (640, 400);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

/// One curve: its legend, colour and values.
struct Curve {
    label: &'static str,
    colour: RGBColor,
    value: fn(&EpochMetrics) -> Option<f64>,
}

const CURVES: [Curve; 3] = [
    Curve { label: "train loss", colour: RGBColor(0x1f, 0x77, 0xb4), value: |m| Some(m.train_loss) },
    Curve { label: "train accuracy", colour: RGBColor(0xbf, 0x3f, 0xbf), value: |m| m.train_accuracy },
    Curve { label: "test accuracy", colour: RGBColor(0x2c, 0x8a, 0x3d), value: |m| m.test_accuracy },
];

/// The figure as SVG text. `title` stands above it.
pub fn svg(title: &str, epochs: &[EpochMetrics]) -> String {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        // The backend writes to memory: it cannot fail.
        draw(&root, title, epochs).expect("drawing into a string does not fail");
    }
    text
}

type DrawError = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

fn draw(root: &DrawingArea<SVGBackend<'_>, Shift>, title: &str, epochs: &[EpochMetrics]) -> Result<(), DrawError> {
    root.fill(&WHITE)?;
    let last = epochs.len().max(2) as f64;
    let top = epochs.iter().map(|m| m.train_loss).fold(1.0, f64::max) * 1.03;
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 16).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(1.0..last, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_labels(epochs.len().clamp(2, 11))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.1}"))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for Curve { label, colour, value } in CURVES {
        if epochs.iter().all(|epoch| value(epoch).is_none()) {
            continue;
        }
        let points = epochs.iter().filter_map(move |m| value(m).map(|value| (m.epoch as f64, value)));
        let style = colour.stroke_width(2);
        let series = chart.draw_series(LineSeries::new(points.clone(), style))?;
        series.label(label).legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    root.present()
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
