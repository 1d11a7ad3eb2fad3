//! Convolutions that are computed by tiles of results: how tiles lie, and the codes that a row of them reaches over.
//!
//! A strip holds the codes of a row of tiles, `[word of four channels][row][column]`, with their padding, whatever the input's form;
//! so no tile has an edge. Where nothing of the map lacks, the map itself is the strip.

#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub(super) mod cortex_m_dsp;

use super::conv::PAIR;
use super::packed::{Epilogue, Input, LANES, Maps, Output, Window};
use super::pairs::{Pair, Pairs};
use crate::network::Shape;

/// The most words of four channels of a map: assembly has a function for each number of them.
pub(super) const MOST_QUADS: usize = 16;
/// The most columns of a tile.
pub(super) const MOST_COLUMNS: usize = 4;

/// Tiles of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Tiling {
    /// What the convolution reads.
    pub window: Window,
    /// Rows and columns of a tile's results.
    pub tile: [usize; 2],
    /// Tiles below and beside each other.
    pub count: [usize; 2],
}

/// A tile: its place among the results; how many rows and columns of them it has, the last ones perhaps fewer than others.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Its first row.
    pub row: usize,
    /// Its first column.
    pub column: usize,
    /// Rows that it has.
    pub rows: usize,
    /// Columns that it has.
    pub columns: usize,
}

impl Tile {
    /// The position of its first result in one of its rows.
    #[inline(always)]
    pub const fn position(&self, window: &Window, row: usize) -> usize {
        (self.row + row) * window.output[1] + self.column
    }
}

/// Codes of a row of tiles.
#[derive(Clone, Copy, Debug)]
pub struct Strip<'a> {
    /// From the first row and column on.
    pub codes: &'a [u32],
    /// Words of a row.
    pub pitch: usize,
    /// Words from four channels to the next.
    pub plane: usize,
}

impl Strip<'_> {
    /// From so many columns on.
    #[inline(always)]
    pub fn from(self, column: usize) -> Self {
        Self { codes: self.codes.get(column..).unwrap_or_default(), ..self }
    }
}

impl Tiling {
    /// Tiles of so many rows and columns of results, which are not zero.
    #[inline(always)]
    pub const fn new(window: Window, tile: [usize; 2]) -> Self {
        let [height, width] = window.output;
        Self { window, tile, count: [height.div_ceil(tile[0]), width.div_ceil(tile[1])] }
    }

    /// Rows and columns of codes that a tile reaches over.
    pub const fn reach(&self) -> [usize; 2] {
        self.window.reach(self.tile)
    }

    /// Words of four channels of a position.
    pub const fn quads(&self) -> usize {
        self.window.input.channels.div_ceil(LANES)
    }

    /// Columns of codes that a row of tiles reaches over.
    const fn columns(&self) -> usize {
        self.window.reach([1, self.count[1] * self.tile[1]])[1]
    }

    /// Whether all that tiles reach over lies in the map, in words of four channels.
    const fn is_map(&self) -> bool {
        let Window { before, input, bytes, .. } = self.window;
        let last = self.window.reach([self.count[0] * self.tile[0], 1])[0];
        !bytes && before[0] == 0 && before[1] == 0 && last <= input.height && self.columns() <= input.width
    }

    /// Words of a strip; none where the map is the strip.
    pub const fn strip_words(&self) -> usize {
        if self.is_map() { 0 } else { self.quads() * self.reach()[0] * self.columns() }
    }

    /// About how many instructions a strip takes on a core with the DSP extension.
    pub const fn strip_cost(&self) -> usize {
        if self.window.bytes {
            300 + 24 * self.reach()[0] + self.strip_words() * 19 / 4
        } else {
            150 + 2 * self.strip_words()
        }
    }

    /// Whether some tile lacks rows or columns of results.
    pub const fn has_parts(&self) -> bool {
        let [height, width] = self.window.output;
        !height.is_multiple_of(self.tile[0]) || !width.is_multiple_of(self.tile[1])
    }

    /// About how many instructions it takes on a core with the DSP extension that such tiles lie apart.
    pub const fn parts_cost(&self, channels: usize) -> usize {
        let [height, width] = self.window.output;
        let whole = (height / self.tile[0]) * (width / self.tile[1]);
        200 * (self.count[0] * self.count[1] - whole) * channels.div_ceil(LANES)
    }

    /// Words of the results of a tile of so many channels, apart from the others.
    pub const fn part_words(&self, channels: usize) -> usize {
        channels.div_ceil(LANES) * self.tile[0] * self.tile[1]
    }

    /// The tiles of a row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = Tile> + use<> {
        let ([height, width], tile) = (self.window.output, self.tile);
        (0..width).step_by(tile[1].max(1)).map(move |column| Tile {
            row,
            column,
            rows: tile[0].min(height - row),
            columns: tile[1].min(width - column),
        })
    }

    /// The codes that a row of tiles reaches over whose first row of results is that one: of the map, or copied to `strip`. `zeros`
    /// has the code of zero, of bytes one for each channel.
    #[inline(never)]
    pub fn strip<'a>(&self, input: Input<'a>, zeros: &[u32], row: usize, strip: &'a mut [u32]) -> Strip<'a> {
        let Shape { height, width, .. } = self.window.input;
        let [rows, columns] = [self.reach()[0], self.columns()];
        let [top, left] = self.window.start([row, 0]);
        // Rows above the map, in it and below; columns likewise.
        let above = if top < 0 { top.unsigned_abs().min(rows) } else { 0 };
        let first = top.max(0) as usize;
        let inside = (rows - above).min(height.saturating_sub(first));
        if let (true, Input::Packed(map)) = (self.is_map(), input) {
            return Strip { codes: map.get(first * width..).unwrap_or_default(), pitch: width, plane: height * width };
        }
        let before = left.unsigned_abs().min(columns);
        let within = width.min(columns - before);
        let mut planes = strip.chunks_exact_mut((rows * columns).max(1));
        for quad in 0..self.quads() {
            let zero = self.zero(zeros, quad);
            let plane = planes.next().and_then(|plane| plane.split_at_mut_checked(above * columns));
            let Some((to, rest)) = plane else { break };
            to.iter_mut().for_each(|to| *to = zero);
            let Some((to, rest)) = rest.split_at_mut_checked(inside * columns) else { break };
            rest.iter_mut().for_each(|to| *to = zero);
            let behind = columns - before - within;
            let of = Rows { rows: inside, before, width: within, behind, skip: width - within, zero };
            if inside == 0 {
                continue;
            }
            match input {
                Input::Packed(map) => copy(map.get((quad * height + first) * width..).unwrap_or_default(), to, of),
                Input::Bytes(bytes) => {
                    let plane = |lane: usize| {
                        let from = ((LANES * quad + lane) * height + first) * width;
                        bytes.get(from..).and_then(|plane| plane.get(..inside * width)).unwrap_or_default()
                    };
                    pack(core::array::from_fn(plane), to, of);
                }
            }
        }
        Strip { codes: strip, pitch: columns, plane: rows * columns }
    }

    /// The code of zero of each of four channels.
    fn zero(&self, zeros: &[u32], quad: usize) -> u32 {
        if !self.window.bytes {
            return zeros.first().copied().unwrap_or(0);
        }
        let of = |lane: usize| zeros.get(LANES * quad + lane).copied().unwrap_or(0) & 0xFF;
        (0..LANES).fold(0, |word, lane| word | of(lane) << (8 * lane))
    }
}

/// Rows of a strip, and how many words of each lie before the map's, are the map's, and lie behind them.
#[derive(Clone, Copy)]
#[repr(C)]
struct Rows {
    rows: usize,
    before: usize,
    width: usize,
    behind: usize,
    /// What of a row of the map is left out.
    skip: usize,
    /// What lies before and behind.
    zero: u32,
}

impl Rows {
    /// Words of a row.
    const fn columns(&self) -> usize {
        self.before + self.width + self.behind
    }
}

/// Copies rows of four channels, with what lies before and behind them.
#[inline(always)]
fn copy(from: &[u32], to: &mut [u32], rows: Rows) {
    let Rows { width, skip, .. } = rows;
    if from.len() + skip < rows.rows * (width + skip) || to.len() != rows.rows * rows.columns() {
        return;
    }
    #[cfg(bn_lenet_arch = "cortex_m_dsp")]
    cortex_m_dsp::copy(from, to, rows);
    #[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
    for (to, from) in to.chunks_exact_mut(rows.columns().max(1)).zip(from.chunks((width + skip).max(1))) {
        let mut from = from.iter().take(width);
        for (column, to) in to.iter_mut().enumerate() {
            *to = if column < rows.before { rows.zero } else { from.next().copied().unwrap_or(rows.zero) };
        }
    }
}

/// Packs rows of four channels of the network's input, given from their first row on; those that lack have the code of zero.
#[inline(never)]
fn pack(planes: [&[u8]; LANES], to: &mut [u32], rows: Rows) {
    #[cfg(bn_lenet_arch = "cortex_m_dsp")]
    let done = cortex_m_dsp::pack(planes, to, rows);
    #[cfg(not(bn_lenet_arch = "cortex_m_dsp"))]
    let done = 0;
    if done == rows.columns() {
        return;
    }
    let [a, b, c, d] = rows.zero.to_le_bytes();
    for (row, to) in to.chunks_exact_mut(rows.columns().max(1)).enumerate() {
        for (column, to) in to.iter_mut().enumerate().skip(done) {
            let at = column.wrapping_sub(rows.before);
            let from = (row * (rows.width + rows.skip)).wrapping_add(at);
            let code = |lane: usize, zero: u8| {
                let code = if at < rows.width { planes[lane].get(from) } else { None };
                code.copied().unwrap_or(zero)
            };
            *to = u32::from_le_bytes([code(0, a), code(1, b), code(2, c), code(3, d)]);
        }
    }
}

/// A family that is computed by tiles: what differs from one to another.
pub(super) trait Tiled: Copy {
    /// Sums of one channel of a tile.
    type Sums: Copy + Default;

    /// Its tiles, how its channels stand in the stream, and the words of the transformed codes of a tile.
    fn sizes(&self) -> (Tiling, Pairs, usize);
    /// Transforms what a tile reaches over.
    fn transform(&self, codes: Strip<'_>, window: &mut [u32]);
    /// Sums of two channels.
    fn products(&self, window: &[u32], pair: &Pair<'_>, sums: &mut [Self::Sums; PAIR]);
    /// A row of a tile's results of one channel, from the first column on.
    fn results(sums: &Self::Sums, row: usize) -> [i32; MOST_COLUMNS];
}

/// A layer in plain Rust, tile by tile, with what stands behind it.
#[inline(always)]
pub(super) fn run<T: Tiled>(shape: &T, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let [low, high, ..] = *stream else { return };
    let (tiling, pairs, window_words) = shape.sizes();
    let Some((zeros, channels)) =
        stream.get(2..).and_then(|rest| rest.split_at_checked(tiling.window.preamble_words() - 2))
    else {
        return;
    };
    let Some((window, rest)) = scratch.split_at_mut_checked(window_words) else { return };
    // It reads each position several times, so results never take its place.
    let Some(input) = maps.input else { return };
    let mut run = Run { shape, epilogue: Epilogue::new(low, high, None), maps };
    for row in (0..tiling.window.output[0]).step_by(tiling.tile[0].max(1)) {
        let strip = tiling.strip(input, zeros, row, rest);
        for tile in tiling.row(row) {
            shape.transform(strip.from(tile.column * tiling.window.stride[1]), window);
            for (at, words) in channels.chunks_exact(pairs.words().max(1)).enumerate() {
                run.pair(tile, PAIR * at, window, words);
            }
        }
    }
    Output::new(run.maps.output, false).clear_rest(pairs.channels, tiling.window.positions());
}

struct Run<'a, T> {
    shape: &'a T,
    epilogue: Epilogue<'a>,
    maps: Maps<'a>,
}

impl<T: Tiled> Run<'_, T> {
    /// Two channels of a tile. A function of its own: on the smallest cores a frame must fit an instruction.
    #[inline(never)]
    fn pair(&mut self, tile: Tile, channel: usize, window: &[u32], words: &[u32]) {
        let Some(pair) = self.shape.sizes().1.pair(words) else { return };
        let mut sums = [T::Sums::default(); PAIR];
        self.shape.products(window, &pair, &mut sums);
        for (o, sums) in sums.iter().enumerate() {
            self.put(tile, channel + o, sums, [pair.multiplier[o], pair.adds[o]]);
        }
    }

    /// What stands behind the sums of a channel.
    #[inline(never)]
    fn put(&mut self, tile: Tile, channel: usize, sums: &T::Sums, factors: [i32; 2]) {
        let (_, Pairs { window, channels, .. }, _) = self.shape.sizes();
        if channel >= channels {
            return;
        }
        for row in 0..tile.rows {
            let first = channel / LANES * window.positions() + tile.position(&window, row);
            let results = T::results(sums, row);
            let results = results.get(..tile.columns).unwrap_or_default();
            put_row(&mut self.maps, self.epilogue, factors, [first, channel % LANES], results);
        }
    }
}

/// What stands behind neighbouring sums of a channel, given the word and the lane of the first result: codes, from a sum times
/// `multiplier`, to which a code that lies there in the added map was added `adds` times.
#[inline(always)]
fn put_row(
    maps: &mut Maps<'_>,
    epilogue: Epilogue<'_>,
    [multiplier, adds]: [i32; 2],
    [word, lane]: [usize; 2],
    sums: &[i32],
) {
    let to = bytemuck::must_cast_slice_mut::<u32, [u8; LANES]>(maps.output).get_mut(word..).unwrap_or_default();
    if adds == 0 {
        to.iter_mut().zip(sums).for_each(|(to, &sum)| to[lane & (LANES - 1)] = epilogue.of(sum, multiplier) as u8);
        return;
    }
    let of = |code: u8, sum: i32| epilogue.of(sum.wrapping_add(i32::from(code).wrapping_mul(adds)), multiplier) as u8;
    match maps.added {
        Some(Input::Packed(added)) => {
            let added = bytemuck::must_cast_slice::<u32, [u8; LANES]>(added).get(word..).unwrap_or_default();
            to.iter_mut().zip(added).zip(sums).for_each(|((to, added), &sum)| {
                to[lane & (LANES - 1)] = of(added[lane & (LANES - 1)], sum);
            });
        }
        _ => to.iter_mut().zip(sums).for_each(|(to, &sum)| {
            to[lane & (LANES - 1)] = of(to[lane & (LANES - 1)], sum);
        }),
    }
}
