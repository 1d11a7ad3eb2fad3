//! F(4x2, 3x3) for Cortex-M cores with the DSP extension: the bits of [`portable`], a tile at a time in assembly. Linked in only where
//! the build script has chosen it.
#![allow(unsafe_code)]

use super::{TILE, Tile as Place, Winograd3, portable};
use crate::kernels::packed::{Input, LANES, Maps, Output, words_of};

/// A tile; see `winograd3.s`.
#[repr(C)]
struct Tile {
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
}

unsafe extern "C" {
    fn bn_lenet_winograd3(tile: &Tile);
    fn bn_lenet_winograd3_add(tile: &Tile);
}

/// See [`portable::winograd3`]; another range than a code's is left to that.
#[inline(never)]
pub fn winograd3(shape: &Winograd3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let window = &shape.window;
    let (positions, quads) = (window.positions(), shape.channels.div_ceil(LANES));
    let is_read = match maps.input(words_of(window.input)) {
        Input::Packed(map) => map.len() == words_of(window.input) && !window.bytes,
        Input::Bytes(_) => window.bytes,
    };
    let added = if let (true, Input::Packed(words)) = (shape.adds, maps.added()) { words.len() } else { usize::MAX };
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= quads * positions
        && added >= quads * positions
        && maps.input.is_some()
        && shape.is_sound()
        && is_read;
    let parts = stream.get(2..).and_then(|rest| rest.split_at_checked(shape.window.preamble_words() - 2));
    let (true, &[0, 255, ..], Some((zeros, channels)), Some(input)) = (sized, stream, parts, maps.input) else {
        return portable::winograd3(shape, stream, maps, scratch);
    };
    if let (true, Some(Input::Packed(words))) = (shape.adds, maps.added) {
        // Each result is added to where it goes.
        maps.output.iter_mut().zip(words).for_each(|(to, &word)| *to = word);
    }
    let Some((transformed, rest)) = scratch.split_at_mut_checked(shape.window_words()) else { return };
    let part_words = if shape.has_parts() { shape.tile_words() } else { 0 };
    let Some((part, copy)) = rest.split_at_mut_checked(part_words) else { return };
    for tile in shape.tiles() {
        let is_whole = tile.rows == TILE && tile.columns == TILE;
        let (codes, [pitch, plane]) = shape.codes(input, zeros, tile, copy);
        if !is_whole && shape.adds {
            exchange(shape, tile, maps.output, part, |to, part| *part = *to);
        }
        let first = tile.row * window.output[1] + tile.column;
        let (to, row, area) = if is_whole {
            (maps.output.get_mut(first..), window.output[1], positions)
        } else {
            (Some(&mut *part), TILE, TILE * TILE)
        };
        let (Some(to), channels) = (to, channels.as_ptr_range()) else { return };
        let asked = Tile {
            codes: codes.as_ptr(),
            pitch: LANES * pitch,
            plane: LANES * plane,
            quads: shape.quads(),
            window: transformed.as_mut_ptr(),
            stream: channels.start,
            stream_end: channels.end,
            output: to.as_mut_ptr(),
            rows: 2 * LANES * row,
            next: LANES * (area - 1),
        };
        // SAFETY: reads six rows of six words of each plane of the codes, which lie in the map or its copy, and the pairs of
        // channels, whose number is whole; writes the transformed codes, and four rows of four results for each channel of the
        // pairs, which the map of results has from the tile's place on, or the part; reads these where a map is added.
        unsafe { if shape.adds { bn_lenet_winograd3_add(&asked) } else { bn_lenet_winograd3(&asked) } }
        if !is_whole {
            exchange(shape, tile, maps.output, part, |to, part| *to = *part);
        }
    }
    Output::new(maps.output, false).clear_rest(shape.channels, positions);
}

/// Goes over the words of a tile that has not all of its rows and columns: in the map of results and in the part.
fn exchange(shape: &Winograd3, tile: Place, output: &mut [u32], part: &mut [u32], copy: impl Fn(&mut u32, &mut u32)) {
    let width = shape.window.output[1];
    let planes = output.chunks_exact_mut(shape.window.positions().max(1));
    for (plane, part) in planes.zip(part.chunks_exact_mut(TILE * TILE)) {
        let rows = plane.chunks_exact_mut(width.max(1)).skip(tile.row).take(tile.rows);
        for (row, part) in rows.zip(part.chunks_exact_mut(TILE)) {
            row.iter_mut().skip(tile.column).take(tile.columns).zip(part).for_each(|(to, part)| copy(to, part));
        }
    }
}
