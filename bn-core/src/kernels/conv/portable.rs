//! Convolutions in plain Rust, two positions by two channels at a time: the specification of every faster path.

use super::{Conv, PAIR, Pair, gather, next};
use crate::kernels::Table;
use crate::kernels::packed::{Epilogue, Input, Output};
use crate::quant;

/// A layer: convolution or linear, BatchNorm folded, with what stands behind it.
#[inline(never)]
pub fn conv(
    shape: &Conv,
    stream: &[u32],
    table: Option<&Table>,
    input: Input<'_>,
    scratch: &mut [u32],
    output: &mut [u32],
) {
    if shape.window.positions() == 1 {
        tiles::<1, 2>(shape, stream, table, input, scratch, output);
    } else {
        tiles::<2, 4>(shape, stream, table, input, scratch, output);
    }
}

/// So many positions side by side; a word of a patch has twice as many slots.
#[inline(always)]
fn tiles<const TILE: usize, const SLOTS: usize>(
    shape: &Conv,
    stream: &[u32],
    table: Option<&Table>,
    input: Input<'_>,
    scratch: &mut [u32],
    output: &mut [u32],
) {
    let [low, high, ..] = *stream else { return };
    let epilogue = Epilogue::new(low, high, table);
    let Some((zeros, channels)) = stream.get(2..).and_then(|rest| rest.split_at_checked(shape.preamble() - 2)) else {
        return;
    };
    let mut output = Output::new(output, shape.words);
    output.clear_rest(shape.channels, shape.window.positions());
    let patch = scratch.as_chunks_mut::<SLOTS>().0;
    let patch = patch.get_mut(..shape.quads()).unwrap_or_default();
    let positions = shape.window.positions();
    let mut from = [0; 2];
    for position in (0..positions).step_by(TILE) {
        for lane in 0..TILE {
            // Beyond the last window that one again.
            if position + lane < positions {
                gather(&shape.window, input, zeros, from, patch, lane);
                from = next(&shape.window, from);
            }
        }
        let places: [usize; TILE] = core::array::from_fn(|p| (position + p).min(positions - 1));
        for (at, pair) in channels.chunks_exact(shape.pair_words().max(1)).enumerate() {
            let Some(Pair { start, weights, multiplier }) = Pair::of(pair) else { return };
            let sums = products::<TILE, SLOTS>(start, weights, patch);
            for o in 0..PAIR {
                let channel = PAIR * at + o;
                if channel < shape.channels {
                    for p in (0..TILE).rev() {
                        // An odd last position is computed twice; the first of the two is right.
                        output.put(channel, positions, places[p], epilogue.of(sums[o][p], multiplier[o]));
                    }
                }
            }
        }
    }
}

/// Sums of two channels at the positions of a tile. Halves and bytes are read from memory one by one: unpacked from words, they would
/// not fit a core's registers.
#[inline(always)]
fn products<const TILE: usize, const SLOTS: usize>(
    start: [i32; PAIR],
    weights: &[u32],
    patch: &[[u32; SLOTS]],
) -> [[i32; TILE]; PAIR] {
    let mut sums = [[start[0]; TILE], [start[1]; TILE]];
    let halves = bytemuck::cast_slice::<u32, quant::Pair>(weights).as_chunks::<PAIR>().0;
    let bytes = bytemuck::cast_slice::<u32, [i8; 4]>(weights).as_chunks::<PAIR>().0;
    let slots = bytemuck::cast_slice::<u32, quant::Pair>(patch.as_flattened()).as_chunks::<SLOTS>().0;
    for (([va, vb], [a, b]), data) in halves.iter().zip(bytes).zip(slots) {
        let (Some(u), Some(y)) = (data.first_chunk::<TILE>(), data.last_chunk::<TILE>()) else { return sums };
        add(&mut sums, [va.low.into(), vb.low.into()], u.map(|u| u.low));
        add(&mut sums, [va.high.into(), vb.high.into()], u.map(|u| u.high));
        add(&mut sums, [a[0].into(), b[0].into()], y.map(|y| y.low));
        add(&mut sums, [a[2].into(), b[2].into()], y.map(|y| y.high));
    }
    sums
}

/// Adds one product to each sum.
#[inline(always)]
fn add<const TILE: usize>(sums: &mut [[i32; TILE]; PAIR], weights: [i32; PAIR], codes: [i16; TILE]) {
    for (sums, weight) in sums.iter_mut().zip(weights) {
        for (sum, code) in sums.iter_mut().zip(codes) {
            *sum = sum.wrapping_add(weight * i32::from(code));
        }
    }
}
