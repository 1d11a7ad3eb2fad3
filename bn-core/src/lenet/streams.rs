//! The streams and tables of LeNet's plan as one structure: what the quantiser fills.

use bytemuck::{Pod, Zeroable};

use super::{CLASSES, CONV1_CHANNELS, CONV2_CHANNELS, FLAT, KERNEL, LINEAR1, LINEAR2, POOL};
use crate::kernels::linear::BLOCK;
use crate::kernels::winograd5::IMAGE_ROWS;
use crate::kernels::{CentredTable, Table};
use crate::ops::winograd::POINTS;
use crate::plan::quads;
use crate::quant::Pair;

/// Quads of linear 1's input.
pub const FLAT_QUADS: usize = quads(FLAT);
/// Quads of linear 2's input.
pub const LINEAR1_QUADS: usize = quads(LINEAR1);
/// Quads of linear 3's input: an even number, so one pads.
pub const LINEAR2_QUADS: usize = quads(LINEAR2);
/// Blocks of linear 1's output.
pub const LINEAR1_BLOCKS: usize = LINEAR1.div_ceil(BLOCK);
/// Blocks of linear 2's output.
pub const LINEAR2_BLOCKS: usize = LINEAR2.div_ceil(BLOCK);
/// Blocks of logits: two logits pad.
pub const LOGIT_BLOCKS: usize = CLASSES.div_ceil(BLOCK);

macro_rules! streams {
    ($($name:ident: $kind:ty, $meaning:literal;)*) => {
        /// LeNet's integers, each step's stream and then the tables, as they lie in a file.
        #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
        #[repr(C)]
        pub struct Streams { $(#[doc = $meaning] pub $name: $kind,)* }

        /// Names of the fields of [`Streams`], and where they lie in it: from which byte on, and how many.
        pub const STREAM_FIELDS: &[(&str, usize, usize)] =
            &[$((stringify!($name), core::mem::offset_of!(Streams, $name), size_of::<$kind>()),)*];
    };
}

streams! {
    conv1_bias: [i32; CONV1_CHANNELS], "Convolution 1: start value of each channel's accumulator.";
    conv1_lanes: [[[[Pair; IMAGE_ROWS / 2]; POOL]; POINTS]; CONV1_CHANNELS], "Convolution 1: transformed weights.";
    conv2_bias: [i32; CONV2_CHANNELS], "Convolution 2: likewise.";
    conv2_lanes: [[[[Pair; KERNEL]; CONV1_CHANNELS / 2]; POINTS]; CONV2_CHANNELS], "Convolution 2: transformed weights.";
    linear1_bias: [[i32; BLOCK]; LINEAR1_BLOCKS], "Linear 1: start value of each output's accumulator, times 256.";
    linear1_multiplier: [[i32; BLOCK]; LINEAR1_BLOCKS], "Linear 1: factor to the sigmoid's table index, times 2^32; positive.";
    linear1_weight: [[[Pair; BLOCK]; FLAT_QUADS]; LINEAR1_BLOCKS], "Linear 1: weights in [-127, 127], four a pair.";
    linear2_bias: [[i32; BLOCK]; LINEAR2_BLOCKS], "Linear 2: likewise.";
    linear2_multiplier: [[i32; BLOCK]; LINEAR2_BLOCKS], "Linear 2: likewise.";
    linear2_weight: [[[Pair; BLOCK]; LINEAR1_QUADS]; LINEAR2_BLOCKS], "Linear 2: likewise.";
    linear3_bias: [[i32; BLOCK]; LOGIT_BLOCKS], "Linear 3: likewise; zero beyond the classes.";
    linear3_multiplier: [[i32; BLOCK]; LOGIT_BLOCKS], "Linear 3: factor to the logit, times 2^32; zero beyond the classes.";
    linear3_weight: [[[Pair; BLOCK]; LINEAR2_QUADS]; LOGIT_BLOCKS], "Linear 3: likewise; zero beyond the inputs and classes.";
    conv1_sigmoid: Table, "Convolution 1: the sigmoid's table, never falling, at most 254.";
    conv2_sigmoid: CentredTable, "Convolution 2: the sigmoid's table, never falling, above -128.";
    linear_sigmoid: CentredTable, "Linear 1 and 2: likewise.";
}

#[cfg(feature = "build")]
impl Streams {
    /// Those of a file, where it is LeNet's: there is one plan for it.
    pub fn of(file: &crate::file::WeightsFile) -> Option<&Self> {
        let is_lenet = file.header().topology == super::NETWORK.topology.digest();
        bytemuck::try_from_bytes(bytemuck::cast_slice(file.streams())).ok().filter(|_| is_lenet)
    }
}
