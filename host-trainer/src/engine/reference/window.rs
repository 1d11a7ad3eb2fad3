//! Where the windows of a convolution or pool lie along one axis: rows or columns.

use std::ops::Range;

use bn_core::network::{Conv2d, Pads, Pool};

/// One axis of windows that slide over a padded input. Output `o` has the window that begins at `o * stride - pad`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Positions of the input.
    pub(super) input: usize,
    /// Windows.
    pub(super) output: usize,
    kernel: usize,
    pub(super) stride: usize,
    pad: usize,
}

/// Rows and columns of a convolution over maps `[height, width]`.
pub(super) fn of_conv2d(conv: &Conv2d, input: [usize; 2]) -> [Window; 2] {
    windows(conv.kernel, conv.stride, conv.pads, input)
}

/// Rows and columns of a pool over maps `[height, width]`.
pub(super) fn of_pool(pool: &Pool, input: [usize; 2]) -> [Window; 2] {
    windows(pool.kernel, pool.stride, pool.pads, input)
}

fn windows(kernel: [usize; 2], stride: [usize; 2], pads: Pads, input: [usize; 2]) -> [Window; 2] {
    let pads = [(pads.top, pads.bottom), (pads.left, pads.right)];
    std::array::from_fn(|axis| {
        let (before, behind) = pads[axis];
        let output = (input[axis] + before + behind - kernel[axis]) / stride[axis] + 1;
        Window { input: input[axis], output, kernel: kernel[axis], stride: stride[axis], pad: before }
    })
}

impl Window {
    /// The outputs whose window has its position `tap` within the input, and the input position of the first of them; those of
    /// the others follow at the stride. `None` where that position is padding in every window.
    pub(super) fn outputs(&self, tap: usize) -> Option<(Range<usize>, usize)> {
        let first = self.pad.saturating_sub(tap).div_ceil(self.stride);
        let behind = (self.input + self.pad).saturating_sub(tap).div_ceil(self.stride).min(self.output);
        (first < behind).then(|| (first..behind, first * self.stride + tap - self.pad))
    }

    /// The input positions of an output's window, padding left out.
    pub(super) fn inputs(&self, output: usize) -> Range<usize> {
        let start = output * self.stride;
        start.saturating_sub(self.pad)..(start + self.kernel).saturating_sub(self.pad).min(self.input)
    }
}

/// Calls `f` with each run of outputs that lie in one row and meet the image with that tap, and the span of the image's
/// values that they meet at the stride. Ranges are of the flat maps.
pub(super) fn for_each_run(
    [rows, cols]: &[Window; 2],
    [tap_row, tap_col]: [usize; 2],
    mut f: impl FnMut(Range<usize>, Range<usize>),
) {
    let (Some((out_rows, first_row)), Some((out_cols, first_col))) = (rows.outputs(tap_row), cols.outputs(tap_col))
    else {
        return;
    };
    let span = (out_cols.len() - 1) * cols.stride + 1;
    for (i, row) in out_rows.enumerate() {
        let to = row * cols.output;
        let from = (first_row + i * rows.stride) * cols.input + first_col;
        f(to + out_cols.start..to + out_cols.end, from..from + span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of output and tap, by the definition: input position `output * stride + tap - pad`.
    #[test]
    fn outputs_and_inputs_are_the_definition() {
        for (kernel, stride, before, behind, input) in
            [(3, 1, 1, 1, 5), (3, 2, 0, 1, 8), (2, 3, 1, 0, 7), (5, 2, 7, 9, 3), (1, 4, 0, 0, 9), (4, 1, 3, 3, 1)]
        {
            let pads = Pads { top: before, bottom: behind, ..Pads::NONE };
            let [window, _] = windows([kernel, 1], [stride, 1], pads, [input, 1]);
            let at = |output: usize, tap: usize| {
                (output * stride + tap).checked_sub(before).filter(|&position| position < input)
            };
            for tap in 0..kernel {
                let reached: Vec<_> = (0..window.output).filter(|&output| at(output, tap).is_some()).collect();
                let found = window.outputs(tap);
                let (range, first) = found.clone().unwrap_or((0..0, 0));
                assert_eq!(range.clone().collect::<Vec<_>>(), reached);
                assert!(range.enumerate().all(|(i, output)| at(output, tap) == Some(first + i * stride)));
            }
            for output in 0..window.output {
                let positions: Vec<_> = (0..kernel).filter_map(|tap| at(output, tap)).collect();
                assert_eq!(window.inputs(output).collect::<Vec<_>>(), positions, "{window:?} {output}");
            }
        }
    }
}
