//! Every layer's every output against the host's, by digests; where one differs, a second run on the device says which outputs
//! differ, and the first of them by its place.

use std::collections::BTreeMap;
use std::fmt;

use bn_core::file::{Arena, WeightsFile};
use serde::Serialize;

use super::shard::{Record, Results};
use crate::device::codes::Codes;
use crate::error::Result;
use crate::model::inference::{Prediction, each};

/// What the host says of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) prediction: Prediction,
    /// A digest of what each step gave.
    pub(super) digests: Vec<u32>,
}

/// What the host says of each input.
pub(super) fn host(file: &WeightsFile, codes: &Codes<'_>) -> Vec<Host> {
    let inputs: Vec<usize> = (0..codes.len()).collect();
    let filled: Vec<_> = (0..file.steps().len()).map(|step| file.step_filled(step)).collect();
    each(&inputs, Arena::default, |&input, arena| {
        let mut digests = Vec::with_capacity(filled.len());
        let output = file.run(codes.one(input), arena, |step, output| digests.push(filled[step].digest(output)));
        Host { prediction: Prediction::new(output), digests }
    })
}

/// How device and host compare.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Comparison {
    /// Inferences.
    pub(super) images: usize,
    /// Inferences whose class is the label.
    pub(super) right: usize,
    pub(super) logits_differing: usize,
    pub(super) classes_differing: usize,
    /// Of each step: outputs that differ, of all inferences together.
    pub(super) outputs_differing: Vec<usize>,
    /// The first of them in the order of the steps, and its step.
    pub(super) first: Option<(usize, Difference)>,
}

/// A difference, by its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Position of the input.
    pub input: usize,
    /// Name of the layer.
    pub layer: String,
    /// The family of kernels that computes it.
    pub family: &'static str,
    /// Where in its output, and what is there; `None` where a second run did not show it again.
    #[serde(flatten)]
    pub place: Option<Place>,
}

/// A place in a layer's output, and the integers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Place {
    pub channel: usize,
    pub row: usize,
    pub column: usize,
    pub device: i32,
    pub host: i32,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {} ({}), input {}", self.layer.escape_debug(), self.family, self.input)?;
        match self.place {
            Some(Place { channel, row, column, device, host }) => {
                write!(f, ", channel {channel}, row {row}, column {column}: {device} on the device, {host} on the host")
            }
            None => write!(f, ", where a second run gave the host's"),
        }
    }
}

/// Compares what the shares found, each in so many rounds. `outputs` lets the device say of some inputs all that its steps give,
/// one input behind the other, a word each.
pub(super) fn compare(
    file: &WeightsFile,
    codes: &Codes<'_>,
    labels: &[u8],
    (results, rounds): (&[Results], u32),
    outputs: impl Fn(&[usize]) -> Result<Vec<u32>>,
) -> Result<Comparison> {
    let host = host(file, codes);
    let mut comparison = Comparison { outputs_differing: vec![0; file.steps().len()], ..Comparison::default() };
    // Of each input with a difference: how often each step's digest differs.
    let mut wrong: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut start = 0;
    for Results { records, .. } in results {
        let share = start..start + records.len() / rounds as usize;
        for (device, index) in records.iter().zip(share.clone().cycle()) {
            comparison.add(device, &host[index], labels.get(index).copied());
            let differs = device.digests.iter().zip(&host[index].digests).map(|(a, b)| usize::from(a != b));
            if device.digests != host[index].digests {
                let times = wrong.entry(index).or_insert_with(|| vec![0; host[index].digests.len()]);
                times.iter_mut().zip(differs).for_each(|(times, differs)| *times += differs);
            }
        }
        start = share.end;
    }
    comparison.look(file, codes, &wrong, outputs)?;
    Ok(comparison)
}

impl Comparison {
    /// Adds an inference.
    fn add(&mut self, device: &Record, host: &Host, label: Option<u8>) {
        self.images += 1;
        self.right += usize::from(label.map(u32::from) == Some(device.class));
        self.classes_differing += usize::from(device.class as usize != host.prediction.class);
        let logits = host.prediction.logits.iter().zip(&device.logits);
        self.logits_differing += logits.filter(|(host, device)| host != device).count();
    }

    /// Finds which outputs differ, some inputs at a time.
    fn look(
        &mut self,
        file: &WeightsFile,
        codes: &Codes<'_>,
        wrong: &BTreeMap<usize, Vec<usize>>,
        outputs: impl Fn(&[usize]) -> Result<Vec<u32>>,
    ) -> Result<()> {
        /// Words of a second run's results: few enough for every disk.
        const WORDS: usize = 1 << 24;
        let words: usize = file.steps().iter().map(|step| step.shapes.output).sum();
        let (inputs, mut arena) = (wrong.keys().copied().collect::<Vec<_>>(), Arena::default());
        for inputs in inputs.chunks((WORDS / words).max(1)) {
            let device = outputs(inputs)?;
            for (&input, device) in inputs.iter().zip(device.chunks_exact(words)) {
                let mut rest = device;
                file.run(codes.one(input), &mut arena, |step, host| {
                    let device;
                    (device, rest) = rest.split_at(host.len());
                    let times = wrong[&input][step];
                    if times > 0 {
                        self.find(file, [input, step, times], device, host);
                    }
                });
            }
        }
        Ok(())
    }

    /// Compares what device and host say of a step whose digest differs for an input, so many times.
    fn find(&mut self, file: &WeightsFile, [input, step, times]: [usize; 3], device: &[u32], host: &[u32]) {
        let [device, host] = [device, host].map(|output| file.step_values(step, output));
        let differing = (0..host.len()).filter(|&at| device[at] != host[at]);
        self.outputs_differing[step] += times * differing.clone().count().max(1);
        // Inputs come in order, and so the first of a step is its first.
        if self.first.as_ref().is_none_or(|(first, _)| step < *first) {
            let (shape, mut differing) = (file.step_shape(step), differing);
            let place = differing.next().map(|at| {
                let position = at % (shape.height * shape.width);
                Place {
                    channel: at / (shape.height * shape.width),
                    row: position / shape.width,
                    column: position % shape.width,
                    device: device[at],
                    host: host[at],
                }
            });
            let (layer, family) = (file.step_name(step), file.steps()[step].family.name());
            self.first = Some((step, Difference { input, layer, family, place }));
        }
    }
}
