//! Writes JPEG files, so that tests can have any number of them: baseline, 8x8 blocks, every quantiser 2, and Huffman tables whose codes have
//! one length, so that a symbol's code is its place.

/// Places of a block's coefficients, lowest frequencies first.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];
const QUANTISER: f64 = 2.0;

/// A file of grey values; in colour they are stored as Y, Cb and Cr, which are the same grey.
pub(crate) fn jpeg(pixels: &[u8], (width, height): (usize, usize), in_colour: bool) -> Vec<u8> {
    let components: &[u8] = if in_colour { &[1, 2, 3] } else { &[1] };
    let segment = |marker: u8, content: &[u8]| {
        [&[0xFF, marker], (content.len() as u16 + 2).to_be_bytes().as_slice(), content].concat()
    };
    let (w, h) = ((width as u16).to_be_bytes(), (height as u16).to_be_bytes());
    let of_frame: Vec<u8> = components.iter().flat_map(|&id| [id, 0x11, 0]).collect();
    let frame = [&[8], h.as_slice(), &w, &[components.len() as u8], &of_frame].concat();
    let of_scan: Vec<u8> = components.iter().flat_map(|&id| [id, 0]).collect();
    let scan = [&[components.len() as u8], of_scan.as_slice(), &[0, 63, 0]].concat();
    let table = |class: u8, bits: usize, symbols: &[u8]| {
        let mut lengths = [0; 16];
        lengths[bits - 1] = symbols.len() as u8;
        [&[class << 4], lengths.as_slice(), symbols].concat()
    };
    let sizes: Vec<u8> = (0..12).collect();
    [
        vec![0xFF, 0xD8],
        segment(0xDB, &[&[0], [QUANTISER as u8; 64].as_slice()].concat()),
        segment(0xC0, &frame),
        segment(0xC4, &table(0, 4, &sizes)),
        segment(0xC4, &table(1, 8, &runs())),
        segment(0xDA, &scan),
        scan_of(pixels, (width, height), components.len()),
        vec![0xFF, 0xD9],
    ]
    .concat()
}

/// Symbols of a coefficient: zeros before it and its size in bits; 0 ends a block, 0xF0 are sixteen zeros.
fn runs() -> Vec<u8> {
    let sized = (0..16).flat_map(|run| (1..=10).map(move |size| run << 4 | size));
    [0, 0xF0].into_iter().chain(sized).collect()
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    left: Vec<bool>,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.left.push(value >> bit & 1 == 1);
            if self.left.len() == 8 {
                let byte = self.left.drain(..).fold(0, |byte, bit| byte << 1 | u8::from(bit));
                self.bytes.push(byte);
                if byte == 0xFF {
                    self.bytes.push(0);
                }
            }
        }
    }

    /// A value's own bits: one less where it is negative, without a sign.
    fn push_value(&mut self, value: i32, size: u32) {
        let value = if value < 0 { value - 1 } else { value };
        self.push(value as u32 & ((1 << size) - 1), size);
    }
}

fn size_of(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

fn scan_of(pixels: &[u8], (width, height): (usize, usize), components: usize) -> Vec<u8> {
    let (mut bits, mut before, runs) = (Bits::default(), 0, runs());
    for top in (0..height).step_by(8) {
        for left in (0..width).step_by(8) {
            let pixel =
                |y: usize, x: usize| f64::from(pixels[(top + y).min(height - 1) * width + (left + x).min(width - 1)]);
            let block = transformed(&pixel);
            let difference = block[0] - before;
            before = block[0];
            bits.push(size_of(difference), 4);
            bits.push_value(difference, size_of(difference));
            let mut zeros = 0;
            for &value in &block[1..] {
                if value == 0 {
                    zeros += 1;
                    continue;
                }
                let symbol = |symbol: u8| runs.iter().position(|&other| other == symbol).unwrap() as u32;
                for _ in 0..zeros / 16 {
                    bits.push(symbol(0xF0), 8);
                }
                bits.push(symbol(((zeros % 16) << 4) as u8 | size_of(value) as u8), 8);
                bits.push_value(value, size_of(value));
                zeros = 0;
            }
            if zeros > 0 {
                bits.push(0, 8);
            }
            // The colours are 0 everywhere: no difference, and a block that ends at once.
            for _ in 1..components {
                bits.push(0, 4);
                bits.push(0, 8);
            }
        }
    }
    bits.push(0x7F, 7);
    bits.bytes
}

/// The cosine transform of a block, rounded, in the order of the file.
fn transformed(pixel: &impl Fn(usize, usize) -> f64) -> [i32; 64] {
    let cosine = |at: usize, of: usize| ((2 * at + 1) as f64 * of as f64 * std::f64::consts::PI / 16.0).cos();
    let scale = |of: usize| if of == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
    ZIGZAG.map(|place| {
        let (v, u) = (place / 8, place % 8);
        let term = |at: usize| (pixel(at / 8, at % 8) - 128.0) * cosine(at / 8, v) * cosine(at % 8, u);
        let sum: f64 = (0..64).map(term).sum();
        (sum * scale(u) * scale(v) / 4.0 / QUANTISER).round() as i32
    })
}
