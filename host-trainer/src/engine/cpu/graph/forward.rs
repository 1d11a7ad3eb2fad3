//! Forward: one unit of one group of examples.

use bn_core::network::Shape;
use pulp::Simd;

use super::super::lanes::{Lanes, mask, zero};
use super::conv::{Chunk, run};
use super::copy::{Seen, Source, padded};
use super::plan::Work;
use super::read::see;
use super::state::{BUNCH, Derived, Stage, Tensor, plane};
use super::trainer::{Scratch, Trainer};
use super::{moments, pool};

/// What the readers of a unit see.
pub(super) fn seen<'a, V>(stage: &Stage<V>, derived: &'a Derived, z: &'a Tensor<V>) -> Seen<'a, V> {
    Seen { curve: stage.curve, channels: &derived.channels, z: &z.values, plane: plane(stage.unit.shape) }
}

impl<S: Simd> Trainer<S> {
    /// Computes a unit for a group of so many examples; `trains` asks for what its BatchNorm needs.
    #[inline(always)]
    pub(super) fn forward(
        &self,
        simd: S,
        at: usize,
        group: usize,
        lanes: usize,
        scratch: &mut Scratch<Lanes<S>>,
        trains: bool,
    ) {
        let stage = &self.stages[at];
        let unit = &stage.unit;
        let normalizes = trains && unit.batch_norm.is_some();
        if let (Work::Conv(_), Some([pass, _])) = (unit.work, &stage.passes) {
            let from = &self.stages[unit.reads[0].unit];
            let (read, z) = (from.derived(), from.z(group));
            let source = seen(from, &read, &z);
            let (derived, bias) = (stage.derived(), self.bias(unit));
            let bias = bias.as_ref().map(|bias| &*bias.value);
            let mut to = stage.z_mut(group);
            let Tensor { values, sums } = &mut *to;
            for rows in pass.chunks() {
                padded(simd, pass, &source, &rows, &mut scratch.copy);
                let copy = &scratch.copy;
                let chunk = Chunk { pass, packed: &derived.packed[0], bias, copy, rows: rows.clone(), add: false };
                run(simd, &chunk, values);
                if normalizes {
                    let width = unit.shape.width;
                    let run = rows.start * width..rows.end * width;
                    observe(simd, unit.shape, values, run, lanes, sums);
                }
            }
            return;
        }
        let mut to = stage.z_mut(group);
        let Tensor { values, sums } = &mut *to;
        for (slot, read) in unit.reads.iter().enumerate() {
            let from = &self.stages[read.unit];
            let (derived, z) = (from.derived(), from.z(group));
            let source = seen(from, &derived, &z);
            let shapes = [from.unit.shape, unit.shape];
            let (map, to_map) = (plane(shapes[0]), plane(shapes[1]));
            scratch.copy.resize(scratch.copy.len().max(map), zero(simd));
            for channel in 0..shapes[0].channels {
                if matches!(unit.work, Work::Copy) || (unit.work == Work::Add && slot == 0) {
                    source.run(simd, channel, 0..map, &mut values[channel * map..][..map]);
                    continue;
                }
                let x = &mut scratch.copy[..map];
                source.run(simd, channel, 0..map, x);
                let y = &mut values[channel * to_map..][..to_map];
                match &unit.work {
                    Work::MaxPool(pool) => pool::max(simd, pool, shapes, x, y),
                    Work::AvgPool { pool, count_pad } => pool::mean(simd, (pool, *count_pad), shapes, x, y),
                    _ => y.iter_mut().zip(x).for_each(|(y, x)| *y = simd.add_f32s(*y, *x)),
                }
            }
        }
        if normalizes {
            observe(simd, unit.shape, values, 0..plane(unit.shape), lanes, sums);
        }
    }

    /// Computes a linear layer for the groups of a bunch.
    #[inline(always)]
    pub(super) fn forward_linear(
        &self,
        simd: S,
        at: usize,
        bunch: usize,
        count: usize,
        scratch: &mut Scratch<Lanes<S>>,
        trains: bool,
    ) {
        let stage = &self.stages[at];
        let unit = &stage.unit;
        let [pass, _] = stage.passes.as_ref().expect("a linear layer has passes");
        let from = &self.stages[unit.reads[0].unit];
        let groups = self.bunch(bunch, count);
        let channels = from.unit.shape.channels;
        scratch.copy.resize(scratch.copy.len().max(channels * pass.plane), zero(simd));
        let read = from.derived();
        for (position, group) in groups.clone().enumerate() {
            let z = from.z(group);
            for (channel, z) in z.values[..channels].iter().enumerate() {
                let to = &mut scratch.copy[channel * pass.plane + position..][..1];
                see(simd, from.curve, &read.channels[channel], std::slice::from_ref(z), to);
            }
        }
        let (derived, bias) = (stage.derived(), self.bias(unit));
        let bias = bias.as_ref().map(|bias| &*bias.value);
        let outputs = unit.shape.channels;
        scratch.d.resize(scratch.d.len().max(outputs * BUNCH), zero(simd));
        let chunk = Chunk { pass, packed: &derived.packed[0], bias, copy: &scratch.copy, rows: 0..1, add: false };
        run(simd, &chunk, &mut scratch.d);
        for (position, group) in groups.enumerate() {
            let mut to = stage.z_mut(group);
            let Tensor { values, sums } = &mut *to;
            let d = scratch.d.chunks_exact(BUNCH);
            values.iter_mut().zip(d).for_each(|(value, d)| *value = d[position]);
            if trains && unit.batch_norm.is_some() {
                observe(simd, unit.shape, values, 0..1, self.lanes_of(group, count), sums);
            }
        }
    }
}

/// Joins the moments of a run of every channel with those of the values before it.
#[inline(always)]
pub(super) fn observe<S: Simd>(
    simd: S,
    shape: Shape,
    values: &[Lanes<S>],
    run: std::ops::Range<usize>,
    lanes: usize,
    sums: &mut [[f64; 2]],
) {
    let mask = mask(simd, lanes);
    for (values, sums) in values.chunks_exact(plane(shape)).zip(sums) {
        let new = moments::of_run(simd, &values[run.clone()], mask, lanes);
        *sums = if run.start == 0 { new } else { moments::join(*sums, run.start * lanes, new, run.len() * lanes) };
    }
}
