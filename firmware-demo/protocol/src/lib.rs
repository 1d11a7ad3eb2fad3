//! What the firmware and the host say to each other, and the boards that both know. Plain bytes in little-endian order; no I/O
//! happens here.
//!
//! | file | contents |
//! |---|---|
//! | demo images, baked into the ELF | for each: the label, one byte, then its input |
//! | images, streamed to `evaluate` and `float` | for each: its input, a byte a value |
//! | results, written by `evaluate` | for each image a [`record`], then eight bytes a step of the plan, what it took of all images together, then a [`Trailer`] |
//! | outputs, written by `evaluate` when its third argument is [`OUTPUTS`] | for each image the output of each step, four bytes a word |
//! | layers, streamed to `layers` | for each [`LAYER_WORDS`] words, its table if it has one, its stream, what it reads, what is added, and what its results replace |
//! | results, written by `layers` | for each what its results replaced, and twice [`LAYER_GUARDS`] words that lie behind that and behind what it works in |
//! | results, written by `float` | for each image a [`FloatRecord`] |
#![no_std]

pub mod boards;

use bn_core::lenet::CLASSES;

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

/// In place of a label: nobody knows the class.
pub const UNKNOWN_LABEL: u8 = u8::MAX;
/// The argument that asks `evaluate`, or the module's host, for the outputs of all steps.
pub const OUTPUTS: &str = "outputs";

/// Words of a layer's head: its family's number; its input's channels, height and width; of its windows height, width, steps down
/// and to the right, rows above and columns to the left of the map; rows and columns of results; whether it reads bytes; channels
/// that it gives, or of a depthwise layer for each that it reads; whether it adds a map, gives halves, has a table, counts padding;
/// words that it works in; whether a table follows; words of the stream, of what it reads, of what is added (none where that lies
/// in the place of the results), and of that place.
pub const LAYER_WORDS: usize = 24;
/// Words that no layer may change behind its own.
pub const LAYER_GUARDS: usize = 8;
/// What they hold.
pub const LAYER_GUARD: u32 = 0xA5A5_5A5A;

/// Words of a [`record`].
pub const fn record_words(outputs: usize, steps: usize) -> usize {
    1 + outputs + steps
}

/// What the device says of one image, word by word: the class it chose, then the raw integers of the output, then a digest
/// ([`Filled::digest`](bn_core::plan::Filled::digest)) of what each step gave.
pub fn record<Logit: Copy + Into<i32>>(class: u32, output: &[Logit], digests: &[u32]) -> impl Iterator<Item = [u8; 4]> {
    let output = output.iter().map(|&value| value.into().to_le_bytes());
    core::iter::once(class.to_le_bytes()).chain(output).chain(digests.iter().map(|digest| digest.to_le_bytes()))
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
}

impl Trailer {
    /// Bytes of a trailer.
    pub const BYTES: usize = 8 + 32;
    /// First bytes of a trailer: a file that was cut off does not have them in the right place.
    pub const MAGIC: [u8; 8] = *b"BNLENET4";

    /// As it stands in the file.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = [
            u64::from(self.images),
            self.instructions,
            u64::from(self.instructions_min) | u64::from(self.instructions_max) << 32,
            u64::from(self.stack_bytes) | u64::from(self.scratch_bytes) << 32,
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_class_its_output_and_its_digests() {
        let words: [[u8; 4]; record_words(2, 1)] =
            [[7, 0, 0, 0], [0xFE, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0x80], [4, 3, 2, 1]];
        assert!(record(7, &[-2, i32::MIN], &[0x0102_0304]).eq(words));
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
        };
        assert_eq!(Trailer::from_bytes(&trailer.to_bytes()), Some(trailer));
        assert_eq!(Trailer::from_bytes(&[0; Trailer::BYTES]), None);
    }
}
