//! F(4x2, 3x3) in plain Rust: the specification of every faster path.

use core::slice;

use super::{PLACES, POINTS, REACH, Winograd3};
use crate::kernels::conv::PAIR;
use crate::kernels::packed::{LANES, Maps};
use crate::kernels::pairs::{Pair, Pairs, Places, chain};
use crate::kernels::tiles::{self, MOST_COLUMNS, Strip, Tiled, Tiling};

/// Sums of one channel: by point along a row; at the points 1, 1 and -1, 1 and -1 and 0, infinity down a column; by row of tiles.
type Sums = [[Places; POINTS[1]]; POINTS[0]];

/// The place of infinity down a column.
const LAST: usize = POINTS[1] - 1;

/// A convolution with what stands behind it.
#[inline(never)]
pub fn winograd3(shape: &Winograd3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    tiles::run(shape, stream, maps, scratch);
}

impl Tiled for Winograd3 {
    type Sums = Sums;

    fn sizes(&self) -> (Tiling, Pairs, usize) {
        (self.tiling(), self.pairs(), self.window_words())
    }

    #[inline(never)]
    fn transform(&self, Strip { codes, pitch, plane }: Strip<'_>, window: &mut [u32]) {
        let halves = bytemuck::cast_slice_mut::<u32, i16>(window);
        let mut rows = [[0; POINTS[0]]; REACH];
        for quad in 0..self.quads() {
            for lane in 0..LANES {
                for (y, row) in rows.iter_mut().enumerate() {
                    *row = along(codes.get(plane * quad + pitch * y..).unwrap_or_default(), lane);
                }
                for x in 0..POINTS[0] {
                    for tile in 0..2 {
                        let d: [i32; 4] = core::array::from_fn(|y| rows[2 * tile + y][x]);
                        let points = [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]];
                        for (place, point) in PLACES.into_iter().zip(points) {
                            let word = ((x * POINTS[1] + place) * self.quads() + quad) * 4 + lane % 2 * 2 + tile;
                            if let Some(half) = halves.get_mut(2 * word + lane / 2) {
                                *half = point as i16;
                            }
                        }
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn products(&self, window: &[u32], pair: &Pair<'_>, [first, second]: &mut [Sums; PAIR]) {
        let words = (POINTS[1] * 4 * self.quads()).max(1);
        let points = window.chunks_exact(words).zip(pair.weights.chunks_exact(words));
        for (x, ((first, second), (codes, weights))) in first.iter_mut().zip(second).zip(points).enumerate() {
            let start = if x == 1 { pair.start } else { [0; PAIR] };
            // The sums at the first three go on from one to the next.
            let all = words / POINTS[1] * LAST;
            let (Some((codes, last_codes)), Some((weights, last_weights))) =
                (codes.split_at_checked(all), weights.split_at_checked(all))
            else {
                return;
            };
            let ([first @ .., first_last], [second @ .., second_last]) = (first, second);
            chain(start.map(|start| [start; 2]), [codes, weights], first, second);
            let [first, second] = [first_last, second_last].map(slice::from_mut);
            chain([[0; 2]; PAIR], [last_codes, last_weights], first, second);
        }
    }

    #[inline(always)]
    fn results(sums: &Sums, row: usize) -> [i32; MOST_COLUMNS] {
        let tile = (row / 2) & 1;
        let point = |[sum, both, first, last]: &[[i32; 2]; POINTS[1]]| {
            if row.is_multiple_of(2) {
                first[tile]
            } else {
                sum[tile].wrapping_mul(2).wrapping_sub(both[tile]).wrapping_add(last[tile])
            }
        };
        let [m0, m1, m2, m3, m4, m5] = sums;
        let (m0, m1, m2, m3, m4, m5) = (point(m0), point(m1), point(m2), point(m3), point(m4), point(m5));
        let (sum1, sum2) = (m1.wrapping_add(m2), m3.wrapping_add(m4));
        let (off1, off2) = (m1.wrapping_sub(m2), m3.wrapping_sub(m4));
        [
            m0.wrapping_add(sum1).wrapping_add(sum2),
            off1.wrapping_add(off2.wrapping_mul(2)),
            sum1.wrapping_add(sum2.wrapping_mul(4)),
            off1.wrapping_add(off2.wrapping_mul(8)).wrapping_add(m5),
        ]
    }
}

/// Six codes of a row at the points of F(4, 3). A function of its own, as below.
#[inline(never)]
fn along(words: &[u32], lane: usize) -> [i32; POINTS[0]] {
    let codes = bytemuck::cast_slice::<u32, [u8; LANES]>(words);
    let d: [i32; REACH] = core::array::from_fn(|x| codes.get(x).map_or(0, |word| word[lane & (LANES - 1)].into()));
    let (even, odd) = (d[4] - 4 * d[2], d[3] - 4 * d[1]);
    let (even2, odd2) = (d[4] - d[2], 2 * (d[3] - d[1]));
    let ends = [4 * d[0] - 5 * d[2] + d[4], 4 * d[1] - 5 * d[3] + d[5]];
    [ends[0], even + odd, even - odd, even2 + odd2, even2 - odd2, ends[1]]
}
