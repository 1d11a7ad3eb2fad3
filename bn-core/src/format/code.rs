//! Why a file is refused, as a number: for callers that cannot read a [`FormatError`].

use super::FormatError;

/// For each number a name and what it means; 0 is a file that can be used.
pub const CODES: [(&str, &str); 10] = [
    ("OK", "a sound model of this plan"),
    ("MISALIGNED", "it does not begin at a multiple of 4, or is NULL"),
    ("ERASED", "erased flash"),
    ("LENGTH", "another length than it says, or than this plan has"),
    ("MAGIC", "no weights.bin"),
    ("VERSION", "another version of the format"),
    ("PLAN", "a model of another plan"),
    ("CHECKSUM", "damaged: at least one bit is wrong"),
    ("BIG_ENDIAN", "this machine is big-endian"),
    ("FORGED", "its checksum is right and its contents cannot be"),
];

impl FormatError {
    /// Its number among [`CODES`].
    pub const fn code(&self) -> u8 {
        match self {
            Self::Misaligned => 1,
            Self::Erased => 2,
            Self::Length { .. } => 3,
            Self::Magic => 4,
            Self::Version { .. } => 5,
            Self::Plan { .. } => 6,
            Self::Checksum { .. } => 7,
            Self::BigEndian => 8,
            Self::Reserved { .. }
            | Self::Description
            | Self::Step { .. }
            | Self::Scale { .. }
            | Self::Texts
            | Self::Stream { .. } => 9,
        }
    }
}
