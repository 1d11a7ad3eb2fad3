//! The integer network, interpreted step by step with the portable kernels.

use std::vec::Vec;

use super::{FileStep, WeightsFile};
use crate::format::CRC;
use crate::kernels::packed::{Input, Maps};
use crate::kernels::{linear, winograd5};
use crate::plan::{Family, NONE, Step};
use crate::quant::Quad;

/// Memory of an interpreted inference. Contents need not be cleared between inputs.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    words: Vec<u32>,
    /// Copies of what a step reads and works in: on a host memory is cheap, and nothing can overlap.
    input: Vec<u32>,
    scratch: Vec<u32>,
}

impl WeightsFile {
    /// Runs the integer network over an input of raw bytes (channel, row, column), and hands each step's output to `observe` as
    /// words. Returns the integers of the output.
    ///
    /// # Panics
    /// If there are not as many bytes as the network reads.
    pub fn run(&self, input: &[u8], arena: &mut Arena, mut observe: impl FnMut(usize, &[u32])) -> Vec<i32> {
        assert_eq!(input.len(), self.input.len(), "an input of the network");
        arena.words.resize(self.arena_words(), 0);
        for at in 0..self.steps.len() {
            self.run_step(at, input, arena);
            let FileStep { step, shapes, .. } = self.steps[at];
            observe(at, &arena.words[step.output as usize..][..shapes.output]);
        }
        let last = self.steps.len() - 1;
        self.step_values(last, &arena.words[self.steps[last].step.output as usize..])
    }

    fn run_step(&self, at: usize, image: &[u8], arena: &mut Arena) {
        let FileStep { step: Step { input, output, .. }, family, shapes, .. } = self.steps[at];
        let Arena { words, input: read, scratch } = arena;
        read.clear();
        if input != NONE {
            read.extend_from_slice(&words[input as usize..][..shapes.input]);
        }
        scratch.resize(shapes.scratch.max(scratch.len()), 0);
        let (output, window) = (&mut words[output as usize..][..shapes.output], &mut scratch[..shapes.scratch]);
        match family {
            Family::Winograd5Image => {
                let (rows, _) = image.as_chunks();
                let image = rows.first_chunk().expect("28 rows of 28");
                winograd5::portable::image(
                    cast(self.stream(at)),
                    self.table(at),
                    image,
                    cast_mut(window),
                    cast_mut(output),
                );
            }
            Family::Winograd5Maps => {
                let (stream, table) = (cast(self.stream(at)), self.centred_table(at));
                winograd5::portable::maps(stream, table, cast(read), cast_mut(window), cast_mut(output));
            }
            Family::LinearSigmoid => {
                let (quads, output): (&[Quad], &mut [Quad]) =
                    (bytemuck::cast_slice(read), bytemuck::cast_slice_mut(output));
                linear::portable::sigmoid_of(self.linear(at), self.centred_table(at), quads, output);
            }
            Family::LinearLogits => {
                linear::portable::logits_of(
                    self.linear(at),
                    bytemuck::cast_slice(read),
                    bytemuck::cast_slice_mut(output),
                );
            }
            _ => self.run_layer(at, image, arena),
        }
    }

    /// A step whose family takes any shape.
    fn run_layer(&self, at: usize, image: &[u8], arena: &mut Arena) {
        let FileStep { step, shapes, table_at, other, .. } = self.steps[at];
        let Arena { words, input: read, scratch } = arena;
        let input = if step.input == NONE { Input::Bytes(image) } else { Input::Packed(read) };
        let second = match other {
            Some(place) if place != NONE => words[place as usize..].to_vec(),
            _ => Vec::new(),
        };
        let second = if other == Some(NONE) { Input::Bytes(image) } else { Input::Packed(&second) };
        let output = &mut words[step.output as usize..][..shapes.output];
        let maps = Maps { input: Some(input), added: other.map(|_| second), output };
        let kernel = self.layer(at).expect("its family takes it").kernel;
        let table = table_at.map(|_| self.table(at));
        kernel.run(self.stream(at), table, maps, &mut scratch[..shapes.scratch]);
    }

    /// What [`goldens`](WeightsFile::goldens) must be: CRC-32 of each step's output for [`golden_input`](crate::format::golden_input).
    pub fn compute_goldens(&self) -> Vec<u32> {
        let input: Vec<u8> = (0..self.input.len()).map(crate::format::golden_input).collect();
        let mut goldens = Vec::new();
        self.run(&input, &mut Arena::default(), |_, output| goldens.push(CRC.checksum(bytemuck::cast_slice(output))));
        goldens
    }
}

fn cast<T: bytemuck::Pod>(words: &[u32]) -> &T {
    bytemuck::from_bytes(bytemuck::cast_slice(words))
}

fn cast_mut<T: bytemuck::Pod>(words: &mut [u32]) -> &mut T {
    bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(words))
}
