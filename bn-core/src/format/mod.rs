//! The `weights.bin` file: a quantised network, read in place from flash.
//!
//! One table, below, is the file: it makes the structure that the writer fills and the reader casts to, and [`FIELDS`],
//! which documents it. Numbers are little-endian, everything is 4-byte aligned, there are no offsets and no optional parts:
//! the length is exact, reserved bytes are zero.
//!
//! Version rule: [`FORMAT_VERSION`] changes with the layout, [`ARITHMETIC`] with the meaning of the numbers, [`NETWORK`]
//! follows the shapes by itself. A reader takes exactly its own.

mod check;
mod error;

use bytemuck::{Pod, Zeroable};

use crate::arch::{BLOCK, FLAT_QUADS, LINEAR1_QUADS, LINEAR2_BLOCKS, LINEAR2_QUADS, LOGIT_BLOCKS};
use crate::lenet::{CONV1_CHANNELS, CONV2_CHANNELS, KERNEL, POOL, TENSOR_COUNT, TENSORS};
use crate::ops::conv2d::CONV1_ROWS;
use crate::ops::winograd::POINTS;
use crate::ops::{Conv1Int8, Conv2Int8, LinearInt8};
use crate::quant::{Pair, SIGMOID_LEN};

pub use error::{FormatError, Layer};

/// How many layers have weights: the values of [`Layer`].
pub const LAYERS: usize = 5;

/// First eight bytes of the file.
pub const MAGIC: [u8; 8] = *b"BN-LENET";
/// Layout of the file.
pub const FORMAT_VERSION: u16 = 2;
/// Meaning of the numbers: the table in [`quant`](crate::quant).
pub const ARITHMETIC: u16 = 2;
/// Identity of the network: CRC-32 of the names and shapes of its tensors.
pub const NETWORK: u32 = network_identity();
/// Exact length of the file.
pub const WEIGHTS_BYTES: usize = size_of::<WeightsFile>();

/// One row of the table: a field of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, as in [`WeightsFile`].
    pub name: &'static str,
    /// Its Rust type; arrays are row-major.
    pub kind: &'static str,
    /// Bytes from the start of the file.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
    /// What it holds.
    pub meaning: &'static str,
}

macro_rules! file_table {
    ($($name:ident: $kind:ty, $meaning:literal;)*) => {
        /// The whole file, as it lies in flash. Fill the public fields of a [`WeightsFile::zeroed`], then
        /// [`seal`](WeightsFile::seal) it. Only [`parse`] makes a [`Model`] of its bytes.
        #[derive(Clone, Copy, Pod, Zeroable)]
        #[repr(C)]
        pub struct WeightsFile { $(#[doc = $meaning] pub $name: $kind,)* }

        /// The table of the file: every byte of it, in order.
        pub const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            kind: stringify!($kind),
            offset: core::mem::offset_of!(WeightsFile, $name),
            bytes: size_of::<$kind>(),
            meaning: $meaning,
        },)*];
    };
}

file_table! {
    magic: [u8; 8], "`BN-LENET`";
    checksum: u32, "CRC-32 (ISO-HDLC, as in zip) of every byte after this field";
    length: u32, "length of the whole file in bytes";
    format_version: u16, "layout of the file: 2";
    arithmetic: u16, "meaning of the numbers: 2";
    network: u32, "CRC-32 of the names and shapes of the network's tensors";
    logit_fraction_bits: u8, "a logit is its integer times 2^-this; at most 20";
    reserved: [u8; 39], "zero";
    conv1_bias: [i32; CONV1_CHANNELS], "convolution 1: start value of each channel's accumulator";
    conv2_bias: [i32; CONV2_CHANNELS], "convolution 2: likewise";
    linear1_bias: [[i32; BLOCK]; LINEAR1_QUADS], "linear 1: start value of each output's accumulator, times 256";
    linear1_multiplier: [[i32; BLOCK]; LINEAR1_QUADS], "linear 1: factor to the sigmoid's table index, times 2^32; positive";
    linear2_bias: [[i32; BLOCK]; LINEAR2_BLOCKS], "linear 2: likewise";
    linear2_multiplier: [[i32; BLOCK]; LINEAR2_BLOCKS], "linear 2: likewise";
    linear3_bias: [[i32; BLOCK]; LOGIT_BLOCKS], "linear 3: likewise; zero beyond the classes";
    linear3_multiplier: [[i32; BLOCK]; LOGIT_BLOCKS], "linear 3: factor to the logit, times 2^32; positive, zero beyond the classes";
    conv1_lanes: [[[[Pair; CONV1_ROWS / 2]; POOL]; POINTS]; CONV1_CHANNELS], "convolution 1: transformed weights; of six rows the upper output uses the first five, the lower the last five";
    conv2_lanes: [[[[Pair; KERNEL]; CONV1_CHANNELS / 2]; POINTS]; CONV2_CHANNELS], "convolution 2: transformed weights";
    linear1_weight: [[[Pair; BLOCK]; FLAT_QUADS]; LINEAR1_QUADS], "linear 1: weights in [-127, 127], four a pair";
    linear2_weight: [[[Pair; BLOCK]; LINEAR1_QUADS]; LINEAR2_BLOCKS], "linear 2: likewise";
    linear3_weight: [[[Pair; BLOCK]; LINEAR2_QUADS]; LOGIT_BLOCKS], "linear 3: likewise; zero beyond the inputs and classes";
    conv1_sigmoid: [u8; SIGMOID_LEN], "convolution 1: the sigmoid's table, never falling, at most 254";
    conv2_sigmoid: [i8; SIGMOID_LEN], "convolution 2: the sigmoid's table, never falling, above -128";
    linear_sigmoid: [i8; SIGMOID_LEN], "linear 1 and 2: likewise";
}

/// Bytes that stand before what the checksum covers.
const BEFORE_CHECKED: usize = core::mem::offset_of!(WeightsFile, length);

const _: () = {
    // Pod forbids padding between fields; this forbids it at the end.
    let last = FIELDS[FIELDS.len() - 1];
    assert!(last.offset + last.bytes == WEIGHTS_BYTES && WEIGHTS_BYTES.is_multiple_of(4));
};

/// On the device without a table: 1 KB of flash is worth more than the milliseconds of one pass at boot.
#[cfg(not(feature = "wide"))]
type Table = crc::NoTable;
/// On a host with sixteen: it may read many files.
#[cfg(feature = "wide")]
type Table = crc::Table<16>;

pub(crate) static CRC: crc::Crc<u32, Table> = crc::Crc::<u32, Table>::new(&crc::CRC_32_ISO_HDLC);

const fn network_identity() -> u32 {
    let mut digest = CRC.digest();
    let mut i = 0;
    while i < TENSOR_COUNT {
        digest.update(TENSORS[i].name.as_bytes());
        let mut axis = 0;
        while axis < TENSORS[i].shape.len() {
            digest.update(&(TENSORS[i].shape[axis] as u32).to_le_bytes());
            axis += 1;
        }
        i += 1;
    }
    digest.finalize()
}

impl WeightsFile {
    /// Fills in everything that follows from the rest: magic, versions, identity, length and checksum.
    pub fn seal(&mut self) {
        self.magic = MAGIC;
        self.length = WEIGHTS_BYTES as u32;
        self.format_version = FORMAT_VERSION;
        self.arithmetic = ARITHMETIC;
        self.network = NETWORK;
        self.checksum = CRC.checksum(&self.bytes()[BEFORE_CHECKED..]);
    }

    /// The file.
    pub fn bytes(&self) -> &[u8; WEIGHTS_BYTES] {
        bytemuck::must_cast_ref(self)
    }
}

impl core::fmt::Debug for WeightsFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WeightsFile").field("checksum", &self.checksum).finish_non_exhaustive()
    }
}

/// A `weights.bin` that [`parse`] has accepted: every range is proved, inference cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a>(&'a WeightsFile);

/// Reads a `weights.bin` in place.
///
/// `bytes` is the whole file at a 4-byte aligned address. Nothing is copied; the model borrows the bytes.
///
/// # Errors
/// Anything but a file that the writer could have made is a [`FormatError`]: the wrong length, alignment, magic, version,
/// network or checksum, a reserved byte that is set, a weight out of its range, an accumulator or a table that could go
/// wrong on some image. A big-endian machine cannot read the numbers in place and refuses every sound file.
pub fn parse(bytes: &[u8]) -> Result<Model<'_>, FormatError> {
    check::header(bytes)?;
    check::byte_order()?;
    let file = bytemuck::try_from_bytes::<WeightsFile>(bytes).map_err(|_| FormatError::Misaligned)?;
    check::contents(file)?;
    Ok(Model(file))
}

macro_rules! linear_layers {
    ($($(#[$doc:meta])* $name:ident: $i:tt, $o:tt, $weight:ident, $bias:ident, $multiplier:ident;)*) => {
        $($(#[$doc])* #[inline(always)] pub fn $name(&self) -> LinearInt8<'a, $i, $o> {
            LinearInt8 { weight: &self.0.$weight, bias: &self.0.$bias, multiplier: &self.0.$multiplier }
        })*
    };
}

impl<'a> Model<'a> {
    linear_layers! {
        /// Linear 1.
        linear1: FLAT_QUADS, LINEAR1_QUADS, linear1_weight, linear1_bias, linear1_multiplier;
        /// Linear 2.
        linear2: LINEAR1_QUADS, LINEAR2_BLOCKS, linear2_weight, linear2_bias, linear2_multiplier;
        /// Linear 3.
        linear3: LINEAR2_QUADS, LOGIT_BLOCKS, linear3_weight, linear3_bias, linear3_multiplier;
    }

    /// Convolution 1.
    #[inline(always)]
    pub fn conv1(&self) -> Conv1Int8<'a> {
        Conv1Int8 { lanes: &self.0.conv1_lanes, bias: &self.0.conv1_bias, sigmoid: &self.0.conv1_sigmoid }
    }

    /// Convolution 2.
    #[inline(always)]
    pub fn conv2(&self) -> Conv2Int8<'a> {
        Conv2Int8 { lanes: &self.0.conv2_lanes, bias: &self.0.conv2_bias, sigmoid: &self.0.conv2_sigmoid }
    }

    /// The sigmoid's table of linear 1 and 2.
    #[inline(always)]
    pub fn sigmoid(&self) -> &'a [i8; SIGMOID_LEN] {
        &self.0.linear_sigmoid
    }

    /// A logit is its integer times 2 to the minus this.
    pub fn logit_fraction_bits(&self) -> u8 {
        self.0.logit_fraction_bits
    }

    /// The checksum in the file: which model this is.
    pub fn checksum(&self) -> u32 {
        self.0.checksum
    }

    /// The file itself.
    pub fn file(&self) -> &'a WeightsFile {
        self.0
    }
}

#[cfg(test)]
mod header_tests;
#[cfg(all(test, target_endian = "little"))]
pub(crate) mod tests;
