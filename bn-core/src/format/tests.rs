//! One test for each reason to refuse a file, and that every single flipped byte is refused.

use super::*;
use crate::quant::sigmoid_table;
use bytemuck::Zeroable;
use rand::{RngExt, SeedableRng};

/// A valid file with random weights. Boxed for the test threads' small stacks.
fn valid() -> std::boxed::Box<WeightsFile> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut file = std::boxed::Box::new(WeightsFile::zeroed());
    let f = &mut *file;
    for weight in f.conv1_weight.as_flattened_mut().as_flattened_mut().as_flattened_mut() {
        *weight = rng.random_range(-2047..=2047);
    }
    for weight in f.conv2_weight.as_flattened_mut().as_flattened_mut().as_flattened_mut() {
        *weight = rng.random_range(-2047..=2047);
    }
    for rows in
        [f.linear1_weight.as_flattened_mut(), f.linear2_weight.as_flattened_mut(), f.linear3_weight.as_flattened_mut()]
    {
        rows.fill_with(|| rng.random_range(-127..=127));
    }
    f.conv1_multiplier.fill(1000);
    f.conv2_multiplier.fill(1000);
    f.linear1_multiplier.fill(1000);
    f.linear2_multiplier.fill(1000);
    f.linear3_multiplier.fill(1000);
    f.sigmoid = sigmoid_table();
    f.seal();
    file
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
    assert_eq!(model.conv2().weight, &file.conv2_weight);
    assert_eq!(model.linear1().weight, &file.linear1_weight);
}

#[test]
fn the_table_covers_every_byte_once() {
    let mut offset = 0;
    for field in FIELDS {
        assert_eq!(field.offset, offset, "{}", field.name);
        offset += field.bytes;
    }
    assert_eq!((offset, WEIGHTS_BYTES), (WEIGHTS_BYTES, 49_716));
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
fn erased_flash_and_zeros_are_named() {
    let words = std::vec![0xFFFF_FFFF_u32; WEIGHTS_BYTES / 4];
    assert_eq!(parse(bytemuck::cast_slice(&words)).unwrap_err(), FormatError::Erased);
    let words = std::vec![0_u32; WEIGHTS_BYTES / 4];
    assert_eq!(parse(bytemuck::cast_slice(&words)).unwrap_err(), FormatError::Magic);
}

#[test]
fn each_header_field_is_checked() {
    assert_eq!(forged(|f| f.magic[0] = b'b'), Err(FormatError::Magic));
    assert_eq!(forged(|f| f.format_version = 2), Err(FormatError::Version { found: 2 }));
    assert_eq!(forged(|f| f.arithmetic = 9), Err(FormatError::Arithmetic { found: 9 }));
    assert_eq!(forged(|f| f.network ^= 1), Err(FormatError::Network { found: NETWORK ^ 1 }));
    assert_eq!(forged(|f| f.length = 5), Err(FormatError::DeclaredLength { found: 5 }));
    assert_eq!(forged(|f| f.reserved[38] = 1), Err(FormatError::Reserved { offset: 63 }));
    assert_eq!(forged(|f| f.logit_fraction_bits = 21), Err(FormatError::LogitFractionBits { found: 21 }));
}

#[test]
fn each_number_is_checked() {
    let range = |layer, channel| Err(FormatError::WeightRange { layer, channel });
    assert_eq!(forged(|f| f.conv1_weight[5][0][4][4] = 2048), range(Layer::Conv1, 5));
    assert_eq!(forged(|f| f.conv2_weight[15][5][4][4] = i16::MIN), range(Layer::Conv2, 15));
    assert_eq!(forged(|f| f.linear1_weight[119][255] = -128), range(Layer::Linear1, 119));
    assert_eq!(forged(|f| f.linear2_weight[0][0] = -128), range(Layer::Linear2, 0));
    assert_eq!(forged(|f| f.linear3_weight[9][83] = -128), range(Layer::Linear3, 9));
    let multiplier = FormatError::Multiplier { layer: Layer::Linear2, channel: 3 };
    assert_eq!(forged(|f| f.linear2_multiplier[3] = 0), Err(multiplier));
    assert_eq!(forged(|f| f.linear2_multiplier[3] = -5), Err(multiplier));
    assert_eq!(forged(|f| f.sigmoid[512] = 0), Err(FormatError::Sigmoid { index: 512 }));
}

#[test]
fn the_accumulator_bound_is_exact() {
    // A channel of K weights of magnitude w and inputs up to x leaves |bias| <= i32::MAX - K * w * x.
    let room = i32::MAX - 25 * 2047 * 255;
    let set =
        |bias| move |f: &mut WeightsFile| (f.conv1_weight[2], f.conv1_bias[2]) = ([[[-2047; KERNEL]; KERNEL]], bias);
    assert_eq!(forged(set(room)), Ok(()));
    assert_eq!(forged(set(-room)), Ok(()));
    let overflow = Err(FormatError::Accumulator { layer: Layer::Conv1, channel: 2 });
    assert_eq!(forged(set(room + 1)), overflow);
    assert_eq!(forged(set(-room - 1)), overflow);
    assert_eq!(
        forged(|f| f.linear3_bias[0] = i32::MIN),
        Err(FormatError::Accumulator { layer: Layer::Linear3, channel: 0 })
    );
}

#[test]
fn every_single_flipped_byte_is_refused() {
    // A CRC-32 finds every burst of up to 32 bits; a table-driven one here makes the 49,716 checksums affordable.
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
