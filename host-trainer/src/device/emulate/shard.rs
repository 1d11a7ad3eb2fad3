//! The share of one emulator: its images go out as a file, its records come back as one. Touches its own directory alone.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::Machine;
use super::protocol::{Trailer, record_words};
use super::run::{self, Run};
use crate::cores::cores;
use crate::data::Split;
use crate::device::firmware::Program;
use crate::error::{Error, Result};

/// Below this many images a second emulator is not worth its start.
const WORTHWHILE: usize = 256;
/// Time for an image that only a hanging emulator exceeds; a slow computer needs some ten milliseconds.
const LIMIT_PER_IMAGE: Duration = Duration::from_millis(500);
/// Time for the rest.
const LIMIT: Duration = Duration::from_secs(60);

/// Names of the files, within the directory.
const WEIGHTS: &str = "weights.bin";
const IMAGES: &str = "images.bin";
const RESULTS: &str = "results.bin";

/// What one emulator is to do.
#[derive(Clone, Debug)]
pub(super) struct Shard<'a> {
    pub elf: &'a Path,
    pub machine: Machine,
    /// A `weights.bin`, for a machine whose program has none in it.
    pub weights: &'a [u8],
    /// Values of the network's output.
    pub outputs: usize,
    /// Steps of its plan.
    pub steps: usize,
    pub images: &'a Split,
    pub range: Range<usize>,
    /// How often it goes through its images.
    pub rounds: u32,
    pub directory: PathBuf,
}

/// What it found.
#[derive(Debug)]
pub(super) struct Results {
    /// One record an image, in order, round after round.
    pub records: Vec<Record>,
    /// Its counters, where there are any.
    pub counted: Option<Counted>,
}

/// What the device says of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The class it chose.
    pub class: u32,
    /// The integers of the output.
    pub logits: Vec<i32>,
}

/// What the device counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Over all images.
    pub trailer: Trailer,
    /// Executed instructions of each step of the plan on the first image.
    pub steps: Vec<u32>,
}

/// Shares images out to as many emulators as there are cores, in order.
pub(super) fn split(images: usize) -> Vec<Range<usize>> {
    let shards = (images / WORTHWHILE).clamp(1, cores());
    let share = images.div_ceil(shards);
    (0..images).step_by(share).map(|start| start..images.min(start + share)).collect()
}

impl Shard<'_> {
    /// Runs the emulator over the share.
    pub(super) fn run(&self) -> Result<Results> {
        self.run_with(|run| run::run(run)?.succeeded())?;
        let path = self.results();
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        parse(&bytes, self.inferences(), [self.outputs, self.steps], self.machine.counts())
    }

    /// Puts the images where the program reads them, and lets `run` do the rest.
    pub(super) fn run_with<R>(&self, run: impl FnOnce(&Run<'_>) -> Result<R>) -> Result<R> {
        fs::create_dir_all(&self.directory).map_err(Error::io("create", &self.directory))?;
        let images = self.directory.join(IMAGES);
        let pixels = self.images.images()[self.range.clone()].as_flattened().as_flattened();
        fs::write(&images, pixels).map_err(Error::io("write", &images))?;
        let rounds = self.rounds.to_string();
        let arguments: &[&str] = match self.machine.program() {
            Program::Module => {
                let weights = self.directory.join(WEIGHTS);
                fs::write(&weights, self.weights).map_err(Error::io("write", &weights))?;
                &[WEIGHTS, IMAGES, RESULTS]
            }
            _ => &[IMAGES, RESULTS, &rounds],
        };
        run(&Run {
            elf: self.elf,
            machine: self.machine,
            arguments,
            directory: &self.directory,
            limit: LIMIT + LIMIT_PER_IMAGE * u32::try_from(self.inferences()).unwrap_or(u32::MAX),
        })
    }

    /// Images that are done so far.
    pub(super) fn done(&self) -> usize {
        let bytes = fs::metadata(self.results()).map_or(0, |metadata| metadata.len() as usize);
        (bytes / (4 * record_words(self.outputs))).min(self.inferences())
    }

    fn inferences(&self) -> usize {
        self.range.len() * self.rounds as usize
    }

    /// The file that the program writes.
    pub(super) fn results(&self) -> PathBuf {
        self.directory.join(RESULTS)
    }
}

/// Reads a file of results of a network with so many outputs and steps, which must be complete.
fn parse(bytes: &[u8], images: usize, [outputs, steps]: [usize; 2], has_trailer: bool) -> Result<Results> {
    let damaged = |problem: String| Error::Tool { tool: "the firmware".into(), problem };
    let (records, counted) = if has_trailer {
        let cut_off = || damaged(format!("its results are cut off at {} bytes", bytes.len()));
        let (rest, trailer) = bytes.split_last_chunk::<{ Trailer::BYTES }>().ok_or_else(cut_off)?;
        let trailer =
            Trailer::from_bytes(trailer).ok_or_else(|| damaged("its results do not end as they should".into()))?;
        let (records, steps) = rest.split_at(rest.len().checked_sub(4 * steps).ok_or_else(cut_off)?);
        let steps = steps.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        (records, Some(Counted { trailer, steps }))
    } else {
        (bytes, None)
    };
    let size = 4 * record_words(outputs);
    let right_number = counted.as_ref().is_none_or(|counted| counted.trailer.images as usize == images);
    if records.len() != images * size || !right_number {
        return Err(damaged(format!("it returned {} results for {images} images", records.len() / size)));
    }
    let of = |bytes: &[u8]| {
        let (class, logits) = bytes.split_at(4);
        let logits = logits.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect();
        Record { class: class.first_chunk().map_or(0, |&bytes| u32::from_le_bytes(bytes)), logits }
    };
    Ok(Results { records: records.chunks_exact(size).map(of).collect(), counted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_image_once() {
        for images in [1, 2, 255, 256, 511, 512, 1000, 10_000] {
            let mut next = 0;
            for range in split(images) {
                assert_eq!(range.start, next);
                assert!(!range.is_empty());
                next = range.end;
            }
            assert_eq!(next, images);
        }
    }

    #[test]
    fn results_must_be_complete() {
        let record = Record { class: 3, logits: vec![7, -7] };
        let of_record: Vec<u8> = super::super::protocol::record(3, &[7, -7]).flatten().collect();
        let trailer = Trailer { images: 2, ..Trailer::default() };
        let mut bytes = of_record.repeat(2);
        let parse = |bytes: &[u8], images, has_trailer| parse(bytes, images, [2, 1], has_trailer);
        assert!(parse(&bytes, 2, true).is_err());
        assert_eq!(parse(&bytes, 2, false).unwrap().records, [record.clone(), record.clone()]);
        assert!(parse(&bytes, 1, false).is_err());
        bytes.extend_from_slice(&9_u32.to_le_bytes());
        bytes.extend_from_slice(&trailer.to_bytes());
        let results = parse(&bytes, 2, true).unwrap();
        assert_eq!((results.records, results.counted), (vec![record; 2], Some(Counted { trailer, steps: vec![9] })));
        for (bytes, images) in [(&bytes[..], 3), (&bytes[..], 1), (&bytes[..bytes.len() - 1], 2), (&bytes[..5], 0)] {
            let error = parse(bytes, images, true).unwrap_err();
            assert!(matches!(error, Error::Tool { .. }), "{error}");
        }
    }
}
