//! The plan of an integer network: by which family each of its layers runs, and where its tensors lie.
//!
//! A plan is a list of [`Step`]s. A step computes some neighbouring nodes, for example a convolution with its BatchNorm, sigmoid
//! and pool; together the steps compute all nodes, each once. A device runs code that was made for one plan and takes every
//! model of that plan: [`digest`] tells.

#[cfg(feature = "build")]
mod arena;
mod filled;
mod general;
mod kernel;
#[cfg(feature = "build")]
mod planner;
#[cfg(feature = "build")]
mod search;

use bytemuck::{Pod, Zeroable};

use crate::format::CRC;
use crate::kernels::linear::{BLOCK, stream_words};
use crate::kernels::packed::words_of;
use crate::kernels::winograd5::{Flat, ImageStream, Maps, MapsStream, Window};
use crate::network::{Activation, Conv2d, Op, Pool, Shape, Topology, Value};
use crate::quant::{Quad, SIGMOID_LEN};

pub use filled::Filled;
pub use general::{Layer, needs_table};
pub use kernel::Kernel;
#[cfg(feature = "build")]
pub use planner::{Goal, NoPlan, flash_bytes, plan, plan_by};

/// Bytes of a word: the arena and every stream are counted in words.
pub const WORD: usize = size_of::<u32>();
/// Words of a table.
pub const TABLE_WORDS: usize = SIGMOID_LEN / WORD;
/// In place of a place or a table: there is none, or the network's own input.
pub const NONE: u32 = u32::MAX;

/// How a layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// [`winograd5::image`](crate::kernels::winograd5::image)
    Winograd5Image,
    /// [`winograd5::maps`](crate::kernels::winograd5::maps)
    Winograd5Maps,
    /// [`linear::sigmoid`](crate::kernels::linear::sigmoid)
    LinearSigmoid,
    /// [`linear::logits`](crate::kernels::linear::logits)
    LinearLogits,
    /// [`winograd3::winograd3`](crate::kernels::winograd3::winograd3), and the sum behind it
    Winograd3Add,
    /// [`winograd3::winograd3`](crate::kernels::winograd3::winograd3)
    Winograd3,
    /// [`pointwise::pointwise`](crate::kernels::pointwise::pointwise), and the sum behind it
    PointwiseAdd,
    /// [`pointwise::pointwise`](crate::kernels::pointwise::pointwise)
    Pointwise,
    /// [`polyphase3::polyphase3`](crate::kernels::polyphase3::polyphase3)
    Polyphase3,
    /// [`conv::conv`](crate::kernels::conv::conv), and the sum behind it
    ConvAdd,
    /// [`conv::conv`](crate::kernels::conv::conv)
    Conv,
    /// [`depthwise3::depthwise3`](crate::kernels::depthwise3::depthwise3)
    Depthwise3,
    /// [`depthwise::depthwise`](crate::kernels::depthwise::depthwise)
    Depthwise,
    /// [`pool::mean`](crate::kernels::pool::mean)
    MeanPool,
    /// [`pool::max`](crate::kernels::pool::max)
    MaxPool,
    /// [`add::add`](crate::kernels::add::add)
    Add,
    /// [`add::flatten`](crate::kernels::add::flatten)
    Flatten,
}

impl Family {
    /// Every family and its number in a file, from 1 on; the more special ones first. A family whose arithmetic or stream changes gets
    /// another number.
    const NUMBERED: [(Family, u16); 17] = [
        (Family::Winograd5Image, 1),
        (Family::Winograd5Maps, 2),
        (Family::LinearSigmoid, 3),
        (Family::LinearLogits, 4),
        (Family::Winograd3Add, 14),
        (Family::Winograd3, 13),
        (Family::PointwiseAdd, 18),
        (Family::Pointwise, 17),
        (Family::Polyphase3, 16),
        (Family::ConvAdd, 20),
        (Family::Conv, 19),
        (Family::Depthwise3, 15),
        (Family::Depthwise, 21),
        (Family::MeanPool, 22),
        (Family::MaxPool, 23),
        (Family::Add, 24),
        (Family::Flatten, 10),
    ];

    /// Every family, the more special ones first.
    pub const ALL: [Family; Self::NUMBERED.len()] = {
        let mut all = [Family::Flatten; Self::NUMBERED.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = Self::NUMBERED[at].0;
            at += 1;
        }
        all
    };

    /// Its number in a file.
    pub const fn number(self) -> u16 {
        // The list has the order of the enumeration.
        Self::NUMBERED[self as usize].1
    }

    /// The family of that number.
    pub fn of_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.number() == number)
    }

    /// Whether it takes any shape; the others are LeNet's.
    pub const fn is_general(self) -> bool {
        self as usize > Family::LinearLogits as usize
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Winograd5Image => "winograd5::image",
            Family::Winograd5Maps => "winograd5::maps",
            Family::LinearSigmoid => "linear::sigmoid",
            Family::LinearLogits => "linear::logits",
            Family::Winograd3Add => "winograd3::add",
            Family::Winograd3 => "winograd3::conv",
            Family::PointwiseAdd => "pointwise::add",
            Family::Pointwise => "pointwise::conv",
            Family::Polyphase3 => "polyphase3::conv",
            Family::ConvAdd => "conv::add",
            Family::Conv => "conv::conv",
            Family::Depthwise3 => "depthwise3::conv",
            Family::Depthwise => "depthwise::conv",
            Family::MeanPool => "pool::mean",
            Family::MaxPool => "pool::max",
            Family::Add => "add::add",
            Family::Flatten => "add::flatten",
        }
    }

    /// Nodes from `first` on that this family computes in one step, and what the step takes; `None` where it computes none.
    pub fn takes(self, topology: &Topology<'_>, first: usize) -> Option<Shapes> {
        let reads = topology.nodes.get(first)?.input;
        let input = topology.shape(reads);
        let run = Run { topology, next: first, reads };
        match self {
            Family::Winograd5Image => run.winograd5(6)?.image(input),
            Family::Winograd5Maps => run.winograd5(16)?.maps(input),
            Family::LinearSigmoid => run.linear(true, input),
            Family::LinearLogits => run.linear(false, input),
            _ => Some(self.layer(topology, first)?.shapes()),
        }
    }
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// The network's input: a byte a value; channel, row, column.
    Bytes,
    /// [`Maps`]: pairs of channels, sums of four activations.
    PairSums,
    /// [`Quad`]s of centred activations.
    Quads,
    /// [`packed`](crate::kernels::packed) maps of u8 codes.
    Packed,
    /// An i32 a value: LeNet's logits.
    Words,
    /// An i16 a value, the rest of the last word zero: what any other network gives.
    Halves,
}

/// What a step takes, in words; its last node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// Position of the last node of the step.
    pub last: usize,
    /// Words of its input in the arena; of the network's input the bytes, rounded up.
    pub input: usize,
    /// Words of its output.
    pub output: usize,
    /// Forms of its input and its output.
    pub forms: [Form; 2],
    /// Words that it works in.
    pub scratch: usize,
    /// Words of its stream.
    pub stream: usize,
    /// Whether it reads a table.
    pub table: bool,
    /// The second value that it reads: of a sum, or of what a convolution is added to.
    pub other: Option<Value>,
    /// Whether its output may lie where its input does: from the same word on, or up to the same word if it is the larger.
    pub in_place: bool,
    /// Whether its output may lie where the second value does.
    pub other_in_place: bool,
}

/// Something that a step reads: the value, its form, its words.
pub type Term = (Value, Form, usize);

impl Shapes {
    /// What a step reads whose first node is at that position; a sum reads two maps.
    pub fn terms(&self, topology: &Topology<'_>, first: usize) -> [Option<Term>; 2] {
        let other = |value| match value {
            Value::Input => (value, Form::Bytes, words(topology.input.len())),
            Value::Node(_) => (value, Form::Packed, words_of(topology.shape(value))),
        };
        [Some((topology.nodes[first].input, self.forms[0], self.input)), self.other.map(other)]
    }

    /// Whether an output at one place may overlap with an input at another.
    pub const fn may_share(&self, input: usize, output: usize) -> bool {
        let ends = input + self.input == output + self.output;
        self.in_place && if self.output >= self.input { ends } else { input == output }
    }
}

/// One step, as it lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Step {
    /// Number of its [`Family`].
    pub family: u16,
    /// Number of its table among the model's; the low half of [`NONE`] where it has none.
    pub table: u16,
    /// Position of its first node.
    pub first: u16,
    /// Position of its last node.
    pub last: u16,
    /// Where its input lies in the arena, in words from its start; [`NONE`] is the network's input.
    pub input: u32,
    /// Where its output lies.
    pub output: u32,
    /// Where it works; 0 where it needs nothing.
    pub scratch: u32,
    /// Words of its stream.
    pub stream: u32,
}

impl Step {
    /// No table, as a step has it.
    pub const NO_TABLE: u16 = NONE as u16;

    /// Multiply-accumulates of one example, BatchNorm folded.
    pub fn macs(&self, topology: &Topology<'_>) -> usize {
        let nodes = usize::from(self.first)..=self.last.into();
        nodes.map(|node| topology.nodes[node].op.macs(topology.input_of(node))).sum()
    }
}

/// The last step that reads what a step gives; itself where none does. `ends` are the last nodes of all steps.
pub fn read_until(topology: &Topology<'_>, ends: &[usize], step: usize) -> usize {
    let step_of = |node: usize| ends.iter().position(|&end| node <= end);
    topology.readers(Value::Node(ends[step])).filter_map(step_of).max().unwrap_or(step)
}

/// Digest of a plan: CRC-32 of the topology's digest and of the steps as they lie in a file, so little-endian
/// machines agree.
pub fn digest(topology: u32, steps: &[Step]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&topology.to_le_bytes());
    digest.update(bytemuck::cast_slice(steps));
    digest.finalize()
}

/// Words that so many bytes take.
pub const fn words(bytes: usize) -> usize {
    bytes.div_ceil(WORD)
}

/// Quads of a vector of activations: an even number of them.
pub const fn quads(values: usize) -> usize {
    values.div_ceil(4).next_multiple_of(2)
}

/// Of a step that reads one value and writes another.
const APART: Shapes = Shapes {
    last: 0,
    input: 0,
    output: 0,
    forms: [Form::Packed; 2],
    scratch: 0,
    stream: 0,
    table: false,
    other: None,
    in_place: false,
    other_in_place: false,
};

/// A walk along nodes that each read the one before and are read by nothing else.
struct Run<'a> {
    topology: &'a Topology<'a>,
    next: usize,
    /// What the next node must read.
    reads: Value,
}

impl Run<'_> {
    /// Steps over the next node where `is` says so.
    fn step(&mut self, is: impl Fn(&Op) -> bool) -> bool {
        let fits = self.topology.nodes.get(self.next).is_some_and(|node| node.input == self.reads && is(&node.op));
        if fits {
            (self.reads, self.next) = (Value::Node(self.next), self.next + 1);
        }
        fits
    }

    /// Whether nothing but the next node reads the last one's output.
    fn alone(&self) -> bool {
        self.topology.readers(self.reads).eq([self.next])
    }

    fn sigmoid(&mut self) -> bool {
        if self.alone() && self.step(|op| matches!(op, Op::BatchNorm { .. })) && !self.alone() {
            return false;
        }
        self.alone() && self.step(|op| *op == Op::Activation(Activation::Sigmoid))
    }

    fn winograd5(mut self, channels: usize) -> Option<Self> {
        let conv = Op::Conv2d(Conv2d::new(channels, 5));
        let pool = |op: &Op| matches!(op, Op::AvgPool2d { pool, .. } if *pool == Pool::new(2));
        (self.step(|op| *op == conv) && self.sigmoid() && self.alone() && self.step(pool)).then_some(self)
    }

    fn image(self, input: Shape) -> Option<Shapes> {
        (input == Shape::new(1, 28, 28)).then_some(Shapes {
            last: self.next - 1,
            input: words(input.len()),
            output: size_of::<Maps>() / WORD,
            forms: [Form::Bytes, Form::PairSums],
            scratch: size_of::<Window>() / WORD,
            stream: size_of::<ImageStream>() / WORD,
            table: true,
            ..APART
        })
    }

    fn maps(mut self, input: Shape) -> Option<Shapes> {
        // Its output is flat.
        let flat = self.alone() && self.step(|op| *op == Op::Flatten);
        (flat && input == Shape::new(6, 12, 12)).then_some(Shapes {
            last: self.next - 1,
            input: size_of::<Maps>() / WORD,
            output: size_of::<Flat>() / WORD,
            forms: [Form::PairSums, Form::Quads],
            scratch: size_of::<Window>() / WORD,
            stream: size_of::<MapsStream>() / WORD,
            table: true,
            ..APART
        })
    }

    fn linear(mut self, table: bool, input: Shape) -> Option<Shapes> {
        let Op::Linear { outputs, .. } = self.topology.nodes.get(self.next)?.op else { return None };
        self.step(|_| true);
        let ends = if table {
            self.sigmoid()
        } else {
            if self.alone() {
                self.step(|op| matches!(op, Op::BatchNorm { .. }));
            }
            self.next == self.topology.nodes.len()
        };
        let (quads_in, blocks) = (quads(input.len()), outputs.div_ceil(BLOCK));
        let output = if table { quads(outputs) * size_of::<Quad>() / WORD } else { blocks * BLOCK };
        ends.then_some(Shapes {
            last: self.next - 1,
            input: quads_in * size_of::<Quad>() / WORD,
            output,
            forms: [Form::Quads, if table { Form::Quads } else { Form::Words }],
            scratch: 0,
            stream: stream_words(quads_in, blocks),
            table,
            ..APART
        })
    }
}
