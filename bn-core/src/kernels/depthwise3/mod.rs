//! Depthwise convolutions of 3x3 windows, one or two steps apart, with int16 weights, four channels at a time. The map may be
//! replaced in place.
//!
//! Stream: range of the results, the code of zero in all lanes, then eight words a channel: of weights `w[row][column]` the pairs
//! `w00 w10 | w01 w11 | w02 w12`, then `w10 w20 | w11 w21 | w12 w22`, the lower half first; start value; multiplier. So a word that
//! holds the codes of two rows meets both of its weights at once. Where all multipliers are [`SHIFT_MULTIPLIER`] the last step is a
//! shift, with the same bits.

#[cfg(any(bn_lenet_arch = "armv7m", bn_lenet_arch = "armv6m"))]
mod cortex_m;
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
mod cortex_m_dsp;
pub mod portable;

#[cfg(feature = "build")]
use super::depthwise::Channel;
use super::depthwise::Depthwise;
use super::packed::{Epilogue, LANES, Window, check_multiplier, check_sums};
use super::{Core, Fault};

#[cfg(any(bn_lenet_arch = "armv7m", bn_lenet_arch = "armv6m"))]
pub use cortex_m::depthwise3;
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use cortex_m_dsp::depthwise3;
#[cfg(bn_lenet_arch = "portable")]
pub use portable::depthwise3;

/// A multiplier that is a shift by 12 bits. A layer whose multipliers all are this one takes fewer instructions.
pub const SHIFT_MULTIPLIER: i32 = 1 << 20;
/// What rounds a shift.
const HALF: i64 = 1 << 11;
/// Words before the first channel.
pub const PREAMBLE: usize = 3;
/// Words of a channel.
pub const CHANNEL: usize = 8;
/// Rows and columns of a window.
const SIDE: usize = 3;

/// Sizes of a depthwise layer of 3x3 windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise3 {
    /// What it reads: a packed map.
    pub window: Window,
}

impl Depthwise3 {
    /// The layer, where this family takes it.
    pub fn of(layer: &Depthwise) -> Option<Self> {
        let shape = Self { window: layer.window };
        (shape.is_sound() && layer.multiplier == 1 && !layer.halves && !layer.table).then_some(shape)
    }

    /// Whether the family takes such windows.
    pub(super) fn is_sound(&self) -> bool {
        let Window { kernel, stride, before, output, bytes, .. } = self.window;
        let near = before[0] < SIDE && before[1] < SIDE;
        kernel == [SIDE; 2] && matches!(stride, [1, 1] | [2, 2]) && near && output[1] > 1 && !bytes
    }

    /// Channels.
    pub const fn channels(&self) -> usize {
        self.window.input.channels
    }

    /// Columns that the windows of a row reach over.
    pub(super) const fn columns(&self) -> usize {
        self.window.reach(self.window.output)[1]
    }

    /// Words that it works in: for each column and each of four channels two pairs of rows, or of all four eight rows; and a row beyond
    /// the map.
    pub const fn scratch_words(&self) -> usize {
        2 * LANES * self.columns() + self.window.input.width
    }

    /// Words of its stream.
    pub const fn stream_words(&self) -> usize {
        PREAMBLE + self.channels().next_multiple_of(LANES) * CHANNEL
    }

    /// About how many instructions it takes on a core.
    pub const fn cost(&self, core: Core) -> usize {
        if !core.has_dsp() {
            return self.plain_cost(core);
        }
        let Window { input, stride, output, .. } = self.window;
        let unpacked = 29 * input.width / 2 + 20;
        // Two rows of results, or one: of two columns, of an odd one, whose last step is a shift.
        let (turns, two, one) = if stride[0] == 1 { (output[0].div_ceil(2), 38, 22) } else { (output[0], 22, 13) };
        let twos = output[1] / 2;
        let channel = twos * two + output[1] % 2 * one + 3 * twos.div_ceil(2) + 14;
        input.channels.div_ceil(LANES) * (turns * (LANES * channel + 24) + (turns + 1) * unpacked + 60)
    }

    /// Likewise on the others.
    const fn plain_cost(&self, core: Core) -> usize {
        let Window { input, output: [rows, width], stride: [stride, _], .. } = self.window;
        let planes = input.channels.div_ceil(LANES);
        if matches!(core, Core::Riscv | Core::Wasm) {
            return planes * rows * (LANES * (width * 40 + 96) + 33 * self.columns() * stride);
        }
        // Two results of a row, or one; a row of four channels, its codes, and so many of such rows together.
        let [two, one, row, around, strip] = core.plain([[37, 22, 60, 0, 474], [74, 45, 170, 60, 1060], [0; 5]]);
        let channel = width / 2 * (two + 3 * (stride - 1)) + width % 2 * one + 16;
        let copied = self.columns() * (3 + 4 * stride + if around > 0 { 2 * stride } else { 0 });
        let row = LANES * channel + copied + row + around * (stride - 1);
        planes * (rows * row + rows.div_ceil(if stride == 1 { 6 } else { 3 }) * strip)
    }

    /// Whether results may take the place of the map.
    pub const fn in_place(&self) -> bool {
        let Window { input, output, .. } = self.window;
        output[0] <= input.height && output[1] <= input.width
    }
}

#[cfg(feature = "build")]
impl Depthwise3 {
    /// The stream of these channels: range of the results, the code of zero by input channel.
    pub fn stream(&self, range: [i32; 2], zeros: &[u8], channels: &[Channel]) -> std::vec::Vec<u32> {
        let mut stream = self.window.preamble(range, zeros);
        for channel in channels {
            let of = |row: usize, column: usize| u32::from(channel.weights[SIDE * row + column] as u16);
            for row in 0..2 {
                stream.extend((0..SIDE).map(|column| of(row, column) | of(row + 1, column) << 16));
            }
            stream.extend([channel.start as u32, channel.multiplier as u32]);
        }
        stream.resize(self.stream_words(), 0);
        stream
    }
}

/// The weights of a channel's words, row by row.
#[inline(always)]
const fn weights(words: &[u32; CHANNEL]) -> [[i32; SIDE]; SIDE] {
    const fn low(word: u32) -> i32 {
        word as i16 as i32
    }
    const fn high(word: u32) -> i32 {
        (word >> 16) as i16 as i32
    }
    [
        [low(words[0]), low(words[1]), low(words[2])],
        [high(words[0]), high(words[1]), high(words[2])],
        [high(words[3]), high(words[4]), high(words[5])],
    ]
}

/// Proves a stream: the weights of the middle row the same in both pairs, every multiplier positive, what only pads zero, and no
/// accumulator out of i32, whatever the input.
///
/// # Errors
/// [`Fault`] with the first channel that could go wrong.
pub fn check(shape: &Depthwise3, stream: &[u32]) -> Result<(), Fault> {
    let [low, high, ..] = *stream else { return Err(Fault::Range) };
    Epilogue::check(low, high, false, false)?;
    let channels = stream.get(PREAMBLE..).unwrap_or_default().as_chunks::<CHANNEL>().0;
    for (channel, words) in channels.iter().enumerate() {
        let [a, b, c, d, e, f, start, multiplier] = *words;
        let is_there = channel < shape.channels();
        if [(a, d), (b, e), (c, f)].iter().any(|(above, below)| above >> 16 != below & 0xFFFF) {
            return Err(Fault::KernelRows { channel });
        }
        if !is_there && [a, b, c, d, e, f] != [0; 6] {
            return Err(Fault::WeightRange { channel });
        }
        check_multiplier(channel, is_there, multiplier as i32, 0)?;
        let start = i64::from(start as i32);
        let taps = weights(words).into_iter().flatten().map(i64::from);
        let (up, down) = taps.fold((0, 0), |(up, down), w| (up + w.max(0), down + w.min(0)));
        check_sums(channel, [start + 255 * down, start + 255 * up + HALF])?;
    }
    Ok(())
}
