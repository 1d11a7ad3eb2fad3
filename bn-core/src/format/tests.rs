//! One test for each reason to refuse a file, and that every single flipped byte is refused.

use super::*;
use crate::lenet::CLASSES;
use crate::quant::{SIGMOID_STEP, pack_weights, sigmoid_table, sigmoid_table_uncentred};
use bytemuck::Zeroable;
use rand::{RngExt, SeedableRng};

/// A valid file with random weights. Boxed for the test threads' small stacks.
pub(crate) fn valid() -> std::boxed::Box<WeightsFile> {
    // Drawn once: under Miri that takes longer than what the tests do with it.
    static FILE: std::sync::OnceLock<std::boxed::Box<WeightsFile>> = std::sync::OnceLock::new();
    FILE.get_or_init(draw).clone()
}

fn draw() -> std::boxed::Box<WeightsFile> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut file = std::boxed::Box::new(WeightsFile::zeroed());
    let f = &mut *file;
    for (channel, points) in f.conv1_lanes.iter_mut().enumerate() {
        f.conv1_bias[channel] = rng.random_range(-1_000_000..1_000_000);
        for rows in points {
            let taps: [i16; KERNEL] = core::array::from_fn(|_| rng.random_range(-2047..=2047));
            *rows = conv1_rows(taps);
        }
    }
    for pair in f.conv2_lanes.as_flattened_mut().as_flattened_mut().as_flattened_mut() {
        *pair = Pair::new(rng.random_range(-100..=100), rng.random_range(-100..=100));
    }
    let mut weights = || pack_weights(core::array::from_fn(|_| rng.random_range(-127..=127)));
    f.linear1_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    f.linear2_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    f.linear3_weight.as_flattened_mut().as_flattened_mut().fill_with(&mut weights);
    for (block, rows) in f.linear3_weight.iter_mut().enumerate() {
        rows[LINEAR2_QUADS - 1].fill(Pair::default());
        for outputs in rows {
            outputs[if block == LOGIT_BLOCKS - 1 { 2 } else { BLOCK }..].fill(Pair::default());
        }
    }
    f.linear1_multiplier.as_flattened_mut().fill(1000);
    f.linear2_multiplier.as_flattened_mut().fill(1000);
    f.linear3_multiplier.as_flattened_mut()[..CLASSES].fill(1000);
    f.conv1_sigmoid = sigmoid_table_uncentred(SIGMOID_STEP);
    f.conv2_sigmoid = sigmoid_table(2.0 * SIGMOID_STEP);
    f.linear_sigmoid = sigmoid_table(SIGMOID_STEP);
    f.seal();
    file
}

/// Five taps as the upper and the lower output row see them.
fn conv1_rows(t: [i16; KERNEL]) -> [[Pair; 3]; POOL] {
    [
        [Pair::new(t[0], t[1]), Pair::new(t[2], t[3]), Pair::new(t[4], 0)],
        [Pair::new(0, t[0]), Pair::new(t[1], t[2]), Pair::new(t[3], t[4])],
    ]
}

/// What `parse` says of a valid file after `change` and a fresh checksum.
fn forged(change: impl FnOnce(&mut WeightsFile)) -> Result<(), FormatError> {
    let mut file = valid();
    change(&mut file);
    file.checksum = CRC.checksum(&file.bytes()[BEFORE_CHECKED..]);
    parse(file.bytes()).map(|_| ())
}

#[test]
fn a_sealed_file_parses_to_what_was_written() {
    let file = valid();
    let model = parse(file.bytes()).unwrap();
    assert_eq!(model.file().bytes(), file.bytes());
    assert_eq!(model.conv2().lanes, &file.conv2_lanes);
    assert_eq!(model.linear1().weight, &file.linear1_weight);
}

#[test]
fn the_table_covers_every_byte_once() {
    let mut offset = 0;
    for field in FIELDS {
        assert_eq!(field.offset, offset, "{}", field.name);
        offset += field.bytes;
    }
    assert_eq!((offset, WEIGHTS_BYTES), (WEIGHTS_BYTES, 55_640));
}

#[test]
fn wrong_lengths_are_named() {
    let file = valid();
    for found in [0, 1, 63, 64, WEIGHTS_BYTES - 1] {
        assert_eq!(parse(&file.bytes()[..found]).unwrap_err(), FormatError::Length { expected: WEIGHTS_BYTES, found });
    }
    let mut longer = file.bytes().to_vec();
    longer.push(0);
    let found = longer.len();
    assert_eq!(parse(&longer).unwrap_err(), FormatError::Length { expected: WEIGHTS_BYTES, found });
}

#[test]
fn a_misaligned_file_is_named() {
    let mut buffer = std::vec![0_u8; WEIGHTS_BYTES + 8];
    let start = buffer.as_ptr().align_offset(4) + 1;
    buffer[start..start + WEIGHTS_BYTES].copy_from_slice(valid().bytes());
    assert_eq!(parse(&buffer[start..start + WEIGHTS_BYTES]).unwrap_err(), FormatError::Misaligned);
}

#[test]
fn erased_flash_is_named() {
    let words = std::vec![0xFFFF_FFFF_u32; WEIGHTS_BYTES / 4];
    assert_eq!(parse(bytemuck::cast_slice(&words)).unwrap_err(), FormatError::Erased);
    let words = std::vec![0_u32; WEIGHTS_BYTES / 4];
    assert_eq!(parse(bytemuck::cast_slice(&words)).unwrap_err(), FormatError::Erased);
}

#[test]
fn each_header_field_is_checked() {
    assert_eq!(forged(|f| f.magic[0] = b'b'), Err(FormatError::Magic));
    assert_eq!(forged(|f| f.format_version = 1), Err(FormatError::Version { found: 1 }));
    assert_eq!(forged(|f| f.arithmetic = 9), Err(FormatError::Arithmetic { found: 9 }));
    assert_eq!(forged(|f| f.network ^= 1), Err(FormatError::Network { found: NETWORK ^ 1 }));
    assert_eq!(forged(|f| f.length = 5), Err(FormatError::DeclaredLength { found: 5 }));
    assert_eq!(forged(|f| f.reserved[38] = 1), Err(FormatError::Reserved { offset: 63 }));
    assert_eq!(forged(|f| f.logit_fraction_bits = 21), Err(FormatError::LogitFractionBits { found: 21 }));
}

#[test]
fn each_number_is_checked() {
    let range = |layer, channel| Err(FormatError::WeightRange { layer, channel });
    assert_eq!(forged(|f| f.conv1_lanes[5][7][1][2].high = i16::MIN), range(Layer::Conv1, 5));
    assert_eq!(forged(|f| f.conv1_lanes[4][0][0][2].high = 1), range(Layer::Conv1, 4));
    assert_eq!(forged(|f| f.conv1_lanes[3][6][1][0].low = 1), range(Layer::Conv1, 3));
    assert_eq!(forged(|f| f.conv2_lanes[15][0][2][4].low = i16::MIN), range(Layer::Conv2, 15));
    assert_eq!(forged(|f| f.linear1_weight[29][63][3].low = 128), range(Layer::Linear1, 119));
    assert_eq!(forged(|f| f.linear2_weight[0][0][0].high = i16::MIN), range(Layer::Linear2, 0));
    assert_eq!(forged(|f| f.linear3_weight[2][20][1].low = i16::MAX), range(Layer::Linear3, 9));
    assert_eq!(forged(|f| f.linear3_weight[0][21][1].low = 1), range(Layer::Linear3, 1));
    assert_eq!(forged(|f| f.linear3_weight[2][0][2].low = 1), range(Layer::Linear3, 10));
    assert_eq!(forged(|f| f.conv1_lanes[2][6][1][1].high ^= 2), Err(FormatError::KernelRows { channel: 2 }));
    let multiplier = |layer, channel| Err(FormatError::Multiplier { layer, channel });
    assert_eq!(forged(|f| f.linear2_multiplier[0][3] = 0), multiplier(Layer::Linear2, 3));
    assert_eq!(forged(|f| f.linear2_multiplier[0][3] = -5), multiplier(Layer::Linear2, 3));
    assert_eq!(forged(|f| f.linear3_multiplier[2][3] = 5), multiplier(Layer::Linear3, 11));
    let sigmoid = |layer, index| Err(FormatError::Sigmoid { layer, index });
    assert_eq!(forged(|f| f.conv1_sigmoid[512] = 1), sigmoid(Layer::Conv1, 512));
    assert_eq!(forged(|f| f.conv1_sigmoid[1023] = 255), sigmoid(Layer::Conv1, 1023));
    assert_eq!(forged(|f| f.conv2_sigmoid[0] = -128), sigmoid(Layer::Conv2, 0));
    assert_eq!(forged(|f| f.linear_sigmoid[1023] = 0), sigmoid(Layer::Linear1, 1023));
}

#[test]
fn the_accumulator_bounds_are_exact() {
    let overflow = |layer, channel| Err(FormatError::Accumulator { layer, channel });
    // A linear output of K weights of magnitude w leaves |bias| <= i32::MAX - 256 * 127 * K * w.
    let room = i32::MAX - 256 * 127 * 256 * 127;
    let set = |bias| {
        move |f: &mut WeightsFile| {
            f.linear1_bias[1][2] = bias;
            f.linear1_weight[1].iter_mut().for_each(|outputs| outputs[2] = pack_weights([-127, 127, 127, -127]));
        }
    };
    assert_eq!(forged(set(room)), Ok(()));
    assert_eq!(forged(set(-room)), Ok(()));
    assert_eq!(forged(set(room + 1)), overflow(Layer::Linear1, 6));
    assert_eq!(forged(set(-room - 1)), overflow(Layer::Linear1, 6));
    assert_eq!(forged(|f| f.linear3_bias[0][0] = i32::MIN), overflow(Layer::Linear3, 0));
    assert_eq!(forged(|f| f.linear3_bias[2][3] = 1), overflow(Layer::Linear3, 11));
    // Only the point at 0: output 0 is 4 d0 - 21 d2 + 21 d4 - 4 d6 times the lane.
    let set = |bias| {
        move |f: &mut WeightsFile| {
            f.conv1_bias[2] = bias;
            f.conv1_lanes[2] = [[[Pair::default(); 3]; POOL]; POINTS];
            f.conv1_lanes[2][6] = conv1_rows([32_767, 0, 0, 0, 0]);
        }
    };
    let reach = 25 * 255 * 32_767;
    assert_eq!(forged(set(i32::MAX - reach)), Ok(()));
    assert_eq!(forged(set(i32::MIN + reach)), Ok(()));
    assert_eq!(forged(set(i32::MAX - reach + 1)), overflow(Layer::Conv1, 2));
    assert_eq!(forged(set(i32::MIN + reach - 1)), overflow(Layer::Conv1, 2));
    let set = |bias| {
        move |f: &mut WeightsFile| {
            f.conv2_bias[9] = bias;
            f.conv2_lanes[9] = [[[Pair::default(); KERNEL]; 3]; POINTS];
            f.conv2_lanes[9][7][2][4].high = -20_000;
        }
    };
    let reach = 50 * 508 * 20_000;
    assert_eq!(forged(set(i32::MAX - reach)), Ok(()));
    assert_eq!(forged(set(i32::MAX - reach + 1)), overflow(Layer::Conv2, 9));
    assert_eq!(forged(set(i32::MIN + reach - 1)), overflow(Layer::Conv2, 9));
}

#[test]
#[cfg_attr(miri, ignore = "55,640 checksums")]
fn every_single_flipped_byte_is_refused() {
    // A CRC-32 finds every burst of up to 32 bits; a table-driven one here makes the 55,640 checksums affordable.
    let fast = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut file = valid();
    let stored = file.checksum;
    let bytes: &mut [u8; WEIGHTS_BYTES] = bytemuck::must_cast_mut(&mut *file);
    let mut refused = 0;
    for offset in 0..WEIGHTS_BYTES {
        bytes[offset] ^= 0x5A;
        let by_checksum = offset >= BEFORE_CHECKED && fast.checksum(&bytes[BEFORE_CHECKED..]) != stored;
        refused += usize::from(by_checksum || parse(&bytes[..]).is_err());
        bytes[offset] ^= 0x5A;
    }
    assert_eq!(refused, WEIGHTS_BYTES);
    assert!(parse(&bytes[..]).is_ok());
}

#[test]
fn messages_are_one_line_and_say_what_to_do() {
    let errors = [
        FormatError::Misaligned,
        FormatError::Erased,
        FormatError::Length { expected: 1, found: 2 },
        FormatError::Magic,
        FormatError::Checksum { computed: 1, stored: 2 },
        FormatError::Accumulator { layer: Layer::Conv2, channel: 3 },
    ];
    for error in errors {
        let text = std::format!("{error}");
        assert!(!text.contains('\n') && text.contains(';'), "{text}");
    }
}
