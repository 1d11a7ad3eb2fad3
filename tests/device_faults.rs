//! Faults on the device, in the emulator of each core: a program that panics, faults, runs out of stack or hangs ends with a
//! reason on the log and an exit code of its own, and so does one whose weights in flash are erased or damaged. Needs QEMU and
//! the thumb targets. `BN_LENET_FLIP_STEP` is the step from one flipped bit to the next, 499 without it; 1 flips all.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use bn_core::format::FIELDS;
use bn_core::lenet::STREAM_FIELDS;

use host_trainer::device::emulate::protocol::{
    EXIT_FAILED, EXIT_FAULT, EXIT_PANIC, EXIT_STACK_OVERFLOW, EXIT_WATCHDOG,
};
use host_trainer::device::emulate::{Level, LogLine, Machine, Outcome, Run, run};
use host_trainer::device::firmware::{self, Build, Firmware, Inputs, Program};
use object::{Object, ObjectSymbol};

use crate::emulator::prepare;

/// One machine for each build of the firmware and each kind of core.
const MACHINES: [Machine; 6] = [
    Machine::Netduinoplus2,
    Machine::Mps2An385,
    Machine::Mps2An386,
    Machine::Mps2An500,
    Machine::Mps2An505,
    Machine::Microbit,
];

/// Long enough for every program that ends.
const LIMIT: Duration = Duration::from_secs(60);

/// What `crash` is told, its exit code, and what its log says on a core with fault registers and on one without; `None` where
/// there is nothing to tell.
const FAULTS: [(&str, i32, Option<&str>, Option<&str>); 12] = [
    ("panic", EXIT_PANIC, Some("on purpose"), Some("on purpose")),
    ("undefined", EXIT_FAULT, Some("usage fault at 0x{pc}: undefined instruction"), HARD),
    ("nowhere", EXIT_FAULT, Some("bus fault at 0x{pc}: bus error on data, address 0xd0000000"), HARD),
    ("peripheral", EXIT_FAULT, Some("memory management fault at 0x40000000: code must not run there"), None),
    ("arm", EXIT_FAULT, Some("usage fault at 0x00000000: not in Thumb state"), Some("hard fault at 0x00000000")),
    ("unaligned", EXIT_FAULT, Some("usage fault at 0x{pc}: unaligned access"), HARD),
    ("coprocessor", EXIT_FAULT, Some("usage fault at 0x{pc}: no such coprocessor"), None),
    ("supervisor", EXIT_FAULT, Some("unexpected exception at 0x{pc}"), Some("unexpected exception at 0x{pc}")),
    ("stack", EXIT_STACK_OVERFLOW, Some("stack overflow at"), Some("stack overflow at")),
    ("below-stack", EXIT_FAULT, Some("fault at 0x{pc}: "), HARD),
    ("anything else", EXIT_FAILED, Some("say what to do"), Some("say what to do")),
    ("", EXIT_FAILED, Some("say what to do"), Some("say what to do")),
];
const HARD: Option<&str> = Some("hard fault at 0x{pc}: this core does not say why");

fn built(machine: Machine, build: Build, program: Program) -> Firmware {
    firmware::build_programs(&Inputs { machine, build, ..Inputs::default() }, &[program]).expect("the firmware builds")
}

fn crash(machine: Machine) -> Firmware {
    built(machine, Build::Default, Program::Crash)
}

fn run_crash(firmware: &Firmware, machine: Machine, argument: &str, limit: Duration) -> host_trainer::Result<Outcome> {
    let elf = firmware.elf(Program::Crash);
    let directory = elf.parent().expect("a directory");
    run(&Run { elf: &elf, machine, arguments: &[argument], directory, limit })
}

/// The one error of the log.
fn error(outcome: &Outcome) -> &str {
    let mut errors = outcome.log.iter().filter(|line| line.level == Level::Error);
    match (errors.next(), errors.next()) {
        (Some(LogLine { text, .. }), None) => text,
        _ => panic!("not one error: {outcome:?}"),
    }
}

/// Whether the words begin as expected; `{pc}` is an address within the program's code.
fn says(words: &str, expected: &str, code: Range<u64>) -> bool {
    let Some((before, after)) = expected.split_once("{pc}") else { return words.contains(expected) };
    words.split_once(before).is_some_and(|(_, rest)| {
        let pc = rest.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        pc.is_some_and(|pc| code.contains(&pc)) && rest[8..].starts_with(after)
    })
}

/// Where the code of a program lies.
fn code(firmware: &Firmware) -> Range<u64> {
    let bytes = std::fs::read(firmware.elf(Program::Crash)).expect("an ELF");
    let elf = object::File::parse(&*bytes).expect("an ELF");
    let symbol = |name| elf.symbols().find(|symbol| symbol.name() == Ok(name)).expect("a symbol").address();
    symbol("__stext")..symbol("__etext")
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn every_fault_ends_with_its_reason_and_exit_code_on_every_core() {
    prepare(Machine::default());
    for machine in MACHINES {
        let firmware = crash(machine);
        let code = code(&firmware);
        for (argument, exit, rich, poor) in FAULTS {
            let expected = if machine == Machine::Microbit { poor } else { rich };
            let Some(expected) = expected else { continue };
            let outcome = run_crash(&firmware, machine, argument, LIMIT).expect("QEMU runs");
            let words = error(&outcome);
            println!("{machine} {argument}: {words} ({:?})", outcome.code);
            assert_eq!(outcome.code, Some(exit), "{machine} {argument}: {outcome:?}");
            assert!(says(words, expected, code.clone()), "{machine} {argument}: {words}, not {expected}");
            let failure = outcome.succeeded().unwrap_err().to_string();
            assert!(failure.contains(words) && failure.contains(&exit.to_string()), "{failure}");
        }
    }
}

/// A program that hangs: where the machine has a watchdog it ends by it, with the place; elsewhere the host stops the emulator.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_program_that_hangs_is_ended_by_the_watchdog_or_the_host() {
    prepare(Machine::default());
    for machine in MACHINES {
        let firmware = crash(machine);
        if matches!(machine, Machine::Netduinoplus2 | Machine::Microbit) {
            let error = run_crash(&firmware, machine, "hang", Duration::from_millis(500)).unwrap_err().to_string();
            assert!(error.contains("did not end within 0.5 s"), "{machine}: {error}");
            continue;
        }
        let outcome = run_crash(&firmware, machine, "hang", LIMIT).expect("QEMU runs");
        let words = error(&outcome);
        println!("{machine}: {words}");
        assert_eq!(outcome.code, Some(EXIT_WATCHDOG), "{machine}: {outcome:?}");
        let expected = "watchdog: no inference ended in time; the program is at 0x{pc}";
        assert!(says(words, expected, code(&firmware)), "{machine}: {words}");
    }
}

/// RISC-V has other exceptions; those that a Cortex-M has no like of are not provoked there.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_riscv_core_gives_its_reasons_too() {
    let machine = Machine::Riscv32;
    prepare(machine);
    let firmware = crash(machine);
    for (argument, code, reason) in [
        ("panic", EXIT_PANIC, "on purpose"),
        ("undefined", EXIT_FAULT, ": undefined instruction"),
        ("anything else", EXIT_FAILED, "say what to do"),
    ] {
        let outcome = run_crash(&firmware, machine, argument, LIMIT).expect("QEMU runs");
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        assert!(error(&outcome).contains(reason), "{outcome:?}");
    }
}

/// Flash that was never written, on every core: an error of its own. And one flipped bit in each field.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn erased_and_damaged_flash_is_refused_on_every_core() {
    prepare(Machine::default());
    let shipped = tests::shipped();
    for machine in MACHINES {
        let firmware = built(machine, Build::Default, Program::Demo);
        let elf = firmware.elf(Program::Demo);
        let good = std::fs::read(&elf).expect("an ELF");
        let refused = |change: &dyn Fn(&mut [u8]), reason: &str| {
            std::fs::write(&elf, &good).expect("a writable file");
            firmware::change_weights(&elf, change).expect("a program with weights");
            let directory = elf.parent().expect("a directory");
            let outcome = run(&Run { elf: &elf, machine, arguments: &[], directory, limit: LIMIT }).expect("QEMU runs");
            assert_eq!(outcome.code, Some(EXIT_FAILED), "{machine}: {outcome:?}");
            let [first, last] = &outcome.log[..] else { panic!("{machine}: not two lines: {outcome:?}") };
            assert!(first.text.starts_with("the weights in flash are damaged: "), "{machine}: {first}");
            assert!(first.text.contains(reason), "{machine}: {first}, not {reason}");
            assert_eq!(last.text, "flash the firmware again");
        };
        refused(&|bytes| bytes.fill(0xFF), "Erased");
        refused(&|bytes| bytes.fill(0), "Erased");
        // One field of each machine's share; all of them on the first.
        let share = if machine == MACHINES[0] { 1 } else { 6 };
        let fields =
            FIELDS.iter().filter(|field| !field.name.starts_with("text")).map(|field| (field.offset, field.bytes));
        let start = shipped.model_bytes().len() - 4 * shipped.streams().len();
        let fields = fields.chain(STREAM_FIELDS.iter().map(|&(_, offset, bytes)| (start + offset, bytes)));
        for (offset, bytes) in fields.step_by(share) {
            refused(&|model| model[offset + bytes / 2] ^= 4, "");
        }
    }
}

/// The device's own parser on flipped bits of the weights.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn flipped_bits_are_refused_by_the_device() {
    prepare(Machine::default());
    let step = std::env::var("BN_LENET_FLIP_STEP").map_or(499, |text| text.parse().expect("a number"));
    let model = tests::shipped().model_bytes().len();
    for (machine, build, bytes) in [
        (Machine::Netduinoplus2, Build::Default, model),
        (Machine::Mps2An385, Build::Default, model),
        (Machine::Mps2An505, Build::Small, bn_core::small::WEIGHTS_BYTES),
    ] {
        let firmware = &built(machine, build, Program::Damage);
        let bits = 8 * bytes;
        // Every bit of the header, then the others in two emulators side by side.
        let refused: usize = thread::scope(|scope| {
            let shares = [(0..512, 1), (512..bits / 2, step), (bits / 2..bits, step)];
            let runs = shares.map(|(range, step)| scope.spawn(move || flip(firmware, machine, range, step)));
            runs.map(|run| run.join().expect("it does not panic")).iter().sum()
        });
        println!("{machine} {build:?}: {refused} flipped bits refused");
    }
}

/// Flips every `step`th bit of a range, one at a time; the number of those that were refused, which must be all.
fn flip(firmware: &Firmware, machine: Machine, range: Range<usize>, step: usize) -> usize {
    let elf = firmware.elf(Program::Damage);
    let count = range.clone().step_by(step).count();
    let arguments = [range.start, range.end, step].map(|number| number.to_string());
    let run = run(&Run {
        elf: &elf,
        machine,
        arguments: &arguments.each_ref().map(String::as_str),
        directory: elf.parent().expect("a directory"),
        limit: LIMIT + Duration::from_millis(200) * count as u32,
    });
    let outcome = run.expect("QEMU runs");
    outcome.succeeded().expect("every flipped bit is refused");
    let last = &outcome.log.last().expect("a log").text;
    assert!(last.starts_with(&format!("{count} flipped bits refused")), "{last}");
    count
}
