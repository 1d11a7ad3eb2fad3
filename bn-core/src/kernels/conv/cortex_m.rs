//! Convolutions for Cortex-M cores from Armv7-M on: the bits of [`portable`], three positions by two channels at a time, or one by four,
//! in assembly. Linked in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::portable::Run;
use super::{Conv, Group, MOST_GROUP, MOST_POSITIONS as MANY, PAIR, portable};
use crate::kernels::Table;
use crate::kernels::packed::{Input, LANES, Maps, Window, words_of};

/// What the functions of `conv.s` read; see there.
#[repr(C)]
struct Products {
    patch: *const u32,
    patch_end: *const u32,
    quads: usize,
    stream: *const u32,
    stream_end: *const u32,
    output: *mut u32,
    /// Bytes from a word of channels to the next.
    plane: usize,
    /// Bytes from a result to what is added to it.
    added: isize,
}

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
    fn bn_lenet_conv_three(products: &Products);
    fn bn_lenet_conv_three_add(products: &Products);
    fn bn_lenet_conv_three_sums(products: &Products);
    fn bn_lenet_conv_one(products: &Products);
    fn bn_lenet_conv_one_add(products: &Products);
    fn bn_lenet_conv_one_sums(products: &Products);
    fn bn_lenet_conv_four(products: &Products);
    fn bn_lenet_conv_four_sums(products: &Products);
    fn bn_lenet_conv_four_values(products: &Products);
}

/// What stands behind the sums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// Codes from 0 to 255.
    Codes,
    /// Likewise, with a map added.
    Added,
    /// Results as they are, of whole groups.
    Values,
    /// Whatever Rust makes of them.
    Sums,
}

/// See [`portable::conv`].
#[inline(never)]
pub fn conv(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    let (window, positions) = (&shape.window, shape.window.positions());
    let is_plain = !shape.words && table.is_none() && matches!(*stream, [0, 255, ..]);
    let input = maps.input(words_of(window.input));
    let read = match input {
        Input::Packed(words) => words.len() == words_of(window.input),
        Input::Bytes(bytes) => bytes.len() == window.input.len(),
    };
    let written = if shape.words { shape.channels * positions } else { shape.channels.div_ceil(LANES) * positions };
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= written
        && read
        && input.is_bytes() == window.bytes
        && (!shape.adds || matches!(maps.added(), Input::Packed(words) if words.len() >= written));
    if !sized || window.kernel == [0; 2] {
        return portable::conv(shape, stream, table, maps, scratch);
    }
    let every = shape.words
        && table.is_none()
        && matches!(*stream, [low, high, ..] if low as i32 == i32::MIN && high as i32 == i32::MAX);
    let behind = match (is_plain, shape.adds) {
        (true, false) => Behind::Codes,
        (true, true) if positions > 1 => Behind::Added,
        (_, false) if every && positions == 1 && shape.channels.is_multiple_of(MOST_GROUP) => Behind::Values,
        _ => Behind::Sums,
    };
    if positions == 1 {
        Layer::<MOST_GROUP>::new(shape, stream, table, maps, behind).run(scratch);
    } else {
        Layer::<PAIR>::new(shape, stream, table, maps, behind).run(scratch);
    }
}

/// A layer being computed, whose sizes have been checked.
struct Layer<'a, const GROUP: usize> {
    shape: &'a Conv,
    behind: Behind,
    run: Run<'a, GROUP>,
}

impl<'a, const GROUP: usize> Layer<'a, GROUP> {
    fn new(shape: &'a Conv, stream: &'a [u32], table: Option<&'a Table>, maps: Maps<'a>, behind: Behind) -> Self {
        Self { shape, behind, run: Run::new(shape, stream, table, maps) }
    }

    /// All positions, three by three; then those that are left one by one, or once more with those before.
    fn run(&mut self, scratch: &mut [u32]) {
        let positions = self.shape.window.positions();
        let Some((patch, copy)) = scratch.split_at_mut_checked(self.shape.patch_words()) else { return };
        let (mut many, mut one) = (self.products_of::<MANY>(patch), self.products_of::<1>(patch));
        let mut source = Source::new(self, patch.as_mut_ptr(), copy);
        // Computed again, they would find their added map overwritten, or their input.
        let repeats = self.run.maps.added.is_some() == self.shape.adds && self.run.maps.input.is_some();
        let mut position = 0;
        while position + MANY <= positions {
            source.three(self);
            self.products::<MANY>(&mut many, position);
            position += MANY;
        }
        if position < positions && repeats && positions >= MANY {
            source.at(&self.shape.window, positions - MANY);
            source.three(self);
            self.products::<MANY>(&mut many, positions - MANY);
        } else {
            for position in position..positions {
                source.one(self);
                self.products::<1>(&mut one, position);
            }
        }
        self.run.clear_rest();
    }

    /// The map.
    fn input(&self) -> Input<'_> {
        self.run.maps.input(words_of(self.shape.window.input))
    }

    /// Its bytes.
    fn data(&self) -> &[u8] {
        match self.input() {
            Input::Packed(words) => bytemuck::must_cast_slice(words),
            Input::Bytes(bytes) => bytes,
        }
    }

    /// What the products of a patch of so many positions need, but for the place of the results.
    #[inline(always)]
    fn products_of<const POSITIONS: usize>(&mut self, patch: &[u32]) -> Products {
        let (shape, maps) = (self.shape, &mut self.run.maps);
        let added = match maps.added {
            Some(Input::Packed(words)) => (words.as_ptr() as isize).wrapping_sub(maps.output.as_ptr() as isize),
            _ => 0,
        };
        let patch = patch.get(..2 * POSITIONS * shape.quads()).unwrap_or_default().as_ptr_range();
        let channels = self.run.channels.as_ptr_range();
        Products {
            patch: patch.start,
            patch_end: patch.end,
            quads: shape.quads(),
            stream: channels.start,
            stream_end: channels.end,
            output: maps.output.as_mut_ptr(),
            plane: LANES * shape.window.positions(),
            added,
        }
    }

    /// Products of a patch of so many positions, and what stands behind them.
    #[inline(always)]
    fn products<const POSITIONS: usize>(&mut self, products: &mut Products, position: usize) {
        if self.behind == Behind::Sums {
            return self.sums::<POSITIONS>(products, position);
        }
        let Some(output) = self.run.maps.output.get_mut(position..) else { return };
        products.output = output.as_mut_ptr();
        // SAFETY: reads the patch, whose words and their number are those of a channel's weights, and the groups of channels, whose
        // number is whole; writes the bytes of each group at each position of the tile, which `output` has, and reads those of the
        // added map, which has as many. Where the map is replaced, the patch was made of what lay there.
        unsafe {
            match (POSITIONS, GROUP, self.behind) {
                (MANY, _, Behind::Added) => bn_lenet_conv_three_add(products),
                (MANY, ..) => bn_lenet_conv_three(products),
                (_, PAIR, Behind::Added) => bn_lenet_conv_one_add(products),
                (_, PAIR, _) => bn_lenet_conv_one(products),
                (.., Behind::Values) => bn_lenet_conv_four_values(products),
                _ => bn_lenet_conv_four(products),
            }
        }
    }

    /// Products whose sums are not yet codes.
    #[inline(never)]
    fn sums<const POSITIONS: usize>(&mut self, products: &mut Products, position: usize) {
        let shape = self.shape;
        for (at, words) in self.run.channels.chunks_exact(shape.group_words().max(1)).enumerate() {
            let mut sums = [[0; POSITIONS]; GROUP];
            products.stream = words.as_ptr();
            products.output = sums.as_flattened_mut().as_mut_ptr().cast();
            // SAFETY: as above; writes the sums of one group.
            unsafe {
                match (POSITIONS, GROUP) {
                    (MANY, _) => bn_lenet_conv_three_sums(products),
                    (_, PAIR) => bn_lenet_conv_one_sums(products),
                    _ => bn_lenet_conv_four_sums(products),
                }
            }
            let Some(Group { multiplier, adds, .. }) = Group::<GROUP>::of(shape, words) else { return };
            for (o, sums) in sums.iter().enumerate() {
                self.run.put([GROUP * at + o, position], sums, multiplier[o], adds[o]);
            }
        }
    }
}

/// Where windows are unpacked from, and the next of them.
struct Source<'s> {
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

impl<'s> Source<'s> {
    fn new<const GROUP: usize>(layer: &Layer<'_, GROUP>, patch: *mut u32, copy: &'s mut [u32]) -> Self {
        let window = &layer.shape.window;
        let is_flat = window.is_pointwise() && window.stride == [1; 2] && !window.bytes;
        let is_copied = layer.shape.copied() == Some(window.output) && window.is_padded();
        let (mut size, mut output, mut before) =
            ([window.input.height, window.input.width], window.output, window.before);
        if is_flat {
            (size, output) = ([1, window.area()], [1, window.positions()]);
        }
        if is_copied {
            size = window.reach(window.output);
            window.copy(layer.input(), layer.run.zeros, window.start([0; 2]), size, copy);
            before = [0; 2];
        }
        let data: &[u8] = if is_copied { bytemuck::must_cast_slice(copy) } else { layer.data() };
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
    fn at(&mut self, window: &Window, position: usize) {
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
    fn three<const GROUP: usize>(&mut self, layer: &Layer<'_, GROUP>) {
        if self.column + MANY <= self.output[1] {
            let from = self.find(MANY);
            let (from, windows) = match from {
                Some(from) => (from, &self.windows),
                None => (self.copied(layer, MANY), &self.copied),
            };
            // SAFETY: reads words of the rows of the windows, which lie in the map or in a copy, as `find` and `copied` have made sure;
            // writes two words of the patch for each at each of its positions, which it has.
            unsafe { bn_lenet_conv_gather3(from, windows) }
            return self.step(&layer.shape.window, MANY);
        }
        // Beyond the row's end lies the next row's begin.
        for lane in 0..MANY {
            let from = self.find(1);
            let (from, windows) = match from {
                Some(from) => (from, self.windows),
                None => (self.copied(layer, 1), self.copied),
            };
            let windows = Windows { patch: windows.patch.wrapping_add(lane), ..windows };
            // SAFETY: as above, one of three positions.
            unsafe { bn_lenet_conv_gather_lane(from, &windows) }
            self.step(&layer.shape.window, 1);
        }
    }

    /// Unpacks the next window.
    fn one<const GROUP: usize>(&mut self, layer: &Layer<'_, GROUP>) {
        let from = self.find(1);
        let (from, windows) = match from {
            Some(from) => (from, &self.windows),
            None => (self.copied(layer, 1), &self.copied),
        };
        // SAFETY: as above, one position.
        unsafe { bn_lenet_conv_gather1(from, windows) }
        self.step(&layer.shape.window, 1);
    }

    /// Where so many windows of a row begin, where they do not reach beyond the map.
    #[inline(always)]
    fn find(&self, lanes: usize) -> Option<*const u8> {
        // Before the first column this wraps to more than any place.
        let left = (self.column * self.stride).wrapping_sub(self.before[1]);
        let [last, reach] = if lanes == 1 { self.ones } else { self.threes };
        let first = self.first.wrapping_add(self.unit * left);
        let is_inside = self.is_inside && left <= last && first + reach <= self.len;
        is_inside.then_some(self.data.wrapping_add(first))
    }

    /// Where the windows of the row begin, and whether no window of it reaches above or below the map.
    fn begin_row(&mut self, window: &Window) {
        let top = (self.row * window.stride[0]).wrapping_sub(self.before[0]);
        self.is_inside = top < self.size[0] && top + window.kernel[0] <= self.size[0];
        self.first = if self.is_inside { self.unit * top * self.size[1] } else { 0 };
    }

    /// Windows that reach beyond the map, in a copy with their padding.
    #[inline(never)]
    fn copied<const GROUP: usize>(&mut self, layer: &Layer<'_, GROUP>, lanes: usize) -> *const u8 {
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
