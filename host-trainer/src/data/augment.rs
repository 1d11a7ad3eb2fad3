//! How an example is shown to a network that trains: mirrored or not, and shifted by some pixels.
//!
//! An engine is handed one word an example, a *sample*: the example's number and what is done to it. So every engine, a GPU
//! too, shows the same pixels, and none needs a random generator. A plain number is that example as it is.

use super::{Inputs, Values};
use bn_core::lenet::{IMAGE_SIDE, Image};
use chacha20::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// Bits of a sample that hold the number of the example: 33 million.
pub const EXAMPLE_BITS: u32 = 25;
/// Set if the example is mirrored left to right, before it is shifted.
pub const FLIP: u32 = 1 << EXAMPLE_BITS;
/// Bits of a shift, two's complement: by how many pixels to the right, then by how many downwards.
pub const SHIFT_BITS: u32 = 3;
/// Position of the shift to the right.
pub const RIGHT_AT: u32 = EXAMPLE_BITS + 1;
/// Position of the shift downwards.
pub const DOWN_AT: u32 = RIGHT_AT + SHIFT_BITS;
/// Largest shift of either sign.
pub const MAX_SHIFT: u8 = 3;

/// Streams of the seed's generator from here on draw samples; those below, initial weights and orders.
const FIRST_STREAM: u64 = 1 << 32;

/// What may be done to an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augmentation {
    /// Half of the examples are mirrored left to right.
    pub flip: bool,
    /// Shifts of up to so many pixels in either direction, each as likely; at most [`MAX_SHIFT`].
    pub shift: u8,
}

/// Number of a sample's example.
pub const fn example(sample: u32) -> usize {
    (sample & (FLIP - 1)) as usize
}

/// Turns example numbers into the samples of epoch `epoch`, counted from 1. What becomes of an example follows from the
/// seed, the epoch and its number alone.
pub fn draw(augmentation: Augmentation, seed: u64, epoch: usize, order: &mut [u32]) {
    let Augmentation { flip, shift } = augmentation;
    if !flip && shift == 0 {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(FIRST_STREAM + epoch as u64);
    let words: Vec<u32> = (0..order.len()).map(|_| rng.next_u32()).collect();
    for sample in order {
        let word = words[*sample as usize];
        // Sixteen bits for each: the shares differ by one in ten thousand.
        let drawn = |bits: u32| (((bits & 0x7fff) * (2 * u32::from(shift) + 1)) >> 15).wrapping_sub(shift.into());
        let mask = (1 << SHIFT_BITS) - 1;
        *sample |= if flip && word >> 31 == 1 { FLIP } else { 0 };
        *sample |= ((drawn(word) & mask) << RIGHT_AT) | ((drawn(word >> 15) & mask) << DOWN_AT);
    }
}

/// The example of a sample as the network sees it. What is shifted in is black.
pub fn show(image: &Image, sample: u32) -> Image {
    let mut shown = [[0; IMAGE_SIDE]; IMAGE_SIDE];
    for (y, row) in shown.iter_mut().enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            let Some([y, x]) = source(sample, [IMAGE_SIDE; 2], [y, x]) else { continue };
            *pixel = image[y][x];
        }
    }
    shown
}

/// Inputs as an epoch shows them, one a sample.
pub fn shown(inputs: &Inputs, samples: &[u32]) -> Inputs {
    fn of<T: Copy + Default>(values: &[T], sample: u32, map: [usize; 2]) -> Vec<T> {
        let moved = |plane: &[T], at: usize| {
            let from = source(sample, map, [at / map[1], at % map[1]]);
            from.map_or(T::default(), |[row, column]| plane[row * map[1] + column])
        };
        let planes = values.chunks_exact(map[0] * map[1]);
        planes.flat_map(|plane| (0..plane.len()).map(move |at| moved(plane, at))).collect()
    }
    let (shape, map) = (inputs.shape(), [inputs.shape().height, inputs.shape().width]);
    let at = |&sample: &u32| example(sample) * shape.len()..(example(sample) + 1) * shape.len();
    Inputs::new(
        shape,
        match inputs.values() {
            Values::U8(values) => Values::U8(samples.iter().flat_map(|s| of(&values[at(s)], *s, map)).collect()),
            Values::F32(values) => Values::F32(samples.iter().flat_map(|s| of(&values[at(s)], *s, map)).collect()),
        },
    )
}

/// Where row and column of a sample come from in its example, a map `[height, width]`; `None` where they are shifted in.
pub fn source(sample: u32, [height, width]: [usize; 2], [y, x]: [usize; 2]) -> Option<[usize; 2]> {
    let [y, x] = [moved(y, shift(sample, DOWN_AT), height)?, moved(x, shift(sample, RIGHT_AT), width)?];
    Some([y, if sample & FLIP != 0 { width - 1 - x } else { x }])
}

fn shift(sample: u32, at: u32) -> i32 {
    (sample << (32 - SHIFT_BITS - at)) as i32 >> (32 - SHIFT_BITS)
}

/// Where a row or a column comes from; nowhere if that is outside the image of that side.
fn moved(to: usize, by: i32, side: usize) -> Option<usize> {
    usize::try_from(to as i32 - by).ok().filter(|&from| from < side)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Augmentation = Augmentation { flip: true, shift: 1 };

    fn sample(example: u32, flip: bool, right: i32, down: i32) -> u32 {
        let field = |shift: i32, at| (shift as u32 & 7) << at;
        example | if flip { FLIP } else { 0 } | field(right, RIGHT_AT) | field(down, DOWN_AT)
    }

    #[test]
    fn a_plain_number_is_the_example_as_it_is() {
        let image: Image = std::array::from_fn(|y| std::array::from_fn(|x| (y * 9 + x) as u8));
        assert_eq!((show(&image, 7), example(7)), (image, 7));
    }

    #[test]
    fn one_pixel_goes_where_it_should() {
        let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
        image[4][5] = 9;
        for (flip, right, down, at) in
            [(false, 1, 0, (4, 6)), (false, -3, 2, (6, 2)), (true, 0, 0, (4, 22)), (true, 1, -1, (3, 23))]
        {
            let mut expected = [[0; IMAGE_SIDE]; IMAGE_SIDE];
            expected[at.0][at.1] = 9;
            let sample = sample(33_000_000, flip, right, down);
            assert_eq!((show(&image, sample), example(sample)), (expected, 33_000_000));
        }
        image = [[9; IMAGE_SIDE]; IMAGE_SIDE];
        let shown = show(&image, sample(0, false, 2, -3));
        assert!(shown[..25].iter().all(|row| row[..2] == [0; 2] && row[2..] == [9; 26]));
        assert_eq!(shown[25..], [[0; IMAGE_SIDE]; 3]);
    }

    #[test]
    fn what_becomes_of_an_example_does_not_depend_on_the_order() {
        let (mut forward, mut backward): (Vec<u32>, Vec<u32>) = ((0..1000).collect(), (0..1000).rev().collect());
        draw(BOTH, 5, 3, &mut forward);
        draw(BOTH, 5, 3, &mut backward);
        backward.reverse();
        assert_eq!(forward, backward);
        assert!(forward.iter().enumerate().all(|(i, &s)| example(s) == i));
        let mut other = (0..1000).collect::<Vec<u32>>();
        draw(BOTH, 5, 4, &mut other);
        assert_ne!(forward, other);
    }

    #[test]
    fn every_flip_and_shift_is_as_likely() {
        let mut counts = std::collections::HashMap::new();
        let mut order: Vec<u32> = (0..18_000).collect();
        draw(BOTH, 0, 1, &mut order);
        order.iter().for_each(|s| *counts.entry(s >> EXAMPLE_BITS).or_insert(0) += 1);
        assert_eq!(counts.len(), 18);
        assert!(counts.values().all(|&n| (850..1150).contains(&n)), "{counts:?}");
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        let mut order = vec![3, 1, 2];
        draw(Augmentation::default(), 0, 1, &mut order);
        assert_eq!(order, [3, 1, 2]);
    }
}
