//! The header, byte by byte as it lies in flash, and each reason to refuse it. Reading is the same on machines of either byte order
//! up to where numbers are read in place.

use super::*;

/// Words of the files below.
const WORDS: usize = HEADER_BYTES / 4 + 3;

/// A file of that many words with texts of five bytes, after a change to its bytes and a checksum that fits.
fn file(change: impl FnOnce(&mut [u8])) -> std::vec::Vec<u8> {
    let mut bytes = std::vec![7; 4 * WORDS];
    bytes[..HEADER_BYTES].fill(0);
    bytes[..8].copy_from_slice(b"BN-LENET");
    bytes[12..16].copy_from_slice(&(4 * WORDS as u32).to_le_bytes());
    bytes[16..18].copy_from_slice(&[3, 0]);
    bytes[28..32].copy_from_slice(&0x1234_5678_u32.to_le_bytes());
    bytes[40..44].copy_from_slice(&5_u32.to_le_bytes());
    change(&mut bytes);
    let computed = checksum(&bytes);
    bytes[8..12].copy_from_slice(&computed.to_le_bytes());
    bytes
}

fn aligned(bytes: &[u8], read: impl FnOnce(&[u8])) {
    let mut words = std::vec![0_u32; bytes.len().div_ceil(4)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    read(&bytemuck::cast_slice(&words)[..bytes.len()]);
}

fn refused(bytes: &[u8], error: FormatError) {
    // What tells the user most comes first on every machine; what follows is read on little-endian ones alone.
    let early =
        matches!(error, FormatError::Length { expected: HEADER_BYTES, .. } | FormatError::Erased | FormatError::Magic);
    let expected = if cfg!(target_endian = "little") || early { error } else { FormatError::BigEndian };
    aligned(bytes, |bytes| assert_eq!(read_header(bytes), Err(expected)));
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "a file is read on little-endian machines alone")]
fn a_model_is_read_in_place_with_and_without_its_texts() {
    let mut bytes = file(|_| ());
    for text in [&b""[..], b"texts"] {
        bytes.extend_from_slice(text);
        aligned(&bytes, |bytes| {
            let words = open::<WORDS>(bytes, 0x1234_5678).unwrap();
            assert_eq!(words[WORDS - 1], 0x0707_0707);
            assert_eq!(words.as_ptr().cast::<u8>(), bytes.as_ptr());
            let plan = FormatError::Plan { expected: 9, found: 0x1234_5678 };
            assert_eq!(open::<WORDS>(bytes, 9), Err(plan));
            assert!(matches!(open::<{ WORDS + 1 }>(bytes, 0x1234_5678), Err(FormatError::Length { .. })));
            assert!(matches!(open::<{ WORDS - 1 }>(bytes, 0x1234_5678), Err(FormatError::Length { .. })));
        });
    }
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "a file is read on little-endian machines alone")]
fn a_misaligned_model_is_named() {
    let shifted = [&[0], &file(|_| ())[..]].concat();
    aligned(&shifted, |bytes| {
        assert_eq!(open::<WORDS>(&bytes[1..], 0x1234_5678), Err(FormatError::Misaligned));
    });
}

#[test]
fn each_reason_to_refuse_a_header_is_named() {
    for erased in [0xFF, 0] {
        refused(&[erased; 4 * WORDS], FormatError::Erased);
    }
    for found in [0, 1, HEADER_BYTES - 1] {
        refused(&file(|_| ())[..found], FormatError::Length { expected: HEADER_BYTES, found });
    }
    refused(&file(|bytes| bytes[0] = b'b'), FormatError::Magic);
    refused(&file(|bytes| bytes[16] = 2), FormatError::Version { found: 2 });
    refused(&file(|bytes| bytes[63] = 1), FormatError::Reserved { offset: 63 });
    let expected = 4 * WORDS;
    refused(&file(|_| ())[..expected - 1], FormatError::Length { expected, found: expected - 1 });
    let longer = [&file(|_| ())[..], b"four"].concat();
    refused(&longer, FormatError::Length { expected: expected + 5, found: expected + 4 });
    let short = file(|bytes| bytes[12..16].copy_from_slice(&60_u32.to_le_bytes()));
    refused(&short, FormatError::Length { expected: 60, found: expected });
    let mut damaged = file(|_| ());
    let stored = checksum(&damaged);
    damaged[70] ^= 1;
    refused(&damaged, FormatError::Checksum { computed: checksum(&damaged), stored });
}

#[test]
fn the_table_covers_every_byte_of_the_header_once() {
    let mut offset = 0;
    for field in FIELDS {
        assert_eq!(field.offset, offset, "{}", field.name);
        offset += field.bytes;
    }
    assert_eq!((offset, HEADER_BYTES), (HEADER_BYTES, 64));
}

#[test]
fn messages_are_one_line_and_say_what_to_do() {
    let fault = crate::kernels::Fault::Accumulator { channel: 3 };
    let errors = [
        FormatError::Misaligned,
        FormatError::Erased,
        FormatError::Length { expected: 1, found: 2 },
        FormatError::Magic,
        FormatError::Version { found: 2 },
        FormatError::Plan { expected: 1, found: 2 },
        FormatError::Checksum { computed: 1, stored: 2 },
        FormatError::BigEndian,
        FormatError::Reserved { offset: 48 },
        FormatError::Description,
        FormatError::Step { step: 1 },
        FormatError::Scale { tensor: 0 },
        FormatError::Texts,
        FormatError::Stream { step: 2, fault },
    ];
    for error in errors {
        let text = std::format!("{error}");
        assert!(!text.contains('\n') && text.contains(';'), "{text}");
    }
}
