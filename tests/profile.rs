//! What `emulate --profile` says: the log of executed instructions agrees with the counter, layer by layer, and the JSON has
//! all of it. Needs QEMU and the thumb targets.

use std::ffi::OsString;

use chacha20::ChaCha8Rng;
use clap::Parser;
use host_trainer::cli::{Cli, run};
use host_trainer::data::{Split, garments};
use host_trainer::device::emulate::{Cycles, EmulateRequest, FloatRequest, Machine, emulate_built, float, profile};
use host_trainer::device::firmware::{self, Build, Inputs, Program};
use host_trainer::model::lenet::to_lenet;
use host_trainer::model::parameters::Variance;
use rand::SeedableRng;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::emulator::{prepare, random_images};

/// Instructions of a call, which the counter sees and the log of the function alone does not, and the other way round.
const CALL: u64 = 12;
/// What the small build counts to convolution 2 outside that function: it makes quads of bytes.
const QUADS: u64 = 800;

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn the_log_of_executed_instructions_is_what_was_counted() {
    prepare(Machine::default());
    let weights = tests::shipped();
    let images = random_images(&mut ChaCha8Rng::seed_from_u64(4), 1);
    for (machine, build) in [
        (Machine::Netduinoplus2, Build::Default),
        (Machine::Netduinoplus2, Build::Small),
        (Machine::Microbit, Build::Default),
    ] {
        let inputs = Inputs { machine, build, ..Inputs::default() };
        let firmware = firmware::build_programs(&inputs, &[Program::Evaluate]).expect("it builds");
        let elf = firmware.elf(Program::Evaluate);
        let request = EmulateRequest { weights: &weights, machine, images: &images, build };
        let mut report = emulate_built(&elf, &request).expect("it runs");
        profile(&elf, &request, &mut report).expect("it is logged");
        let name = format!("{machine} {build:?}");
        let cost = report.cost.as_ref().expect("it was counted");
        let executed = cost.executed.expect("it was logged");
        let apart = executed.instructions().abs_diff(cost.instructions_per_inference);
        assert!(apart <= CALL, "{name}: {executed:?}, but {} were counted", cost.instructions_per_inference);
        let sizes = firmware::sizes(&elf).expect("sizes");
        assert!(executed.code_bytes <= sizes.inference_code, "{name}: more code than there is");
        let mut cycles = Cycles::default();
        for layer in &report.layers {
            let executed = layer.executed.unwrap_or_else(|| panic!("{name}: {} is no function", layer.name));
            let counted = layer.instructions.expect("it was counted");
            let apart = executed.instructions().abs_diff(counted);
            let quads = if build == Build::Small { QUADS } else { 0 };
            assert!(apart <= CALL + quads, "{name}: {}: {executed:?}, but {counted} were counted", layer.name);
            cycles += executed.cortex_m4_cycles_modelled.unwrap_or_default();
        }
        match executed.cortex_m4_cycles_modelled {
            Some(Cycles { least, most }) => {
                assert!(
                    executed.instructions() < least && least < most && most < 2 * executed.instructions(),
                    "{name}"
                );
                assert!(cycles.least <= least && cycles.most <= most, "{name}: the layers are within the inference");
            }
            None => assert_eq!(machine, Machine::Microbit, "the model is a Cortex-M4's"),
        }
    }
}

/// IEEE arithmetic in the same order and the same exponential function: f32 on the device is f32 on the host. Promised for
/// integers alone, and so this test says where it no longer holds.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn f32_logits_of_the_device_are_the_hosts_and_folding_saves_instructions() {
    prepare(Machine::default());
    let net = to_lenet(&tests::golden_parameters("trained.safetensors", Variance::Unbiased)).expect("LeNet");
    let drawn = (0..8).map(|class| garments::draw(7, class));
    let images = Split::of_images(drawn.chain([[[0; 28]; 28], [[255; 28]; 28]]).collect(), vec![0; 10]);
    for machine in [Machine::Netduinoplus2, Machine::Mps2An500] {
        let report = float(&FloatRequest { net: &net, model: "golden", machine, images: &images }).expect("it runs");
        assert_eq!((report.logits_compared, report.logits_differing), (200, 0), "{machine}");
        for (cost, name) in [(&report.unfolded, "unfolded"), (&report.folded, "folded")] {
            let (counted, executed) = (cost.instructions_per_inference, cost.executed.instructions());
            // The image that is logged is not the mean one.
            assert!(
                counted.abs_diff(executed) < counted / 100,
                "{machine} {name}: {counted}, but {executed} are logged"
            );
        }
        let [unfolded, folded] = [&report.unfolded, &report.folded].map(|cost| cost.instructions_per_inference);
        assert!(folded < unfolded && unfolded < 2 * folded, "{machine}: {folded} and {unfolded} instructions");
    }
}

#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn the_json_has_all_of_it() {
    prepare(Machine::default());
    let mut out = Vec::new();
    let arguments = "host-trainer emulate --profile --json --images 2 --dataset garments";
    let cli = Cli::try_parse_from(arguments.split(' ')).expect("a command line");
    run(cli, &mut out).expect("it runs");
    let report: Value = serde_json::from_slice(&out).expect("JSON");
    for place in [&report["executed"], &report["layers"][0], &report["layers"][4]] {
        for key in ["executed_multiplications", "executed_loads_and_stores", "executed_branches", "code_bytes"] {
            assert!(place[key].is_u64(), "{key} is missing in {place}");
        }
        let cycles = &place["cortex_m4_cycles_modelled"];
        assert!(cycles["least"].is_u64() && cycles["most"].is_u64(), "{cycles}");
    }
    for way in ["unfolded", "folded"] {
        let cost = &report["float"][way];
        assert!(cost["instructions_per_inference"].is_u64() && cost["cortex_m4_cycles_modelled"].is_object(), "{cost}");
    }
    assert!(report["layers"][0]["ram_bytes"].is_u64() && report["layers"][0]["cmsis_nn"].is_array());
}

/// Inputs from a file, as bytes and as numbers: layer by layer, without labels. What does not fit is refused in one line.
#[test]
#[cfg_attr(not(emulators), ignore = "needs QEMU and Node.js: `cargo trainer doctor` says how to get them")]
fn inputs_from_a_file_run_layer_by_layer() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let emulate = |machine: &str, inputs: &str| {
        let (mut out, path) = (Vec::new(), folder.path().join(inputs));
        let arguments = ["host-trainer", "emulate", "--json", "--machine", machine, "--inputs"];
        let cli = Cli::try_parse_from(arguments.map(OsString::from).into_iter().chain([path.into()]));
        run(cli.expect("a command line"), &mut out).map(|()| serde_json::from_slice::<Value>(&out).expect("JSON"))
    };
    let images = [[0; 784], [255; 784], std::array::from_fn(|at| at as u8)];
    let floats: Vec<u8> =
        images.as_flattened().iter().flat_map(|&code| (f32::from(code) - 0.4).to_le_bytes()).collect();
    for (name, dtype, shape, bytes) in [
        ("bytes", Dtype::U8, vec![3, 1, 28, 28], images.as_flattened()),
        ("numbers", Dtype::F32, vec![3, 1, 28, 28], &floats),
        ("other", Dtype::U8, vec![1, 1, 28, 27], &images[0][..756]),
    ] {
        let tensor = TensorView::new(dtype, shape, bytes).expect("whole");
        let file = safetensors::serialize([("input", tensor)], None).expect("one tensor");
        std::fs::write(folder.path().join(name), file).expect("a writable file");
    }
    for machine in [Machine::default(), Machine::Wasm32].into_iter().inspect(|&machine| prepare(machine)) {
        for name in ["bytes", "numbers"] {
            let report = emulate(machine.name(), name).expect("every bit is the host's");
            assert_eq!((&report["images"], &report["accuracy"]), (&3.into(), &Value::Null), "{report}");
            let layers = report["layers"].as_array().expect("a list");
            let compared: Vec<_> = layers.iter().map(|layer| layer["outputs_compared"].as_u64()).collect();
            assert_eq!(compared, [864, 256, 120, 84, 10].map(|outputs| Some(3 * outputs)));
            for layer in layers {
                assert_eq!(layer["outputs_differing"], 0, "{layer}");
                assert_eq!(layer["instructions"].is_u64(), machine.counts(), "{layer}");
                assert!(layer["name"].is_string() && layer["family"].is_string() && layer["macs"].is_u64(), "{layer}");
            }
        }
        let refused = emulate(machine.name(), "other").unwrap_err();
        assert_eq!(refused.exit_code(), 2, "{refused}");
    }
}
