//! Hostile `weights.bin` files: damaged ones, and forged ones, where bytes of a good one are overwritten and the checksum is
//! made right again, so that it is the proofs of the parser which must hold them off. What is accepted is run. Touches no file.

use bn_core::format::{FormatError, Model, WEIGHTS_BYTES, WeightsFile};
use bn_core::infer::{Scratch, predict};
use bn_core::lenet::{IMAGE_SIDE, PIXELS};
use bn_core::quant::{LINEAR_UNIT, Quad, unpack_weights};
use bn_core::wide::{WideInt8Scratch, WideModel};
use bn_core::{Image, arch};
use host_trainer::model::weights::AlignedBytes;

use super::edits::{Files, sampled};

/// Bytes of one overwriting: how, two of the place, four of the value.
const EDIT: usize = 7;
/// Header with the sections' start: where most is decided.
const HEADER: usize = 64;
/// What of the header is not reserved.
const USED: usize = std::mem::offset_of!(WeightsFile, reserved);

/// An inference takes longer than many files; of what is accepted, one in so many is run.
const RUN_ONE_IN: u32 = 256;

/// A good file, damaged.
pub struct Weights {
    files: Files,
    runs: Runs,
}

impl Weights {
    /// Of a good file.
    ///
    /// # Panics
    /// If it is shorter than its header.
    pub fn new(good: &[u8]) -> Self {
        Self { files: Files::new(vec![(good.to_vec(), USED)]), runs: Runs::default() }
    }

    /// What the parser says of a file: with a first byte of zero, of the bytes behind it; else of the good file damaged as the
    /// description says.
    ///
    /// # Panics
    /// If a property does not hold.
    pub fn check(&mut self, description: &[u8]) -> bool {
        let file = match description {
            [0, raw @ ..] => raw,
            _ => self.files.damaged(description),
        };
        match bn_core::parse(file) {
            Ok(model) => {
                self.runs.accepted(file, model, description, description.len() as u8);
                true
            }
            // So long a vector is aligned by every allocator; what stands behind the first byte of an input is not.
            Err(error) => {
                assert!(error != FormatError::Misaligned || description[0] == 0);
                false
            }
        }
    }
}

/// A good file, copied back where the last input changed it.
pub struct Forge {
    good: Box<WeightsFile>,
    file: Box<WeightsFile>,
    runs: Runs,
}

impl Forge {
    /// Of a good file.
    ///
    /// # Panics
    /// If it is not good.
    pub fn new(good: &[u8]) -> Self {
        let bytes = AlignedBytes::new(good);
        let model = bn_core::parse(bytes.as_slice()).expect("a good file");
        let good = Box::new(*model.file());
        Self { file: good.clone(), good, runs: Runs::default() }
    }

    /// What the parser says of the good file with bytes overwritten as `input` says; of what it accepts, a part is run and held
    /// to what the parser proved. The file is sealed unless the edits are to the header.
    ///
    /// # Panics
    /// If a property does not hold.
    pub fn check(&mut self, input: &[u8]) -> bool {
        let (edits, rest) = input.as_chunks::<EDIT>();
        let mut header_alone = !edits.is_empty();
        for &[how, p0, p1, v0, v1, v2, v3] in edits {
            let place = usize::from(u16::from_le_bytes([p0, p1]));
            // A quarter of the edits is to the header; the others are to whole words of the tables.
            let (place, length) = match how % 4 {
                0 => (place % HEADER, 1 + usize::from(how / 4 % 4)),
                1 => (HEADER + place % (WEIGHTS_BYTES - HEADER), 1),
                2 => ((HEADER + place % (WEIGHTS_BYTES - HEADER)) & !1, 2),
                _ => ((HEADER + place % (WEIGHTS_BYTES - HEADER)) & !3, 4),
            };
            header_alone &= place < HEADER;
            let bytes: &mut [u8] = bytemuck::bytes_of_mut(&mut *self.file);
            let end = WEIGHTS_BYTES.min(place + length);
            bytes[place..end].copy_from_slice(&[v0, v1, v2, v3][..end - place]);
        }
        if !header_alone {
            self.file.seal();
        }
        let accepted = match bn_core::parse(self.file.bytes()) {
            Ok(model) => {
                let kind = rest.first().copied().unwrap_or(edits.len() as u8);
                self.runs.accepted(self.file.bytes(), model, input, kind);
                true
            }
            Err(error) => {
                assert!(error != FormatError::Misaligned);
                false
            }
        };
        self.restore(edits);
        accepted
    }

    /// Puts the good bytes back, where only a few were changed.
    fn restore(&mut self, edits: &[[u8; EDIT]]) {
        if edits.iter().all(|edit| edit[0] % 4 == 0) {
            let bytes: &mut [u8] = bytemuck::bytes_of_mut(&mut *self.file);
            let good: &[u8] = bytemuck::bytes_of(&*self.good);
            bytes[..HEADER + 4].copy_from_slice(&good[..HEADER + 4]);
        } else {
            self.file.clone_from(&self.good);
        }
    }
}

/// An extreme image: empty, full, or of both.
fn image(kind: u8) -> Image {
    let pixel = |at: usize| match kind % 4 {
        0 => 255,
        1 => 0,
        2 => (u8::from(at.is_multiple_of(2)) ^ u8::from((at / IMAGE_SIDE).is_multiple_of(2))) * 255,
        _ => (at as u32).wrapping_mul(2_654_435_761).rotate_left(u32::from(kind)) as u8,
    };
    let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
    (0..PIXELS).for_each(|at| image.as_flattened_mut()[at] = pixel(at));
    image
}

/// What is held of an accepted file.
#[derive(Default)]
struct Runs {
    scratch: Box<Scratch>,
    wide: Box<WideInt8Scratch>,
}

impl Runs {
    /// The writer makes the same bytes of it, and for a part of all inputs [`Self::inference`] on an image of that kind.
    fn accepted(&mut self, file: &[u8], model: Model<'_>, input: &[u8], kind: u8) {
        assert!(std::ptr::eq(model.file().bytes().as_slice(), file), "read in place");
        if sampled(input, RUN_ONE_IN) {
            let mut again = Box::new(*model.file());
            again.seal();
            assert!(again.bytes() == file, "accepted: the writer makes the same bytes");
            self.inference(model, &image(kind));
        }
    }

    /// Both paths to the same logits, and every linear accumulator, added up in 64 bits, inside 32.
    fn inference(&mut self, model: Model<'_>, image: &Image) {
        let portable = predict(&model, image, &mut self.scratch);
        let fast = WideModel::new(model).predict(image, &mut self.wide);
        assert_eq!(portable, fast, "the vector path gives the same bits");
        let (_, [flat, linear1, linear2]) = self.scratch.stages();
        let (l1, l2, l3) = (model.linear1(), model.linear2(), model.linear3());
        exact(flat, l1.weight.iter().zip(l1.bias).map(|(w, b)| (w.as_slice(), b)));
        exact(linear1, l2.weight.iter().zip(l2.bias).map(|(w, b)| (w.as_slice(), b)));
        exact(linear2, l3.weight.iter().zip(l3.bias).map(|(w, b)| (w.as_slice(), b)));
    }
}

type Block<'a> = (&'a [[bn_core::quant::Pair; arch::BLOCK]], &'a [i32; arch::BLOCK]);

fn exact<'a>(inputs: &[Quad], blocks: impl Iterator<Item = Block<'a>>) {
    for (weights, bias) in blocks {
        for o in 0..arch::BLOCK {
            let products = inputs.iter().zip(weights).flat_map(|(quad, pairs)| {
                quad.values().into_iter().zip(unpack_weights(pairs[o])).map(|(a, w)| i64::from(a) * i64::from(w))
            });
            let sum = i64::from(bias[o]) + i64::from(LINEAR_UNIT) * products.sum::<i64>();
            assert!(i32::try_from(sum).is_ok(), "an accumulator of {sum}");
        }
    }
}
