//! The kernel of a step whose family takes any shape: its sizes, and what every family answers about itself.

use crate::kernels::add::{self, Add};
use crate::kernels::conv::{self, Conv};
use crate::kernels::depthwise::{self, Depthwise};
use crate::kernels::depthwise3::{self, Depthwise3};
use crate::kernels::packed::{Input, Maps, Window};
use crate::kernels::pointwise::{self, Pointwise};
use crate::kernels::polyphase3::{self, Polyphase3};
use crate::kernels::pool::{self, Pool};
use crate::kernels::winograd3::{self, Winograd3};
use crate::kernels::{Core, Fault, Table};
use crate::network::Shape;

/// Calls a family's kernel for so many words of four channels, which are at most 16, and what else is a constant of it.
macro_rules! by_quads {
    ($quads:expr, $family:ident::$kernel:ident $constants:tt $arguments:tt) => {
        by_quads!(@ ($quads) $family $kernel $constants $arguments 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    };
    (@ $quads:tt $family:ident $kernel:ident $constants:tt $arguments:tt $($size:literal)+) => {
        match $quads {
            $($size => by_quads!(@ $size $family $kernel $constants $arguments),)+
            _ => $family::portable::$kernel $arguments,
        }
    };
    (@ $size:literal $family:ident $kernel:ident [$($constant:literal)?] $arguments:tt) => {
        $family::$kernel::<$size $(, $constant)?> $arguments
    };
}

/// Sizes of a step's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kernel {
    Winograd3(Winograd3),
    Pointwise(Pointwise),
    Polyphase3(Polyphase3),
    Conv(Conv),
    Depthwise3(Depthwise3),
    Depthwise(Depthwise),
    MeanPool(Pool),
    MaxPool(Pool),
    Add(Add),
    Flatten(Shape),
}

impl Kernel {
    /// What an accumulator counts the product of a weight and a code as; 1 where there are no weights.
    pub const fn unit(&self) -> i32 {
        match self {
            Kernel::Winograd3(_) => winograd3::UNIT,
            Kernel::Pointwise(_) => pointwise::UNIT,
            Kernel::Polyphase3(_) => polyphase3::UNIT,
            Kernel::Conv(_) => conv::UNIT,
            _ => 1,
        }
    }

    /// Windows of a convolution over all channels, of whatever family, and the channels that it gives.
    pub const fn convolution(&self) -> Option<(Window, usize)> {
        match *self {
            Kernel::Winograd3(Winograd3 { window, channels, .. })
            | Kernel::Pointwise(Pointwise { window, channels, .. })
            | Kernel::Polyphase3(Polyphase3 { window, channels })
            | Kernel::Conv(Conv { window, channels, .. }) => Some((window, channels)),
            _ => None,
        }
    }

    /// Its windows; none where it has none.
    pub const fn window(&self) -> Option<Window> {
        match *self {
            Kernel::Winograd3(Winograd3 { window, .. })
            | Kernel::Pointwise(Pointwise { window, .. })
            | Kernel::Polyphase3(Polyphase3 { window, .. })
            | Kernel::Conv(Conv { window, .. })
            | Kernel::Depthwise3(Depthwise3 { window })
            | Kernel::Depthwise(Depthwise { window, .. })
            | Kernel::MeanPool(Pool { window, .. })
            | Kernel::MaxPool(Pool { window, .. }) => Some(window),
            Kernel::Add(_) | Kernel::Flatten(_) => None,
        }
    }

    /// Words that it works in, and words of its stream.
    pub const fn words(&self) -> [usize; 2] {
        match self {
            Kernel::Winograd3(shape) => [shape.scratch_words(), shape.stream_words()],
            Kernel::Pointwise(shape) => [shape.scratch_words(), shape.stream_words()],
            Kernel::Polyphase3(shape) => [shape.scratch_words(), shape.stream_words()],
            Kernel::Conv(shape) => [shape.scratch_words(), shape.stream_words()],
            Kernel::Depthwise3(shape) => [shape.scratch_words(), shape.stream_words()],
            Kernel::Depthwise(shape) => [shape.scratch_words(), shape.stream_words()],
            Kernel::MeanPool(shape) => [0, shape.mean_words()],
            Kernel::Add(_) => [0, add::STREAM],
            Kernel::MaxPool(_) | Kernel::Flatten(_) => [0, 0],
        }
    }

    /// The stream of a convolution over all channels: range of the results, the code of zero by input channel. `None` for a start
    /// value that the packing of the weights drives out of i32, and for every other kernel.
    #[cfg(feature = "build")]
    pub fn convolution_stream(
        &self,
        range: [i32; 2],
        zeros: &[u8],
        channels: &[conv::Channel],
    ) -> Option<std::vec::Vec<u32>> {
        match self {
            Kernel::Winograd3(shape) => Some(shape.stream(range, zeros, channels)),
            Kernel::Pointwise(shape) => Some(shape.stream(range, zeros, channels)),
            Kernel::Polyphase3(shape) => Some(shape.stream(range, zeros, channels)),
            Kernel::Conv(shape) => shape.stream(range, zeros, channels),
            _ => None,
        }
    }

    /// Proves a stream.
    ///
    /// # Errors
    /// [`Fault`] with what could go wrong.
    pub fn check(&self, stream: &[u32]) -> Result<(), Fault> {
        match self {
            Kernel::Winograd3(shape) => winograd3::check(shape, stream),
            Kernel::Pointwise(shape) => pointwise::check(shape, stream),
            Kernel::Polyphase3(shape) => polyphase3::check(shape, stream),
            Kernel::Conv(shape) => conv::check(shape, stream),
            Kernel::Depthwise3(shape) => depthwise3::check(shape, stream),
            Kernel::Depthwise(shape) => depthwise::check(shape, stream),
            Kernel::MeanPool(shape) => pool::check_mean(shape, stream),
            Kernel::Add(shape) => add::check(shape, stream),
            Kernel::MaxPool(_) | Kernel::Flatten(_) => Ok(()),
        }
    }

    /// Computes the step.
    pub fn run(&self, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
        let (input, added) = (maps.input.unwrap_or(Input::Packed(&[])), maps.added.unwrap_or(Input::Packed(&[])));
        match self {
            Kernel::Winograd3(shape) if shape.adds => {
                by_quads!(shape.quads(), winograd3::winograd3[true](shape, stream, maps, scratch));
            }
            Kernel::Winograd3(shape) => {
                by_quads!(shape.quads(), winograd3::winograd3[false](shape, stream, maps, scratch));
            }
            Kernel::Pointwise(shape) => match (shape.is_wide(), shape.adds) {
                (false, false) => pointwise::pointwise::<false, false>(shape, stream, maps, scratch),
                (false, true) => pointwise::pointwise::<false, true>(shape, stream, maps, scratch),
                (true, false) => pointwise::pointwise::<true, false>(shape, stream, maps, scratch),
                (true, true) => pointwise::pointwise::<true, true>(shape, stream, maps, scratch),
            },
            Kernel::Polyphase3(shape) => {
                by_quads!(shape.quads(), polyphase3::polyphase3[](shape, stream, maps, scratch));
            }
            Kernel::Conv(shape) => conv::conv(shape, stream, table, maps, scratch),
            Kernel::Depthwise3(shape) => depthwise3::depthwise3(shape, stream, maps, scratch),
            Kernel::Depthwise(shape) => depthwise::depthwise(shape, stream, table, input, scratch, maps.output),
            Kernel::MeanPool(shape) => pool::mean(shape, stream, input, maps.output),
            Kernel::MaxPool(shape) => pool::max(shape, input, maps.output),
            Kernel::Add(shape) => add::add(shape, stream, table, [input, added], maps.output),
            Kernel::Flatten(shape) => add::flatten(shape, input, maps.output),
        }
    }

    /// About how many instructions it takes on a core.
    pub const fn cost(&self, core: Core) -> usize {
        match self {
            Kernel::Winograd3(shape) => shape.cost(core),
            Kernel::Pointwise(shape) => shape.cost(core),
            Kernel::Polyphase3(shape) => shape.cost(core),
            Kernel::Conv(shape) => shape.cost(core),
            Kernel::Depthwise3(shape) => shape.cost(core),
            Kernel::Depthwise(shape) => shape.cost(core),
            Kernel::MeanPool(shape) => shape.mean_cost(core),
            Kernel::MaxPool(shape) => shape.max_cost(core),
            Kernel::Add(shape) => shape.cost(core),
            Kernel::Flatten(shape) => add::flatten_cost(shape, core),
        }
    }

    /// Whether its output may lie where its input does.
    pub(super) const fn in_place(&self) -> bool {
        match self {
            Kernel::Pointwise(shape) => shape.in_place(),
            Kernel::Conv(shape) => shape.in_place(),
            Kernel::Depthwise3(shape) => shape.in_place(),
            _ => false,
        }
    }
}
