//! Every core and every path gives the host's bits on the shipped model, within its budget of instructions and of memory.
//! Needs QEMU and the thumb targets.

use bn_core::Model;
use host_trainer::data::Split;
use host_trainer::emulate::{EmulateReport, EmulateRequest, Machine, emulate};
use host_trainer::firmware::{Build, shipped_weights};
use host_trainer::weights::AlignedBytes;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::emulator::{random_images, ready};

/// Most instructions of an inference. Counts are deterministic: one more is a change that somebody made.
const BUDGETS: [(Machine, Build, u64); 9] = [
    (Machine::Netduinoplus2, Build::Fastest, 154_100),
    (Machine::Mps2An500, Build::Fastest, 154_100),
    (Machine::Mps2An505, Build::Fastest, 154_100),
    (Machine::Mps2An386, Build::Portable, 640_000),
    (Machine::Netduinoplus2, Build::Small, 195_800),
    (Machine::Mps2An500, Build::Small, 195_800),
    (Machine::Mps2An505, Build::Small, 195_900),
    (Machine::Mps2An385, Build::Fastest, 635_000),
    (Machine::Microbit, Build::Fastest, 1_070_000),
];
/// Bytes of RAM besides the image and of flash that an inference may take.
const RAM: u64 = 5_120;

fn run(weights: Model<'_>, machine: Machine, build: Build, images: &Split) -> EmulateReport {
    emulate(&EmulateRequest { weights, machine, images, build }).expect("the emulator runs")
}

#[test]
fn every_core_gives_the_hosts_bits_within_its_budget() {
    if !ready() {
        return;
    }
    let path = shipped_weights().expect("a checkout");
    let bytes = AlignedBytes::read(&path).expect("shipped weights");
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(3), 64);
    for (machine, build, budget) in BUDGETS {
        let report = run(bytes.model(&path).expect("good weights"), machine, build, &images);
        report.verdict().unwrap();
        let instructions = report.instructions_range[1];
        assert!(
            u64::from(instructions) <= budget,
            "{machine} {build:?}: {instructions} instructions, more than {budget}"
        );
        let ram = report.scratch_bytes + report.stack_bytes;
        assert!(ram <= RAM, "{machine}: {ram} bytes of RAM");
    }
}
