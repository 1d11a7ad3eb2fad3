//! Why a `weights.bin` is refused.

use core::fmt;

/// A layer of the quantised network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(missing_docs, reason = "the names say it")]
pub enum Layer {
    Conv1,
    Conv2,
    Linear1,
    Linear2,
    Linear3,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Conv1 => "convolution 1",
            Layer::Conv2 => "convolution 2",
            Layer::Linear1 => "linear 1",
            Layer::Linear2 => "linear 2",
            Layer::Linear3 => "linear 3",
        })
    }
}

/// Why a `weights.bin` is refused. Its `Display` is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FormatError {
    /// The bytes do not start at a 4-byte boundary.
    Misaligned,
    /// All bytes of the header are 0xFF, or all are 0: flash that was never written.
    Erased,
    /// The file has another length than every file of this version.
    Length {
        /// Bytes that it must have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// The first eight bytes are not `BN-LENET`.
    Magic,
    /// Another layout.
    Version {
        /// Version of the file.
        found: u16,
    },
    /// The numbers mean something else.
    Arithmetic {
        /// Arithmetic of the file.
        found: u16,
    },
    /// Another network.
    Network {
        /// Identity in the file.
        found: u32,
    },
    /// The header declares another length than the file has.
    DeclaredLength {
        /// What the header says.
        found: u32,
    },
    /// The checksum does not match: at least one bit is wrong.
    Checksum {
        /// Of the bytes.
        computed: u32,
        /// In the header.
        stored: u32,
    },
    /// This machine is big-endian: it cannot read a file's numbers in place.
    #[cfg(target_endian = "big")]
    BigEndian,
    /// A reserved byte is not zero.
    Reserved {
        /// Bytes from the start of the file.
        offset: usize,
    },
    /// More fraction bits than a logit has.
    LogitFractionBits {
        /// What the header says.
        found: u8,
    },
    /// A weight outside its symmetric range.
    WeightRange {
        /// Where.
        layer: Layer,
        /// Output channel.
        channel: usize,
    },
    /// Convolution 1 stores its weights for an upper and a lower output row, and they differ.
    KernelRows {
        /// Output channel.
        channel: usize,
    },
    /// A multiplier that is not positive.
    Multiplier {
        /// Where.
        layer: Layer,
        /// Output channel.
        channel: usize,
    },
    /// Some image could drive an accumulator out of i32.
    Accumulator {
        /// Where.
        layer: Layer,
        /// Output channel.
        channel: usize,
    },
    /// A sigmoid's table falls somewhere, or leaves the range of an activation.
    Sigmoid {
        /// Whose; linear 1's is linear 2's too.
        layer: Layer,
        /// The first such entry.
        index: usize,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FormatError as E;
        match *self {
            E::Misaligned => write!(f, "the weights are not 4-byte aligned; place them with #[repr(align(4))]"),
            E::Erased => write!(f, "erased flash where the weights should be; flash a weights.bin"),
            E::Length { expected, found } => {
                write!(f, "{found} bytes where a weights.bin has {expected}; copy it again or export it anew")
            }
            E::Magic => write!(f, "not a weights.bin (it does not begin with BN-LENET); make one with `export`"),
            E::Version { found } => {
                write!(f, "format version {found}, this reads {}; export it anew", super::FORMAT_VERSION)
            }
            E::Arithmetic { found } => {
                write!(f, "arithmetic {found}, this computes {}; export it anew", super::ARITHMETIC)
            }
            E::Network { found } => {
                write!(
                    f,
                    "weights of another network ({found:#010x}, this is {:#010x}); export it anew",
                    super::NETWORK
                )
            }
            E::DeclaredLength { found } => {
                write!(f, "the header declares {found} bytes, the file has others; export it anew")
            }
            E::Checksum { computed, stored } => {
                write!(
                    f,
                    "damaged: its checksum is {computed:#010x}, it says {stored:#010x}; copy it again or export it anew"
                )
            }
            #[cfg(target_endian = "big")]
            E::BigEndian => write!(f, "the numbers are little-endian and this machine is not; run it on one that is"),
            E::Reserved { offset } => write!(f, "the reserved byte at {offset} is set; export it anew"),
            E::LogitFractionBits { found } => {
                write!(f, "{found} fraction bits of a logit are too many; export it anew")
            }
            E::WeightRange { layer, channel } => {
                write!(f, "{layer}, channel {channel}: a weight is out of range; export it anew")
            }
            E::KernelRows { channel } => {
                write!(f, "convolution 1, channel {channel}: the weights of its two output rows differ; export it anew")
            }
            E::Multiplier { layer, channel } => {
                write!(f, "{layer}, channel {channel}: the multiplier is not positive; export it anew")
            }
            E::Accumulator { layer, channel } => {
                write!(f, "{layer}, channel {channel}: an accumulator could overflow; export it anew")
            }
            E::Sigmoid { layer, index } => {
                write!(f, "{layer}: entry {index} of the sigmoid's table falls or is out of range; export it anew")
            }
        }
    }
}

impl core::error::Error for FormatError {}
