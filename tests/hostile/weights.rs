//! Hostile `weights.bin` files: damaged ones, and forged ones, where bytes of a good one are overwritten and the checksum is
//! made right again, so that it is the proofs of the parser which must hold them off. What is accepted is run. Touches no file.

use bn_core::build::generate;
use bn_core::file::{Arena, WeightsFile, reseal};
use bn_core::format::{HEADER_BYTES, Header};
use bn_core::kernels::linear::BLOCK;
use bn_core::lenet::{IMAGE_SIDE, Image, PIXELS, Streams};
use bn_core::quant::{LINEAR_UNIT, Pair, Quad, unpack_weights};
use bn_core::wide::{WideInt8Scratch, WideModel};

use super::edits::{Files, sampled};

/// Bytes of one overwriting: how, two of the place, four of the value.
const EDIT: usize = 7;
/// What of the header is not reserved.
const USED: usize = std::mem::offset_of!(Header, reserved);

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
        match WeightsFile::read(file) {
            Ok(model) => {
                self.runs.accepted(file, &model, description, description.len() as u8);
                true
            }
            Err(_) => false,
        }
    }
}

/// A good file, copied back where the last input changed it.
pub struct Forge {
    good: Vec<u8>,
    file: Vec<u8>,
    /// Bytes before the streams: header, description and plan, where most is decided.
    head: usize,
    runs: Runs,
}

impl Forge {
    /// Of a good file.
    ///
    /// # Panics
    /// If it is not good.
    pub fn new(good: &[u8]) -> Self {
        let model = WeightsFile::read(good).expect("a good file");
        let head = model.model_bytes().len() - size_of_val(model.streams());
        Self { file: good.to_vec(), good: good.to_vec(), head, runs: Runs::default() }
    }

    /// What the parser says of the good file with bytes overwritten as `input` says; of what it accepts, a part is run and held
    /// to what the parser proved. The file is sealed unless the edits are to the header.
    ///
    /// # Panics
    /// If a property does not hold.
    pub fn check(&mut self, input: &[u8]) -> bool {
        let (edits, rest) = input.as_chunks::<EDIT>();
        let mut header_alone = !edits.is_empty();
        let (length, head) = (self.good.len(), self.head);
        for &[how, p0, p1, v0, v1, v2, v3] in edits {
            let place = usize::from(u16::from_le_bytes([p0, p1]));
            // A quarter of the edits is to the header; the others are to whole words of the tables.
            let (place, count) = match how % 4 {
                0 => (place % head, 1 + usize::from(how / 4 % 4)),
                1 => (head + place % (length - head), 1),
                2 => ((head + place % (length - head)) & !1, 2),
                _ => ((head + place % (length - head)) & !3, 4),
            };
            header_alone &= place < HEADER_BYTES;
            let end = length.min(place + count);
            self.file[place..end].copy_from_slice(&[v0, v1, v2, v3][..end - place]);
        }
        if !header_alone {
            reseal(&mut self.file);
        }
        let accepted = match WeightsFile::read(&self.file) {
            Ok(model) => {
                let kind = rest.first().copied().unwrap_or(edits.len() as u8);
                self.runs.accepted(&self.file, &model, input, kind);
                true
            }
            Err(_) => false,
        };
        self.restore(edits);
        accepted
    }

    /// Puts the good bytes back, where only a few were changed.
    fn restore(&mut self, edits: &[[u8; EDIT]]) {
        let end = if edits.iter().all(|edit| edit[0] % 4 == 0) { self.head + 4 } else { self.good.len() };
        self.file[..end].copy_from_slice(&self.good[..end]);
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
    arena: Arena,
    wide: Box<WideInt8Scratch>,
}

impl Runs {
    /// The file is what was read, code can be generated from it, and for a part of all inputs it runs on an image of that kind:
    /// LeNet by [`Self::inference`].
    fn accepted(&mut self, file: &[u8], model: &WeightsFile, input: &[u8], kind: u8) {
        assert!(model.to_bytes() == file, "accepted: the writer makes the same bytes");
        let code = generate(model, "model");
        assert!(code.contains("pub fn predict<") && code.ends_with("}\n"), "code of a file that was accepted");
        let is_lenet = Streams::of(model).is_some();
        match sampled(input, RUN_ONE_IN) {
            true if is_lenet => self.inference(model, &image(kind)),
            true => {
                let (image, length) = (image(kind), model.network().topology.input.len());
                let codes: Vec<u8> = image.as_flattened().iter().copied().cycle().take(length).collect();
                model.run(&codes, &mut self.arena, |_, _| {});
            }
            false => {}
        }
    }

    /// Both paths to the same logits, and every linear accumulator, added up in 64 bits, inside 32.
    fn inference(&mut self, model: &WeightsFile, image: &Image) {
        let mut inputs: Vec<Vec<Quad>> = Vec::new();
        let portable = model.run(image.as_flattened(), &mut self.arena, |step, output| {
            if (1..4).contains(&step) {
                inputs.push(bytemuck::cast_slice(output).to_vec());
            }
        });
        let f = Streams::of(model).expect("the only plan that there is for this network");
        if let Some(wide) = WideModel::new(f) {
            let fast = wide.predict(image, &mut self.wide);
            assert_eq!(portable, fast, "the vector path gives the same bits");
        }
        exact(&inputs[0], f.linear1_weight.iter().zip(&f.linear1_bias).map(|(w, b)| (w.as_slice(), b)));
        exact(&inputs[1], f.linear2_weight.iter().zip(&f.linear2_bias).map(|(w, b)| (w.as_slice(), b)));
        exact(&inputs[2], f.linear3_weight.iter().zip(&f.linear3_bias).map(|(w, b)| (w.as_slice(), b)));
    }
}

type Block<'a> = (&'a [[Pair; BLOCK]], &'a [i32; BLOCK]);

fn exact<'a>(inputs: &[Quad], blocks: impl Iterator<Item = Block<'a>>) {
    for (weights, bias) in blocks {
        for o in 0..BLOCK {
            let products = inputs.iter().zip(weights).flat_map(|(quad, pairs)| {
                quad.values().into_iter().zip(unpack_weights(pairs[o])).map(|(a, w)| i64::from(a) * i64::from(w))
            });
            let sum = i64::from(bias[o]) + i64::from(LINEAR_UNIT) * products.sum::<i64>();
            assert!(i32::try_from(sum).is_ok(), "an accumulator of {sum}");
        }
    }
}
