//! Convolutions, linear and depthwise layers of a group of examples.

use bn_core::quant::requantize;
use pulp::Simd;

use super::super::super::lanes::{Lanes, zero};
use super::super::conv::{Chunk, Products, run, weights};
use super::super::copy::{Source, padded};
use super::layer::Layer;
use super::program::{Row, Sums};
use super::tensors::{Finish, Results, Tensors, add, area};

/// Codes less the code of zero.
struct Codes<'a, V> {
    codes: &'a [V],
    zeros: &'a [f32],
    plane: usize,
}

impl<S: Simd> Source<S> for Codes<'_, Lanes<S>> {
    #[inline(always)]
    fn run(&self, simd: S, channel: usize, at: std::ops::Range<usize>, to: &mut [Lanes<S>]) {
        let zero = simd.splat_f32s(self.zeros[channel]);
        let codes = &self.codes[channel * self.plane..][at];
        to.iter_mut().zip(codes).for_each(|(to, &code)| *to = simd.sub_f32s(code, zero));
    }
}

/// A gradient as it is.
struct Plain<'a, V> {
    values: &'a [V],
    plane: usize,
}

impl<S: Simd> Source<S> for Plain<'_, Lanes<S>> {
    #[inline(always)]
    fn run(&self, _: S, channel: usize, at: std::ops::Range<usize>, to: &mut [Lanes<S>]) {
        let from = &self.values[channel * self.plane..][at];
        to.iter_mut().zip(from).for_each(|(to, &value)| *to = value);
    }
}

/// The sums of products of a layer, in integers.
#[inline(always)]
pub(super) fn products<S: Simd>(simd: S, layer: &Layer, reads: usize, tensors: &mut Tensors<Lanes<S>>) {
    let [from, to] = layer.shapes;
    let plane = area(from);
    tensors.sums.resize(tensors.sums.len().max(to.len()), zero(simd));
    tensors.totals.clear();
    tensors.totals.resize(to.len() * S::F32_LANES, 0);
    for part in &layer.parts {
        let codes = &tensors.codes[reads][part.channels.start * plane..part.channels.end * plane];
        let source = Codes { codes, zeros: &layer.zeros[part.channels.clone()], plane };
        let [pass, _] = &part.passes;
        for (factor, packed) in &part.forward {
            for rows in pass.chunks() {
                padded(simd, pass, &source, &rows, &mut tensors.copy);
                let chunk = Chunk { pass, packed, bias: None, copy: &tensors.copy, rows, add: false };
                run(simd, &chunk, &mut tensors.sums);
            }
            let sums: &[f32] = bytemuck::cast_slice(&tensors.sums);
            tensors
                .totals
                .iter_mut()
                .zip(sums)
                .for_each(|(total, &sum)| *total = total.wrapping_add(factor.wrapping_mul(sum as i32)));
        }
    }
}

/// What stands behind the sums, added map included.
#[inline(always)]
pub(super) fn finish<S: Simd>(
    layer: &Layer,
    sums: &Sums,
    finish: &Finish<'_>,
    tensors: &Tensors<Lanes<S>>,
    to: &mut Results<'_>,
) {
    let run = area(layer.shapes[1]) * S::F32_LANES;
    let other: Option<&[f32]> = sums.other.map(|other| bytemuck::cast_slice(&tensors.codes[other]));
    for (channel, &Row { multiplier, adds, .. }) in sums.rows.iter().enumerate() {
        let (base, rise, at) = (layer.bases[channel], layer.rises[channel], channel * run..(channel + 1) * run);
        let of = |total: i32, added: i32| {
            let accumulator = total.wrapping_mul(sums.unit).wrapping_add(base).wrapping_add(added);
            finish.of(requantize(accumulator, multiplier), rise)
        };
        let totals = &tensors.totals[at.clone()];
        match other {
            None => to.put_run(at, totals.iter().map(|&total| of(total, 0))),
            Some(other) => {
                let pairs = totals.iter().zip(&other[at.clone()]);
                to.put_run(at, pairs.map(|(&total, &code)| of(total, adds.wrapping_mul(code as i32))));
            }
        }
    }
}

/// From the gradients of sums of products to those of weights, biases and what the layer reads.
#[inline(always)]
pub(super) fn backward<S: Simd>(
    simd: S,
    layer: &Layer,
    (sums, reads): (&Sums, usize),
    d: &[Lanes<S>],
    tensors: &mut Tensors<Lanes<S>>,
    gradient: &mut [f32],
) {
    let [from, to] = layer.shapes;
    let (plane, to_plane) = (area(from), area(to));
    if let Some(other) = sums.other {
        for (channel, row) in sums.rows.iter().enumerate() {
            let run = channel * to_plane..(channel + 1) * to_plane;
            add(simd, layer.added_rise(row), &d[run.clone()], &mut tensors.d[other][run]);
        }
    }
    for (sum, d) in gradient[layer.biases.clone()].iter_mut().zip(d.chunks_exact(to_plane)) {
        let total = d.iter().fold(zero(simd), |total, &d| simd.add_f32s(total, d));
        *sum += Layer::bias_rise() * simd.reduce_sum_f32s(total);
    }
    for part in &layer.parts {
        let range = part.channels.start * plane..part.channels.end * plane;
        let source =
            Codes { codes: &tensors.codes[reads][range.clone()], zeros: &layer.zeros[part.channels.clone()], plane };
        let [ahead, back] = &part.passes;
        for rows in ahead.chunks() {
            padded(simd, ahead, &source, &rows, &mut tensors.copy);
            let (d, d_pitch) = (&d[rows.start * to.width..], [to.width, to_plane]);
            let products = Products { pass: ahead, copy: &tensors.copy, d, d_pitch, rows: rows.len() };
            weights(simd, &products, &mut gradient[part.weights.clone()]);
        }
        // Nothing is learned before the input.
        if reads == 0 {
            continue;
        }
        let d_sums = Plain { values: d, plane: to_plane };
        for rows in back.chunks() {
            padded(simd, back, &d_sums, &rows, &mut tensors.copy);
            let chunk = Chunk { pass: back, packed: &part.back, bias: None, copy: &tensors.copy, rows, add: true };
            run(simd, &chunk, &mut tensors.d[reads][range.clone()]);
        }
    }
}
