//! Pictures of every format and mode, held to what PIL makes of the same files: see `tests/golden/make_pictures.py`.

use std::path::PathBuf;

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/pictures").join(name)
}

/// PIL's results: file, shape, values.
fn expected() -> Vec<(String, Shape, Vec<u8>)> {
    let values = std::fs::read(golden("expected.u8")).unwrap();
    let list = std::fs::read_to_string(golden("expected.txt")).unwrap();
    let mut at = 0;
    let mut of = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [channels, height, width] = [1, 2, 3].map(|i| words[i].parse().unwrap());
        let shape = Shape::new(channels, height, width);
        at += shape.len();
        (words[0].to_owned(), shape, values[at - shape.len()..at].to_vec())
    };
    let all = list.lines().map(&mut of).collect();
    assert_eq!(at, values.len());
    all
}

/// Lossless files give PIL's values within one level, a JPEG within what two decoders may differ by.
#[test]
fn every_format_and_mode_is_read_as_pil_reads_it() {
    let all = expected();
    assert_eq!(all.len(), 75);
    for (name, shape, expected) in all {
        let picture = read(&golden(&name), shape).unwrap();
        let (values, done) = (picture.planes(), &picture.done);
        let differences = values.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
        let largest = differences.max().unwrap();
        let most = if name.ends_with(".jpg") { 2 } else { 1 };
        assert!(largest <= most, "{name} {shape} differs by {largest}; {done:?}");
        let turned = done.iter().any(|what| what.starts_with("turned upright"));
        assert_eq!(turned, name.starts_with("turned"), "{name}");
        let format = if name.ends_with(".jpg") { "JPEG" } else { &name[name.len() - 3..].to_uppercase() };
        assert_eq!(picture.source.format, format, "{name}");
        assert!(picture.source.mode.contains("bit"), "{name}: {}", picture.source.mode);
    }
}

/// What cannot be read is named, and so is what is cut off.
#[test]
fn what_cannot_be_read_is_named() {
    let refused = |bytes: &[u8]| parse(bytes).err().unwrap_or_else(|| "accepted".into());
    let file = |name: &str| std::fs::read(golden(name)).unwrap();
    assert!(refused(&file("cmyk.jpg")).contains("a JPEG in CMYK"), "{}", refused(&file("cmyk.jpg")));
    assert_eq!(refused(b"GIF89a"), "it is no PNG, JPEG or BMP");
    for name in ["rgb.png", "full.jpg", "rgb.bmp", "palette.bmp", "bits.png", "progressive.jpg"] {
        let whole = file(name);
        for length in [3, 20, whole.len() / 2, whole.len() - 20] {
            let problem = refused(&whole[..length]);
            assert!(problem.starts_with("it is ") && !problem.contains('\n'), "{name} {length}: {problem}");
        }
    }
    let mut packed = file("palette.bmp");
    packed[30] = 1;
    assert!(refused(&packed).contains("BMP of 8 bits, packed by method 1"));
    let mut large = file("rgb.bmp");
    large[20] = 0x7F;
    assert!(refused(&large).contains("it claims "), "{}", refused(&large));
}
