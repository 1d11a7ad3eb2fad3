//! Images of the data set as PNG inside the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bn_core::Image;
use bn_core::lenet::IMAGE_SIDE;

/// The image as the `src` of an `img`.
pub(super) fn source(image: &Image) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(encode(image)))
}

fn encode(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, IMAGE_SIDE as u32, IMAGE_SIDE as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    // The writer is memory and the size is right: neither can fail.
    let mut writer = encoder.write_header().expect("a header of a sound size");
    writer.write_image_data(image.as_flattened()).expect("as many bytes as the header says");
    writer.finish().expect("memory takes everything");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_the_image() {
        let image: Image = std::array::from_fn(|y| std::array::from_fn(|x| (y * 9 + x) as u8));
        let bytes = encode(&image);
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, image.as_flattened());
        assert!(source(&image).starts_with("data:image/png;base64,iVBOR"));
    }
}
