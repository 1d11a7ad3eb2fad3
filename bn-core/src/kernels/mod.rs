//! The kernels of the integer network, a folder a family.
//!
//! A family is a function in portable Rust, which is its specification, and for some cores the same function in assembly, which
//! gives the same bits. Beside it stand the shapes that it takes, the stream of weights that it reads, and the proof that no
//! stream that [`check`](linear::Stream::check) accepts can leave its numbers' ranges.
//!
//! | family | what it computes |
//! |---|---|
//! | [`winograd5`] | the two 5x5 convolutions of LeNet, with sigmoid and pool, by F(4, 5) |
//! | [`linear`] | a linear layer with int8 weights, with or without a table behind it |
//! | [`conv`] | a convolution of any kernel, or a linear layer, with int8 weights |
//! | [`pointwise`] | a convolution of single positions with int16 weights, in place |
//! | [`winograd3`] | a convolution of 3x3 windows by F(4x2, 3x3) |
//! | [`polyphase3`] | a convolution of 3x3 windows two steps apart by polyphase Winograd |
//! | [`depthwise`] | a depthwise convolution of any kernel, a BatchNorm or an activation on its own |
//! | [`depthwise3`] | depthwise convolutions of 3x3 windows, in place |
//! | [`pool`] | means and maxima of any windows |
//! | [`add`] | the sum of two maps |
//!
//! The last ones take any shape and read [`packed`] maps; what is special stands first.

pub mod add;
#[cfg(not(bn_lenet_arch = "portable"))]
mod assembly;
pub mod conv;
mod cores;
pub mod depthwise;
pub mod depthwise3;
#[cfg(all(test, feature = "build", target_endian = "little"))]
mod general_tests;
pub mod linear;
pub mod packed;
mod pairs;
pub mod pointwise;
pub mod polyphase3;
pub mod pool;
#[cfg(all(test, target_endian = "little"))]
pub(crate) mod tests;
pub mod tiles;
pub mod winograd3;
pub mod winograd5;

use core::ops::RangeInclusive;

pub use cores::Core;

use crate::quant::{ACTIVATION_MAX, ACTIVATION_ONE, SIGMOID_LEN};

/// The path that this build uses, by the name that forces it.
pub const ARCH: &str = if cfg!(bn_lenet_arch = "cortex_m_dsp") {
    "cortex_m_dsp"
} else if cfg!(bn_lenet_arch = "armv7m") {
    "armv7m"
} else if cfg!(bn_lenet_arch = "armv6m") {
    "armv6m"
} else {
    "portable"
};

/// A sigmoid's table with its entries from 0 to 254: what convolution on an image gives.
pub type Table = [u8; SIGMOID_LEN];
/// A sigmoid's table with its entries around 0, from -127 to 127.
pub type CentredTable = [i8; SIGMOID_LEN];

/// What is wrong with a stream of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault {
    /// A weight outside its symmetric range, or one that only pads and is not zero.
    WeightRange {
        /// Output channel.
        channel: usize,
    },
    /// A stream that holds its weights once for each of two output rows holds different ones.
    KernelRows {
        /// Output channel.
        channel: usize,
    },
    /// A multiplier that is not positive, or one that only pads and is not zero.
    Multiplier {
        /// Output channel.
        channel: usize,
    },
    /// Some input could drive an accumulator out of i32.
    Accumulator {
        /// Output channel.
        channel: usize,
    },
    /// The range of the results, or a number that all of them share, is none that could be.
    Range,
    /// A table falls somewhere, or leaves the range of an activation.
    Table {
        /// The first such entry.
        index: usize,
    },
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Fault::WeightRange { channel } => write!(f, "channel {channel}: a weight is out of range"),
            Fault::KernelRows { channel } => write!(f, "channel {channel}: the weights of its two output rows differ"),
            Fault::Multiplier { channel } => write!(f, "channel {channel}: the multiplier is not positive"),
            Fault::Accumulator { channel } => write!(f, "channel {channel}: an accumulator could overflow"),
            Fault::Range => write!(f, "the range of its results is impossible"),
            Fault::Table { index } => write!(f, "entry {index} of its table falls or is out of range"),
        }
    }
}

/// Proves a table from 0 to 254.
///
/// # Errors
/// [`Fault::Table`] with the first entry that falls or is out of range.
pub fn check_table(table: &Table) -> Result<(), Fault> {
    monotone(table, 0..=ACTIVATION_ONE)
}

/// Proves a table from -127 to 127.
///
/// # Errors
/// [`Fault::Table`] with the first entry that falls or is out of range.
pub fn check_centred_table(table: &CentredTable) -> Result<(), Fault> {
    monotone(table, -ACTIVATION_MAX..=ACTIVATION_MAX)
}

/// No entry below the one before it or outside the range of an activation.
fn monotone<T: Copy + PartialOrd>(table: &[T], range: RangeInclusive<T>) -> Result<(), Fault> {
    let wrong = |&i: &usize| !range.contains(&table[i]) || (i > 0 && table[i] < table[i - 1]);
    match (0..table.len()).find(wrong) {
        Some(index) => Err(Fault::Table { index }),
        None => Ok(()),
    }
}

/// The first `N` words, and the others: how generated code takes an arena apart. Where lengths are constants nothing is left of
/// it at run time, and nothing can fail.
///
/// # Panics
/// If there are fewer words.
#[inline(always)]
pub const fn split<const N: usize>(words: &mut [u32]) -> (&mut [u32; N], &mut [u32]) {
    match words.split_first_chunk_mut() {
        Some(parts) => parts,
        None => panic!("the arena is too small"),
    }
}

/// The `N` words from word `FROM` on of a model's `WORDS`: how generated code finds a stream. It does not compile for words that
/// are not there.
#[inline(always)]
pub const fn part<const FROM: usize, const N: usize, const WORDS: usize>(words: &[u32; WORDS]) -> &[u32; N] {
    const { assert!(FROM + N <= WORDS, "the stream lies within the model") }
    match words.split_at(FROM).1.first_chunk() {
        Some(part) => part,
        None => unreachable!(),
    }
}
