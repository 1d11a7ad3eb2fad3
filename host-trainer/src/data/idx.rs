//! Reads IDX files of any size, gzip-compressed or not, and says precisely what is wrong with a damaged one. Reads bytes in
//! memory; writes nothing.
//!
//! The format (LeCun, Cortes, Burges, "The MNIST database"): two zero bytes, the type of the values (0x08 is u8, 0x0C a
//! big-endian i32), the number of dimensions, each dimension as a big-endian u32, then the values in row-major order. Labels are `[n]` bytes, or
//! QMNIST's `[n][8]` of i32, whose first column is the class.

use std::io::Read;
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::files::{Kind, looks_like_html};
use crate::Error;

/// More examples than any data set of this kind has. A header that claims more is damaged, and obeying it would fill the memory.
pub const MAX_EXAMPLES: usize = 1_000_000;
/// No example has more values.
pub const MAX_VALUES: usize = 1 << 22;
/// No file is larger, gzipped or not, and no content.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// The values of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// `[n, height, width]` of images, or `[n, height, width, channels]`; `[n]` of labels.
    pub dims: Vec<usize>,
    /// Pixels, or classes.
    pub values: Vec<u8>,
}

impl Content {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.dims[0]
    }

    /// Whether it holds no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Swaps rows and columns of images `[n, height, width]`; leaves anything else alone.
    pub fn transpose(&mut self) {
        let [_, height, width] = self.dims[..] else { return };
        let turned =
            |image: &[u8]| (0..height * width).map(|at| image[at % height * width + at / height]).collect::<Vec<_>>();
        self.values = self.values.chunks_exact(height * width).flat_map(turned).collect();
        self.dims.swap(1, 2);
    }
}

/// What can be wrong with an IDX file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// A web page under the data set's name.
    #[error("this is a web page, not a data file")]
    WebPage,
    /// Named `.gz`, but neither gzip nor IDX.
    #[error("this is not a gzip file (it begins with {0:02x?})")]
    NotGzip(Vec<u8>),
    /// Named `.gz`, but not compressed.
    #[error("the name ends in .gz but the file is not compressed")]
    NotCompressed,
    /// The gzip stream ends early.
    #[error("the gzip stream is cut off")]
    GzipCutOff,
    /// The gzip stream contradicts itself.
    #[error("the gzip stream is damaged ({0})")]
    GzipDamaged(String),
    /// Other bytes after the gzip stream.
    #[error("foreign bytes follow the gzip stream")]
    GzipTrailing,
    /// Shorter than its own header.
    #[error("the IDX header is cut off after {0} bytes")]
    HeaderCutOff(usize),
    /// The first two bytes are not zero.
    #[error("the IDX magic number is 0x{0:08x}, not 0x{1:08x}")]
    Magic(u32, u32),
    /// IDX, but of floats or wider integers.
    #[error("the values are of IDX type 0x{0:02x}, not 0x08 (unsigned bytes)")]
    ValueType(u8),
    /// Labels in place of images, or the other way round.
    #[error("the file holds {0} where {1} belong")]
    Swapped(&'static str, &'static str),
    /// Neither a list of labels nor of images.
    #[error("the IDX header has {0} dimensions, not {1}")]
    Dimensions(u8, u8),
    /// Images without a pixel, or larger than any.
    #[error("the images are of {0} values each, not of 1 to {MAX_VALUES}")]
    ImageSize(u64),
    /// A count of zero.
    #[error("the file holds no example")]
    NoExamples,
    /// A count beyond [`MAX_EXAMPLES`].
    #[error("the header claims {0} examples, more than the {MAX_EXAMPLES} that are read")]
    TooMany(u32),
    /// Another count than the data set's.
    #[error("the file holds {0} examples, not {1}")]
    Count(usize, usize),
    /// Fewer values than the header claims.
    #[error("the values end after {0} of {1} bytes")]
    CutOff(usize, usize),
    /// More values than the header claims.
    #[error("more bytes follow the {0} that the header claims")]
    Trailing(usize),
    /// A class that no byte holds.
    #[error("label {0} at position {1} is not below 256")]
    Label(i32, usize),
}

impl Damage {
    /// What the user can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Damage::WebPage => "open the link in a browser to see what it says, and put the real file here",
            Damage::NotCompressed => "rename the file so that it does not end in .gz",
            Damage::Swapped(..) => "give the files their published names",
            Damage::ValueType(_) | Damage::Dimensions(..) | Damage::ImageSize(..) | Damage::TooMany(_) => {
                "u8 images [n, height, width] with u8 labels [n] can be read: convert the data set"
            }
            Damage::Label(..) => "number classes from 0 to 255",
            Damage::NoExamples | Damage::Count(..) => "use the data set's complete files",
            _ => "delete it and fetch it again (`host-trainer data`)",
        }
    }

    /// As the crate's error about that file.
    pub fn at(&self, path: &Path) -> Error {
        Error::bad_file(path, self.to_string(), self.remedy())
    }
}

/// Parses the bytes of a file named `name`: unpacks them when the name ends in `.gz`, then reads the IDX format to its last byte.
/// `count` is the number of examples it must hold, where that is known.
pub fn parse(name: &str, bytes: &[u8], kind: Kind, count: Option<usize>) -> Result<Content, Damage> {
    if !is_compressed(name, bytes)? {
        return values(&mut &bytes[..], kind, count);
    }
    let mut stream = GzDecoder::new(bytes);
    let values = values(&mut stream, kind, count)?;
    if stream.get_ref().is_empty() { Ok(values) } else { Err(Damage::GzipTrailing) }
}

/// Checks what the beginning of a file of `length` bytes tells, so that a large file of another kind need not be read.
pub fn check_start(name: &str, start: &[u8], length: u64, kind: Kind) -> Result<(), Damage> {
    if is_compressed(name, start)? {
        return header(&mut GzDecoder::new(start), kind).map(drop);
    }
    let header = header(&mut &start[..], kind)?;
    if length > header.bytes as u64 + header.content { Err(Damage::Trailing(header.content as usize)) } else { Ok(()) }
}

/// Whether it is gzip, and nothing else that its name or its beginning forbids.
fn is_compressed(name: &str, bytes: &[u8]) -> Result<bool, Damage> {
    if bytes.is_empty() {
        return Err(Damage::Empty);
    }
    if looks_like_html(bytes) {
        return Err(Damage::WebPage);
    }
    let compressed = bytes.starts_with(&[0x1f, 0x8b]);
    if name.ends_with(".gz") && !compressed {
        let idx = bytes.starts_with(&[0, 0, 8]);
        return Err(if idx { Damage::NotCompressed } else { Damage::NotGzip(bytes[..bytes.len().min(4)].to_vec()) });
    }
    Ok(compressed)
}

/// What a header says.
struct Header {
    dims: Vec<usize>,
    /// Bytes of a value.
    width: usize,
    /// Bytes of the header.
    bytes: usize,
    /// Bytes of all values.
    content: u64,
}

/// Reads the IDX format from a stream that may be endless: never more than the header claims and one byte.
fn values(stream: &mut impl Read, kind: Kind, expected: Option<usize>) -> Result<Content, Damage> {
    let Header { dims, width, content, .. } = header(stream, kind)?;
    if let Some(expected) = expected.filter(|&expected| expected != dims[0]) {
        return Err(Damage::Count(dims[0], expected));
    }
    let length = content as usize;
    // The buffer grows with what arrives, so that a false header of a short file costs nothing.
    let bytes = take(stream, length)?;
    if bytes.len() < length {
        return Err(Damage::CutOff(bytes.len(), length));
    }
    // Reading past the end is also what makes the decoder compare the stream's checksum.
    if !take(stream, 1)?.is_empty() {
        return Err(Damage::Trailing(length));
    }
    if width == 1 {
        return Ok(Content { dims, values: bytes });
    }
    let words = bytes.as_chunks().0.iter().map(|&word| i32::from_be_bytes(word)).step_by(dims[1]).enumerate();
    let labels = words.map(|(at, label)| u8::try_from(label).map_err(|_| Damage::Label(label, at)));
    Ok(Content { dims: vec![dims[0]], values: labels.collect::<Result<_, _>>()? })
}

/// Reads the magic number and the dimensions.
fn header(stream: &mut impl Read, kind: Kind) -> Result<Header, Damage> {
    let magic = word(&take(stream, 4)?, 0)?;
    let (rank, width) = check_magic(magic, kind)?;
    let sizes = take(stream, 4 * rank)?;
    let size = |index: usize| word(&sizes[(4 * index).min(sizes.len())..], 4 + 4 * index);
    let dims: Vec<u64> = (0..rank).map(|index| size(index).map(u64::from)).collect::<Result<_, _>>()?;
    match dims[0] {
        0 => return Err(Damage::NoExamples),
        count if count > MAX_EXAMPLES as u64 => return Err(Damage::TooMany(count as u32)),
        _ => {}
    }
    let values = dims[1..].iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim)).unwrap_or(u64::MAX);
    if values == 0 || values > MAX_VALUES as u64 {
        return Err(Damage::ImageSize(values));
    }
    let content = dims[0] * values * width as u64;
    if content > MAX_FILE_BYTES {
        return Err(Damage::TooMany(dims[0] as u32));
    }
    Ok(Header { dims: dims.iter().map(|&dim| dim as usize).collect(), width, bytes: 4 + 4 * rank, content })
}

/// Number of dimensions, and bytes of a value.
fn check_magic(magic: u32, kind: Kind) -> Result<(usize, usize), Damage> {
    const LABELS: u32 = 0x0801;
    const QMNIST_LABELS: u32 = 0x0C02;
    const IMAGES: u32 = 0x0803;
    const COLOUR: u32 = 0x0804;
    let [first, second, value_type, dimensions] = magic.to_be_bytes();
    let expected = if kind == Kind::Images { IMAGES } else { LABELS };
    match (kind, magic) {
        (Kind::Images, LABELS | QMNIST_LABELS) => Err(Damage::Swapped("labels", "images")),
        (Kind::Labels, IMAGES | COLOUR) => Err(Damage::Swapped("images", "labels")),
        (Kind::Labels, LABELS) => Ok((1, 1)),
        (Kind::Labels, QMNIST_LABELS) => Ok((2, 4)),
        (Kind::Images, IMAGES) => Ok((3, 1)),
        (Kind::Images, COLOUR) => Ok((4, 1)),
        _ if first != 0 || second != 0 => Err(Damage::Magic(magic, expected)),
        _ if value_type != 0x08 => Err(Damage::ValueType(value_type)),
        _ => Err(Damage::Dimensions(dimensions, expected.to_be_bytes()[3])),
    }
}

/// The big-endian number at the start of `bytes`, which begin `offset` bytes into the file.
fn word(bytes: &[u8], offset: usize) -> Result<u32, Damage> {
    bytes.first_chunk().map(|&word| u32::from_be_bytes(word)).ok_or(Damage::HeaderCutOff(offset + bytes.len()))
}

/// At most `length` bytes of the stream.
fn take(stream: &mut impl Read, length: usize) -> Result<Vec<u8>, Damage> {
    let mut bytes = Vec::new();
    match stream.take(length as u64).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(Damage::GzipCutOff),
        Err(error) => Err(Damage::GzipDamaged(error.to_string())),
    }
}
