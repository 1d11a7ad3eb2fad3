//! Resizes as `PIL.Image.resize(..., BILINEAR)` does, and torchvision's `Resize` on a PIL image with it: a triangle filter that
//! grows with the reduction (antialiasing), columns first, then rows, each pass rounded to u8. Coefficients are integers
//! with 22 bits of fraction, so the values are PIL's own.

use super::Picture;

/// Bits of fraction of a coefficient: 32, less 8 of a pixel, less 2 of room for sums of filters with negative parts.
const FRACTION: u32 = 22;

/// What a row or column of the result is made of.
struct Taps {
    /// First source position.
    first: usize,
    /// One coefficient a position from there on.
    weights: Vec<i32>,
}

/// The picture's pixels at another size, in the same layout.
pub(crate) fn resize(picture: &Picture, height: usize, width: usize) -> Vec<u8> {
    let Picture { width: from_width, height: from_height, channels, ref pixels, .. } = *picture;
    let narrow = if width == from_width {
        pixels.clone()
    } else {
        let taps = taps(from_width, width);
        let row = |row: &[u8]| row_of(row, &taps, channels);
        pixels.chunks_exact(from_width * channels).flat_map(row).collect()
    };
    if height == from_height {
        return narrow;
    }
    let stride = width * channels;
    let column = |taps: &Taps, at: usize| {
        let values = narrow[taps.first * stride + at..].iter().step_by(stride);
        weighted(values, &taps.weights)
    };
    taps(from_height, height).iter().flat_map(|taps| (0..stride).map(move |at| column(taps, at))).collect()
}

fn row_of(row: &[u8], taps: &[Taps], channels: usize) -> Vec<u8> {
    let value = |taps: &Taps, channel: usize| {
        weighted(row[taps.first * channels + channel..].iter().step_by(channels), &taps.weights)
    };
    taps.iter().flat_map(|taps| (0..channels).map(move |channel| value(taps, channel))).collect()
}

fn weighted<'a>(values: impl Iterator<Item = &'a u8>, weights: &[i32]) -> u8 {
    let sum: i32 = values.zip(weights).map(|(&value, weight)| i32::from(value) * weight).sum();
    ((sum + (1 << (FRACTION - 1))) >> FRACTION).clamp(0, 255) as u8
}

/// The taps of each position of the result. A triangle of width 1 to either side, widened where the picture shrinks.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let tap = |position: usize| {
        let center = (position as f64 + 0.5) * scale;
        let first = ((center - support + 0.5) as isize).max(0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        // Multiplied by the reciprocal as PIL does: a quotient is rounded otherwise.
        let weight = |at: usize| (1.0 - ((at as f64 - center + 0.5) * (1.0 / support)).abs()).max(0.0);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let integer = |weight: &f64| (weight / sum * f64::from(1 << FRACTION)).round() as i32;
        Taps { first, weights: weights.iter().map(integer).collect() }
    };
    (0..to).map(tap).collect()
}
