//! The header, byte by byte as it lies in flash: it is read alike on machines of either byte order.

use super::*;

/// A file whose header is sound and whose other bytes are `fill`, with that change to its header.
fn file(fill: u8, change: impl FnOnce(&mut [u8])) -> std::vec::Vec<u32> {
    let mut words = std::vec![0_u32; WEIGHTS_BYTES / 4];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    bytes[64..].fill(fill);
    bytes[..8].copy_from_slice(b"BN-LENET");
    bytes[12..16].copy_from_slice(&(WEIGHTS_BYTES as u32).to_le_bytes());
    bytes[16..18].copy_from_slice(&[2, 0]);
    bytes[18..20].copy_from_slice(&[2, 0]);
    bytes[20..24].copy_from_slice(&NETWORK.to_le_bytes());
    change(&mut bytes[..64]);
    let checksum = CRC.checksum(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    words
}

fn refused(words: &[u32]) -> FormatError {
    parse(bytemuck::cast_slice(words)).unwrap_err()
}

#[test]
fn each_field_is_read_as_little_endian() {
    let declared = FormatError::DeclaredLength { found: 0x0403_0201 };
    assert_eq!(refused(&file(0, |h| h[12..16].copy_from_slice(&[1, 2, 3, 4]))), declared);
    assert_eq!(refused(&file(0, |h| h[16] = 3)), FormatError::Version { found: 3 });
    assert_eq!(refused(&file(0, |h| h[17] = 1)), FormatError::Version { found: 0x102 });
    assert_eq!(refused(&file(0, |h| h[19] = 1)), FormatError::Arithmetic { found: 0x102 });
    assert_eq!(refused(&file(0, |h| h[20] ^= 1)), FormatError::Network { found: NETWORK ^ 1 });
    assert_eq!(refused(&file(0, |h| h[0] = b'b')), FormatError::Magic);
    assert_eq!(refused(&std::vec![0; WEIGHTS_BYTES / 4]), FormatError::Erased);
    assert_eq!(refused(&std::vec![u32::MAX; 16]), FormatError::Erased);
    assert_eq!(refused(&file(0, |_| ())[1..]), FormatError::Magic);
    let short = file(0, |_| ());
    let found = WEIGHTS_BYTES - 4;
    assert_eq!(refused(&short[..found / 4]), FormatError::Length { expected: WEIGHTS_BYTES, found });
}

#[test]
fn the_checksum_is_over_the_bytes() {
    let mut words = file(7, |_| ());
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    let stored = u32::from_le_bytes(*bytes[8..].first_chunk().unwrap());
    bytes[WEIGHTS_BYTES - 1] ^= 1;
    let computed = CRC.checksum(&bytes[12..]);
    assert_eq!(refused(&words), FormatError::Checksum { computed, stored });
}

#[test]
fn behind_a_sound_header_the_numbers_are_checked_or_the_machine_is_refused() {
    let error = refused(&file(0, |_| ()));
    #[cfg(target_endian = "little")]
    assert_eq!(error, FormatError::Multiplier { layer: Layer::Linear1, channel: 0 });
    #[cfg(target_endian = "big")]
    assert_eq!(error, FormatError::BigEndian);
}
