//! Unpacks windows into patches, three by three or one by one: from the map, or from a copy with its padding where they reach beyond
//! the map. The instructions are those of `conv.s`.

use super::Layer;
use crate::kernels::conv::{Copied, MOST_POSITIONS as MANY};
use crate::kernels::packed::{LANES, Window};

/// What `bn_lenet_conv_gather3` and its like read; see there.
#[derive(Clone, Copy)]
#[repr(C)]
struct Windows {
    patch: *mut u32,
    /// Bytes from a position to the next.
    lane: usize,
    /// Bytes from a word of a row to the next.
    step: usize,
    columns: usize,
    rows: usize,
    /// Bytes from the end of a row to the next.
    row_skip: usize,
    planes: usize,
    /// Bytes from the end of a plane's rows to the next plane's.
    plane_skip: usize,
}

unsafe extern "C" {
    fn bn_lenet_conv_gather3(from: *const u8, windows: &Windows);
    fn bn_lenet_conv_gather1(from: *const u8, windows: &Windows);
    fn bn_lenet_conv_gather_lane(from: *const u8, windows: &Windows);
}

/// Where windows are unpacked from, and the next of them; `COPIED` is a [`Copied`].
pub(super) struct Source<'s, const COPIED: u8> {
    /// Those of the map, or of its copy with padding, but for their place.
    windows: Windows,
    /// Height and width of that, and rows and columns of windows. The positions of a map are one row.
    size: [usize; 2],
    output: [usize; 2],
    /// Rows above and columns before that windows begin with.
    before: [usize; 2],
    /// Of three windows, and of one: the last column where they may begin; bytes from their first to behind the last word that is read.
    threes: [usize; 2],
    ones: [usize; 2],
    /// The map, or its copy: its bytes, those of a value.
    data: *const u8,
    len: usize,
    unit: usize,
    /// Columns from a window to the next.
    stride: usize,
    /// Of the row: the byte where its windows begin, and whether they do not reach above or below the map.
    first: usize,
    is_inside: bool,
    copy: &'s mut [u32],
    /// Windows of the copy, where there is one of some windows.
    copied: Windows,
    /// The next window.
    row: usize,
    column: usize,
}

impl<'s, const COPIED: u8> Source<'s, COPIED> {
    pub(super) fn new<const GROUP: usize, const SUMS: bool>(
        layer: &Layer<'_, GROUP, SUMS>,
        patch: *mut u32,
        copy: &'s mut [u32],
    ) -> Self {
        let window = &layer.shape.window;
        let is_flat = window.is_pointwise() && window.stride == [1; 2] && !window.bytes;
        let (mut size, mut output, mut before) =
            ([window.input.height, window.input.width], window.output, window.before);
        if is_flat {
            (size, output) = ([1, window.area()], [1, window.positions()]);
        }
        if COPIED == Copied::All as u8 {
            size = window.reach(window.output);
            window.copy(layer.input(), layer.run.zeros, window.start([0; 2]), size, copy);
            before = [0; 2];
        }
        let data: &[u8] = if COPIED == Copied::All as u8 { bytemuck::must_cast_slice(copy) } else { layer.data() };
        let (data, len) = (data.as_ptr(), data.len());
        let windows = windows(window, size, patch);
        let ends = |lanes: usize| {
            let columns = (lanes - 1) * window.stride[1] + window.kernel[1];
            // Where not even one fits, none ends in the map.
            let reach = if columns > size[1] { usize::MAX / 2 } else { reach(window, size, lanes) };
            [size[1].saturating_sub(columns), reach]
        };
        let mut source = Self {
            windows,
            size,
            output,
            before,
            threes: ends(MANY),
            ones: ends(1),
            data,
            len,
            unit: window.unit(),
            stride: window.stride[1],
            first: 0,
            is_inside: false,
            copy,
            copied: windows,
            row: 0,
            column: 0,
        };
        source.begin_row(window);
        source
    }

    /// Goes to a position.
    pub(super) fn at(&mut self, window: &Window, position: usize) {
        let width = self.output[1].max(1);
        (self.row, self.column) = (position / width, position % width);
        self.begin_row(window);
    }

    /// Goes on by so many windows of a row.
    #[inline(always)]
    fn step(&mut self, window: &Window, by: usize) {
        self.column += by;
        if self.column >= self.output[1] {
            (self.row, self.column) = (self.row + 1, 0);
            self.begin_row(window);
        }
    }

    /// Unpacks the next three windows.
    #[inline(always)]
    pub(super) fn three<const GROUP: usize, const SUMS: bool>(&mut self, layer: &Layer<'_, GROUP, SUMS>) {
        if self.column + MANY <= self.output[1] {
            let (from, windows) = self.place(layer, MANY);
            // SAFETY: reads words of the rows of the windows, which lie in the map or in a copy, as `place` makes sure; writes two
            // words of the patch for each at each of its positions, which it has.
            unsafe { bn_lenet_conv_gather3(from, windows) }
            return self.step(&layer.shape.window, MANY);
        }
        // Beyond the row's end lies the next row's begin.
        for lane in 0..MANY {
            let (from, &windows) = self.place(layer, 1);
            let windows = Windows { patch: windows.patch.wrapping_add(lane), ..windows };
            // SAFETY: as above, one of three positions.
            unsafe { bn_lenet_conv_gather_lane(from, &windows) }
            self.step(&layer.shape.window, 1);
        }
    }

    /// Unpacks the next window.
    pub(super) fn one<const GROUP: usize, const SUMS: bool>(&mut self, layer: &Layer<'_, GROUP, SUMS>) {
        let (from, windows) = self.place(layer, 1);
        // SAFETY: as above, one position.
        unsafe { bn_lenet_conv_gather1(from, windows) }
        self.step(&layer.shape.window, 1);
    }

    /// Where so many windows of a row begin: in the map or the copy of all, or in a copy of these where they reach beyond the map.
    #[inline(always)]
    fn place<const GROUP: usize, const SUMS: bool>(
        &mut self,
        layer: &Layer<'_, GROUP, SUMS>,
        lanes: usize,
    ) -> (*const u8, &Windows) {
        // Before the first column this wraps to more than any place.
        let left = (self.column * self.stride).wrapping_sub(self.before[1]);
        let first = self.first.wrapping_add(self.unit * left);
        if COPIED == Copied::Some as u8 {
            let [last, reach] = if lanes == 1 { self.ones } else { self.threes };
            if !(self.is_inside && left <= last && first + reach <= self.len) {
                return (self.copied(layer, lanes), &self.copied);
            }
        }
        (self.data.wrapping_add(first), &self.windows)
    }

    /// Where the windows of the row begin, and whether no window of it reaches above or below the map.
    fn begin_row(&mut self, window: &Window) {
        let top = (self.row * window.stride[0]).wrapping_sub(self.before[0]);
        self.is_inside = top < self.size[0] && top + window.kernel[0] <= self.size[0];
        self.first = if self.is_inside { self.unit * top * self.size[1] } else { 0 };
    }

    /// Windows that reach beyond the map, in a copy with their padding.
    #[inline(never)]
    fn copied<const GROUP: usize, const SUMS: bool>(
        &mut self,
        layer: &Layer<'_, GROUP, SUMS>,
        lanes: usize,
    ) -> *const u8 {
        let window = &layer.shape.window;
        let (from, size) = (window.start([self.row, self.column]), window.reach([1, lanes]));
        window.copy(layer.input(), layer.run.zeros, from, size, self.copy);
        self.copied = windows(window, size, self.windows.patch);
        self.copy.as_ptr().cast()
    }
}

/// Windows of a map of that height and width, but for their place.
#[inline(always)]
fn windows(window: &Window, [height, width]: [usize; 2], patch: *mut u32) -> Windows {
    let (unit, [planes, rows, _], columns) = (window.unit(), window.parts(), window.row_words());
    let plane = unit * height * width;
    let windows = Windows {
        patch,
        lane: unit * window.stride[1],
        step: LANES,
        columns,
        rows,
        row_skip: (unit * width).wrapping_sub(LANES * columns),
        planes,
        plane_skip: plane.wrapping_sub(unit * rows * width),
    };
    if window.is_pointwise() && !window.bytes {
        // One row of a word in each plane.
        Windows { step: plane, columns: planes, planes: 1, ..windows }
    } else if columns == 1 {
        // One row of a word in each row.
        Windows { step: unit * width, columns: rows, rows: 1, row_skip: 0, ..windows }
    } else {
        windows
    }
}

/// Bytes from the first of so many windows to behind the last word that is read of them, in a map of that height and width.
#[inline(always)]
fn reach(window: &Window, [height, width]: [usize; 2], lanes: usize) -> usize {
    let [planes, rows, _] = window.parts();
    let values =
        planes.saturating_sub(1) * height * width + rows.saturating_sub(1) * width + (lanes - 1) * window.stride[1];
    window.unit() * values + LANES * window.row_words()
}
