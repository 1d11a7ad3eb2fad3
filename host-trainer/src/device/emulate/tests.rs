//! What is counted and compared, without an emulator: a comparison that cannot fail proves nothing.

use bn_core::CLASSES;
use bn_core::file::Arena;

use super::compare::{Host, host};
use super::protocol::Trailer;
use super::shard::{Counted, Record};
use super::*;
use crate::data::{Inputs, Values};
use crate::network::Network;
use crate::quantize::Quantized;

/// LeNet's file with biases alone: class 9 for every input.
fn weights() -> WeightsFile {
    let mut file: Box<bn_core::lenet::Streams> = bytemuck::zeroed_box();
    for multipliers in [file.linear1_multiplier.as_flattened_mut(), file.linear2_multiplier.as_flattened_mut()] {
        multipliers.fill(1 << 20);
    }
    file.linear3_multiplier.as_flattened_mut()[..CLASSES].fill(i32::MAX);
    for (class, bias) in file.linear3_bias.as_flattened_mut()[..CLASSES].iter_mut().enumerate() {
        *bias = 10 * class as i32;
    }
    Quantized { streams: file, logit_fraction_bits: 0 }.write(&Network::lenet()).unwrap()
}

fn counted(images: u32, low: u32, high: u32) -> Option<Counted> {
    let trailer = Trailer {
        images,
        instructions: u64::from(low + high),
        instructions_min: low,
        instructions_max: high,
        stack_bytes: 7,
        scratch_bytes: 5,
    };
    Some(Counted { trailer, steps: vec![u64::from(images); 5] })
}

/// All that the steps give for an input, with one word changed.
fn outputs(weights: &WeightsFile, input: &[u8], change: (usize, usize, u32)) -> Vec<u32> {
    let (mut all, (at, word, bits)) = (Vec::new(), change);
    weights.run(input, &mut Arena::default(), |step, output| {
        let start = all.len();
        all.extend_from_slice(output);
        if step == at {
            all[start + word] ^= bits;
        }
    });
    all
}

#[test]
fn every_difference_is_counted_and_the_first_has_its_place() {
    let weights = weights();
    let images = Split::of_images(vec![[[0; 28]; 28]; 3], vec![9, 9, 1]);
    let request =
        EmulateRequest { weights: &weights, machine: Machine::default(), images: &images, build: Build::default() };
    let codes = Codes::of(&weights, &images.inputs).unwrap();
    let of_host = |Host { prediction, digests }: Host| Record {
        class: prediction.class as u32,
        logits: prediction.logits,
        digests,
    };
    let records: Vec<_> = host(&weights, &codes).into_iter().map(of_host).collect();
    let mut results = [
        Results { records: records[..2].to_vec(), counted: counted(2, 10, 30) },
        Results { records: records[2..].to_vec(), counted: counted(1, 0, 20) },
    ];
    let sizes = Some(Sizes { flash: 100, weights: 50, statics: 8, inference_code: 20, stack_bound: 8 });
    // The second map of channels 2 and 3: row 1, column 2 of channel 3.
    let change = (0, 144 + 12 + 2, 5 << 16);
    let report = |results: &[Results], rounds| {
        let comparison = compare(&weights, &codes, &images.labels, (results, rounds), |inputs| {
            Ok(inputs.iter().flat_map(|&input| outputs(&weights, codes.one(input), change)).collect())
        });
        report(&request, comparison.unwrap(), results, sizes, 1.0)
    };
    let same = report(&results, 1);
    assert!(same.verdict().is_ok() && same.first_difference.is_none());
    assert_eq!((same.images, same.logits_compared, same.accuracy), (3, 30, Some(2.0 / 3.0)));
    assert_eq!((same.outputs_compared, same.layers[1].outputs_compared), (3 * 1334, 3 * 256));
    assert_eq!(same.layers[4].instructions, Some(1));
    let cost = same.cost.expect("it was counted");
    assert_eq!((cost.instructions_per_inference, cost.instructions_range), (20, [0, 30]));
    assert_eq!((cost.ram_bytes, cost.stack_bytes, cost.flash_bytes), (8, 7, 100));
    assert_eq!((cost.stack_bound_bytes, cost.inference_flash_bytes), (8, 70));

    results[1].records[0].logits[9] ^= 1;
    results[0].records[1].class = 3;
    results[0].records[1].digests[0] ^= 1;
    results[1].records[0].digests[0] ^= 1;
    // One that the second run does not show.
    results[1].records[0].digests[4] ^= 1;
    let other = report(&results, 1);
    assert_eq!((other.logits_differing, other.classes_differing, other.outputs_differing), (1, 1, 3));
    assert_eq!(other.layers.iter().map(|layer| layer.outputs_differing).collect::<Vec<_>>(), [2, 0, 0, 0, 1]);
    let text = other.verdict().unwrap_err().to_string();
    assert!(
        text.contains("1 of 30 logits, 1 of 3 classes and 3 of 4002 outputs of layers; first in layer 0"),
        "{text}"
    );
    let first = other.first_difference.unwrap();
    let place = first.place.unwrap();
    assert_eq!((first.input, place.channel, place.row, place.column), (1, 3, 1, 2));
    assert_eq!(place.device ^ place.host, 5);

    // The second round of the first share repeats its differences; the other inference of it is right.
    for results in &mut results {
        results.records.extend_from_within(..);
    }
    let twice = report(&results, 2);
    assert_eq!((twice.images, twice.logits_differing, twice.classes_differing), (6, 2, 2));
    assert_eq!(twice.outputs_differing, 6);
}

#[test]
fn a_difference_that_does_not_come_again_is_said_so() {
    let difference = Difference { input: 7, layer: "conv\n".into(), family: "conv::conv", place: None };
    assert_eq!(difference.to_string(), r"layer conv\n (conv::conv), input 7, where a second run gave the host's");
}

#[test]
fn numbers_become_codes_and_other_shapes_are_refused() {
    let weights = weights();
    let floats = Inputs::new(
        weights.network().topology.input,
        Values::F32((0..784).map(|value| value as f32 - 100.0).collect()),
    );
    let codes = Codes::of(&weights, &floats).unwrap();
    assert_eq!((codes.len(), codes.one(0)[99], codes.one(0)[150], codes.one(0)[783]), (1, 0, 50, 255));
    let other = Inputs::new(bn_core::network::Shape::flat(784), floats.values().clone());
    let refused = Codes::of(&weights, &other).unwrap_err();
    assert_eq!(refused.to_string(), "lenet reads 1x28x28, and the inputs are 784; give inputs of that shape");
}
