//! A network of integers as its trainer takes it: plain data, with the device's arithmetic of each step.

use bn_core::kernels::packed::Window;
use bn_core::kernels::pool::Pool;
use bn_core::network::Shape;

/// Steps over tensors of codes: 0 is the input, and each step gives the next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Program {
    /// Shape of the input.
    pub(crate) input: Shape,
    /// What is computed, one step after another.
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// The tensor that it reads.
    pub(crate) reads: usize,
    /// Shape of what it gives.
    pub(crate) shape: Shape,
    /// How.
    pub(crate) work: Work,
    /// Smallest and largest result, or index of the table.
    pub(crate) range: [i32; 2],
    /// Codes by index.
    pub(crate) table: Option<Vec<u8>>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// A convolution, linear or depthwise layer.
    Sums(Sums),
    /// `requantize(MEAN_UNIT * sum of codes less zero, multiplier) + shift`.
    Mean {
        /// Windows.
        pool: Pool,
        /// The code of zero.
        zero: i32,
        /// What is added in the end.
        shift: i32,
        /// One, or by number of values.
        multipliers: Vec<i32>,
    },
    /// The largest code of each window.
    Max(Window),
    /// `start + multipliers . codes`, shifted down.
    Add {
        /// The tensor that is added.
        other: usize,
        /// Of both terms.
        multipliers: [i32; 2],
        /// Start value.
        start: i32,
        /// By how many bits the sum is finer than a result.
        shift: u32,
    },
    /// The same codes in another shape.
    Flat,
}

/// `requantize(start + unit * sum of weight * code + adds * other code, multiplier)`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sums {
    /// What it reads.
    pub(crate) window: Window,
    /// Whether each channel reads one channel alone.
    pub(crate) is_depthwise: bool,
    /// The code of zero by input channel, which padding takes.
    pub(crate) zeros: Vec<u8>,
    /// The tensor that is added before the one rounding.
    pub(crate) other: Option<usize>,
    /// What a product counts.
    pub(crate) unit: i32,
    /// The largest integer of a weight: 127, or 32,767.
    pub(crate) most: i32,
    /// One a channel.
    pub(crate) rows: Vec<Row>,
}

/// A channel of [`Sums`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// In PyTorch's order: channel, row, column.
    pub(crate) weights: Vec<i32>,
    /// What the weights would be if they need not be whole.
    pub(crate) wanted: Vec<f32>,
    /// What the sum begins with.
    pub(crate) start: i32,
    /// Factor of the sum, times 2^32.
    pub(crate) multiplier: i32,
    /// What a code of the tensor that is added counts.
    pub(crate) adds: i32,
}

impl Program {
    /// Shape of a tensor.
    pub(crate) fn shape(&self, tensor: usize) -> Shape {
        tensor.checked_sub(1).map_or(self.input, |step| self.steps[step].shape)
    }

    /// Values of an output.
    pub(crate) fn outputs(&self) -> usize {
        self.shape(self.steps.len()).len()
    }
}
