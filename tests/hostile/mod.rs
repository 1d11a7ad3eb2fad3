//! What must hold for every input from outside, as functions of arbitrary bytes: `tests/hostile_input.rs` runs them for a
//! bounded time on stable Rust, `tests/fuzz` under libFuzzer. Each panics where a property does not hold. Touches no file.

mod weights;

use std::path::Path;

use bn_core::lenet::PIXELS;
use firmware_demo::protocol::{Record, Trailer};
use firmware_demo::stream::{self, StreamError};
use host_trainer::Error;
use host_trainer::checkpoint::Checkpoint;
use host_trainer::data::files::Kind;
use host_trainer::data::idx;

pub use weights::{Forge, weights};

/// An IDX file, plain or gzip: whatever is accepted holds as many examples as its header says, and a label is a class. A
/// buffer grows with the bytes that arrive, so a file that lies about its length costs nothing; gzip may at most unpack to
/// the length that the header claims.
pub fn idx(bytes: &[u8]) -> bool {
    let mut accepted = false;
    for (name, kind) in [("x", Kind::Images), ("x", Kind::Labels), ("x.gz", Kind::Images), ("x.gz", Kind::Labels)] {
        match idx::parse(name, bytes, kind, None) {
            Ok(values) => {
                accepted = true;
                assert!((1..=idx::MAX_EXAMPLES).contains(&values.len()));
                if let idx::Values::Labels(labels) = &values {
                    assert!(labels.iter().all(|&label| label < 10));
                }
                if name == "x" && !bytes.starts_with(&[0x1f, 0x8b]) {
                    let (header, size) = if kind == Kind::Images { (16, PIXELS) } else { (8, 1) };
                    assert_eq!(bytes.len(), header + size * values.len(), "every byte was read");
                }
                let other = idx::parse(name, bytes, kind, Some(values.len() + 1));
                assert_eq!(other, Err(idx::Damage::Count(values.len(), values.len() + 1)));
            }
            Err(damage) => one_line(&damage.at(Path::new("hostile"))),
        }
    }
    accepted
}

/// A checkpoint: what is accepted is written back to a file that reads as the same model.
pub fn checkpoint(bytes: &[u8]) -> bool {
    match Checkpoint::from_bytes(Path::new("hostile"), bytes) {
        Ok(checkpoint) => {
            let again = checkpoint.to_bytes().expect("what was read can be written");
            let back = Checkpoint::from_bytes(Path::new("again"), &again).expect("what was written can be read");
            assert!(back == checkpoint, "another model came back");
            true
        }
        Err(error) => {
            one_line(&error);
            false
        }
    }
}

/// The stream of images into the firmware and its results back. The first byte says how the host hands the rest out: in
/// pieces of that length, with an error after the last of them where its highest bit is set.
pub fn image_stream(bytes: &[u8]) -> bool {
    let Some((&how, file)) = bytes.split_first() else { return false };
    let (piece, fails) = (usize::from(how & 0x7F).pow(2).max(1), how & 0x80 != 0);
    let (mut rest, mut images, mut buffer) = (file, 0, [[0_u8; PIXELS]; 3]);
    let end = loop {
        let mut read = |buffer: &mut [u8]| {
            let count = piece.min(buffer.len()).min(rest.len());
            if count == 0 && fails {
                return Err(());
            }
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        };
        match stream::fill(buffer.as_flattened_mut(), &mut read) {
            Ok(0) => break None,
            Ok(count) => {
                assert!(count <= buffer.len());
                let read = &file[images * PIXELS..][..count * PIXELS];
                assert_eq!(&buffer.as_flattened()[..count * PIXELS], read, "images arrive as they were sent");
                images += count;
            }
            Err(error) => break Some(error),
        }
    };
    match end {
        None => assert!(!fails && file.len() == images * PIXELS, "an end within an image is no end"),
        Some(StreamError::CutOff) => assert!(!fails && !file.len().is_multiple_of(PIXELS)),
        Some(StreamError::Unreadable) => assert!(fails),
    }
    results(file);
    end.is_none()
}

/// Results as bytes: what reads as a record or a trailer is written back to the same bytes.
fn results(bytes: &[u8]) {
    let (records, _) = bytes.as_chunks::<{ Record::BYTES }>();
    for bytes in records {
        assert_eq!(Record::from_bytes(bytes).to_bytes(), *bytes);
    }
    if let Some((_, last)) = bytes.split_last_chunk::<{ Trailer::BYTES }>()
        && let Some(trailer) = Trailer::from_bytes(last)
    {
        assert_eq!(Trailer::from_bytes(&trailer.to_bytes()), Some(trailer));
    }
}

/// A refusal is one line with a remedy and exit code 2.
fn one_line(error: &Error) {
    let line = error.to_string();
    assert!(line.contains("; ") && !line.contains('\n'), "{line:?}");
    assert_eq!(error.exit_code(), 2, "{line}");
}
