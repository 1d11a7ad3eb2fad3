//! The firmware in the emulator: the same bits as the host, the right exit codes, a readable log, and a build that refuses
//! bad weights. Needs QEMU and the thumb target.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use bn_core::CLASS_NAMES;
use bn_core::file::WeightsFile;
use bn_core::lenet::TENSORS;
use bn_core::network::Role;
use chacha20::ChaCha8Rng;
use host_trainer::data::{Split, garments};
use host_trainer::device::emulate::protocol::EXIT_FAILED;
use host_trainer::device::emulate::{
    EmulateReport, EmulateRequest, Level, LogLine, Machine, Outcome, Run, emulate, ensure, run, run_demo, soak,
};
use host_trainer::device::firmware::{self, Build, Inputs, Program};
use host_trainer::model::lenet::to_lenet;
use host_trainer::model::parameters::{Parameters, Variance};
use host_trainer::network::Network;
use host_trainer::process::{Command, Shown};
use host_trainer::quantize::{Calibration, quantize};
use host_trainer::{Error, Result};
use object::{Object, ObjectSegment, ObjectSymbol};
use rand::{Rng, RngExt, SeedableRng};

/// Drawings that the repository ships: one of each class, of this seed.
const SHIPPED_DRAWINGS: usize = bn_core::CLASSES;
const SHIPPED_SEED: u64 = 0;

/// Installs a machine's emulator and target where they are not there.
///
/// # Panics
/// Where that is not possible, with the command to type.
pub(crate) fn prepare(machine: Machine) {
    ensure(machine).unwrap_or_else(|error| panic!("{error}"));
}

/// A quantised network with random weights, BatchNorm parts and statistics.
pub(crate) fn random_weights(seed: u64) -> WeightsFile {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = Parameters::zero(&Network::lenet(), Variance::Biased);
    for (spec, values) in TENSORS.iter().zip(&mut parameters.tensors) {
        let fan_in: usize = spec.shape[1..].iter().product();
        let spread = 2.0 / (fan_in as f64).sqrt();
        for value in values {
            *value = match spec.role {
                Role::Weight => rng.random_range(-spread..spread),
                Role::Bias | Role::Beta | Role::RunningMean => rng.random_range(-0.3..0.3),
                // BatchNorm's scale may be negative, or zero: a dead channel.
                Role::Gamma if rng.random_bool(0.1) => 0.0,
                Role::Gamma => rng.random_range(0.5..2.0) * if rng.random_bool(0.2) { -1.0 } else { 1.0 },
                Role::RunningVar => rng.random_range(0.05..0.5),
            };
        }
    }
    let folded = to_lenet(&parameters).expect("LeNet").fold();
    let calibration = Calibration::new(&folded, random_images(&mut rng, 20).images());
    let (quantized, _) = quantize(&folded, &calibration).expect("random weights can be quantised");
    quantized.write(&Network::lenet()).expect("a device would take them")
}

/// Images between empty and full: blocks, noise, and the extremes.
pub(crate) fn random_images(rng: &mut impl Rng, count: usize) -> Split {
    let mut images = Vec::with_capacity(count);
    for index in 0..count {
        let (low, high) = match index % 4 {
            0 => (0, 0),
            1 => (255, 255),
            _ => (0, 255),
        };
        let mut image = [[0_u8; 28]; 28];
        image.as_flattened_mut().fill_with(|| rng.random_range(low..=high));
        if index % 4 == 3 {
            let (top, left) = (rng.random_range(0..20), rng.random_range(0..20));
            for row in &mut image[top..top + 8] {
                row[left..left + 8].fill(rng.random());
            }
        }
        images.push(image);
    }
    let labels = (0..count).map(|_| rng.random_range(0..10)).collect();
    Split::of_images(images, labels)
}

fn emulated(weights: &WeightsFile, images: &Split) -> EmulateReport {
    emulate(&EmulateRequest { weights, machine: Machine::default(), images, build: Build::default() })
        .expect("the emulator runs")
}

/// Every logit of random networks on random images, empty and full ones among them.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn emulator_and_host_agree_to_the_last_bit() {
    prepare(Machine::default());
    for seed in [1, 2] {
        let images = random_images(&mut ChaCha8Rng::seed_from_u64(seed + 100), 300);
        let report = emulated(&random_weights(seed), &images);
        assert_eq!((report.images, report.logits_compared), (300, 3000));
        report.verdict().expect("the same bits");
        let cost = report.cost.expect("it was counted");
        assert!(cost.instructions_range[0] <= cost.instructions_range[1]);
        assert!(cost.stack_bytes > 0 && cost.ram_bytes > cost.scratch_bytes);
        assert_eq!(cost.weights_bytes, random_weights(seed).model_bytes().len() as u64);
        assert!(cost.flash_bytes > cost.weights_bytes);
    }
}

/// Two runs count the same instructions.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn counted_instructions_do_not_depend_on_the_run() {
    prepare(Machine::default());
    let weights = random_weights(1);
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(3), 40);
    let (first, second) = (emulated(&weights, &images), emulated(&weights, &images));
    assert!(first.cost.is_some() && first.cost == second.cost, "{first:?}, {second:?}");
}

/// A hundred rounds in one run: every logit right, the same instructions for the same image, no more stack. `cargo emulate
/// --repeat 100` does so with the whole test set, a million inferences.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn a_soak_neither_drifts_nor_grows() {
    prepare(Machine::default());
    let weights = tests::shipped();
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(7), 32);
    let request =
        EmulateRequest { weights: &weights, machine: Machine::default(), images: &images, build: Build::default() };
    let report = soak(&request, 100).expect("the emulator runs");
    assert_eq!((report.images, report.logits_compared), (3_200, 32_000));
    report.verdict().expect("the same bits");
    let cost = report.cost.expect("it was counted");
    assert_eq!(cost.instructions_range[0], cost.instructions_range[1], "the fastest path takes every image alike");
    assert_eq!(cost.stack_bytes, cost.stack_bound_bytes);
}

/// The shipped weights on the whole test set.
#[test]
#[cfg_attr(
    not(all(emulators, fashion_mnist)),
    ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them; needs Fashion-MNIST: `cargo trainer data` fetches it"
)]
fn all_test_images_agree_to_the_last_bit() {
    let dataset = tests::fashion_mnist();
    let weights = tests::shipped();
    for machine in [Machine::default(), Machine::Riscv32, Machine::Wasm32] {
        prepare(machine);
        let request = EmulateRequest { weights: &weights, machine, images: &dataset.test, build: Build::default() };
        let report = emulate(&request).expect("the emulator runs");
        println!("{}", serde_json::to_string_pretty(&report).expect("a report"));
        assert_eq!((report.images, report.logits_compared), (10_000, 100_000));
        assert_eq!(report.cost.is_some(), machine.counts());
        report.verdict().expect("the same bits");
    }
}

#[test]
fn no_images_are_an_error() {
    let weights = random_weights(4);
    let images = Split::of_images(Vec::new(), Vec::new());
    let error = emulate(&EmulateRequest {
        weights: &weights,
        machine: Machine::default(),
        images: &images,
        build: Build::default(),
    })
    .unwrap_err();
    assert!(matches!(error, Error::BadArgument { .. }), "{error}");
}

/// A program of a firmware with random weights and a dozen random images, built once.
fn random_firmware(program: Program) -> &'static [u8] {
    static PROGRAMS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| {
        let weights = random_weights(1);
        let images = random_images(&mut ChaCha8Rng::seed_from_u64(5), 12);
        let programs = [Program::Demo, Program::Evaluate];
        let inputs = Inputs { weights: Some(&weights), images: Some(&images), ..Inputs::default() };
        let firmware = firmware::build_programs(&inputs, &programs).expect("the firmware builds");
        programs.map(|p| fs::read(firmware.elf(p)).expect("an ELF"))
    });
    &programs[program as usize]
}

fn run_with(program: Program, arguments: &[&str], limit: Duration) -> Result<Outcome> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let elf = directory.path().join(program.name());
    fs::write(&elf, random_firmware(program)).expect("a temporary file");
    run(&Run { elf: &elf, machine: Machine::default(), arguments, directory: directory.path(), limit })
}

/// The same file runs on a board: it lies where the chip has its memory, and a probe finds the log.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn the_elf_fits_the_chip() {
    prepare(Machine::default());
    for program in [Program::Demo, Program::Evaluate] {
        let elf = object::File::parse(random_firmware(program)).expect("an ELF");
        assert_eq!(elf.architecture(), object::Architecture::Arm);
        let (flash, ram) = (0x0800_0000..=0x0810_0000, 0x2000_0000..=0x2002_0000);
        for segment in elf.segments() {
            let (start, end) = (segment.address(), segment.address() + segment.size());
            assert!([&flash, &ram].iter().any(|memory| memory.contains(&start) && memory.contains(&end)));
        }
        assert!((0x0800_0000..0x0810_0000).contains(&elf.entry()));
        let symbol = |name: &str| elf.symbols().find(|symbol| symbol.name() == Ok(name)).map(|symbol| symbol.address());
        assert!(symbol("_SEGGER_RTT").is_some_and(|address| ram.contains(&address)));
        assert_eq!(symbol("__vector_table"), Some(0x0800_0000));
        assert!(elf.section_by_name(".defmt").is_some());
    }
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn the_demo_logs_every_baked_image_and_ends_well() {
    prepare(Machine::default());
    let outcome = run_with(Program::Demo, &[], Duration::from_secs(60)).expect("the demo runs");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_demo_log(&outcome.log, 12);
}

/// What the repository ships runs as it is.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn the_shipped_demo_runs() {
    for machine in [Machine::default(), Machine::Riscv32].into_iter().inspect(|&machine| prepare(machine)) {
        let log = run_demo(&Inputs::default(), machine).expect("the demo runs");
        assert_demo_log(&log, SHIPPED_DRAWINGS);
    }
}

/// A module has nobody to log to.
#[test]
fn a_module_has_no_demo() {
    let error = run_demo(&Inputs::default(), Machine::Wasm32).unwrap_err();
    assert!(matches!(error, Error::BadArgument { .. }), "{error}");
}

/// A line for each image, with classes in order of confidence and counted instructions, then the sums.
fn assert_demo_log(log: &[LogLine], images: usize) {
    let texts: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    let lines: Vec<_> = texts.iter().filter(|text| text.contains(" > ")).collect();
    assert_eq!(lines.len(), images, "{texts:#?}");
    for line in lines {
        let named = CLASS_NAMES.iter().filter(|&&name| line.contains(name)).count();
        assert!(named >= 3 && line.ends_with(" instructions") && !line.ends_with(" 0 instructions"), "{line}");
    }
    assert!(texts.iter().any(|text| text.ends_with(&format!("of {images} right"))), "{texts:#?}");
    assert!(texts.iter().any(|text| text.starts_with("memory: scratch")), "{texts:#?}");
    assert!(log.iter().all(|line| line.level == Level::Info), "{texts:#?}");
}

/// The shipped drawings are what the generator draws: `BN_LENET_BLESS=1 cargo test -p tests shipped_drawings` writes them.
#[test]
fn the_shipped_drawings_are_the_generators() {
    let images = (0..SHIPPED_DRAWINGS).map(|class| garments::draw(SHIPPED_SEED, class)).collect();
    let labels = (0..SHIPPED_DRAWINGS as u8).collect();
    let drawn = firmware::demo_images(&tests::shipped(), &Split::of_images(images, labels)).expect("LeNet's images");
    let path = firmware::workspace_root().expect("the workspace").join("firmware-demo/assets/garments.bin");
    if std::env::var("BN_LENET_BLESS").as_deref() == Ok("1") {
        fs::write(&path, &drawn).expect("a writable file");
    }
    assert!(fs::read(&path).expect("the shipped drawings") == drawn, "{} holds other drawings", path.display());
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn evaluate_refuses_what_it_cannot_read() {
    prepare(Machine::default());
    // The program's own ELF is no whole number of images.
    for (arguments, text) in [
        (&["absent.bin", "out.bin"][..], "cannot open the file of images"),
        (&["one"], "two arguments are needed"),
        (&["evaluate", "out.bin", "many"], "no number of rounds"),
        (&["evaluate", "out.bin"], "ends within an image"),
    ] {
        let outcome = run_with(Program::Evaluate, arguments, Duration::from_secs(60)).expect("QEMU runs");
        assert_eq!(outcome.code, Some(EXIT_FAILED));
        assert!(outcome.log.iter().any(|line| line.text.contains(text)), "{outcome:?}");
    }
}

/// What cargo says when it builds the firmware with a file of these bytes.
fn build_words(variable: &str, bytes: &[u8]) -> (bool, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path: PathBuf = directory.path().join("input.bin");
    fs::write(&path, bytes).expect("a temporary file");
    let build = Command::cargo()
        .directory(&firmware::workspace_root().expect("the workspace"))
        .args(["build", "--profile", "firmware", "--target", Machine::default().target(), "--package", "firmware-demo"])
        .env(variable, &path);
    let finished = build.finish(Shown::Nothing).expect("cargo runs");
    (finished.status.success(), finished.stderr)
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn damaged_inputs_fail_the_build_with_the_reason_in_one_line() {
    prepare(Machine::default());
    let mut flipped = random_weights(6).to_bytes();
    flipped[2000] ^= 1;
    let mut format_2 = random_weights(6).to_bytes();
    format_2[16] = 2;
    let cases = [
        ("BN_LENET_WEIGHTS", format_2, "format version 2, this reads 3; make a new one with `cargo trainer export"),
        ("BN_LENET_WEIGHTS", flipped, "damaged: its checksum is"),
        ("BN_LENET_WEIGHTS", b"not a weights.bin".repeat(99), "does not begin with BN-LENET"),
        ("BN_LENET_WEIGHTS", Vec::new(), "0 bytes where this weights.bin has"),
        ("BN_LENET_IMAGES", vec![0; 784], "are not one or more images"),
        ("BN_LENET_IMAGES", vec![10; 785], "has label 10"),
    ];
    for (variable, bytes, reason) in cases {
        let (success, words) = build_words(variable, &bytes);
        assert!(!success, "{words}");
        let is_it = |line: &&str| line.starts_with("error: firmware-demo") && line.contains(reason);
        assert_eq!(words.lines().filter(is_it).count(), 1, "{words}");
        assert!(!words.contains("panicked"), "{words}");
    }
}
