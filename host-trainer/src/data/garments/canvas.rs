//! A 28x28 canvas that fills polygons with fabrics, anti-aliased. Only `+ - * /` and `sqrt` touch a coordinate, which IEEE 754
//! defines to the last bit, so that every platform draws the same pixels.

use bn_core::Image;
use bn_core::lenet::IMAGE_SIDE;

use super::dice::Dice;
use super::fabric::{Fabric, Point};

/// Where the garment's axis lies on the canvas.
const CENTRE: Point = [14.0, 14.0];

/// Horizontal lines on which each row of pixels is sampled; along such a line coverage is exact.
const LINES: usize = 4;

/// How the garment lies on the canvas: `canvas = matrix * (point - CENTRE) + offset`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    matrix: [[f64; 2]; 2],
    inverse: [[f64; 2]; 2],
    offset: Point,
}

impl Placement {
    /// A rotation given by the tangent of half its angle, a scale for each axis, a slant and an offset in pixels.
    pub(super) fn new(half_tangent: f64, scale: Point, slant: f64, offset: Point) -> Self {
        let square = half_tangent * half_tangent;
        let (cos, sin) = ((1.0 - square) / (1.0 + square), 2.0 * half_tangent / (1.0 + square));
        let [[a, b], [c, d]] =
            [[cos * scale[0], cos * slant - sin * scale[1]], [sin * scale[0], sin * slant + cos * scale[1]]];
        let determinant = a * d - b * c;
        let inverse = [[d / determinant, -b / determinant], [-c / determinant, a / determinant]];
        Self { matrix: [[a, b], [c, d]], inverse, offset: [CENTRE[0] + offset[0], CENTRE[1] + offset[1]] }
    }

    fn to_canvas(self, [x, y]: Point) -> Point {
        let [[a, b], [c, d]] = self.matrix;
        let y = y - CENTRE[1];
        [a * x + b * y + self.offset[0], c * x + d * y + self.offset[1]]
    }

    fn to_garment(self, [x, y]: Point) -> Point {
        let [[a, b], [c, d]] = self.inverse;
        let (x, y) = (x - self.offset[0], y - self.offset[1]);
        [a * x + b * y, c * x + d * y + CENTRE[1]]
    }
}

/// Brightness and coverage of every pixel.
pub(super) struct Canvas {
    value: [[f64; IMAGE_SIDE]; IMAGE_SIDE],
    cover: [[f64; IMAGE_SIDE]; IMAGE_SIDE],
    placement: Placement,
}

impl Canvas {
    /// Black.
    pub(super) fn new(placement: Placement) -> Self {
        let black = [[0.0; IMAGE_SIDE]; IMAGE_SIDE];
        Self { value: black, cover: black, placement }
    }

    /// Lays a piece of fabric over what is there.
    pub(super) fn fill(&mut self, outline: &[Point], fabric: &Fabric) {
        self.each_covered(outline, |value, cover, part, at| {
            *value += (fabric.shade(at) - *value) * part;
            *cover += (1.0 - *cover) * part;
        });
    }

    /// As [`fill`](Self::fill), on both sides of the axis.
    pub(super) fn fill_both(&mut self, outline: &[Point], fabric: &Fabric) {
        self.fill(outline, fabric);
        self.fill(&mirrored(outline), fabric);
    }

    /// Cuts a hole through which the background shows.
    pub(super) fn cut(&mut self, outline: &[Point]) {
        self.each_covered(outline, |value, cover, part, _| {
            *value -= *value * part;
            *cover -= *cover * part;
        });
    }

    /// Changes the brightness of what is there by a factor, where the outline covers it.
    pub(super) fn tint(&mut self, outline: &[Point], factor: f64) {
        self.each_covered(outline, |value, _, part, _| *value *= 1.0 + (factor - 1.0) * part);
    }

    /// As [`tint`](Self::tint), along a line of that width.
    pub(super) fn tint_line(&mut self, line: &[Point], width: f64, factor: f64) {
        for segment in line.windows(2) {
            self.tint(&bar(segment[0], segment[1], width), factor);
        }
    }

    /// Lays a band of fabric along a line.
    pub(super) fn band(&mut self, line: &[Point], width: f64, fabric: &Fabric) {
        for segment in line.windows(2) {
            self.fill(&bar(segment[0], segment[1], width), fabric);
        }
    }

    /// The picture, with grain on the garment; the background stays black.
    pub(super) fn finish(self, grain: f64, dice: &mut Dice) -> Image {
        let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
        for (row, (values, covers)) in image.iter_mut().zip(self.value.iter().zip(&self.cover)) {
            for (pixel, (value, cover)) in row.iter_mut().zip(values.iter().zip(covers)) {
                let value = value + grain * dice.bell() * cover;
                // A cast saturates and drops the fraction, so half is added to round.
                *pixel = if *cover > 0.02 { (value + 0.5) as u8 } else { 0 };
            }
        }
        image
    }

    /// Calls `paint(value, cover, covered part, place on the garment)` for every pixel that the outline touches.
    fn each_covered(&mut self, outline: &[Point], mut paint: impl FnMut(&mut f64, &mut f64, f64, Point)) {
        let outline: Vec<Point> = outline.iter().map(|&point| self.placement.to_canvas(point)).collect();
        let bounds =
            |range: fn(f64, f64) -> f64, start| outline.iter().fold(start, |bound, point| range(bound, point[1]));
        let last = IMAGE_SIDE as f64;
        let first_row = bounds(f64::min, last).max(0.0) as usize;
        let end_row = (bounds(f64::max, 0.0).clamp(0.0, last - 0.001) as usize + 1).min(IMAGE_SIDE);
        for row in first_row..end_row {
            let parts = coverage(&outline, row);
            for (column, &part) in parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
                let at = self.placement.to_garment([column as f64 + 0.5, row as f64 + 0.5]);
                paint(&mut self.value[row][column], &mut self.cover[row][column], part.min(1.0), at);
            }
        }
    }
}

/// The covered part of every pixel of a row: even-odd filling on [`LINES`] lines.
fn coverage(outline: &[Point], row: usize) -> [f64; IMAGE_SIDE] {
    let mut parts = [0.0; IMAGE_SIDE];
    let mut crossings = Vec::with_capacity(8);
    for line in 0..LINES {
        let y = row as f64 + (line as f64 + 0.5) / LINES as f64;
        crossings.clear();
        for (index, &[x0, y0]) in outline.iter().enumerate() {
            let [x1, y1] = outline[(index + 1) % outline.len()];
            if (y0 <= y) != (y1 <= y) {
                crossings.push(x0 + (y - y0) / (y1 - y0) * (x1 - x0));
            }
        }
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            add_span(&mut parts, pair[0], pair[1]);
        }
    }
    parts
}

/// Adds a span of one sampled line, its ends in part.
fn add_span(parts: &mut [f64; IMAGE_SIDE], from: f64, to: f64) {
    let (from, to) = (from.clamp(0.0, IMAGE_SIDE as f64), to.clamp(0.0, IMAGE_SIDE as f64));
    for column in from as usize..(to as usize + 1).min(IMAGE_SIDE) {
        let left = from.max(column as f64);
        let right = to.min(column as f64 + 1.0);
        parts[column] += (right - left).max(0.0) / LINES as f64;
    }
}

/// The outline on the other side of the axis.
pub(super) fn mirrored(outline: &[Point]) -> Vec<Point> {
    outline.iter().map(|&[x, y]| [-x, y]).collect()
}

/// An outline from its right half, which runs from the axis, or near it, at the top to the axis at the bottom.
pub(super) fn symmetric(right: &[Point]) -> Vec<Point> {
    right.iter().copied().chain(right.iter().rev().map(|&[x, y]| [-x, y])).collect()
}

/// A straight band between two points.
pub(super) fn bar([x0, y0]: Point, [x1, y1]: Point, width: f64) -> [Point; 4] {
    let (dx, dy) = (x1 - x0, y1 - y0);
    let length = (dx * dx + dy * dy).sqrt().max(1e-6);
    let (nx, ny) = (-dy / length * width / 2.0, dx / length * width / 2.0);
    [[x0 + nx, y0 + ny], [x1 + nx, y1 + ny], [x1 - nx, y1 - ny], [x0 - nx, y0 - ny]]
}

/// A quadratic Bézier curve from `a` to `c`, drawn towards `b`.
pub(super) fn curve(a: Point, b: Point, c: Point) -> Vec<Point> {
    const STEPS: usize = 6;
    (0..=STEPS)
        .map(|step| {
            let t = step as f64 / STEPS as f64;
            let mix = |i: usize| (1.0 - t) * (1.0 - t) * a[i] + 2.0 * t * (1.0 - t) * b[i] + t * t * c[i];
            [mix(0), mix(1)]
        })
        .collect()
}

/// An ellipse, as a polygon.
pub(super) fn ellipse([x, y]: Point, width: f64, height: f64) -> Vec<Point> {
    const STEPS: usize = 6;
    // A quarter of the circle by its rational parametrisation, then its three images.
    let quarter: Vec<Point> = (0..STEPS)
        .map(|step| {
            let t = step as f64 / STEPS as f64;
            [(1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)]
        })
        .collect();
    let turns: [fn(Point) -> Point; 4] = [|[c, s]| [c, s], |[c, s]| [-s, c], |[c, s]| [-c, -s], |[c, s]| [s, -c]];
    turns
        .iter()
        .flat_map(|turn| quarter.iter().map(|&point| turn(point)))
        .map(|[c, s]| [x + c * width / 2.0, y + s * height / 2.0])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Placement {
        Placement::new(0.0, [1.0, 1.0], 0.0, [0.0, 0.0])
    }

    /// Sum of the coverage, in pixels.
    fn area(outline: &[Point]) -> f64 {
        let mut canvas = Canvas::new(plain());
        canvas.fill(outline, &Fabric::plain(100.0));
        canvas.cover.as_flattened().iter().sum()
    }

    #[test]
    fn coverage_is_the_area() {
        assert!((area(&[[-3.25, 5.5], [4.5, 5.5], [4.5, 9.0], [-3.25, 9.0]]) - 7.75 * 3.5).abs() < 1e-9);
        assert!((area(&ellipse([0.0, 14.0], 12.0, 8.0)) - 24.0 * std::f64::consts::PI).abs() < 1.0);
        assert_eq!(area(&[[-40.0, -9.0], [60.0, -9.0], [60.0, 99.0], [-40.0, 99.0]]), 784.0);
        assert_eq!(area(&[[40.0, -9.0], [60.0, -9.0], [60.0, 99.0]]), 0.0);
    }

    #[test]
    fn placement_can_be_undone() {
        let placement = Placement::new(0.07, [0.9, 1.1], 0.2, [1.5, -2.0]);
        let [x, y] = placement.to_garment(placement.to_canvas([3.0, 8.0]));
        assert!((x - 3.0).abs() < 1e-12 && (y - 8.0).abs() < 1e-12);
    }

    #[test]
    fn cutting_brings_the_background_back() {
        let mut canvas = Canvas::new(plain());
        canvas.fill(&ellipse([0.0, 14.0], 20.0, 20.0), &Fabric::plain(200.0));
        canvas.cut(&ellipse([0.0, 14.0], 24.0, 24.0));
        let image = canvas.finish(30.0, &mut Dice::new(1, 2));
        assert_eq!(image, [[0; 28]; 28]);
    }
}
