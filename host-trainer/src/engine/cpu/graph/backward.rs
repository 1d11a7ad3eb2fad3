//! Backward: one unit of one group of examples, to the gradients of its weights and of what it reads.

use std::ops::Range;

use pulp::Simd;

use super::super::lanes::{Lanes, mask, zero};
use super::conv::{Chunk, Products, run, weights};
use super::copy::{Gradient, Source, padded, rows, whole};
use super::forward::seen;
use super::plan::Work;
use super::pool;
use super::read::{see, unsee};
use super::state::{BLOCK, BUNCH, Derived, Stage, Tensor, plane};
use super::tile::{self, Rows};
use super::trainer::{Scratch, Trainer};

/// The gradient of a unit's tensor.
fn gradient<'a, V>(stage: &Stage<V>, derived: &'a Derived, gz: [&'a Tensor<V>; 2], mask: V) -> Gradient<'a, V> {
    let gz = gz.map(|tensor| &*tensor.values);
    Gradient { channels: &derived.channels, mask, gz, plane: plane(stage.unit.shape) }
}

impl<S: Simd> Trainer<S> {
    /// Everything but a linear layer, for a group of so many examples.
    #[inline(always)]
    pub(super) fn backward(&self, simd: S, at: usize, group: usize, lanes: usize, scratch: &mut Scratch<Lanes<S>>) {
        let stage = &self.stages[at];
        let (derived, g, z) = (stage.derived(), stage.g(group), stage.z(group));
        let d = gradient(stage, &derived, [&g, &z], mask(simd, lanes));
        if let Work::Conv(_) = stage.unit.work {
            self.backward_conv(simd, stage, group, &d, scratch);
            return;
        }
        let shape = stage.unit.shape;
        whole(simd, shape, &d, &mut scratch.d);
        for &read in &stage.unit.reads {
            let from = &self.stages[read.unit];
            if !from.unit.wants_gradient {
                continue;
            }
            let shapes = [from.unit.shape, shape];
            let (map, to_map) = (plane(shapes[0]), plane(shapes[1]));
            let (read_derived, z) = (from.derived(), from.z(group));
            let source = seen(from, &read_derived, &z);
            let mut g = from.g_mut(group);
            let Tensor { values, sums } = &mut *g;
            scratch.copy.resize(scratch.copy.len().max(map), zero(simd));
            for channel in 0..shapes[0].channels {
                let to = &mut values[channel * map..][..map];
                if read.first {
                    to.fill(zero(simd));
                }
                match &stage.unit.work {
                    Work::MaxPool(pool) => {
                        let (x, d) = (&mut scratch.copy[..map], &scratch.d[channel * to_map..][..to_map]);
                        source.run(simd, channel, 0..map, x);
                        pool::max_backward(simd, pool, shapes, [x, d], to);
                    }
                    Work::AvgPool { pool, count_pad } => {
                        let d = &scratch.d[channel * to_map..][..to_map];
                        pool::mean_backward(simd, (pool, *count_pad), shapes, d, to);
                    }
                    _ => {
                        let d = &scratch.d[channel * map..][..map];
                        to.iter_mut().zip(d).for_each(|(to, &d)| *to = simd.add_f32s(*to, d));
                    }
                }
            }
            if read.last {
                complete(simd, from, &read_derived, (&z.values, values), 0..map, sums);
            }
        }
    }

    #[inline(always)]
    fn backward_conv(
        &self,
        simd: S,
        stage: &Stage<Lanes<S>>,
        group: usize,
        d: &Gradient<'_, Lanes<S>>,
        scratch: &mut Scratch<Lanes<S>>,
    ) {
        let [ahead, back] = stage.passes.as_ref().expect("a convolution has passes");
        let read = stage.unit.reads[0];
        let from = &self.stages[read.unit];
        let (read_derived, z) = (from.derived(), from.z(group));
        let source = seen(from, &read_derived, &z);
        let mut part = stage.parts[group].lock().expect("no thread has panicked");
        part.clear();
        part.resize(stage.weights(), 0.0);
        // Where one copy of the gradient serves both passes, it is made once.
        let is_shared = from.unit.wants_gradient && back.holds_result_of(ahead);
        for chunk in ahead.chunks() {
            padded(simd, ahead, &source, &chunk, &mut scratch.copy);
            let (d, d_pitch) = if is_shared {
                padded(simd, back, d, &chunk, &mut scratch.d);
                let [rows, cols] = [0, 1].map(|axis| -back.start[axis] as usize);
                (&scratch.d[rows * back.pitch + cols..], [back.pitch, back.plane])
            } else {
                rows(simd, stage.unit.shape, d, &chunk, &mut scratch.d);
                let width = stage.unit.shape.width;
                (&scratch.d[..], [width, chunk.len() * width])
            };
            weights(simd, &Products { pass: ahead, copy: &scratch.copy, d, d_pitch, rows: chunk.len() }, &mut part);
            if is_shared {
                self.backward_input(simd, stage, group, chunk, &scratch.d);
            }
        }
        if from.unit.wants_gradient && !is_shared {
            for chunk in back.chunks() {
                padded(simd, back, d, &chunk, &mut scratch.d);
                self.backward_input(simd, stage, group, chunk, &scratch.d);
            }
        }
    }

    /// Gradient of a convolution's input, from a padded copy of a chunk of its output's.
    #[inline(always)]
    fn backward_input(&self, simd: S, stage: &Stage<Lanes<S>>, group: usize, chunk: Range<usize>, copy: &[Lanes<S>]) {
        let [_, back] = stage.passes.as_ref().expect("a convolution has passes");
        let (read, derived) = (stage.unit.reads[0], stage.derived());
        let from = &self.stages[read.unit];
        let (read_derived, z, mut g) = (from.derived(), from.z(group), from.g_mut(group));
        let Tensor { values, sums } = &mut *g;
        let (result, width) = (back.result_rows(&chunk), from.unit.shape.width);
        let packed = &derived.packed[1][..];
        run(simd, &Chunk { pass: back, packed, bias: None, copy, rows: chunk, add: !read.first }, values);
        let run = result.start * width..result.end * width;
        if read.last {
            complete(simd, from, &read_derived, (&z.values, values), run, sums);
        }
    }

    /// Gradient of a linear layer's input, for the groups of a bunch.
    #[inline(always)]
    pub(super) fn backward_linear(
        &self,
        simd: S,
        at: usize,
        bunch: usize,
        count: usize,
        scratch: &mut Scratch<Lanes<S>>,
    ) {
        let stage = &self.stages[at];
        let read = stage.unit.reads[0];
        let from = &self.stages[read.unit];
        if !from.unit.wants_gradient {
            return;
        }
        let [_, pass] = stage.passes.as_ref().expect("a linear layer has passes");
        let groups = self.bunch(bunch, count);
        self.linear_gradients(
            simd,
            at,
            [groups.clone(), 0..stage.unit.shape.channels],
            count,
            pass.plane,
            &mut scratch.copy,
        );
        let inputs = from.unit.shape.channels;
        scratch.d.resize(scratch.d.len().max(inputs * BUNCH), zero(simd));
        let derived = stage.derived();
        let (packed, copy) = (&derived.packed[1][..], &scratch.copy[..]);
        run(simd, &Chunk { pass, packed, bias: None, copy, rows: 0..1, add: false }, &mut scratch.d);
        let read_derived = from.derived();
        for (position, group) in groups.enumerate() {
            let (z, mut g) = (from.z(group), from.g_mut(group));
            let Tensor { values, sums } = &mut *g;
            for (to, d) in values.iter_mut().zip(scratch.d.chunks_exact(BUNCH)) {
                *to = if read.first { d[position] } else { simd.add_f32s(*to, d[position]) };
            }
            if read.last {
                complete(simd, from, &read_derived, (&z.values, values), 0..1, sums);
            }
        }
    }

    /// Gradients of some of a linear layer's outputs, `[output][group]` at that distance.
    #[inline(always)]
    fn linear_gradients(
        &self,
        simd: S,
        at: usize,
        [groups, outputs]: [Range<usize>; 2],
        count: usize,
        pitch: usize,
        to: &mut Vec<Lanes<S>>,
    ) {
        let stage = &self.stages[at];
        let derived = stage.derived();
        to.resize(to.len().max(outputs.len() * pitch), zero(simd));
        for (position, group) in groups.enumerate() {
            let (g, z) = (stage.g(group), stage.z(group));
            let d = gradient(stage, &derived, [&g, &z], mask(simd, self.lanes_of(group, count)));
            for (row, output) in outputs.clone().enumerate() {
                d.run(simd, output, 0..1, &mut to[row * pitch + position..][..1]);
            }
        }
    }

    /// Gradient of a block of rows of a linear layer's weight, over all groups.
    #[inline(always)]
    pub(super) fn linear_weights(
        &self,
        simd: S,
        at: usize,
        block: usize,
        count: usize,
        scratch: &mut Scratch<Lanes<S>>,
    ) {
        let stage = &self.stages[at];
        let from = &self.stages[stage.unit.reads[0].unit];
        let (groups, inputs) = (self.groups_of(count), from.unit.shape.channels);
        let outputs = block * BLOCK..(block * BLOCK + BLOCK).min(stage.unit.shape.channels);
        self.linear_gradients(simd, at, [0..groups, outputs.clone()], count, groups, &mut scratch.d);
        scratch.copy.resize(scratch.copy.len().max(inputs * groups), zero(simd));
        let read = from.derived();
        for group in 0..groups {
            let z = from.z(group);
            for (channel, z) in z.values[..inputs].iter().enumerate() {
                let to = &mut scratch.copy[channel * groups + group..][..1];
                see(simd, from.curve, &read.channels[channel], std::slice::from_ref(z), to);
            }
        }
        let mut part = stage.parts[block].lock().expect("no thread has panicked");
        part.clear();
        part.resize(outputs.len() * inputs, 0.0);
        let at = Rows { rows: 1, cols: groups, d_pitch: groups, x_pitch: groups, x_step: 1 };
        for row in (0..outputs.len()).step_by(4) {
            for input in (0..inputs).step_by(3) {
                // What is beyond the end is computed from the last row or value again, and dropped.
                let mut d: [&[Lanes<S>]; 4] = [&[]; 4];
                let mut x: [&[Lanes<S>]; 3] = [&[]; 3];
                for (o, d) in d.iter_mut().enumerate() {
                    *d = &scratch.d[(row + o).min(outputs.len() - 1) * groups..][..groups];
                }
                for (t, x) in x.iter_mut().enumerate() {
                    *x = &scratch.copy[(input + t).min(inputs - 1) * groups..][..groups];
                }
                let found = tile::backward::<S, 4, 3>(simd, d, x, at);
                for (row, found) in (row..outputs.len()).zip(&found) {
                    let to = &mut part[row * inputs + input..(row + 1) * inputs];
                    to.iter_mut().zip(found).for_each(|(to, &found)| *to = found);
                }
            }
        }
    }
}

/// After the last reader has added its gradient to some values `run` of every channel: backward through activation, and the sums
/// for BatchNorm or a bias.
#[inline(always)]
pub(super) fn complete<S: Simd>(
    simd: S,
    stage: &Stage<Lanes<S>>,
    derived: &Derived,
    (z, g): (&[Lanes<S>], &mut [Lanes<S>]),
    run: Range<usize>,
    sums: &mut [[f64; 2]],
) {
    let map = plane(stage.unit.shape);
    let channels = derived.channels.iter().zip(sums);
    for ((z, g), (channel, sums)) in z.chunks_exact(map).zip(g.chunks_exact_mut(map)).zip(channels) {
        let new = unsee(simd, stage.curve, channel, &z[run.clone()], &mut g[run.clone()]).map(f64::from);
        *sums = if run.start == 0 { new } else { [sums[0] + new[0], sums[1] + new[1]] };
    }
}
