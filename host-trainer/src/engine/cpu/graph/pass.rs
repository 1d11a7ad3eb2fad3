//! A convolution, or the gradient of its input, as sums of taps: which values of a padded copy of the source meet which
//! weights.
//!
//! The gradient of the input is a convolution too. With a stride its positions fall into phases, rows and columns by their
//! remainders, and each phase meets a part of the kernel: then nothing is multiplied by the zeros of a dilated gradient.

use bn_core::network::{Conv2d, Shape};

/// Output channels of the tiles of registers that cover so many: sixes, and as many fours as that takes. The last may reach beyond
/// the end. Six channels at two positions use 12 of 16 registers for sums and need few loads for their multiplications.
fn tiles(channels: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let even = channels.next_multiple_of(2).max(4);
    let fours = [0, 2, 1][even % 6 / 2];
    let sixes = (even - 4 * fours) / 6;
    (0..sixes).map(|tile| (tile * 6, 6)).chain((0..fours).map(move |tile| (sixes * 6 + tile * 4, 4)))
}

/// Values of the padded copy that a task makes at once, over all channels, where the rows allow: it is to stay in the cache.
const COPY_VALUES: usize = 3072;

/// The positions of a remainder, rows and columns alike.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    /// First row and column.
    pub(super) first: [usize; 2],
    /// Number of rows and columns.
    pub(super) count: [usize; 2],
    /// Of each tap where it lies in the copy, from the first source channel and position on.
    pub(super) taps: Vec<u32>,
    /// Of each tap its weight, for output channel 0.
    weights: Vec<u32>,
}

/// What a convolution does from one tensor to another.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// Channels and map of the result.
    pub(super) to: Shape,
    /// Channels and map of the source.
    pub(super) from: Shape,
    /// Phases.
    pub(super) phases: Vec<Phase>,
    /// Distance of a phase's rows and columns in the result.
    pub(super) to_step: [usize; 2],
    /// Distance of what they read in the source.
    pub(super) from_step: [usize; 2],
    /// Source row and column of the copy's first; may lie before the map.
    pub(super) start: [isize; 2],
    /// Rows and columns of the source that one position reads.
    span: [usize; 2],
    /// Columns of the copy.
    pub(super) pitch: usize,
    /// Values of a channel of the copy.
    pub(super) plane: usize,
    /// Rows of a phase that are done at once.
    pub(super) rows_at_once: usize,
    /// First output channel and size of each tile: see [`tiles`], or 1 where each output channel reads channels of its own.
    pub(super) tiles: Vec<(usize, usize)>,
    /// First source channel of an output channel: `channel * of.0 / of.1`.
    source: [usize; 2],
    /// Weights from one output channel to the next.
    weight_step: usize,
}

/// One axis of a phase: its first position, how many there are, and of each tap the kernel's position and the copy's.
struct Axis {
    first: usize,
    count: usize,
    taps: Vec<(usize, isize)>,
}

/// Forward along one axis.
fn ahead(kernel: usize, before: usize, count: usize) -> Vec<Axis> {
    let taps = (0..kernel).map(|k| (k, k as isize - before as isize)).collect();
    vec![Axis { first: 0, count, taps }]
}

/// Backward along one axis: input position `i` has met kernel position `k` at output `(i + before - k) / stride`.
fn back(kernel: usize, stride: usize, before: usize, count: usize) -> Vec<Axis> {
    let phases = (0..stride).map(|remainder| {
        let first = (remainder + stride - before % stride) % stride;
        let at = ((first + before - remainder) / stride) as isize;
        let taps = (remainder..kernel).step_by(stride).enumerate().map(|(j, k)| (k, at - j as isize)).collect();
        Axis { first, count: count.saturating_sub(first).div_ceil(stride), taps }
    });
    phases.collect()
}

/// The weights that a pass meets.
struct Weights {
    /// Source channels of an output channel, from its first on, and the weight where each begins, for output channel 0.
    channels: Vec<(usize, usize)>,
    /// First source channel of an output channel: `channel * source[0] / source[1]`.
    source: [usize; 2],
    /// Weights from one output channel to the next.
    step: usize,
}

impl Pass {
    /// The forward pass, and the gradient of the input. Where the same copies serve both, they go through the same rows at once.
    pub(super) fn pair(conv: &Conv2d, input: Shape, output: Shape) -> [Self; 2] {
        let pair = |rows| [Self::forward(conv, input, output, rows), Self::backward(conv, input, output, rows)];
        let [ahead, back] = pair(usize::MAX);
        if !back.holds_result_of(&ahead) || ahead.rows_at_once == back.rows_at_once {
            return [ahead, back];
        }
        pair(ahead.rows_at_once.min(back.rows_at_once))
    }

    /// Whether a chunk's copy of a gradient holds the same rows of it without the padding: where maps are of one size.
    pub(super) fn holds_result_of(&self, ahead: &Self) -> bool {
        let [rows, cols] = self.start;
        self.to_step == [1; 2]
            && (rows <= 0 && cols <= 0)
            && (self.to.height, self.to.width) == (ahead.to.height, ahead.to.width)
            && self.span[0] as isize > -rows
            && self.span[1] as isize > -cols
    }

    /// The forward pass.
    fn forward(conv: &Conv2d, from: Shape, to: Shape, most_rows: usize) -> Self {
        let [rows, cols] = [(0, conv.pads.top, to.height), (1, conv.pads.left, to.width)]
            .map(|(axis, before, count)| ahead(conv.kernel[axis], before, count));
        let kernel = conv.kernel[0] * conv.kernel[1];
        let sources = from.channels / conv.groups;
        let source = if conv.groups > 1 { [conv.groups, conv.channels] } else { [0, 1] };
        let channel = |c: usize| (c, c * kernel);
        let channels: Vec<_> = (0..sources).map(channel).collect();
        let weights = Weights { channels, source, step: sources * kernel };
        Self::new(conv, [from, to], [rows, cols], [[1; 2], conv.stride], weights, most_rows)
    }

    /// The gradient of the input, from that of the output.
    fn backward(conv: &Conv2d, input: Shape, output: Shape, most_rows: usize) -> Self {
        let [rows, cols] = [(0, conv.pads.top, input.height), (1, conv.pads.left, input.width)]
            .map(|(axis, before, count)| back(conv.kernel[axis], conv.stride[axis], before, count));
        let kernel = conv.kernel[0] * conv.kernel[1];
        // The output channels that read an input channel, and the weights of input channel 0 in them.
        let each = conv.channels / conv.groups;
        let (source, step) = if conv.groups > 1 { ([each, 1], each) } else { ([0, 1], 1) };
        let in_channel = input.channels / conv.groups * kernel;
        let channels: Vec<_> = (0..each).map(|c| (c, c * in_channel)).collect();
        let weights = Weights { channels, source, step: step * kernel };
        Self::new(conv, [output, input], [rows, cols], [conv.stride, [1; 2]], weights, most_rows)
    }

    fn new(
        conv: &Conv2d,
        [from, to]: [Shape; 2],
        axes: [Vec<Axis>; 2],
        [to_step, from_step]: [[usize; 2]; 2],
        weights: Weights,
        most_rows: usize,
    ) -> Self {
        let Weights { channels, source, step: weight_step } = weights;
        let reached = |axis: &[Axis]| {
            let taps = || axis.iter().flat_map(|axis| &axis.taps).map(|tap| tap.1);
            (taps().min().unwrap_or(0), taps().max().unwrap_or(0))
        };
        let [rows, cols] = &axes;
        let (first_row, last_row) = reached(rows);
        let (first_col, last_col) = reached(cols);
        let span = [last_row - first_row + 1, last_col - first_col + 1].map(|span| span as usize);
        let most = |axis: &[Axis]| axis.iter().map(|axis| axis.count).max().unwrap_or(0).max(1);
        let pitch = (most(cols) - 1) * from_step[1] + span[1];
        let rows_within = (COPY_VALUES / from.channels / pitch).saturating_sub(span[0]) / from_step[0] + 1;
        let rows_at_once = rows_within.clamp(4.min(most(rows)), most(rows)).min(most_rows);
        let plane = ((rows_at_once - 1) * from_step[0] + span[0]) * pitch;
        // An odd number of cache lines from channel to channel: a power of two would put them all in a few sets of the cache.
        let plane = plane + (6 - plane % 4) % 4;
        let mut phases = Vec::new();
        for rows in rows {
            for cols in cols {
                let (mut taps, mut weights) = (Vec::new(), Vec::new());
                for &(channel, weight) in &channels {
                    for &(k_row, row) in &rows.taps {
                        for &(k_col, col) in &cols.taps {
                            let place = (row - first_row) as usize * pitch + (col - first_col) as usize;
                            taps.push((channel * plane + place) as u32);
                            weights.push((weight + k_row * conv.kernel[1] + k_col) as u32);
                        }
                    }
                }
                phases.push(Phase { first: [rows.first, cols.first], count: [rows.count, cols.count], taps, weights });
            }
        }
        let tiles =
            if conv.groups > 1 { (0..to.channels).map(|c| (c, 1)).collect() } else { tiles(to.channels).collect() };
        let start = [first_row, first_col];
        Self {
            to,
            from,
            phases,
            to_step,
            from_step,
            start,
            span,
            pitch,
            plane,
            rows_at_once,
            tiles,
            source,
            weight_step,
        }
    }

    /// The chunks of rows that are done one after another, as ranges of a phase's rows.
    pub(super) fn chunks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let rows = self.phases.iter().map(|phase| phase.count[0]).max().unwrap_or(0);
        let at_once = self.rows_at_once;
        (0..rows).step_by(at_once).map(move |row| row..rows.min(row + at_once))
    }

    /// Rows of the copy for so many rows of a phase.
    #[inline(always)]
    pub(super) fn copy_rows(&self, rows: usize) -> usize {
        (rows - 1) * self.from_step[0] + self.span[0]
    }

    /// Source row of a chunk's first row of the copy.
    #[inline(always)]
    pub(super) fn first_row(&self, row: usize) -> isize {
        (row * self.from_step[0]) as isize + self.start[0]
    }

    /// Rows of the result that a chunk makes.
    #[inline(always)]
    pub(super) fn result_rows(&self, chunk: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let row = |row: usize| (row * self.to_step[0]).min(self.to.height);
        row(chunk.start)..row(chunk.end)
    }

    /// First source channel of an output channel.
    #[inline(always)]
    pub(super) fn source(&self, channel: usize) -> usize {
        channel * self.source[0] / self.source[1]
    }

    /// Weights in the order in which the tiles read them, `[phase][tile][tap][output channel]`; channels that fill up the last
    /// tile are zero.
    pub(super) fn pack(&self, weights: &[f32], packed: &mut Vec<f32>) {
        packed.clear();
        for phase in &self.phases {
            for &(channel, size) in &self.tiles {
                for &tap in &phase.weights {
                    for channel in channel..channel + size {
                        let at = channel * self.weight_step + tap as usize;
                        packed.push(if channel < self.to.channels { weights[at] } else { 0.0 });
                    }
                }
            }
        }
    }

    /// Whether each output channel reads channels of its own.
    #[inline(always)]
    pub(super) fn is_depthwise(&self) -> bool {
        self.source[0] > 0
    }

    /// Weights of a phase as they are packed.
    #[inline(always)]
    pub(super) fn packed_len(&self, phase: &Phase) -> usize {
        self.tiles.last().map_or(0, |(channel, size)| channel + size) * phase.taps.len()
    }

    /// Whether rows follow one another in copy and result, so that they may be taken as one.
    #[inline(always)]
    pub(super) fn is_flat(&self) -> bool {
        self.span == [1; 2] && self.from_step == [1; 2] && self.to_step == [1; 2] && self.pitch == self.to.width
    }
}
