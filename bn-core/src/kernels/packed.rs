//! What the general families share: how a map lies in memory, windows that slide over it, and what stands behind a sum.
//!
//! A map lies as `[channels / 4][row][column]` words of four u8 channels, the lowest in the lowest byte. Channels that lack to a
//! whole word are zero, and so are their weights. The network's own input lies as bytes: channel, row, column.

use super::{Fault, Table};
use crate::network::Shape;
use crate::quant::SIGMOID_LEN;
#[cfg(not(bn_lenet_arch = "armv6m"))]
use crate::quant::requantize as scale;
#[cfg(bn_lenet_arch = "armv6m")]
use crate::quant::requantize_by_halves as scale;

/// Channels of a word.
pub const LANES: usize = 4;

/// Words of a map.
pub const fn words_of(shape: Shape) -> usize {
    shape.channels.div_ceil(LANES) * shape.height * shape.width
}

/// What a step reads.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The network's input.
    Bytes(&'a [u8]),
    /// A map of packed channels.
    Packed(&'a [u32]),
}

impl<'a> Input<'a> {
    /// The code of a channel at a position of a map of `area` positions. What is not there is 0.
    #[inline(always)]
    pub fn code(self, channel: usize, area: usize, position: usize) -> u8 {
        match self {
            Input::Bytes(bytes) => bytes.get(channel * area + position).copied().unwrap_or(0),
            Input::Packed(words) => {
                let word = words.get(channel / LANES * area + position).copied().unwrap_or(0);
                (word >> (8 * (channel % LANES))) as u8
            }
        }
    }

    /// Four channels at a position, of which the first is a multiple of four.
    #[inline(always)]
    pub fn word(self, quad: usize, area: usize, position: usize) -> u32 {
        match self {
            Input::Bytes(_) => {
                u32::from_le_bytes(core::array::from_fn(|lane| self.code(LANES * quad + lane, area, position)))
            }
            Input::Packed(words) => words.get(quad * area + position).copied().unwrap_or(0),
        }
    }

    /// The words of four channels of a packed map, one a position; nothing of bytes.
    #[inline(always)]
    pub fn plane(self, quad: usize, area: usize) -> Option<&'a [u32]> {
        let Input::Packed(words) = self else { return None };
        words.get(quad * area..)?.get(..area)
    }

    /// Whether it is the network's input.
    pub const fn is_bytes(self) -> bool {
        matches!(self, Input::Bytes(_))
    }
}

/// Windows that slide over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Shape of the map.
    pub input: Shape,
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Rows above the map and columns to its left that belong to windows.
    pub before: [usize; 2],
    /// How many windows fit below and beside each other.
    pub output: [usize; 2],
    /// Whether the map is the network's input, which lies as bytes.
    pub bytes: bool,
}

impl Window {
    /// Windows of one position each.
    pub const fn points(input: Shape, bytes: bool) -> Self {
        let output = [input.height, input.width];
        Self { input, kernel: [1; 2], stride: [1; 2], before: [0; 2], output, bytes }
    }

    /// Positions of a window.
    pub const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Positions of the map.
    pub const fn area(&self) -> usize {
        self.input.height * self.input.width
    }

    /// How many windows there are.
    #[inline(always)]
    pub const fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether some window reaches beyond the map.
    #[inline(always)]
    pub const fn is_padded(&self) -> bool {
        let below = (self.output[0] - 1) * self.stride[0] + self.kernel[0] > self.input.height + self.before[0];
        let right = (self.output[1] - 1) * self.stride[1] + self.kernel[1] > self.input.width + self.before[1];
        self.before[0] > 0 || self.before[1] > 0 || below || right
    }

    /// Whether one window is the whole map, as a linear layer's is: its words are those of the map, in their order.
    #[inline(always)]
    pub const fn is_whole(&self) -> bool {
        let Shape { height, width, .. } = self.input;
        self.kernel[0] == height && self.kernel[1] == width && self.positions() == 1 && !self.is_padded()
    }

    /// Planes of the map, and rows and columns of a window in each: words of four channels; of bytes channels, or, where a window is
    /// the whole map, all of its values in one row.
    pub const fn parts(&self) -> [usize; 3] {
        let Shape { channels, height, width } = self.input;
        let [rows, columns] = self.kernel;
        if !self.bytes {
            [channels.div_ceil(LANES), rows, columns]
        } else if self.is_whole() {
            [1, 1, channels * height * width]
        } else {
            [channels, rows, columns]
        }
    }

    /// Words of four codes of a row of a window: of bytes four columns, of packed channels one.
    pub const fn row_words(&self) -> usize {
        let [.., columns] = self.parts();
        if self.bytes { columns.div_ceil(LANES) } else { columns }
    }

    /// Words of four codes of a window.
    pub const fn words(&self) -> usize {
        let [planes, rows, _] = self.parts();
        planes * rows * self.row_words()
    }

    /// Words of a stream before the first channel: range of the results; the code of zero, of bytes one for each channel.
    pub const fn preamble_words(&self) -> usize {
        2 + if self.bytes { self.input.channels } else { 1 }
    }

    /// These words: smallest and largest result, the code of zero by input channel.
    #[cfg(feature = "build")]
    pub(super) fn preamble(&self, range: [i32; 2], zeros: &[u8]) -> std::vec::Vec<u32> {
        let mut words = std::vec::Vec::from(range.map(|end| end as u32));
        if self.bytes {
            words.extend(zeros.iter().map(|&zero| u32::from(zero)));
        } else {
            words.push(u32::from_ne_bytes([zeros.first().copied().unwrap_or(0); LANES]));
        }
        words
    }

    /// Rows and columns that so many neighbouring windows, below and beside each other, reach over.
    #[inline(always)]
    pub const fn reach(&self, [down, across]: [usize; 2]) -> [usize; 2] {
        [(down - 1) * self.stride[0] + self.kernel[0], (across - 1) * self.stride[1] + self.kernel[1]]
    }

    /// Whether that is such a map, in its form and its size.
    pub const fn reads(&self, input: Input<'_>) -> bool {
        match input {
            Input::Packed(words) => !self.bytes && words.len() == words_of(self.input),
            Input::Bytes(bytes) => self.bytes && bytes.len() == self.input.len(),
        }
    }

    /// Bytes of a value of the map.
    pub const fn unit(&self) -> usize {
        if self.bytes { 1 } else { LANES }
    }

    /// Whether windows are single positions.
    #[inline(always)]
    pub const fn is_pointwise(&self) -> bool {
        self.kernel[0] == 1 && self.kernel[1] == 1 && !self.is_padded()
    }

    /// Row and column of a window's first tap; before the first is negative.
    pub const fn start(&self, [row, column]: [usize; 2]) -> [isize; 2] {
        [
            (row * self.stride[0]) as isize - self.before[0] as isize,
            (column * self.stride[1]) as isize - self.before[1] as isize,
        ]
    }

    /// Words of a copy of what so many neighbouring windows reach over; of bytes a little more, so that words can be read at each.
    #[inline(always)]
    pub const fn copy_words(&self, windows: [usize; 2]) -> usize {
        let [rows, columns] = self.reach(windows);
        if self.bytes {
            (self.input.channels * rows * columns + LANES - 1).div_ceil(LANES)
        } else {
            self.input.channels.div_ceil(LANES) * rows * columns
        }
    }

    /// Copies rows and columns of the map, of which the first may lie above it or to its left, `[plane][row][column]`; what is
    /// beyond the map is the code of zero.
    pub fn copy(&self, input: Input<'_>, zeros: &[u32], from: [isize; 2], size: [usize; 2], to: &mut [u32]) {
        match input {
            Input::Packed(words) => {
                let zero = zeros.first().copied().unwrap_or(0);
                self.copy_planes(words, |_| zero, from, size, to);
            }
            Input::Bytes(bytes) => {
                let zero = |plane: usize| zeros.get(plane).copied().unwrap_or(0) as u8;
                self.copy_planes(bytes, zero, from, size, bytemuck::cast_slice_mut(to));
            }
        }
    }

    #[inline(always)]
    fn copy_planes<T: Copy>(
        &self,
        map: &[T],
        zero: impl Fn(usize) -> T,
        [top, left]: [isize; 2],
        [rows, columns]: [usize; 2],
        to: &mut [T],
    ) {
        let Shape { height, width, .. } = self.input;
        // Columns of the copy that lie in the map. Not `clamp`, which may panic.
        let before = (-left).max(0).min(columns as isize) as usize;
        let inside = (width as isize - left).max(before as isize).min(columns as isize) as usize - before;
        let start = left.max(0) as usize;
        let mut to = to.chunks_exact_mut(columns.max(1));
        for (at, plane) in map.chunks_exact(self.area().max(1)).enumerate() {
            let zero = zero(at);
            for row in top..top + rows as isize {
                let Some(to) = to.next() else { return };
                let from = usize::try_from(row).ok().filter(|&row| row < height).map(|row| row * width + start);
                let from = from.and_then(|from| plane.get(from..from + inside)).unwrap_or(&[]);
                // Value by value: rows are too short for calls that fill and copy. Columns before the map wrap to more than any.
                for (column, to) in to.iter_mut().enumerate() {
                    *to = from.get(column.wrapping_sub(before)).copied().unwrap_or(zero);
                }
            }
        }
    }

    /// Hands on the position in the map of each tap of a window, `None` where that is beyond the map.
    #[inline(always)]
    pub fn each(&self, row: usize, column: usize, mut tap: impl FnMut(Option<usize>)) {
        let (height, width) = (self.input.height, self.input.width);
        for ky in 0..self.kernel[0] {
            // Above the map this wraps to more than any height.
            let y = (row * self.stride[0] + ky).wrapping_sub(self.before[0]);
            let start = y.wrapping_mul(width);
            for kx in 0..self.kernel[1] {
                let x = (column * self.stride[1] + kx).wrapping_sub(self.before[1]);
                tap(if y < height && x < width { Some(start + x) } else { None });
            }
        }
    }
}

/// What a step reads and writes.
#[derive(Debug)]
pub struct Maps<'a> {
    /// What it reads; none where that lies in `output`, whose last words it is.
    pub input: Option<Input<'a>>,
    /// What is added to its result; none where nothing is, or where that lies in place of the result.
    pub added: Option<Input<'a>>,
    /// Where its results go, from the first word on.
    pub output: &'a mut [u32],
}

impl<'a> Maps<'a> {
    /// Of a step that reads one map and writes another.
    pub const fn apart(input: Input<'a>, output: &'a mut [u32]) -> Self {
        Self { input: Some(input), added: None, output }
    }

    /// What the step reads, of so many words where it lies in the output.
    #[inline(always)]
    pub fn input(&self, words: usize) -> Input<'_> {
        self.input.unwrap_or_else(|| {
            let first = self.output.len().saturating_sub(words);
            Input::Packed(self.output.get(first..).unwrap_or_default())
        })
    }

    /// What is added.
    #[inline(always)]
    pub fn added(&self) -> Input<'_> {
        self.added.unwrap_or(Input::Packed(self.output))
    }

    /// A sum with what is added to it: so many times the code of that channel at that position of so many. Nothing is where that is 0.
    #[inline(always)]
    pub(super) fn add(&self, sum: i32, factor: i32, [channel, position]: [usize; 2], positions: usize) -> i32 {
        if factor == 0 {
            return sum;
        }
        sum.wrapping_add(i32::from(self.added().code(channel, positions, position)).wrapping_mul(factor))
    }
}

/// Proves a channel's multiplier, and the factor of what is added to it: positive or none, and none of a channel that only pads.
///
/// # Errors
/// [`Fault::Multiplier`].
pub(super) fn check_multiplier(channel: usize, is_there: bool, multiplier: i32, adds: i32) -> Result<(), Fault> {
    let sound = if is_there { multiplier > 0 && adds >= 0 } else { multiplier == 0 && adds == 0 };
    if sound { Ok(()) } else { Err(Fault::Multiplier { channel }) }
}

/// Proves that a channel's sums fit, given the smallest and the largest.
///
/// # Errors
/// [`Fault::Accumulator`].
pub(super) fn check_sums(channel: usize, ends: [i64; 2]) -> Result<(), Fault> {
    let fit = ends.iter().all(|&end| i32::try_from(end).is_ok());
    if fit { Ok(()) } else { Err(Fault::Accumulator { channel }) }
}

/// Smallest and largest code.
pub const CODES: [i32; 2] = [0, u8::MAX as i32];
/// Smallest and largest value of a network's output.
pub const HALVES: [i32; 2] = [i16::MIN as i32, i16::MAX as i32];

/// Words of a network's output of so many values.
pub const fn half_words(values: usize) -> usize {
    values.div_ceil(2)
}

/// What stands behind a sum: the range of the result, and a table that it is an index of.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// Smallest result, or index.
    pub low: i32,
    /// Largest result, or index.
    pub high: i32,
    /// A function of the index.
    pub table: Option<&'a Table>,
}

impl<'a> Epilogue<'a> {
    /// From the first two words of a stream.
    #[inline(always)]
    pub const fn new(low: u32, high: u32, table: Option<&'a Table>) -> Self {
        Self { low: low as i32, high: high as i32, table }
    }

    /// The result of a sum.
    #[inline(always)]
    pub fn of(self, accumulator: i32, multiplier: i32) -> i32 {
        self.finish(scale(accumulator, multiplier))
    }

    /// The result of a value that is scaled already.
    #[inline(always)]
    pub fn finish(self, value: i32) -> i32 {
        // As `clamp`, which may panic.
        let value = value.max(self.low).min(self.high);
        match self.table {
            None => value,
            Some(table) => table.get(value as usize).copied().unwrap_or(0).into(),
        }
    }

    /// Proves that results are all codes of eight bits, or entries of the table, or, of the network's output, numbers of 16 bits.
    ///
    /// # Errors
    /// [`Fault::Range`].
    pub fn check(low: u32, high: u32, table: bool, halves: bool) -> Result<(), Fault> {
        let [low, high] = [low as i32, high as i32];
        let [least, most] = match (table, halves) {
            (true, _) => [0, SIGMOID_LEN as i32 - 1],
            (false, true) => HALVES,
            (false, false) if [low, high] == CODES => return Ok(()),
            (false, false) => return Err(Fault::Range),
        };
        if least <= low && low <= high && high <= most { Ok(()) } else { Err(Fault::Range) }
    }
}

/// Where results go.
#[derive(Debug)]
pub enum Output<'a> {
    /// A map of packed channels.
    Packed(&'a mut [u8]),
    /// The network's output: 16 bits a value; channel, row, column.
    Halves(&'a mut [i16]),
}

impl<'a> Output<'a> {
    /// Of words as a step gets them.
    #[inline(always)]
    pub fn new(words: &'a mut [u32], halves: bool) -> Self {
        if halves {
            Output::Halves(bytemuck::must_cast_slice_mut(words))
        } else {
            Output::Packed(bytemuck::must_cast_slice_mut(words))
        }
    }

    /// Makes the channels that lack to a whole word zero, or the value.
    #[inline(always)]
    pub fn clear_rest(&mut self, channels: usize, area: usize) {
        match self {
            Output::Packed(bytes) if !channels.is_multiple_of(LANES) => {
                let last = LANES * (channels / LANES * area);
                for word in bytes.get_mut(last..).unwrap_or_default().as_chunks_mut::<LANES>().0.iter_mut().take(area) {
                    word.iter_mut().skip(channels % LANES).for_each(|byte| *byte = 0);
                }
            }
            Output::Packed(_) => {}
            Output::Halves(values) => {
                let count = channels * area;
                if let Some(rest) = values.get_mut(count..count.next_multiple_of(2)) {
                    rest.fill(0);
                }
            }
        }
    }

    /// Writes one result.
    #[inline(always)]
    pub fn put(&mut self, channel: usize, area: usize, position: usize, value: i32) {
        match self {
            Output::Packed(bytes) => {
                if let Some(byte) = bytes.get_mut(LANES * (channel / LANES * area + position) + channel % LANES) {
                    *byte = value as u8;
                }
            }
            Output::Halves(values) => {
                if let Some(half) = values.get_mut(channel * area + position) {
                    *half = value as i16;
                }
            }
        }
    }
}
