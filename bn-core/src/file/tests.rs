//! A file is what was written, every flipped bit is refused, and forged sections are named.

use std::vec::Vec;

use super::*;
use crate::format::{FormatError, HEADER_BYTES};
use crate::kernels::tests::{portable, streams};
use crate::lenet::{NETWORK, Streams};
use crate::plan::{Goal, plan, words};

/// LeNet's file with these streams.
pub(crate) fn lenet(streams: &Streams) -> WeightsFile {
    written(streams, |_, _| ()).unwrap()
}

/// The same after a change to plan and scales.
fn written(
    streams: &Streams,
    change: impl FnOnce(&mut Vec<Step>, &mut Vec<Scale>),
) -> Result<WeightsFile, FormatError> {
    let texts = Texts { network: "lenet".into(), nodes: std::vec![Some("first".into()), None], ..Texts::default() };
    let mut steps = plan(&NETWORK, &Goal::default()).unwrap();
    let mut scales = std::vec![Scale { scale: 0.5, zero_point: -3 }; steps.len() + 1];
    change(&mut steps, &mut scales);
    let streams = bytemuck::cast_slice(bytemuck::bytes_of(streams));
    Contents { network: NETWORK, texts: &texts, steps: &steps, scales: &scales, streams }.write()
}

#[test]
fn a_file_is_what_was_written() {
    let streams = streams();
    let file = lenet(&streams);
    assert_eq!(file.network(), NETWORK);
    assert_eq!((file.step_name(0), file.step_name(1)), ("first".into(), "4".into()));
    assert_eq!(bytemuck::cast_slice::<_, u8>(file.streams()), bytemuck::bytes_of(&*streams));
    assert_eq!(file.output_scale(), Scale { scale: 0.5, zero_point: -3 });
    assert_eq!((0..5).map(|step| file.step_macs(step)).sum::<usize>(), crate::lenet::MACS);
    let again = WeightsFile::read(&file.to_bytes()).unwrap();
    assert_eq!((again.to_bytes(), again.texts()), (file.to_bytes(), file.texts()));
    assert_eq!(file.goldens(), file.compute_goldens());
    assert!(file.goldens()[0] != 0);
}

#[test]
fn an_interpreted_network_gives_the_kernels_bits() {
    let streams = streams();
    let file = lenet(&streams);
    let mut image = [[0; 28]; 28];
    for (at, pixel) in image.as_flattened_mut().iter_mut().enumerate() {
        *pixel = crate::format::golden_input(at);
    }
    let mut seen = Vec::new();
    let logits = file.run(image.as_flattened(), &mut Arena::default(), |step, output| seen.push((step, output.len())));
    assert_eq!(logits, portable(&streams, &image));
    assert_eq!(seen, [(0, 432), (1, 128), (2, 60), (3, 44), (4, 12)]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of checksums")]
fn flipped_bits_are_refused() {
    let mut bytes = lenet(&streams()).to_bytes();
    // All of the header, and some of the rest: `tests` flips all.
    for bit in (0..8 * HEADER_BYTES).chain((8 * HEADER_BYTES..8 * bytes.len()).step_by(101)) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(WeightsFile::read(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(WeightsFile::read(&bytes).is_ok());
}

#[test]
fn impossible_plans_are_refused() {
    let streams = streams();
    let step = |step, change: fn(&mut Step)| {
        let refused = written(&streams, |steps, _| change(&mut steps[step])).unwrap_err();
        assert_eq!(refused, FormatError::Step { step });
    };
    step(0, |s| s.family = 99);
    step(0, |s| s.family = 2);
    step(1, |s| s.first += 1);
    step(2, |s| s.last -= 1);
    step(2, |s| s.table = 3);
    step(4, |s| s.table = 0);
    step(3, |s| s.table = Step::NO_TABLE);
    step(0, |s| s.input = 0);
    step(1, |s| s.input += 1);
    step(1, |s| s.output = s.input);
    step(1, |s| s.scratch = s.input);
    step(0, |s| s.scratch = s.output);
    step(0, |s| s.scratch = u32::MAX);
    let short = written(&streams, |steps, scales| {
        steps.pop();
        scales.pop();
    });
    assert_eq!(short.unwrap_err(), FormatError::Step { step: 4 });
    for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let refused = written(&streams, |_, scales| scales[3].scale = wrong).unwrap_err();
        assert_eq!(refused, FormatError::Scale { tensor: 3 });
    }
}

#[test]
fn a_plan_needs_no_more_memory_than_its_largest_step() {
    let file = lenet(&streams());
    // The first pooled map, the window and the second pooled map are there at once.
    assert_eq!(file.arena_words(), 432 + 384 + 128);
    assert_eq!(words(785), 197);
}

#[test]
fn forged_sections_are_named() {
    let good = lenet(&streams()).to_bytes();
    let forged = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        reseal(&mut bytes);
        WeightsFile::read(&bytes).unwrap_err()
    };
    assert_eq!(forged(20, good[20] ^ 1), FormatError::Description);
    assert_eq!(forged(24, good[24] ^ 1), FormatError::Description);
    assert!(matches!(forged(28, good[28] ^ 1), FormatError::Plan { .. }));
    assert_eq!(forged(32, 255), FormatError::Description);
    assert!(matches!(forged(40, good[40] ^ 1), FormatError::Length { .. }));
    assert_eq!(forged(44, good[44] ^ 1), FormatError::Texts);
    // The number of nodes, and the kind of the first.
    assert_eq!(forged(HEADER_BYTES, 99), FormatError::Description);
    assert_eq!(forged(HEADER_BYTES + 20, 77), FormatError::Description);
    let mut texts = good.clone();
    let last = texts.len() - 1;
    texts[last] ^= 1;
    assert_eq!(WeightsFile::read(&texts).unwrap_err(), FormatError::Texts);
}
