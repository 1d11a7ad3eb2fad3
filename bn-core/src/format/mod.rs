//! The `weights.bin` file: a quantised network and its plan, read in place from flash.
//!
//! Numbers are little-endian, everything is 4-byte aligned, and there are no offsets: each section follows the one before.
//!
//! | section | bytes | what it holds |
//! |---|---|---|
//! | header | 64 | [`Header`], the table below |
//! | description | `description_words` words | the network, [`encode`](crate::network::Network::encode)d |
//! | plan | 24 a step | [`Step`](crate::plan::Step)s |
//! | scales | 8 for the input and for each step | [`Scale`](crate::quant::Scale)s: what the integers of a tensor mean |
//! | golden | 4 a step | CRC-32 of each step's output for [`golden_input`], its words little-endian |
//! | streams | as the plan says | each step's weights as its kernel reads them |
//! | tables | 1,024 each | tables of activations |
//! | texts | `text_bytes` | names, which a device need not have: `file::Texts` with the feature `build` |
//!
//! The texts lie behind what `length` counts, so that a firmware can leave them out. A firmware reads a file with the code that was
//! generated for its plan, and takes any file of that plan; a host reads any file, with `file::WeightsFile`.
//!
//! Version rule: [`FORMAT_VERSION`] changes with the layout. A [`Family`](crate::plan::Family) whose stream or arithmetic changes gets
//! another number. A reader takes exactly its own.

mod code;
mod error;
#[cfg(test)]
mod tests;

use bytemuck::{Pod, Zeroable};

pub use code::CODES;
pub use error::FormatError;

/// First eight bytes of the file.
pub const MAGIC: [u8; 8] = *b"BN-LENET";
/// Layout of the file.
pub const FORMAT_VERSION: u16 = 3;
/// Bytes of the header.
pub const HEADER_BYTES: usize = size_of::<Header>();

/// One row of the table: a field of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, as in [`Header`].
    pub name: &'static str,
    /// Its Rust type.
    pub kind: &'static str,
    /// Bytes from the start of the file.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
    /// What it holds.
    pub meaning: &'static str,
}

macro_rules! header_table {
    ($($name:ident: $kind:ty, $meaning:literal;)*) => {
        /// The start of the file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
        #[repr(C)]
        pub struct Header { $(#[doc = $meaning] pub $name: $kind,)* }

        /// The table of the header: every byte of it, in order.
        pub const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            kind: stringify!($kind),
            offset: core::mem::offset_of!(Header, $name),
            bytes: size_of::<$kind>(),
            meaning: $meaning,
        },)*];
    };
}

header_table! {
    magic: [u8; 8], "`BN-LENET`";
    checksum: u32, "CRC-32 (ISO-HDLC, as in zip) of every byte after this field, up to `length`";
    length: u32, "bytes of the file without its texts";
    format_version: u16, "layout of the file: 3";
    steps: u16, "steps of the plan";
    topology: u32, "digest of the network's nodes and shapes";
    identity: u32, "digest of topology, preprocessing and class names";
    plan: u32, "digest of topology and plan: what a firmware accepts";
    description_words: u32, "words of the description";
    tables: u32, "tables of activations";
    text_bytes: u32, "bytes of the texts behind `length`";
    text_checksum: u32, "CRC-32 of the texts";
    reserved: [u8; 16], "zero";
}

/// Bytes that stand before what the checksum covers.
const BEFORE_CHECKED: usize = core::mem::offset_of!(Header, length);

/// On the device without a table: 1 KB of flash is worth more than the milliseconds of one pass at boot.
#[cfg(not(feature = "wide"))]
type Table = crc::NoTable;
/// On a host with sixteen: it may read many files.
#[cfg(feature = "wide")]
type Table = crc::Table<16>;

pub(crate) static CRC: crc::Crc<u32, Table> = crc::Crc::<u32, Table>::new(&crc::CRC_32_ISO_HDLC);

/// The checksum that belongs to a file, which ends with what its header's `length` counts.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes.get(BEFORE_CHECKED..).unwrap_or_default())
}

/// Byte `index` of the input whose outputs a file's golden checksums are of: Knuth's multiplicative hash.
pub const fn golden_input(index: usize) -> u8 {
    ((index as u32).wrapping_mul(2_654_435_761) >> 24) as u8
}

/// Reads the header of a file and checks all that is known without its plan: what tells the user most comes first, erased before
/// magic, version before length.
///
/// # Errors
/// [`FormatError`] for anything but a whole, undamaged file of this version, with or without its texts.
#[inline(never)]
pub fn read_header(bytes: &[u8]) -> Result<Header, FormatError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(FormatError::Length { expected: HEADER_BYTES, found: bytes.len() });
    };
    // Most flash is erased to ones, some to zeros.
    if [0xFF, 0].iter().any(|erased| header.iter().all(|byte| byte == erased)) {
        return Err(FormatError::Erased);
    }
    if header[..MAGIC.len()] != MAGIC {
        return Err(FormatError::Magic);
    }
    if cfg!(target_endian = "big") {
        return Err(FormatError::BigEndian);
    }
    let header: Header = bytemuck::must_cast(*header);
    if header.format_version != FORMAT_VERSION {
        return Err(FormatError::Version { found: header.format_version });
    }
    let expected = header.length as usize;
    let Some(model) = bytes.get(..expected).filter(|model| model.len() >= HEADER_BYTES) else {
        return Err(FormatError::Length { expected, found: bytes.len() });
    };
    if bytes.len() != expected && bytes.len() - expected != header.text_bytes as usize {
        return Err(FormatError::Length {
            expected: expected.saturating_add(header.text_bytes as usize),
            found: bytes.len(),
        });
    }
    let computed = checksum(model);
    if computed != header.checksum {
        return Err(FormatError::Checksum { computed, stored: header.checksum });
    }
    if let Some(index) = header.reserved.iter().position(|&byte| byte != 0) {
        return Err(FormatError::Reserved { offset: core::mem::offset_of!(Header, reserved) + index });
    }
    Ok(header)
}

/// Reads a file of a known plan in place: `WORDS` words without its texts. What its streams hold is for their families to check.
///
/// # Errors
/// As [`read_header`]; [`FormatError::Plan`] for another plan, [`FormatError::Misaligned`].
#[inline(always)]
pub fn open<const WORDS: usize>(bytes: &[u8], plan: u32) -> Result<&[u32; WORDS], FormatError> {
    let header = read_header(bytes)?;
    if header.plan != plan {
        return Err(FormatError::Plan { expected: plan, found: header.plan });
    }
    let wrong = FormatError::Length { expected: 4 * WORDS, found: header.length as usize };
    let model = bytes.get(..4 * WORDS).filter(|_| header.length as usize == 4 * WORDS).ok_or(wrong)?;
    let words = bytemuck::try_cast_slice(model).map_err(|_| FormatError::Misaligned)?;
    words.first_chunk().ok_or(wrong)
}
