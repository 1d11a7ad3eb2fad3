//! BMP: 1, 4 and 8 bits with a palette, 24 and 32 bits, bottom up or top down, not packed. Source: Microsoft, "Bitmap Storage" and
//! BITMAPV5HEADER. There is no crate for it that reads one bit a pixel right and adds no more code than this.

use super::{Picture, Source, check_size};

/// Bytes of the file's header; the picture's follows.
const FILE_HEADER: usize = 14;
/// Masks of red, green and blue of 32 bits, as nearly every file has them.
const MASKS: [u32; 3] = [0x00FF_0000, 0x0000_FF00, 0x0000_00FF];

/// Decodes a file.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let cut = || "it is a BMP that is cut off".to_owned();
    let u32_at =
        |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|&b| u32::from_le_bytes(b)).ok_or_else(cut);
    let (data, header) = (u32_at(10)? as usize, u32_at(FILE_HEADER)? as usize);
    if !(40..=124).contains(&header) {
        return Err(format!("it is a BMP with a header of {header} bytes, and 40 to 124 are read"));
    }
    let (width, rows) = (u32_at(18)? as i32, u32_at(22)? as i32);
    let (width, height) = (width.max(0) as usize, rows.unsigned_abs() as usize);
    check_size(width, height)?;
    let (bits, compression) = ((u32_at(28)? & 0xFFFF) as usize, u32_at(30)?);
    let masks = [54, 58, 62].map(&u32_at);
    let is_plain = compression == 0 || (compression == 3 && bits == 32 && masks == MASKS.map(Ok));
    if !is_plain || ![1, 4, 8, 24, 32].contains(&bits) {
        return Err(format!(
            "it is a BMP of {bits} bits, packed by method {compression}, and plain ones of 1, 4, 8, 24 and 32 bits are read"
        ));
    }
    let stride = (width * bits).div_ceil(32) * 4;
    let pixels = bytes.get(data..).and_then(|rest| rest.get(..stride * height)).ok_or_else(cut)?;
    let mut lines: Vec<&[u8]> = pixels.chunks_exact(stride).collect();
    if rows > 0 {
        lines.reverse();
    }
    let colours = if bits > 8 { "RGB" } else { "palette" };
    let source = Source { format: "BMP", width, height, mode: format!("{colours}, {bits} bits") };
    let mut done = Vec::new();
    if bits == 32 && compression == 3 && header >= 56 && u32_at(66)? != 0 {
        done.push("transparency dropped".into());
    }
    if bits > 8 {
        let line =
            |line: &&[u8]| line.chunks_exact(bits / 8).take(width).flat_map(|p| [p[2], p[1], p[0]]).collect::<Vec<_>>();
        return Ok(Picture { width, height, channels: 3, pixels: lines.iter().flat_map(line).collect(), source, done });
    }
    let colours = match u32_at(46)? as usize {
        0 => 1 << bits,
        used => used.min(1 << bits),
    };
    let start = FILE_HEADER + header;
    let palette = bytes.get(start..).and_then(|rest| rest.get(..4 * colours)).ok_or_else(cut)?.as_chunks::<4>().0;
    let is_grey = palette.iter().all(|[blue, green, red, _]| blue == green && green == red);
    let channels = if is_grey { 1 } else { 3 };
    let mut pixels = Vec::with_capacity(width * height * channels);
    for line in lines {
        for column in 0..width {
            // The first pixel is in the highest bits.
            let byte = line[column * bits / 8] >> (8 - bits - column * bits % 8);
            let index = usize::from(byte) & ((1 << bits) - 1);
            let [blue, green, red, _] = palette.get(index).ok_or("it is a BMP with a colour that its palette lacks")?;
            pixels.extend_from_slice(&[*red, *green, *blue][..channels]);
        }
    }
    Ok(Picture { width, height, channels, pixels, source, done })
}
