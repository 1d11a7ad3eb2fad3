//! The share of one emulator: its images go out as a file, its records come back as one. Touches its own directory alone.

use std::borrow::Cow;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bn_core::file::WeightsFile;
use bn_core::lenet::MACS;

use super::protocol::{OUTPUTS, Trailer, record_words};
use super::run::{self, Run};
use crate::cores::cores;
use crate::device::firmware::Program;
use crate::device::machine::Machine;
use crate::error::{Error, Result};

/// Below this many inferences of LeNet's size a second emulator is not worth its start.
const WORTHWHILE: usize = 256;
/// Time for an inference of LeNet's size that only a hanging emulator exceeds; a slow computer needs some ten milliseconds.
const LIMIT_PER_INFERENCE: Duration = Duration::from_millis(500);
/// Time for the rest.
const LIMIT: Duration = Duration::from_secs(60);

/// Names of the files, within the directory.
const WEIGHTS: &str = "weights.bin";
const IMAGES: &str = "images.bin";
const RESULTS: &str = "results.bin";

/// The network that a program runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model<'a> {
    /// A `weights.bin`, for a machine whose program has none in it.
    pub weights: &'a [u8],
    /// Values of the network's output.
    pub outputs: usize,
    /// Steps of its plan.
    pub steps: usize,
    /// Bytes of an input.
    pub input: usize,
    /// Its size in LeNets, at least one.
    pub lenets: usize,
}

impl<'a> Model<'a> {
    /// Of a file.
    pub(super) fn of(file: &'a WeightsFile) -> Self {
        let macs: usize = (0..file.steps().len()).map(|step| file.step_macs(step)).sum();
        Self {
            weights: file.model_bytes(),
            outputs: file.outputs(),
            steps: file.steps().len(),
            input: file.network().topology.input.len(),
            lenets: macs.div_ceil(MACS).max(1),
        }
    }
}

/// What to do with the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Go through them so many times and return a record of each.
    Records(u32),
    /// Return what each step gives.
    Outputs,
}

/// What one emulator is to do.
#[derive(Clone, Debug)]
pub(super) struct Shard<'a> {
    pub elf: &'a Path,
    pub machine: Machine,
    pub model: Model<'a>,
    /// Images, one behind the other.
    pub images: Cow<'a, [u8]>,
    pub task: Task,
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
    /// A digest of what each step gave.
    pub digests: Vec<u32>,
}

/// What the device counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Over all images.
    pub trailer: Trailer,
    /// Executed instructions of each step of the plan, over all images.
    pub steps: Vec<u64>,
}

/// Shares images out to as many emulators as there are cores, in order.
pub(super) fn split(images: usize, model: &Model<'_>) -> Vec<Range<usize>> {
    let shards = (images * model.lenets / WORTHWHILE).clamp(1, cores());
    let share = images.div_ceil(shards);
    (0..images).step_by(share).map(|start| start..images.min(start + share)).collect()
}

impl Shard<'_> {
    /// Runs the emulator over the share.
    pub(super) fn run(&self) -> Result<Results> {
        self.run_with(|run| run::run(run)?.succeeded())?;
        parse(&self.read()?, self.inferences(), &self.model, self.machine.counts())
    }

    /// Runs the emulator over the share, and returns what each step gives, image after image.
    pub(super) fn outputs(&self) -> Result<Vec<u32>> {
        self.run_with(|run| run::run(run)?.succeeded())?;
        Ok(self.read()?.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect())
    }

    /// Puts the images where the program reads them, and lets `run` do the rest.
    pub(super) fn run_with<R>(&self, run: impl FnOnce(&Run<'_>) -> Result<R>) -> Result<R> {
        fs::create_dir_all(&self.directory).map_err(Error::io("create", &self.directory))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = self.directory.join(name);
            fs::write(&path, bytes).map_err(Error::io("write", path))
        };
        write(IMAGES, &self.images)?;
        let task = match self.task {
            Task::Records(rounds) => rounds.to_string(),
            Task::Outputs => OUTPUTS.to_owned(),
        };
        let mut arguments = vec![IMAGES, RESULTS, &task];
        if self.machine.program() == Program::Module {
            write(WEIGHTS, self.model.weights)?;
            arguments.insert(0, WEIGHTS);
        }
        let lenets = self.inferences() * self.model.lenets;
        run(&Run {
            elf: self.elf,
            machine: self.machine,
            arguments: &arguments,
            directory: &self.directory,
            limit: LIMIT + LIMIT_PER_INFERENCE * u32::try_from(lenets).unwrap_or(u32::MAX),
        })
    }

    /// Images that are done so far.
    pub(super) fn done(&self) -> usize {
        let bytes = fs::metadata(self.results()).map_or(0, |metadata| metadata.len() as usize);
        (bytes / record_bytes(&self.model)).min(self.inferences())
    }

    fn inferences(&self) -> usize {
        let rounds = if let Task::Records(rounds) = self.task { rounds as usize } else { 1 };
        self.images.len() / self.model.input * rounds
    }

    fn read(&self) -> Result<Vec<u8>> {
        let path = self.results();
        fs::read(&path).map_err(Error::io("read", &path))
    }

    /// The file that the program writes.
    pub(super) fn results(&self) -> PathBuf {
        self.directory.join(RESULTS)
    }
}

fn record_bytes(model: &Model<'_>) -> usize {
    4 * record_words(model.outputs, model.steps)
}

/// Reads a file of results, which must be complete.
fn parse(bytes: &[u8], images: usize, model: &Model<'_>, has_trailer: bool) -> Result<Results> {
    let damaged = |problem: String| Error::Tool { tool: "the firmware".into(), problem };
    let (records, counted) = if has_trailer {
        let cut_off = || damaged(format!("its results are cut off at {} bytes", bytes.len()));
        let (rest, trailer) = bytes.split_last_chunk::<{ Trailer::BYTES }>().ok_or_else(cut_off)?;
        let trailer =
            Trailer::from_bytes(trailer).ok_or_else(|| damaged("its results do not end as they should".into()))?;
        let (records, steps) = rest.split_at(rest.len().checked_sub(8 * model.steps).ok_or_else(cut_off)?);
        let steps = steps.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect();
        (records, Some(Counted { trailer, steps }))
    } else {
        (bytes, None)
    };
    let size = record_bytes(model);
    let right_number = counted.as_ref().is_none_or(|counted| counted.trailer.images as usize == images);
    if records.len() != images * size || !right_number {
        return Err(damaged(format!("it returned {} results for {images} images", records.len() / size)));
    }
    let of = |bytes: &[u8]| {
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        let (logits, digests) = words[1..].split_at(model.outputs);
        Record {
            class: words[0],
            logits: logits.iter().map(|&logit| logit as i32).collect(),
            digests: digests.to_vec(),
        }
    };
    Ok(Results { records: records.chunks_exact(size).map(of).collect(), counted })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Model<'_> = Model { weights: &[], outputs: 2, steps: 1, input: 3, lenets: 1 };

    #[test]
    fn shares_cover_every_image_once() {
        for (images, lenets) in [1, 2, 255, 256, 511, 512, 1000, 10_000].into_iter().flat_map(|n| [(n, 1), (n, 300)]) {
            let mut next = 0;
            for range in split(images, &Model { lenets, ..MODEL }) {
                assert_eq!(range.start, next);
                assert!(!range.is_empty());
                next = range.end;
            }
            assert_eq!(next, images);
        }
    }

    #[test]
    fn results_must_be_complete() {
        let record = Record { class: 3, logits: vec![7, -7], digests: vec![5] };
        let of_record: Vec<u8> = super::super::protocol::record(3, &[7, -7], &[5]).flatten().collect();
        let trailer = Trailer { images: 2, ..Trailer::default() };
        let mut bytes = of_record.repeat(2);
        let parse = |bytes: &[u8], images, has_trailer| parse(bytes, images, &MODEL, has_trailer);
        assert!(parse(&bytes, 2, true).is_err());
        assert_eq!(parse(&bytes, 2, false).unwrap().records, [record.clone(), record.clone()]);
        assert!(parse(&bytes, 1, false).is_err());
        bytes.extend_from_slice(&9_u64.to_le_bytes());
        bytes.extend_from_slice(&trailer.to_bytes());
        let results = parse(&bytes, 2, true).unwrap();
        assert_eq!((results.records, results.counted), (vec![record; 2], Some(Counted { trailer, steps: vec![9] })));
        for (bytes, images) in [(&bytes[..], 3), (&bytes[..], 1), (&bytes[..bytes.len() - 1], 2), (&bytes[..5], 0)] {
            let error = parse(bytes, images, true).unwrap_err();
            assert!(matches!(error, Error::Tool { .. }), "{error}");
        }
    }
}
