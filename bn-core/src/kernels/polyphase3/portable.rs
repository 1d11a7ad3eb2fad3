//! Polyphase Winograd in plain Rust: the specification of every faster path.

use core::slice;

use super::{PAIR, POINTS, Polyphase3, REACH, SEQUENCES, place};
use crate::kernels::packed::{LANES, Maps};
use crate::kernels::pairs::{Pair, Pairs, Places, chain};
use crate::kernels::tiles::{self, MOST_COLUMNS, Strip, Tiled, Tiling};

/// Sums of one channel, in the order of [`SEQUENCES`], by row of tiles.
type Sums = [Places; SEQUENCES.len()];

/// A convolution with what stands behind it.
#[inline(never)]
pub fn polyphase3(shape: &Polyphase3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    tiles::run(shape, stream, maps, scratch);
}

impl Tiled for Polyphase3 {
    type Sums = Sums;

    fn sizes(&self) -> (Tiling, Pairs, usize) {
        (self.tiling(), self.pairs(), self.window_words())
    }

    #[inline(never)]
    fn transform(&self, Strip { codes, pitch, plane }: Strip<'_>, window: &mut [u32]) {
        let halves = bytemuck::cast_slice_mut::<u32, i16>(window);
        let mut rows = [[0; POINTS]; REACH[0]];
        for quad in 0..self.quads() {
            for lane in 0..LANES {
                for (y, row) in rows.iter_mut().enumerate() {
                    *row = along(codes.get(plane * quad + pitch * y..).unwrap_or_default(), lane);
                }
                for x in 0..POINTS {
                    for tile in 0..2 {
                        let column = down(rows.get(4 * tile..).unwrap_or_default(), x);
                        spread(self.quads(), &column, [x, quad, lane, tile], halves);
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn products(&self, window: &[u32], pair: &Pair<'_>, [first, second]: &mut [Sums; PAIR]) {
        let (mut codes, mut weights) = (window, pair.weights);
        let mut own = pair.start.map(|start| [start; 2]);
        for (at, (first, second)) in first.iter_mut().zip(second).enumerate() {
            // The sums at b and o go on from those at c.
            if at > 0 && at % 3 != 1 {
                own = [[0; 2]; PAIR];
            }
            let words = SEQUENCES[at] * 4 * self.quads();
            let (Some((these, codes_behind)), Some((their, weights_behind))) =
                (codes.split_at_checked(words), weights.split_at_checked(words))
            else {
                return;
            };
            (codes, weights) = (codes_behind, weights_behind);
            chain(own, [these, their], slice::from_mut(first), slice::from_mut(second));
            own = [*first, *second];
        }
    }

    #[inline(always)]
    fn results(sums: &Sums, row: usize) -> [i32; MOST_COLUMNS] {
        let tile = (row / 2) & 1;
        let at = |first: usize| {
            let [c, both, last] = [sums[first][tile], sums[first + 1][tile], sums[first + 2][tile]];
            if row.is_multiple_of(2) { both } else { c.wrapping_add(last) }
        };
        let (c, both, last) = (at(0), at(3), at(6));
        // A tile has two columns.
        [c.wrapping_add(both), c.wrapping_add(last), 0, 0]
    }
}

/// Five codes at the five points.
const fn points([d0, d1, d2, d3, d4]: [i32; POINTS]) -> [i32; POINTS] {
    [d2, d0 - d2, d1, d4 - d2, d3]
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
