//! Polyphase Winograd in plain Rust: the specification of every faster path.

use super::{PAIR, POINTS, Pair, Polyphase3, REACH, SEQUENCES, TILE, place};
use crate::kernels::packed::{Epilogue, LANES, Maps, Output};
use crate::kernels::tiles::{Strip, Tile, add_products, put_row};

/// Sums of one channel, in the order of [`SEQUENCES`], by row of tiles.
type Sums = [[i32; 2]; SEQUENCES.len()];

/// A convolution with what stands behind it.
#[inline(never)]
pub fn polyphase3(shape: &Polyphase3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let [low, high, ..] = *stream else { return };
    let Some((zeros, channels)) =
        stream.get(2..).and_then(|rest| rest.split_at_checked(shape.window.preamble_words() - 2))
    else {
        return;
    };
    let Some((window, rest)) = scratch.split_at_mut_checked(shape.window_words()) else { return };
    // It reads each position several times, so results never take its place.
    let Some(input) = maps.input else { return };
    let mut run = Run { shape, epilogue: Epilogue::new(low, high, None), maps };
    let tiling = shape.tiling();
    for row in (0..shape.window.output[0]).step_by(TILE[0]) {
        let strip = tiling.strip(input, zeros, row, rest);
        for tile in tiling.row(row) {
            transform(shape, strip.from(2 * tile.column), window);
            for (at, words) in channels.chunks_exact(shape.pair_words().max(1)).enumerate() {
                run.pair(tile, PAIR * at, window, words);
            }
        }
    }
    Output::new(run.maps.output, false).clear_rest(shape.channels, shape.window.positions());
}

/// Five codes at the five points.
const fn points([d0, d1, d2, d3, d4]: [i32; POINTS]) -> [i32; POINTS] {
    [d2, d0 - d2, d1, d4 - d2, d3]
}

/// Transforms what a tile reaches over.
#[inline(never)]
fn transform(shape: &Polyphase3, Strip { codes, pitch, plane }: Strip<'_>, window: &mut [u32]) {
    let halves = bytemuck::cast_slice_mut::<u32, i16>(window);
    let mut rows = [[0; POINTS]; REACH[0]];
    for quad in 0..shape.quads() {
        for lane in 0..LANES {
            for (y, row) in rows.iter_mut().enumerate() {
                *row = along(codes.get(plane * quad + pitch * y..).unwrap_or_default(), lane);
            }
            for x in 0..POINTS {
                for tile in 0..2 {
                    let column = down(rows.get(4 * tile..).unwrap_or_default(), x);
                    spread(shape.quads(), &column, [x, quad, lane, tile], halves);
                }
            }
        }
    }
}

/// Puts a code's points down a column where they stand in the window. A function of its own, as below.
#[inline(never)]
fn spread(quads: usize, column: &[i32; POINTS], [x, quad, lane, tile]: [usize; 4], halves: &mut [i16]) {
    for (y, &point) in column.iter().enumerate() {
        let word = (place([x, y]) * quads + quad) * 4 + lane % 2 * 2 + tile;
        if let Some(half) = halves.get_mut(2 * word + lane / 2) {
            *half = point as i16;
        }
    }
}

/// Five rows at one point along them, at their points down the column. A function of its own, as below.
#[inline(never)]
fn down(rows: &[[i32; POINTS]], x: usize) -> [i32; POINTS] {
    points(core::array::from_fn(|y| rows.get(y).and_then(|row| row.get(x)).copied().unwrap_or(0)))
}

/// Five codes of a row at their points. A function of its own, as below.
#[inline(never)]
fn along(words: &[u32], lane: usize) -> [i32; POINTS] {
    let codes = bytemuck::cast_slice::<u32, [u8; LANES]>(words);
    points(core::array::from_fn(|x| codes.get(x).map_or(0, |word| word[lane & (LANES - 1)].into())))
}

/// Sums of two channels.
#[inline(never)]
fn products(shape: &Polyphase3, window: &[u32], pair: &Pair<'_>, [first, second]: &mut [Sums; PAIR]) {
    let words = (4 * shape.quads()).max(1);
    let mut points = window.chunks_exact(words).zip(pair.weights.chunks_exact(words));
    let mut own = pair.start.map(|start| [start; 2]);
    for (at, (first, second)) in first.iter_mut().zip(second).enumerate() {
        // The sums at b and o go on from those at c.
        if at > 0 && at % 3 != 1 {
            own = [[0; 2]; PAIR];
        }
        for (codes, weights) in points.by_ref().take(SEQUENCES[at]) {
            add_products(&mut own, codes, weights);
        }
        [*first, *second] = own;
    }
}

/// A row of a tile's results of one channel.
#[inline(always)]
fn results(sums: &Sums, row: usize) -> [i32; TILE[1]] {
    let tile = (row / 2) & 1;
    let at = |first: usize| {
        let [c, both, last] = [sums[first][tile], sums[first + 1][tile], sums[first + 2][tile]];
        if row.is_multiple_of(2) { both } else { c.wrapping_add(last) }
    };
    let (c, both, last) = (at(0), at(3), at(6));
    [c.wrapping_add(both), c.wrapping_add(last)]
}

struct Run<'a> {
    shape: &'a Polyphase3,
    epilogue: Epilogue<'a>,
    maps: Maps<'a>,
}

impl Run<'_> {
    /// Two channels of a tile. A function of its own: on the smallest cores a frame must fit an instruction.
    #[inline(never)]
    fn pair(&mut self, tile: Tile, channel: usize, window: &[u32], words: &[u32]) {
        let Some(pair) = Pair::of(self.shape, words) else { return };
        let mut sums = [[[0; 2]; SEQUENCES.len()]; PAIR];
        products(self.shape, window, &pair, &mut sums);
        for (o, sums) in sums.iter().enumerate() {
            self.put(tile, channel + o, sums, pair.multiplier[o]);
        }
    }

    /// What stands behind the sums of a channel.
    #[inline(never)]
    fn put(&mut self, tile: Tile, channel: usize, sums: &Sums, multiplier: i32) {
        if channel >= self.shape.channels {
            return;
        }
        let positions = self.shape.window.positions();
        for row in 0..tile.rows {
            let first = channel / LANES * positions + tile.position(&self.shape.window, row);
            let results = results(sums, row);
            let results = results.get(..tile.columns).unwrap_or_default();
            put_row(&mut self.maps, self.epilogue, [multiplier, 0], [first, channel % LANES], results);
        }
    }
}
