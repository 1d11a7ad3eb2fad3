//! Fields against plain sums at the edges of their room, and forged weights.

use std::boxed::Box;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::lenet::CLASSES;
use crate::quant::{SIGMOID_STEP, sigmoid_table_uncentred};

/// Taps at the edge of what a channel may have, or random ones.
fn taps(rng: &mut ChaCha8Rng) -> [[i64; KERNEL]; KERNEL] {
    let largest = [40, 500, 5_000, 100_000][rng.random_range(0..4)];
    let one_sided = rng.random::<bool>();
    let raw: [[i64; KERNEL]; KERNEL] = core::array::from_fn(|_| {
        core::array::from_fn(|_| rng.random_range(if one_sided { 0 } else { -largest }..=largest))
    });
    divided(&raw, finest_divisor(&raw))
}

/// The assembly's arithmetic: 64-bit sums of packed products, from which fields are cut.
fn by_fields(channel: &Channel, image: &Image) -> [[i64; IMAGE_SIDE - KERNEL + 1]; IMAGE_SIDE - KERNEL + 1] {
    let packed = image.map(|row| {
        core::array::from_fn::<_, { IMAGE_SIDE / 2 }, _>(|k| {
            let [x0, x1] = [row[2 * k], row[2 * k + 1]].map(i32::from);
            2 * (x0 + (x1 << FIELD))
        })
    });
    let start = u64::from(channel.start[0]) | u64::from(channel.start[1]) << 32;
    core::array::from_fn(|y| {
        let mut row = [0; IMAGE_SIDE - KERNEL + 1];
        let odd = channel.first.iter().zip(&image[y..]);
        let mut before = i64::from(channel.start[1] >> 13)
            + odd.map(|(w, x)| i64::from(w.dot(Pair::new(x[1].into(), x[3].into())))).sum::<i64>();
        for n in (0..row.len()).step_by(2) {
            let mut sum = start;
            for (weights, words) in channel.weight.iter().zip(&packed[y..]) {
                for (&w, &x) in weights.iter().zip(&words[n / 2..]) {
                    sum = sum.wrapping_add_signed(i64::from(w) * i64::from(x));
                }
            }
            let field = |at: u32| (sum >> (1 + at * FIELD)) as i64 & ((1 << FIELD) - 1);
            row[n] = field(0) + before;
            row[n + 1] = field(1);
            before = field(2);
        }
        row
    })
}

fn directly(
    taps: &[[i64; KERNEL]; KERNEL],
    image: &Image,
) -> [[i64; IMAGE_SIDE - KERNEL + 1]; IMAGE_SIDE - KERNEL + 1] {
    let below: i64 = taps.as_flattened().iter().map(|tap| tap.min(&0)).sum();
    core::array::from_fn(|y| {
        core::array::from_fn(|x| {
            let rows = taps.iter().zip(&image[y..]);
            let products = rows.flat_map(|(taps, row)| taps.iter().zip(&row[x..]));
            products.map(|(tap, &pixel)| tap * i64::from(pixel)).sum::<i64>() - below * i64::from(PIXEL_ONE)
        })
    })
}

#[test]
fn fields_never_run_over_and_are_the_sums() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..if cfg!(miri) { 1 } else { 200 } {
        let taps = taps(&mut rng);
        let channel = Channel::of(taps);
        assert_eq!(channel.taps(), taps);
        assert!(channel.check(0).is_ok());
        // Ones where a tap is positive, or negative, drive an output to its ends; noise does the rest.
        let mut images = [[[0; IMAGE_SIDE]; IMAGE_SIDE]; 4];
        images[0].as_flattened_mut().fill_with(|| rng.random());
        images[1].as_flattened_mut().fill(255);
        for (image, positive) in [(2, true), (3, false)] {
            for (y, row) in images[image].iter_mut().enumerate() {
                for (x, pixel) in row.iter_mut().enumerate() {
                    *pixel = if (taps[y % KERNEL][x % KERNEL] > 0) == positive { 255 } else { 0 };
                }
            }
        }
        for image in &images {
            let sums = directly(&taps, image);
            assert_eq!(by_fields(&channel, image), sums);
            assert!(sums.as_flattened().iter().all(|sum| (0..(TABLE_LEN as i64) << SHIFT).contains(sum)));
        }
    }
}

fn file() -> Box<WeightsFile> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut file = Box::new(WeightsFile::zeroed());
    for rows in file.conv1_lanes.as_flattened_mut() {
        let w: [i16; KERNEL] = core::array::from_fn(|_| rng.random_range(-300..=300));
        *rows = [
            [Pair::new(w[0], w[1]), Pair::new(w[2], w[3]), Pair::new(w[4], 0)],
            [Pair::new(0, w[0]), Pair::new(w[1], w[2]), Pair::new(w[3], w[4])],
        ];
    }
    file.linear1_multiplier.as_flattened_mut().fill(1);
    file.linear2_multiplier.as_flattened_mut().fill(1);
    file.linear3_multiplier.as_flattened_mut()[..CLASSES].fill(1);
    file.conv1_sigmoid = sigmoid_table_uncentred(SIGMOID_STEP);
    file.seal();
    file
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "a file is read on little-endian machines alone")]
fn a_flipped_bit_is_refused_and_so_is_a_forged_field() {
    let file = file();
    let mut weights = Box::new(Weights::of(&parse(file.bytes()).unwrap()));
    let bytes: &mut [u8; WEIGHTS_BYTES] = bytemuck::must_cast_mut(&mut *weights);
    assert!(Weights::read(bytes).is_ok_and(|weights| weights.checksum() == file.checksum));
    for &at in if cfg!(miri) { &[4, WEIGHTS_BYTES - 1][..] } else { &[0, 4, 100, 1000, WEIGHTS_BYTES - 1] } {
        bytes[at] ^= 0x10;
        assert!(matches!(Weights::read(bytes), Err(FormatError::Checksum { .. })), "{at}");
        bytes[at] ^= 0x10;
    }
    assert!(matches!(Weights::read(&bytes[..8]), Err(FormatError::Length { .. })));

    let forged = |change: fn(&mut Weights)| {
        let mut weights = Box::new(*weights);
        change(&mut weights);
        weights.crc = weights.compute_crc();
        Weights::read(weights.bytes()).map(|_| ()).unwrap_err()
    };
    let (layer, channel) = (Layer::Conv1, 3);
    let large = forged(|weights| weights.channels[3].weight[0][0] += 5_000);
    assert_eq!(large, FormatError::Accumulator { layer, channel });
    let twofold = forged(|weights| weights.channels[3].first[4].high ^= 1);
    assert_eq!(twofold, FormatError::WeightRange { layer, channel });
    let borrow = forged(|weights| weights.channels[3].start[0] -= 2);
    assert_eq!(borrow, FormatError::WeightRange { layer, channel });
    assert_eq!(forged(|weights| weights.tables[1][2] = 255), FormatError::Sigmoid { layer, index: TABLE_LEN + 2 });
}
