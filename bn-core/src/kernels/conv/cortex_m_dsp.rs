//! Convolutions for Cortex-M cores with the DSP extension: the bits of [`portable`], three positions by two channels at a time, the
//! products in assembly. Linked in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::{Conv, gather, portable, unpacked};
use crate::kernels::Table;
use crate::kernels::packed::{Input, LANES, Output};

/// Positions that are computed side by side.
const TILE: usize = 3;

/// What the functions of `conv.s` read; see there.
#[repr(C)]
struct Products {
    patch: *const u32,
    patch_end: *const u32,
    stream: *const u32,
    stream_end: *const u32,
    output: *mut u8,
    plane: usize,
}

#[repr(C)]
struct Windows {
    input: *const u32,
    patch: *mut u32,
    row: usize,
    plane: usize,
    rows: usize,
    words: usize,
}

unsafe extern "C" {
    fn bn_lenet_conv_three(products: &Products);
    fn bn_lenet_conv_one(products: &Products);
    fn bn_lenet_conv_gather3(windows: &Windows);
}

/// A layer whose results are codes from 0 to 255, being computed.
struct Run<'a> {
    shape: &'a Conv,
    zeros: &'a [u32],
    /// Pairs of channels.
    channels: &'a [u32],
    input: Input<'a>,
}

/// See [`portable::conv`]; a layer with a table, another range or the network's output is left to that.
#[inline(never)]
pub fn conv(
    shape: &Conv,
    stream: &[u32],
    table: Option<&Table>,
    input: Input<'_>,
    scratch: &mut [u32],
    output: &mut [u32],
) {
    let is_plain = !shape.words && table.is_none() && matches!(*stream, [0, 255, ..]);
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && output.len() >= shape.channels.div_ceil(LANES) * shape.window.positions();
    let parts = stream.get(2..).and_then(|rest| rest.split_at_checked(shape.preamble() - 2));
    let Some((zeros, channels)) = parts.filter(|_| is_plain && sized) else {
        return portable::conv(shape, stream, table, input, scratch, output);
    };
    Output::new(output, false).clear_rest(shape.channels, shape.window.positions());
    let run = Run { shape, zeros, channels, input };
    let [height, width] = shape.window.output;
    if run.is_pointwise() && height * width >= TILE {
        // All positions are one row.
        run.rows(1, height * width, scratch, output);
    } else if width >= TILE {
        run.rows(height, width, scratch, output);
    } else {
        run.one_by_one(scratch, output);
    }
}

impl Run<'_> {
    /// Whether windows are the positions of a packed map.
    fn is_pointwise(&self) -> bool {
        let window = &self.shape.window;
        window.kernel == [1; 2] && window.stride == [1; 2] && !window.is_padded() && !window.bytes
    }

    /// Rows of at least three positions: the last three overlap with those before.
    fn rows(&self, height: usize, width: usize, scratch: &mut [u32], output: &mut [u32]) {
        let is_pointwise = self.is_pointwise();
        for row in 0..height {
            let mut column = 0;
            loop {
                column = column.min(width - TILE);
                if is_pointwise {
                    self.points(column, scratch);
                } else if !self.inside(row, column, scratch) {
                    let (patch, _) = scratch.as_chunks_mut::<{ 2 * TILE }>();
                    for lane in 0..TILE {
                        gather(&self.shape.window, self.input, self.zeros, [row, column + lane], patch, lane);
                    }
                }
                self.products::<TILE>(row * width + column, scratch, output);
                column += TILE;
                if column >= width {
                    break;
                }
            }
        }
    }

    /// Unpacks three neighbouring positions.
    fn points(&self, position: usize, scratch: &mut [u32]) {
        let Input::Packed(words) = self.input else { return };
        let (patch, _) = scratch.as_chunks_mut::<{ 2 * TILE }>();
        for (slot, plane) in patch.iter_mut().zip(words.chunks_exact(self.shape.window.area().max(1))) {
            let Some(three) = plane.get(position..).and_then(|rest| rest.first_chunk::<TILE>()) else { return };
            for (lane, &word) in three.iter().enumerate() {
                (slot[lane], slot[TILE + lane]) = unpacked(word);
            }
        }
    }

    /// Unpacks three neighbouring windows, three columns wide, that lie side by side in the map; says whether they do.
    fn inside(&self, row: usize, column: usize, scratch: &mut [u32]) -> bool {
        let window = &self.shape.window;
        let Input::Packed(words) = self.input else { return false };
        let (top, left) = (row * window.stride[0], column);
        let ([above, before], [height, width]) = (window.before, [window.input.height, window.input.width]);
        let is_inside = window.kernel[1] == 3
            && window.stride[1] == 1
            && top >= above
            && left >= before
            && top - above + window.kernel[0] <= height
            && left - before + TILE + 2 <= width
            && words.len() == window.input.channels.div_ceil(LANES) * height * width;
        if !is_inside {
            return false;
        }
        let Some(from) = words.get((top - above) * width + left - before..) else { return false };
        let windows = Windows {
            input: from.as_ptr(),
            patch: scratch.as_mut_ptr(),
            row: 4 * width,
            plane: 4 * (height - window.kernel[0]) * width,
            rows: window.kernel[0],
            words: window.input.channels.div_ceil(LANES),
        };
        // SAFETY: reads five columns of the windows' rows of each word of channels, which lie in the map as was just asked; writes
        // six words for each of their taps, which the scratch has.
        unsafe { bn_lenet_conv_gather3(&windows) };
        true
    }

    fn one_by_one(&self, scratch: &mut [u32], output: &mut [u32]) {
        let [height, width] = self.shape.window.output;
        for position in 0..height * width {
            let from = [position / width.max(1), position % width.max(1)];
            gather(&self.shape.window, self.input, self.zeros, from, scratch.as_chunks_mut::<2>().0, 0);
            self.products::<1>(position, scratch, output);
        }
    }

    /// Products of a patch of so many positions, and what stands behind them.
    fn products<const POSITIONS: usize>(&self, position: usize, scratch: &[u32], output: &mut [u32]) {
        let positions = self.shape.window.positions();
        let Some(patch) = scratch.get(..2 * POSITIONS * self.shape.quads()) else { return };
        let Some(to) = output.get_mut(position..) else { return };
        let (patch, channels) = (patch.as_ptr_range(), self.channels.as_ptr_range());
        let products = Products {
            patch: patch.start,
            patch_end: patch.end,
            stream: channels.start,
            stream_end: channels.end,
            output: to.as_mut_ptr().cast(),
            plane: 4 * (positions - 1),
        };
        // SAFETY: reads the patch, whose words and their number are those of a pair's weights, and the pairs, whose number is
        // whole; writes two bytes for each pair at each position of the tile, which `output` has.
        unsafe { if POSITIONS == TILE { bn_lenet_conv_three(&products) } else { bn_lenet_conv_one(&products) } }
    }
}
