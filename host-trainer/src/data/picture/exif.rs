//! Which way up a camera was held: the tag Orientation of EXIF (CIPA DC-008, section 4.6.4), and nothing else of it.

/// Tag of the orientation.
const ORIENTATION: u16 = 0x0112;
/// Bytes of an entry of a directory.
const ENTRY: usize = 12;

/// The orientation, 1 to 8; 1 (upright) where the block does not say or is damaged, as cameras that do not know write it.
pub(super) fn orientation(block: &[u8]) -> u16 {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    find(tiff).filter(|value| (1..=8).contains(value)).unwrap_or(1)
}

fn find(tiff: &[u8]) -> Option<u16> {
    let is_little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let bytes = *tiff.get(4..)?.first_chunk::<4>()?;
    let directory = if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize;
    let count = usize::from(u16_at(directory)?);
    let entries = (0..count).map(|entry| directory + 2 + entry * ENTRY);
    // A short is stored in the first half of the entry's value.
    entries
        .take_while(|at| at + ENTRY <= tiff.len())
        .find(|&at| u16_at(at) == Some(ORIENTATION))
        .and_then(|at| u16_at(at + 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_are_read_and_damage_is_upright() {
        let little = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!((orientation(little), orientation(big)), (6, 8));
        for end in 0..little.len() - 4 {
            assert_eq!(orientation(&little[..end]), 1, "{end}");
        }
        let mut far = big.to_vec();
        far[4..8].fill(0xFF);
        assert_eq!(orientation(&far), 1);
        let mut other = big.to_vec();
        other[19] = 9;
        assert_eq!(orientation(&other), 1);
    }
}
