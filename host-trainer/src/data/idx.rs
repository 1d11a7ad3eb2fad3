//! Reads IDX files, gzip-compressed or not, and says precisely what is wrong with a damaged one. Reads bytes in memory and the
//! file it is given; writes nothing.
//!
//! The format (LeCun, Cortes, Burges, "The MNIST database"): two zero bytes, the type of the values (0x08 is u8), the number of
//! dimensions, each dimension as a big-endian u32, then the values in row-major order.

use std::io::Read;
use std::path::Path;

use bn_core::Image;
use bn_core::lenet::{CLASSES, IMAGE_SIDE, PIXELS};
use flate2::bufread::GzDecoder;

use super::files::{Kind, looks_like_html};
use crate::Error;

/// More examples than any data set of this kind has. A header that claims more is damaged, and obeying it would fill the memory.
pub const MAX_EXAMPLES: usize = 1_000_000;
/// More bytes than a file of so many images has, gzipped or not.
pub const MAX_FILE_BYTES: u64 = (MAX_EXAMPLES * PIXELS + 1024) as u64;

/// The values of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Of an image file: `[n][28][28]`.
    Images(Vec<Image>),
    /// Of a label file: `[n]`, each below 10.
    Labels(Vec<u8>),
}

impl Content {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Content::Images(images) => images.len(),
            Content::Labels(labels) => labels.len(),
        }
    }

    /// Whether it holds no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
    /// Images of another size.
    #[error("the images are of {0}x{1} pixels, not 28x28")]
    ImageSize(u32, u32),
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
    /// A class that does not exist.
    #[error("label {0} at position {1} is not below {CLASSES}")]
    Label(u8, usize),
}

impl Damage {
    /// What the user can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Damage::WebPage => "open the link in a browser to see what it says, and put the real file here",
            Damage::NotCompressed => "rename the file so that it does not end in .gz",
            Damage::Swapped(..) => "give the files their published names",
            Damage::ValueType(_) | Damage::Dimensions(..) | Damage::ImageSize(..) | Damage::TooMany(_) => {
                "only u8 images of 28x28 pixels with u8 labels can be read: convert the data set"
            }
            Damage::Label(..) => "only data sets of ten classes, numbered from 0, can be read",
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
    let count = header(&mut &start[..], kind)?;
    let (header, values) = if kind == Kind::Images { (16, count * PIXELS) } else { (8, count) };
    if length > (header + values) as u64 { Err(Damage::Trailing(values)) } else { Ok(()) }
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

/// Reads the IDX format from a stream that may be endless: never more than the header claims and one byte.
fn values(stream: &mut impl Read, kind: Kind, expected: Option<usize>) -> Result<Content, Damage> {
    let count = header(stream, kind)?;
    if let Some(expected) = expected.filter(|&expected| expected != count) {
        return Err(Damage::Count(count, expected));
    }
    let length = match kind {
        Kind::Images => count * PIXELS,
        Kind::Labels => count,
    };
    // The buffer grows with what arrives, so that a false header of a short file costs nothing.
    let bytes = take(stream, length)?;
    if bytes.len() < length {
        return Err(Damage::CutOff(bytes.len(), length));
    }
    // Reading past the end is also what makes the decoder compare the stream's checksum.
    if !take(stream, 1)?.is_empty() {
        return Err(Damage::Trailing(length));
    }
    match kind {
        Kind::Labels => match bytes.iter().position(|&label| usize::from(label) >= CLASSES) {
            Some(at) => Err(Damage::Label(bytes[at], at)),
            None => Ok(Content::Labels(bytes)),
        },
        Kind::Images => {
            let mut images = vec![[[0; IMAGE_SIDE]; IMAGE_SIDE]; count];
            images.as_flattened_mut().as_flattened_mut().copy_from_slice(&bytes);
            Ok(Content::Images(images))
        }
    }
}

/// Reads the magic number and the dimensions; returns the number of examples.
fn header(stream: &mut impl Read, kind: Kind) -> Result<usize, Damage> {
    let words = match kind {
        Kind::Images => 4,
        Kind::Labels => 2,
    };
    let magic = word(&take(stream, 4)?, 0)?;
    check_magic(magic, kind)?;
    let sizes = take(stream, 4 * (words - 1))?;
    let size = |index: usize| word(&sizes[(4 * index).min(sizes.len())..], 4 + 4 * index);
    let count = size(0)?;
    if kind == Kind::Images {
        let (height, width) = (size(1)?, size(2)?);
        if (height, width) != (IMAGE_SIDE as u32, IMAGE_SIDE as u32) {
            return Err(Damage::ImageSize(height, width));
        }
    }
    match count as usize {
        0 => Err(Damage::NoExamples),
        // The product with the image size is formed only below this bound, so it cannot overflow.
        count if count <= MAX_EXAMPLES => Ok(count),
        _ => Err(Damage::TooMany(count)),
    }
}

fn check_magic(magic: u32, kind: Kind) -> Result<(), Damage> {
    const LABELS: u32 = 0x0801;
    const IMAGES: u32 = 0x0803;
    let [first, second, value_type, dimensions] = magic.to_be_bytes();
    let expected = if kind == Kind::Images { IMAGES } else { LABELS };
    match (kind, magic) {
        (Kind::Images, LABELS) => Err(Damage::Swapped("labels", "images")),
        (Kind::Labels, IMAGES) => Err(Damage::Swapped("images", "labels")),
        _ if magic == expected => Ok(()),
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
