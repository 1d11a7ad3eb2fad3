//! From a file's bytes to pixels, grey or RGB, eight bits: PNG by `png`, JPEG by `zune-jpeg`, BMP by [`bmp`]. The format is
//! told by the content, not by the name.

use std::io::Cursor;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{MAX_PIXELS, MAX_SIDE, Picture, Source, bmp, check_size};

/// A picture as it lies in the file.
pub(super) struct Decoded {
    pub(super) picture: Picture,
    /// The block of EXIF, where the file has one.
    pub(super) exif: Option<Vec<u8>>,
}

/// Decodes whichever format it is.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let decoded = match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(bytes)?,
        [0xFF, 0xD8, ..] => jpeg(bytes)?,
        [b'B', b'M', ..] => Decoded { picture: bmp::decode(bytes)?, exif: None },
        _ => return Err("it is no PNG, JPEG or BMP".into()),
    };
    let Picture { width, height, channels, pixels, .. } = &decoded.picture;
    if pixels.len() != width * height * channels || pixels.is_empty() {
        return Err(format!("its {width}x{height} pixels are not all there"));
    }
    Ok(decoded)
}

/// What is said of the mode that pixels came in.
fn picture(source: Source, samples: usize, pixels: Vec<u8>, mut done: Vec<String>) -> Result<Picture, String> {
    let Source { width, height, .. } = source;
    let channels = if samples <= 2 { 1 } else { 3 };
    let pixels = if samples == channels {
        pixels
    } else {
        done.push("transparency dropped".into());
        pixels.chunks_exact(samples).flat_map(|pixel| pixel[..channels].iter().copied()).collect()
    };
    Ok(Picture { width, height, channels, pixels, source, done })
}

/// A decoder's message, on one line.
fn damaged(format: &str, error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    format!("it is a damaged {format} ({})", text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn png(bytes: &[u8]) -> Result<Decoded, String> {
    let damaged = |error: png::DecodingError| damaged("PNG", &error);
    let limits = png::Limits { bytes: 8 * MAX_PIXELS };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    check_size(width, height)?;
    let source = Source { format: "PNG", width, height, mode: png_mode(info) };
    let mut done = Vec::new();
    if info.bit_depth == png::BitDepth::Sixteen {
        done.push("16 bits made 8".into());
    }
    // Row by row: a header that lies about the height costs no memory.
    let mut pixels = Vec::new();
    if reader.info().interlaced {
        pixels.resize(reader.output_buffer_size().ok_or("its size overflows")?, 0);
        reader.next_frame(&mut pixels).map_err(damaged)?;
    } else {
        while let Some(row) = reader.next_row().map_err(damaged)? {
            pixels.extend_from_slice(row.data());
        }
    }
    let samples = reader.output_color_type().0.samples();
    // EXIF may stand behind the pixels.
    reader.finish().map_err(damaged)?;
    let exif = reader.info().exif_metadata.as_ref().map(|block| block.to_vec());
    Ok(Decoded { picture: picture(source, samples, pixels, done)?, exif })
}

fn png_mode(info: &png::Info<'_>) -> String {
    let colours = match info.color_type {
        png::ColorType::Grayscale => "grey",
        png::ColorType::GrayscaleAlpha => "grey and alpha",
        png::ColorType::Rgb => "RGB",
        png::ColorType::Rgba => "RGBA",
        png::ColorType::Indexed => "palette",
    };
    let bits = info.bit_depth as u8;
    format!("{colours}, {bits} bit{}", if bits == 1 { "" } else { "s" })
}

/// Whether the marker that ends a JPEG is there: the decoder would show the rest of a file that is cut off as grey. Other data may follow
/// it, as phones do that.
fn has_an_end(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xDA;
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        if marker == SCAN {
            // Within a scan a byte of all ones is followed by a zero, so this pair can be nothing else.
            return bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]);
        }
        // A marker may be padded by bytes of all ones.
        at += if marker == 0xFF { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
    }
    // The decoder says what is wrong instead.
    true
}

fn jpeg(bytes: &[u8]) -> Result<Decoded, String> {
    let damaged = |error| damaged("JPEG", &error);
    if !has_an_end(bytes) {
        return Err("it is a JPEG that is cut off".into());
    }
    let options = DecoderOptions::new_safe().set_max_width(MAX_SIDE).set_max_height(MAX_SIDE).set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().ok_or("it is a JPEG without a size")?;
    check_size(width, height)?;
    let space = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => ColorSpace::RGB,
        Some(ColorSpace::CMYK | ColorSpace::YCCK) => {
            return Err("it is a JPEG in CMYK, the colours of print, and grey or RGB is read".into());
        }
        other => return Err(format!("it is a JPEG of colours {other:?}, and grey or RGB is read")),
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(damaged)?;
    let exif = decoder.exif().cloned();
    let mode = if space == ColorSpace::Luma { "grey" } else { "RGB" };
    let source = Source { format: "JPEG", width, height, mode: format!("{mode}, 8 bits") };
    Ok(Decoded { picture: picture(source, space.num_components(), pixels, Vec::new())?, exif })
}
