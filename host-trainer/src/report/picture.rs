//! Inputs of the data set as PNG inside the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::data::{Inputs, Raw};

/// The input as the `src` of an `img`; `None` where it is no picture: bytes, grey or red, green and blue.
pub(super) fn source(inputs: &Inputs, example: usize) -> Option<String> {
    let Raw::U8(planes) = inputs.raw(example) else { return None };
    let shape = inputs.shape();
    let colour = match shape.channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => return None,
    };
    let area = shape.height * shape.width;
    let pixels: Vec<u8> = (0..area).flat_map(|at| planes.iter().skip(at).step_by(area).copied()).collect();
    Some(format!("data:image/png;base64,{}", STANDARD.encode(encode(&pixels, (shape.width, shape.height), colour))))
}

fn encode(pixels: &[u8], (width, height): (usize, usize), colour: png::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    // The writer is memory and the size is right: neither can fail.
    let mut writer = encoder.write_header().expect("a header of a sound size");
    writer.write_image_data(pixels).expect("as many bytes as the header says");
    writer.finish().expect("memory takes everything");
    bytes
}

#[cfg(test)]
mod tests {
    use bn_core::network::Shape;

    use super::*;
    use crate::data::Values;

    fn decoded(source: &str) -> Vec<u8> {
        let bytes = STANDARD.decode(source.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        pixels
    }

    #[test]
    fn the_picture_is_the_input() {
        let values: Vec<u8> = (0..24).map(|i| i * 9).collect();
        let grey = Inputs::new(Shape::new(1, 3, 4), Values::U8(values.clone()));
        assert_eq!(decoded(&source(&grey, 1).unwrap()), values[12..]);
        let colour = Inputs::new(Shape::new(3, 2, 4), Values::U8(values.clone()));
        assert_eq!(decoded(&source(&colour, 0).unwrap())[3..6], [values[1], values[9], values[17]]);
        assert_eq!(source(&Inputs::new(Shape::new(2, 3, 4), Values::U8(values)), 0), None);
        assert_eq!(source(&Inputs::new(Shape::flat(2), Values::F32(vec![0.5; 2])), 0), None);
    }
}
