//! Which bits of a step's output hold values: the others are whatever lay there before.

use super::Form;
use crate::kernels::packed::{LANES, half_words, words_of};
use crate::network::Shape;

/// The words of a step's output that hold values, from its first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// How many words hold values.
    pub words: usize,
    /// How many of them, the last ones, hold values in some bits alone.
    pub last: usize,
    /// These bits.
    pub mask: u32,
}

impl Filled {
    /// Of a tensor of that form and shape.
    pub const fn of(form: Form, shape: Shape) -> Self {
        let words = match form {
            Form::Bytes => super::words(shape.len()),
            Form::PairSums => shape.len() / 2,
            // Two words are a quad of four values, and a kernel writes whole ones.
            Form::Quads => 2 * shape.len().div_ceil(4),
            Form::Packed => return Self::packed(shape),
            Form::Words => shape.len(),
            Form::Halves => half_words(shape.len()),
        };
        Self { words, last: 0, mask: 0 }
    }

    /// The last channels may be fewer than a word has.
    const fn packed(shape: Shape) -> Self {
        let (words, bits) = (words_of(shape), u8::BITS as usize * (shape.channels % LANES));
        if bits == 0 {
            return Self { words, last: 0, mask: 0 };
        }
        Self { words, last: shape.height * shape.width, mask: (1 << bits) - 1 }
    }

    /// A digest of the values: another one where a single word differs, and else, but for one chance in 2^32.
    pub fn digest(self, output: &[u32]) -> u32 {
        let whole = self.words.saturating_sub(self.last);
        // The body of MurmurHash3 (Appleby 2011): one to one in the word and in what came before.
        let add = |digest: u32, word: u32| {
            let mixed = word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
            (digest ^ mixed).rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64)
        };
        let (whole, rest) = output.split_at_checked(whole).unwrap_or((output, &[]));
        let digest = whole.iter().fold(0, |digest, &word| add(digest, word));
        rest.iter().take(self.last).fold(digest, |digest, &word| add(digest, word & self.mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_a_value_counts_and_no_other() {
        let filled = Filled { words: 3, last: 1, mask: 0xFFFF };
        let output = [1, 2, 3, 4];
        let digest = filled.digest(&output);
        for (at, bit) in (0..4).flat_map(|at| (0..32).map(move |bit| (at, bit))) {
            let mut other = output;
            other[at] ^= 1 << bit;
            let counts = at < 2 || (at == 2 && bit < 16);
            assert_eq!(filled.digest(&other) != digest, counts, "word {at}, bit {bit}");
        }
    }

    #[test]
    fn two_changes_do_not_make_up_for_each_other() {
        let filled = Filled { words: 16, last: 0, mask: 0 };
        let mut seen = std::collections::BTreeSet::new();
        // All outputs that are 0 but for two bits.
        for (a, b) in (0..512).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let mut output = [0; 16];
            output[a / 32] |= 1 << (a % 32);
            output[b / 32] |= 1 << (b % 32);
            seen.insert(filled.digest(&output));
        }
        let all = 512 * 511 / 2;
        assert!(all - seen.len() < 10, "{} of {all} digests", seen.len());
    }

    #[test]
    fn words_that_no_value_lies_in_are_left_out() {
        let words = |form, shape| Filled::of(form, shape).words;
        assert_eq!(words(Form::PairSums, Shape::new(6, 12, 12)), 432);
        let filled = Filled { words: 30, last: 15, mask: 0xFF_FFFF };
        assert_eq!(Filled::of(Form::Packed, Shape::new(7, 5, 3)), filled);
        assert_eq!(Filled::of(Form::Packed, Shape::new(8, 5, 3)), Filled { words: 30, last: 0, mask: 0 });
        assert_eq!((words(Form::Quads, Shape::flat(84)), words(Form::Words, Shape::flat(10))), (42, 10));
    }
}
