//! The network in f32 on the emulated device, BatchNorm unfolded and folded: what folding saves there. Builds a program of the
//! firmware, puts the networks into it, runs it.

use std::fs;

use bn_core::infer::{self, ScratchF32};
use bn_core::{Image, LeNet};
use serde::Serialize;

use super::profile::Executed;
use super::protocol::FloatRecord;
use super::shard::{Model, Shard, Task};
use super::trace::Trace;
use super::{Machine, run};
use crate::data::Split;
use crate::device::firmware::{self, Inputs, Program};
use crate::error::{Error, Result};
use crate::model::input::check_images;

/// The functions of the program that are counted: parts of their symbols.
const FUNCTIONS: [&str; 2] = ["5float6device8unfolded17h", "5float6device6folded17h"];

/// Which f32 network to run, and where.
#[derive(Clone, Copy, Debug)]
pub struct FloatRequest<'a> {
    /// The network.
    pub net: &'a LeNet,
    /// Where its numbers are from, for people.
    pub model: &'a str,
    /// QEMU's machine.
    pub machine: Machine,
    /// The images.
    pub images: &'a Split,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FloatReport {
    /// Where the numbers of the network are from.
    pub model: String,
    /// Images that it classified in both ways.
    pub images: usize,
    /// With BatchNorm computed on its own.
    pub unfolded: FloatCost,
    /// With BatchNorm folded into the layers before.
    pub folded: FloatCost,
    /// Logits compared with the host's.
    pub logits_compared: usize,
    /// Logits of which at least one bit differs.
    pub logits_differing: usize,
}

/// What an f32 inference takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FloatCost {
    /// Executed instructions of an inference, the mean over the images.
    pub instructions_per_inference: u64,
    /// What the log of every executed instruction says, of the first image.
    #[serde(flatten)]
    pub executed: Executed,
}

/// Runs a network in f32 on the emulated device, both ways.
///
/// # Errors
/// [`Error::BadArgument`] without images of LeNet's, or for a machine whose core has no floating-point unit; otherwise as
/// [`emulate`](super::emulate()).
pub fn float(request: &FloatRequest<'_>) -> Result<FloatReport> {
    let FloatRequest { net, model, machine, images } = *request;
    if !machine.has_float_unit() || images.is_empty() {
        return Err(Error::BadArgument {
            problem: format!("{machine} cannot compare f32 networks on {} images", images.len()),
            remedy: "take a machine with a floating-point unit, and one or more images".into(),
        });
    }
    check_images(&images.inputs)?;
    super::ensure(machine)?;
    let firmware = firmware::build_programs(&Inputs { machine, ..Inputs::default() }, &[Program::Float])?;
    let elf = firmware.elf(Program::Float);
    let folded = net.fold();
    firmware::replace_networks(&elf, net, &folded)?;
    let directory = super::working_directory()?;
    let shard = Shard {
        elf: &elf,
        machine,
        // Of f32 an inference is some seven times as long as of integers.
        model: Model { weights: &[], outputs: bn_core::CLASSES, steps: 0, input: size_of::<Image>(), lenets: 7 },
        images: images.images().as_flattened().as_flattened().into(),
        task: Task::Records(1),
        directory: directory.path().to_owned(),
    };
    shard.run_with(|run| run::run(run)?.succeeded())?;
    let records = read(&shard, images.len())?;
    let mut scratch = Box::new(ScratchF32::new());
    let mut host =
        |image: &Image| [infer::unfolded(net, image, &mut scratch), infer::folded(&folded, image, &mut scratch)];
    let logits_differing = records.iter().zip(images.images()).map(|(record, image)| differing(record, host(image)));
    let costs = |way: usize| -> Result<FloatCost> {
        // The log of one image is long enough.
        let shard = Shard { images: images.images()[0].as_flattened().into(), ..shard.clone() };
        let trace = shard.run_with(|run| Trace::of_last(run, FUNCTIONS[way]))?;
        let sum: u64 = records.iter().map(|record| u64::from(record.instructions[way])).sum();
        Ok(FloatCost {
            instructions_per_inference: (sum + records.len() as u64 / 2) / records.len() as u64,
            executed: Executed::of_all(&trace, machine),
        })
    };
    Ok(FloatReport {
        model: model.to_owned(),
        images: records.len(),
        logits_differing: logits_differing.sum(),
        logits_compared: 2 * bn_core::CLASSES * records.len(),
        unfolded: costs(0)?,
        folded: costs(1)?,
    })
}

/// Logits of which at least one bit differs.
fn differing(record: &FloatRecord, host: [[f32; bn_core::CLASSES]; 2]) -> usize {
    let pairs = record.logits.as_flattened().iter().zip(host.as_flattened());
    pairs.filter(|(device, host)| device.to_bits() != host.to_bits()).count()
}

/// Reads a file of results, which must be complete.
fn read(shard: &Shard<'_>, images: usize) -> Result<Vec<FloatRecord>> {
    let path = shard.results();
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let (records, rest) = bytes.as_chunks::<{ FloatRecord::BYTES }>();
    if !rest.is_empty() || records.len() != images {
        return Err(run::failed(shard.machine, format!("it returned {} results for {images} images", records.len())));
    }
    Ok(records.iter().map(FloatRecord::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A comparison that cannot fail proves nothing.
    #[test]
    fn one_bit_is_a_difference() {
        let mut record = FloatRecord { logits: [[1.0; 10], [2.0; 10]], instructions: [0; 2] };
        assert_eq!(differing(&record, [[1.0; 10], [2.0; 10]]), 0);
        record.logits[1][9] = f32::from_bits(2.0_f32.to_bits() + 1);
        assert_eq!(differing(&record, [[1.0; 10], [2.0; 10]]), 1);
    }

    #[test]
    fn a_machine_without_a_floating_point_unit_is_refused() {
        let (net, images) = (Box::new(LeNet::zero()), Split::of_images(vec![[[0; 28]; 28]], vec![0]));
        let request = FloatRequest { net: &net, model: "none", machine: Machine::Microbit, images: &images };
        assert!(matches!(float(&request), Err(Error::BadArgument { .. })));
    }
}
