//! LeNet's two convolutions, 5x5 without padding, with sigmoid and 2x2 average pool, by Winograd's F(4, 5) along x
//! ([`ops::winograd`](crate::ops::winograd)).
//!
//! | function | input | output |
//! |---|---|---|
//! | [`image`] | 28x28 bytes of one channel | six maps of 12x12, sums of four activations that are not centred: [`Maps`] |
//! | [`maps`] | [`Maps`] | sixteen maps of 4x4, centred, as quads: [`Flat`] |
//!
//! The shapes are LeNet's alone. Guard: 5x5, one channel of 28x28 and six outputs, or six channels of 12x12 and sixteen.

#[cfg(any(bn_lenet_arch = "armv6m", bn_lenet_arch = "armv7m"))]
mod cortex_m;
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub(crate) mod cortex_m_dsp;
pub mod portable;

use bytemuck::{Pod, Zeroable};

use super::{CentredTable, Fault, Table, check_centred_table, check_table};
use crate::lenet::{CONV1_CHANNELS, CONV2_CHANNELS, FLAT_QUADS, KERNEL, POOL, POOL1_SIDE};
use crate::ops::winograd::{POINTS, TILE, effective_taps};
use crate::quant::{ACTIVATION_MAX, PIXEL_ONE, Pair, Quad};

#[cfg(any(bn_lenet_arch = "armv6m", bn_lenet_arch = "armv7m"))]
pub use cortex_m::{image, maps};
#[cfg(bn_lenet_arch = "cortex_m_dsp")]
pub use cortex_m_dsp::{image, maps};
#[cfg(bn_lenet_arch = "portable")]
pub use portable::{image, maps};

/// The first pooled map: `[pair of channels][row][column]`, sums of four activations that are not centred: 0 to 1016.
pub type Maps = [[[Pair; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS / 2];

/// The second pooled map as a linear layer takes it.
pub type Flat = [Quad; FLAT_QUADS];

/// Transformed input of the tiles that a convolution is working on; the larger one, that of [`maps`], decides.
pub type Window = [Pair; 384];

/// Rows of two kernel rows below each other, the span of a pooled row: taps of the upper output row, then of the lower.
pub const IMAGE_ROWS: usize = KERNEL + 1;

/// What [`image`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct ImageStream {
    /// Start value of each channel's accumulator.
    pub bias: [i32; CONV1_CHANNELS],
    /// Transformed weights, `[channel][point][upper or lower output row][pair of input rows]`: of six rows the upper output uses
    /// the first five, the lower the last five.
    pub lanes: [[[[Pair; IMAGE_ROWS / 2]; POOL]; POINTS]; CONV1_CHANNELS],
}

/// What [`maps`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct MapsStream {
    /// Start value of each channel's accumulator.
    pub bias: [i32; CONV2_CHANNELS],
    /// Transformed weights, `[channel][point][pair of input channels][kernel row]`.
    pub lanes: [[[[Pair; KERNEL]; CONV1_CHANNELS / 2]; POINTS]; CONV2_CHANNELS],
}

/// Smallest and largest value of each of a tile's outputs, over every input: interval arithmetic, exact because an input
/// value stands at one place of the sum only.
struct Reach([[i64; 2]; TILE]);

impl Reach {
    fn new(bias: i32) -> Self {
        Self([[i64::from(bias); 2]; TILE])
    }

    /// Adds a kernel row over inputs in `least..=most`.
    fn add(&mut self, lanes: [i16; POINTS], least: i64, most: i64) {
        for taps in effective_taps(lanes) {
            for (reach, tap) in self.0.iter_mut().zip(taps.map(i64::from)) {
                reach[0] += tap * if tap < 0 { most } else { least };
                reach[1] += tap * if tap < 0 { least } else { most };
            }
        }
    }

    fn fits(&self) -> bool {
        self.0.as_flattened().iter().all(|&end| i32::try_from(end).is_ok())
    }
}

impl ImageStream {
    /// Proves every lane symmetric, both output rows the same kernel, and no output of any image outside i32. Partial sums may
    /// wrap: only outputs are shifted.
    ///
    /// # Errors
    /// [`Fault`] with the first channel, or entry of the table, that could go wrong.
    pub fn check(&self, table: &Table) -> Result<(), Fault> {
        for (channel, points) in self.lanes.iter().enumerate() {
            for row in 0..POOL {
                let mut reach = Reach::new(self.bias[channel]);
                for input_row in 0..IMAGE_ROWS {
                    let lanes = points.map(|rows| half(rows[row][input_row / 2], input_row));
                    // The upper output row does not reach the last input row, the lower one not the first.
                    let outside = input_row.checked_sub(row).is_none_or(|ky| ky >= KERNEL);
                    if lanes.iter().any(|&lane| lane == i16::MIN || outside && lane != 0) {
                        return Err(Fault::WeightRange { channel });
                    }
                    reach.add(lanes, 0, PIXEL_ONE.into());
                }
                if !reach.fits() {
                    return Err(Fault::Accumulator { channel });
                }
            }
            let tap = |rows: [[Pair; IMAGE_ROWS / 2]; POOL], row: usize, ky| half(rows[row][(row + ky) / 2], row + ky);
            if points.iter().any(|&rows| (0..KERNEL).any(|ky| tap(rows, 0, ky) != tap(rows, 1, ky))) {
                return Err(Fault::KernelRows { channel });
            }
        }
        check_table(table)
    }
}

impl MapsStream {
    /// Proves every lane symmetric and no output of any input outside i32.
    ///
    /// # Errors
    /// [`Fault`] with the first channel, or entry of the table, that could go wrong.
    pub fn check(&self, table: &CentredTable) -> Result<(), Fault> {
        let most = 4 * i64::from(ACTIVATION_MAX);
        for (channel, points) in self.lanes.iter().enumerate() {
            let mut reach = Reach::new(self.bias[channel]);
            for input in 0..CONV1_CHANNELS {
                for ky in 0..KERNEL {
                    let lanes = points.map(|pairs| half(pairs[input / 2][ky], input));
                    if lanes.contains(&i16::MIN) {
                        return Err(Fault::WeightRange { channel });
                    }
                    reach.add(lanes, -most, most);
                }
            }
            if !reach.fits() {
                return Err(Fault::Accumulator { channel });
            }
        }
        check_centred_table(table)
    }
}

/// The half of a pair that an even or odd index means.
fn half(pair: Pair, index: usize) -> i16 {
    if index.is_multiple_of(2) { pair.low } else { pair.high }
}
