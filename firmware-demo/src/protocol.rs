//! What the firmware and the host say to each other, defined once: the host's crate includes this file too. Plain bytes in
//! little-endian order; no I/O happens here.
//!
//! | file | contents |
//! |---|---|
//! | demo images, baked into the ELF | for each: the label, one byte, then its 784 pixels |
//! | images, streamed to `evaluate` and `float` | for each: its 784 pixels |
//! | results, written by `evaluate` | for each image a [`Record`], after the last one a [`Trailer`] |
//! | results, written by `float` | for each image a [`FloatRecord`] |

use bn_core::format::LAYERS;
use bn_core::lenet::{CLASSES, PIXELS};

/// Bytes of a baked image: its label, then its pixels.
pub const DEMO_IMAGE_BYTES: usize = 1 + PIXELS;

/// Exit code: all went well.
pub const EXIT_OK: i32 = 0;
/// Exit code: the program could not do what it was asked, and logged why.
pub const EXIT_FAILED: i32 = 1;
/// Exit code: the code panicked.
pub const EXIT_PANIC: i32 = 101;
/// Exit code: the processor refused an instruction or an access.
pub const EXIT_FAULT: i32 = 102;
/// Exit code: the stack was full.
pub const EXIT_STACK_OVERFLOW: i32 = 103;
/// Exit code: the watchdog found the program hanging.
pub const EXIT_WATCHDOG: i32 = 104;

/// What the device says of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The class it chose.
    pub class: u32,
    /// The raw logits.
    pub logits: [i32; CLASSES],
}

impl Record {
    /// Bytes of a record.
    pub const BYTES: usize = 4 + 4 * CLASSES;

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (words, _) = bytes.as_chunks_mut::<4>();
        words[0] = self.class.to_le_bytes();
        for (word, logit) in words[1..].iter_mut().zip(self.logits) {
            *word = logit.to_le_bytes();
        }
        bytes
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let mut logits = [0; CLASSES];
        for (logit, word) in logits.iter_mut().zip(&words[1..]) {
            *logit = i32::from_le_bytes(*word);
        }
        Self { class: u32::from_le_bytes(words[0]), logits }
    }
}

/// What an f32 network on the device says of one image, with BatchNorm unfolded and folded, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatRecord {
    /// The logits.
    pub logits: [[f32; CLASSES]; 2],
    /// Executed instructions.
    pub instructions: [u32; 2],
}

impl FloatRecord {
    /// Bytes of a record.
    pub const BYTES: usize = 4 * (2 * CLASSES + 2);

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (words, _) = bytes.as_chunks_mut::<4>();
        let logits = self.logits.as_flattened().iter().map(|logit| logit.to_bits());
        for (word, value) in words.iter_mut().zip(logits.chain(self.instructions)) {
            *word = value.to_le_bytes();
        }
        bytes
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |index: usize| u32::from_le_bytes(words[index]);
        let logit = |index| f32::from_bits(word(index));
        Self {
            logits: [0, CLASSES].map(|start| core::array::from_fn(|class| logit(start + class))),
            instructions: [word(2 * CLASSES), word(2 * CLASSES + 1)],
        }
    }
}

/// What the device measured over all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// Images classified.
    pub images: u32,
    /// Executed instructions of all inferences together.
    pub instructions: u64,
    /// Fewest instructions of one inference.
    pub instructions_min: u32,
    /// Most instructions of one inference.
    pub instructions_max: u32,
    /// Deepest stack of one inference, in bytes.
    pub stack_bytes: u32,
    /// Scratch memory that an inference is lent, in bytes.
    pub scratch_bytes: u32,
    /// Executed instructions of each layer, sigmoid and pool included, on the first image.
    pub layers: [u32; LAYERS],
}

impl Trailer {
    /// Bytes of a trailer.
    pub const BYTES: usize = 8 + 32 + 24;
    /// First bytes of a trailer: a file that was cut off does not have them in the right place.
    pub const MAGIC: [u8; 8] = *b"BNLENET2";

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = [
            u64::from(self.images),
            self.instructions,
            u64::from(self.instructions_min) | u64::from(self.instructions_max) << 32,
            u64::from(self.stack_bytes) | u64::from(self.scratch_bytes) << 32,
            u64::from(self.layers[0]) | u64::from(self.layers[1]) << 32,
            u64::from(self.layers[2]) | u64::from(self.layers[3]) << 32,
            u64::from(self.layers[4]),
        ];
        let (words, _) = bytes.as_chunks_mut::<8>();
        words[0] = Self::MAGIC;
        for (word, field) in words[1..].iter_mut().zip(fields) {
            *word = field.to_le_bytes();
        }
        bytes
    }

    /// The reverse of [`to_bytes`](Self::to_bytes); `None` when it does not begin as a trailer does.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        if words[0] != Self::MAGIC {
            return None;
        }
        let field = |index: usize| u64::from_le_bytes(words[index]);
        let (low, high) = (|index| field(index) as u32, |index| (field(index) >> 32) as u32);
        Some(Self {
            images: low(1),
            instructions: field(2),
            instructions_min: low(3),
            instructions_max: high(3),
            stack_bytes: low(4),
            scratch_bytes: high(4),
            layers: [low(5), high(5), low(6), high(6), low(7)],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_journey() {
        let record = Record { class: 7, logits: [i32::MIN, -1, 0, 1, i32::MAX, 5, 6, 7, 8, 9] };
        assert_eq!(Record::from_bytes(&record.to_bytes()), record);
    }

    #[test]
    fn float_records_survive_the_journey() {
        let logits =
            [core::array::from_fn(|class| class as f32 - 3.5), core::array::from_fn(|class| 1e-30 * class as f32)];
        let record = FloatRecord { logits, instructions: [1, u32::MAX] };
        assert_eq!(FloatRecord::from_bytes(&record.to_bytes()), record);
    }

    #[test]
    fn trailers_survive_the_journey() {
        let trailer = Trailer {
            images: 10_000,
            instructions: u64::from(u32::MAX) + 5,
            instructions_min: 1,
            instructions_max: u32::MAX,
            stack_bytes: 3,
            scratch_bytes: 4,
            layers: [5, 6, 7, 8, u32::MAX],
        };
        assert_eq!(Trailer::from_bytes(&trailer.to_bytes()), Some(trailer));
        assert_eq!(Trailer::from_bytes(&[0; Trailer::BYTES]), None);
    }
}
