//! Why a `weights.bin` is refused.

use core::fmt;

use crate::kernels::Fault;

/// Why a `weights.bin` is refused. Its `Display` is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes do not start at a 4-byte boundary.
    Misaligned,
    /// All bytes of the header are 0xFF, or all are 0: flash that was never written.
    Erased,
    /// The file has another length than its header or its plan says.
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
    /// A model of another plan than this code was made for.
    Plan {
        /// The plan of this code.
        expected: u32,
        /// The plan of the file.
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
    BigEndian,
    /// A reserved byte is not zero.
    Reserved {
        /// Bytes from the start of the file.
        offset: usize,
    },
    /// The description is none, or that of no sound network, or not that of the digests.
    Description,
    /// A step of the plan that no family computes, or whose places or sizes cannot be.
    Step {
        /// Position of the step; the number of steps where one is missing.
        step: usize,
    },
    /// The scale of a tensor is not positive and finite.
    Scale {
        /// Position of its step; 0 is the input.
        tensor: usize,
    },
    /// The texts do not fit their checksum or the network.
    Texts,
    /// The weights of a step cannot be trusted.
    Stream {
        /// Position of the step.
        step: usize,
        /// What is wrong.
        fault: Fault,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FormatError as E;
        match *self {
            E::Misaligned => write!(f, "the weights are not 4-byte aligned; place them with #[repr(align(4))]"),
            E::Erased => write!(f, "erased flash where the weights should be; flash a weights.bin"),
            E::Length { expected, found } => {
                write!(f, "{found} bytes where this weights.bin has {expected}; copy it again or export it anew")
            }
            E::Magic => write!(f, "not a weights.bin (it does not begin with BN-LENET); make one with `export`"),
            E::Version { found } => write!(
                f,
                "format version {found}, this reads {}; make a new one with `cargo trainer export CHECKPOINT --out weights.bin`",
                super::FORMAT_VERSION
            ),
            E::Plan { expected, found } => write!(
                f,
                "a model of another plan ({found:#010x}, this code is for {expected:#010x}); build the firmware with it"
            ),
            E::Checksum { computed, stored } => write!(
                f,
                "damaged: its checksum is {computed:#010x}, it says {stored:#010x}; copy it again or export it anew"
            ),
            E::BigEndian => write!(f, "the numbers are little-endian and this machine is not; run it on one that is"),
            E::Reserved { offset } => write!(f, "the reserved byte at {offset} is set; export it anew"),
            E::Description => write!(f, "its description is not that of a network; export it anew"),
            E::Step { step } => write!(f, "step {step} of its plan cannot be; export it anew"),
            E::Scale { tensor } => write!(f, "the scale of tensor {tensor} is not positive; export it anew"),
            E::Texts => write!(f, "its texts are damaged; copy it again or export it anew"),
            E::Stream { step, fault } => write!(f, "step {step}, {fault}; export it anew"),
        }
    }
}

impl core::error::Error for FormatError {}
