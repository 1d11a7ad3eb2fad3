//! Rows of tiles for kernels in assembly on cores with the DSP extension: whole tiles one after the other, tiles that lack rows or
//! columns in a part of their own. Linked in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::{Rows, Tile, Tiling};
use crate::kernels::packed::{Input, LANES};

unsafe extern "C" {
    fn bn_lenet_strip(to: *mut u32, from: *const u32, rows: &Rows);
    fn bn_lenet_strip1(to: *mut u32, planes: &[*const u8; 1], rows: &Rows);
    fn bn_lenet_strip3(to: *mut u32, planes: &[*const u8; 3], rows: &Rows);
}

/// Functions of assembly for a row of tiles, one for each number of words of four channels, and `$tiles`, which finds one. No number
/// but these compiles.
macro_rules! by_quads {
    ($tiles:ident: $($quads:literal $name:ident)*) => {
        unsafe extern "C" {
            $(fn $name(row: &Row);)*
        }
        const fn $tiles(quads: usize) -> unsafe extern "C" fn(&Row) {
            match quads {
                $($quads => $name,)*
                _ => panic!("no kernel takes so many channels"),
            }
        }
    };
}
pub(in crate::kernels) use by_quads;

/// Copies rows with what lies before and behind them; sizes have been checked.
#[inline(always)]
pub(super) fn copy(from: &[u32], to: &mut [u32], rows: Rows) {
    let rows = Rows { skip: LANES * rows.skip, ..rows };
    // SAFETY: `from` has the words of all rows, but perhaps for what the last leaves out, and `to` exactly what is written; there is
    // a row.
    unsafe { bn_lenet_strip(to.as_mut_ptr(), from.as_ptr(), &rows) }
}

/// Packs rows of one or three planes, of each as many columns as are whole times four, and zeros behind them. How many columns of
/// the strip are done: those of other planes and the last few are left.
#[inline(always)]
pub(super) fn pack([a, b, c, d]: [&[u8]; LANES], to: &mut [u32], rows: Rows) -> usize {
    let (fours, bytes) = (rows.width / LANES, rows.rows * (rows.width + rows.skip));
    let rest = rows.width - LANES * fours;
    if fours == 0 || to.len() < rows.rows * rows.columns() || a.len() < bytes {
        return 0;
    }
    let asked = Rows { width: fours, behind: rest + rows.behind, skip: rest + rows.skip, ..rows };
    // SAFETY: each plane has the bytes of all rows, and `to` what is written of them.
    unsafe {
        match [b.len(), c.len(), d.len()] {
            [0, 0, 0] => bn_lenet_strip1(to.as_mut_ptr(), &[a.as_ptr()], &asked),
            [b_len, c_len, 0] if b_len.min(c_len) >= bytes => {
                bn_lenet_strip3(to.as_mut_ptr(), &[a, b, c].map(|plane| plane.as_ptr()), &asked);
            }
            _ => return 0,
        }
    }
    if rest == 0 { rows.columns() } else { rows.before + LANES * fours }
}

/// Tiles beside each other, as assembly reads them.
#[repr(C)]
#[derive(Debug)]
pub(in crate::kernels) struct Row {
    codes: *const u32,
    /// Bytes of a row of the codes, and of four channels.
    pitch: usize,
    plane: usize,
    quads: usize,
    window: *mut u32,
    stream: *const u32,
    stream_end: *const u32,
    output: *mut u32,
    /// Bytes of two rows of results; of four channels, less 4.
    rows: usize,
    next: usize,
    tiles: usize,
}

/// A layer that is computed by tiles, whose sizes have been checked.
#[derive(Debug)]
pub(in crate::kernels) struct Layer<'a> {
    /// Its tiles.
    pub(in crate::kernels) tiling: Tiling,
    /// Channels that it gives.
    pub(in crate::kernels) channels: usize,
    /// Whether its results are added to what lies in their place.
    pub(in crate::kernels) adds: bool,
    /// What it reads.
    pub(in crate::kernels) input: Input<'a>,
    /// The code of zero, of bytes one for each channel.
    pub(in crate::kernels) zeros: &'a [u32],
    /// What each tile reads of the stream.
    pub(in crate::kernels) stream: &'a [u32],
}

impl Layer<'_> {
    /// Hands on rows of tiles. Each has what its tiles reach over in its codes, room for their results from `output` on, and `window`
    /// to work in; `scratch` is for the strip, and before it the part.
    pub(in crate::kernels) fn run(
        &self,
        output: &mut [u32],
        window: &mut [u32],
        scratch: &mut [u32],
        run: impl Fn(&Row),
    ) {
        let tiling = &self.tiling;
        let part_words = if tiling.has_parts() { tiling.part_words(self.channels) } else { 0 };
        let Some((part, scratch)) = scratch.split_at_mut_checked(part_words) else { return };
        let ([height, width], [rows, columns]) = (tiling.window.output, tiling.tile);
        let stream = self.stream.as_ptr_range();
        for row in (0..height).step_by(rows.max(1)) {
            let strip = tiling.strip(self.input, self.zeros, row, scratch);
            let mut of = |column: usize, output: &mut [u32], [width, area]: [usize; 2], tiles: usize| {
                run(&Row {
                    codes: strip.from(column * tiling.window.stride[1]).codes.as_ptr(),
                    pitch: LANES * strip.pitch,
                    plane: LANES * strip.plane,
                    quads: tiling.quads(),
                    window: window.as_mut_ptr(),
                    stream: stream.start,
                    stream_end: stream.end,
                    output: output.as_mut_ptr(),
                    rows: 2 * LANES * width,
                    next: LANES * (area - 1),
                    tiles,
                });
            };
            // Whole tiles stand before those that lack something.
            let whole = if height - row < rows { 0 } else { width / columns.max(1) };
            if let (Some(output), 1..) = (output.get_mut(row * width..), whole) {
                of(0, output, [width, height * width], whole);
            }
            for tile in tiling.row(row).skip(whole) {
                if self.adds {
                    exchange(tiling, tile, output, part, |to, part| *part = *to);
                }
                of(tile.column, part, [columns, rows * columns], 1);
                exchange(tiling, tile, output, part, |to, part| *to = *part);
            }
        }
    }
}

/// Goes over the words of a tile that lacks rows or columns: in the map of results and in a part of its own.
#[inline(never)]
fn exchange(tiling: &Tiling, tile: Tile, output: &mut [u32], part: &mut [u32], copy: impl Fn(&mut u32, &mut u32)) {
    let ([_, width], [rows, columns]) = (tiling.window.output, tiling.tile);
    let planes = output.chunks_exact_mut(tiling.window.positions().max(1));
    for (plane, part) in planes.zip(part.chunks_exact_mut((rows * columns).max(1))) {
        let rows = plane.chunks_exact_mut(width.max(1)).skip(tile.row).take(tile.rows);
        for (row, part) in rows.zip(part.chunks_exact_mut(columns.max(1))) {
            row.iter_mut().skip(tile.column).take(tile.columns).zip(part).for_each(|(to, part)| copy(to, part));
        }
    }
}
