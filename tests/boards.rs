//! The firmware of each board: it builds, lies where the chip has its memory, and begins as the chip's boot ROM wants it. None
//! of these has run on hardware. Needs the thumb targets.

use std::fs;
use std::ops::Range;

use host_trainer::device::board::Board;
use host_trainer::device::emulate::Machine;
use host_trainer::device::firmware::{self, Inputs, Program, workspace_root};
use host_trainer::process::{Command, Shown};
use object::{Object, ObjectSection, ObjectSegment};

use crate::emulator::prepare;

/// The memories of each board: flash, RAM.
const MEMORIES: [(Board, Range<u64>, Range<u64>); 5] = [
    (Board::Stm32f405, 0x0800_0000..0x0810_0000, 0x2000_0000..0x2002_0000),
    (Board::Nrf52840Dk, 0..0x10_0000, 0x2000_0000..0x2004_0000),
    (Board::MicrobitV2, 0..0x8_0000, 0x2000_0000..0x2002_0000),
    (Board::Pico, 0x1000_0000..0x1020_0000, 0x2000_0000..0x2004_2000),
    (Board::Pico2, 0x1000_0000..0x1040_0000, 0x2000_0000..0x2008_2000),
];

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn every_boards_demo_lies_in_its_memories_and_can_be_booted() {
    prepare(Machine::default());
    for (board, flash, ram) in MEMORIES {
        let inputs = Inputs { board: Some(board), ..Inputs::default() };
        let firmware = firmware::build_programs(&inputs, &[Program::Demo]).expect("it builds");
        let bytes = fs::read(firmware.elf(Program::Demo)).expect("an ELF");
        let elf = object::File::parse(&*bytes).expect("an ELF");
        for segment in elf.segments() {
            let (start, end) = (segment.address(), segment.address() + segment.size());
            let fits = |memory: &Range<u64>| memory.contains(&start) && end <= memory.end;
            assert!(fits(&flash) || fits(&ram), "{board:?}: {start:#x} to {end:#x}");
        }
        let section = |name: &str| elf.section_by_name(name).unwrap_or_else(|| panic!("{board:?} has no {name}"));
        let vectors = section(".vector_table");
        let first = |section: &object::Section<'_, '_>| section.address() - flash.start;
        assert_eq!(first(&vectors), if board == Board::Pico { 256 } else { 0 }, "{board:?}");
        let stack = u32::from_le_bytes(vectors.data().expect("bytes")[..4].try_into().expect("a word"));
        // The stack grows down to the bottom of RAM, away from the statics.
        let in_ram = |section: &object::Section<'_, '_>| section.size() > 0 && ram.contains(&section.address());
        let statics = elf.sections().filter(in_ram).map(|section| section.address()).min().expect("statics");
        assert_eq!(u64::from(stack), statics, "{board:?}: the statics begin where the stack does");
        assert!(u64::from(stack) - ram.start >= 12 * 1024, "{board:?}: a stack from {stack:#x}");
        match board {
            Board::Pico => {
                let loader = section(".boot2");
                assert_eq!((first(&loader), loader.size()), (0, 256));
                let (code, sum) = loader.data().expect("bytes").split_at(252);
                // What the RP2040's boot ROM computes: datasheet, section 2.8.1.3.1.
                let crc = crc32_mpeg2(code);
                assert_eq!(sum, crc.to_le_bytes());
            }
            Board::Pico2 => {
                let definition = section(".image_definition");
                assert!(first(&definition) + definition.size() <= 4096);
                // The smallest image definition of an Arm program: datasheet, section 5.9.5.1.
                let words = [0xFFFF_DED3_u32, 0x1021_0142, 0x0000_01FF, 0, 0xAB12_3579];
                assert_eq!(definition.data().expect("bytes"), words.map(u32::to_le_bytes).concat());
            }
            _ => {}
        }
    }
}

/// CRC-32 without reflection or final inversion.
fn crc32_mpeg2(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 })
    })
}

/// The first error of a build of the firmware.
fn refusal(target: &str, features: &[&str]) -> String {
    let build = Command::cargo()
        .directory(&workspace_root().expect("a checkout"))
        .args(["build", "--profile", "firmware", "--package", "firmware-demo", "--target", target])
        .args(features);
    let finished = build.finish(Shown::Nothing).expect("cargo runs");
    assert!(!finished.status.success(), "{features:?} build");
    finished.stderr.lines().find(|line| line.starts_with("error")).expect("an error").to_owned()
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_build_is_for_one_board_with_its_own_core() {
    prepare(Machine::default());
    let target = "thumbv7em-none-eabihf";
    for (features, reason) in [
        (&["--features", "pico"][..], "2 boards (stm32f405, pico)"),
        (&["--no-default-features"], "no board"),
        (&["--no-default-features", "--features", "pico"], "the core of pico is a thumbv6m"),
    ] {
        let line = refusal(target, features);
        assert!(line.contains(reason), "{line}");
    }
}
