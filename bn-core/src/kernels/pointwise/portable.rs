//! Convolutions of single positions in plain Rust: the specification of every faster path.

use super::{PAIR, Pointwise, SHIFT, is_shift};
use crate::kernels::packed::{Epilogue, Maps, Output, words_of};
use crate::kernels::pairs::chain;

/// A convolution with what stands behind it. Its input may lie in its output.
#[inline(never)]
pub fn pointwise(shape: &Pointwise, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let [low, high, ..] = *stream else { return };
    let channels = stream.get(shape.window.preamble_words()..).unwrap_or_default();
    let Some(codes) = scratch.get_mut(..4 * shape.quads()) else { return };
    let ([_, width], positions) = (shape.window.output, shape.window.positions());
    let is_shift = is_shift(shape, stream);
    let mut run = Run { shape, is_shift, epilogue: Epilogue::new(low, high, None), maps };
    for first in (0..positions).step_by(2) {
        let two = [first, (first + 1).min(positions - 1)];
        run.expand(two.map(|position| [position / width.max(1), position % width.max(1)]), codes);
        for (at, words) in channels.chunks_exact(shape.pairs().words().max(1)).enumerate() {
            run.pair(first, PAIR * at, codes, words);
        }
    }
    Output::new(run.maps.output, false).clear_rest(shape.channels, positions);
}

struct Run<'a> {
    shape: &'a Pointwise,
    is_shift: bool,
    epilogue: Epilogue<'a>,
    maps: Maps<'a>,
}

impl Run<'_> {
    /// The codes of two positions, 0 and 2, 1 and 3.
    #[inline(never)]
    fn expand(&self, positions: [[usize; 2]; 2], codes: &mut [u32]) {
        let window = &self.shape.window;
        let input = self.maps.input(words_of(window.input));
        let at = positions.map(|[row, column]| row * window.stride[0] * window.input.width + column * window.stride[1]);
        for (quad, codes) in codes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let [a, b] = at.map(|at| input.word(quad, window.area(), at));
            *codes = [a, b, a >> 8, b >> 8].map(|word| word & 0x00FF_00FF);
        }
    }

    /// Two channels of two positions, the last perhaps alone.
    #[inline(never)]
    fn pair(&mut self, first: usize, channel: usize, codes: &[u32], words: &[u32]) {
        let Some(pair) = self.shape.pairs().pair(words) else { return };
        let mut sums = [[[0; 2]; 1]; PAIR];
        let [one, other] = &mut sums;
        chain(pair.start.map(|start| [start; 2]), [codes, pair.weights], one, other);
        let count = self.shape.window.positions();
        for (o, sums) in sums.as_flattened().iter().enumerate().take(self.shape.channels.saturating_sub(channel)) {
            for (position, &sum) in (first..count).zip(sums) {
                let sum = self.maps.add(sum, pair.adds[o], [channel + o, position], count);
                let value = if self.is_shift {
                    self.epilogue.finish(sum >> SHIFT)
                } else {
                    self.epilogue.of(sum, pair.multiplier[o])
                };
                Output::new(self.maps.output, false).put(channel + o, count, position, value);
            }
        }
    }
}
