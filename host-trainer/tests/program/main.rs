//! The program as a user runs it: arguments in, stdout, stderr, files and exit codes out. Trains on a few hundred patterns that
//! are drawn here, so every test takes a moment. What goes wrong around it is in [`faults`], what is done
//! to a trained model in [`refine`], what is trained side by side in [`compare`], the commands of the chapter in [`chapter`], which data that is in [`data_sets`], where it may write in [`outputs`], what it cannot read in [`wrong_files`], and what it starts
//! in [`programs`].

mod chapter;
mod compare;
mod data_sets;
mod desk;
#[cfg(unix)]
mod faults;
mod jpeg;
mod networks;
#[cfg(unix)]
mod outputs;
mod own_data;
#[cfg(target_os = "linux")]
mod programs;
mod refine;
#[cfg(target_os = "linux")]
mod wrong_files;

use std::path::Path;
use std::process::Stdio;

use desk::{Desk, TEST_IMAGES, TRAINING_IMAGES, text};
use serde_json::Value;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn has_keys(value: &Value, wanted: &str) {
    for key in wanted.split_whitespace() {
        assert!(keys(value).contains(&key), "{key} is missing among {:?}", keys(value));
    }
}

#[test]
fn the_same_seed_writes_the_same_checkpoint_byte_for_byte() {
    let desk = Desk::new();
    let report = desk.train("one");
    desk.train("two");
    let read = |name: &str| std::fs::read(desk.path(name)).unwrap();
    assert_eq!(read("one/checkpoint.safetensors"), read("two/checkpoint.safetensors"));
    has_keys(
        &report,
        "engine device seed epochs train_loss train_accuracy test_accuracy examples_per_second seconds checkpoint",
    );
    assert_eq!(report["checkpoint"], "one/checkpoint.safetensors");
    assert_eq!((&report["engine"], &report["epochs"]), (&"cpu".into(), &2.into()));

    let other = "train --data-dir data --no-checksum --batch-size 32 --epochs 2 -q --out three --seed 1";
    desk.ok(other);
    assert_ne!(read("one/checkpoint.safetensors"), read("three/checkpoint.safetensors"));
}

#[test]
fn a_run_leaves_a_line_an_epoch_and_its_curves() {
    let desk = Desk::new();
    let report = desk.train("run");
    let metrics = std::fs::read_to_string(desk.path("run/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    has_keys(&lines[1], "epoch train_loss train_accuracy test_loss test_accuracy examples_per_second");
    assert_eq!(lines[1]["train_loss"], report["train_loss"]);
    let curves = std::fs::read_to_string(desk.path("run/curves.svg")).unwrap();
    assert!(curves.contains("test accuracy"));
    let left = desk.names("run");
    assert_eq!(left.len(), 5, "two checkpoints, metrics, curves, the lock, and no temporary file: {left:?}");
}

#[test]
fn results_are_the_chapters_lines_on_stdout_without_colour() {
    let desk = Desk::new();
    let output = desk.run("train --data-dir data --no-checksum --batch-size 32 --epochs 1 --out run");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let lines: Vec<_> = stdout.lines().collect();
    assert!(lines[0].starts_with("loss 0.") || lines[0].starts_with("loss 1."), "{stdout}");
    assert!(lines[0].contains(", train acc 0.") && lines[0].contains(", test acc 0."), "{stdout}");
    assert!(lines[1].ends_with("(engine cpu)") && lines[1].contains(" examples/sec on CPU"), "{stdout}");
    assert!(lines[2].starts_with("gamma of the first BatchNorm layer") && lines[3].starts_with("beta"), "{stdout}");
    assert!(stderr.contains("engine cpu") && stderr.contains("seed 0") && stderr.contains("epoch 1/1"), "{stderr}");
    assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "{stderr}");
}

#[test]
fn a_run_is_replaced_only_when_told() {
    let desk = Desk::new();
    desk.train("run");
    let before = std::fs::read(desk.path("run/checkpoint.safetensors")).unwrap();
    let again = "train --data-dir data --no-checksum --batch-size 32 --epochs 1 -q --out run";
    let message = desk.refused(2, again);
    assert!(message.contains("--resume run") && message.contains("--force"), "{message}");
    assert_eq!(std::fs::read(desk.path("run/checkpoint.safetensors")).unwrap(), before);
    desk.ok(&format!("{again} --force"));
    assert_ne!(std::fs::read(desk.path("run/checkpoint.safetensors")).unwrap(), before);
}

#[test]
fn more_epochs_by_resume_are_the_bytes_of_one_long_run() {
    let desk = Desk::new();
    desk.train("short");
    desk.ok("train --resume short --epochs 4 -q");
    desk.ok("train --data-dir data --no-checksum --batch-size 32 --epochs 4 -q --out long");
    let read = |name: &str| std::fs::read(desk.path(name)).unwrap();
    assert_eq!(read("short/checkpoint.safetensors"), read("long/checkpoint.safetensors"));
    assert_eq!(std::fs::read_to_string(desk.path("short/metrics.jsonl")).unwrap().lines().count(), 4);
    let done = desk.refused(2, "train --resume short");
    assert!(done.contains("short has its 4 epochs") && done.contains("--epochs 5"), "{done}");
}

#[test]
fn a_run_that_diverges_stops_and_writes_nothing() {
    let desk = Desk::new();
    let message = desk.refused(4, "train --data-dir data --no-checksum --batch-size 32 --lr 1e38 -q --out run");
    assert!(message.contains("not finite at epoch 1, step ") && message.contains("try a smaller --lr"), "{message}");
    assert_eq!(desk.names("run"), ["run.lock"]);
}

#[test]
fn a_missing_device_is_named_before_any_data_is_read() {
    if host_trainer::engine::cuda::is_present() {
        return;
    }
    let message = Desk::new().refused(3, "train --engine cuda --data-dir nowhere");
    assert!(message.contains("no CUDA driver (looked for "), "{message}");
    assert!(message.contains("install an NVIDIA driver of CUDA 12 or later, or use --engine cpu"), "{message}");
}

#[test]
fn a_model_goes_from_training_to_integers_and_is_evaluated_on_its_own_data() {
    let desk = Desk::new();
    let trained = desk.train("run");
    let evaluated = desk.json("evaluate run/checkpoint.safetensors --json --logits run/logits.bin");
    has_keys(&evaluated, "images accuracy_f32_unfolded accuracy_f32_folded accuracy_int8 disagree_int8");
    assert_eq!(evaluated["images"], TEST_IMAGES);
    assert_eq!(evaluated["accuracy_f32_unfolded"], trained["test_accuracy"], "bn-core and the engine agree");
    assert_eq!(std::fs::metadata(desk.path("run/logits.bin")).unwrap().len() as usize, TEST_IMAGES * 10 * 4);

    let exported = desk.json("export run/checkpoint.safetensors --out run/weights.bin --limit 100 --json");
    assert_eq!(exported["test"]["accuracy_int8"], evaluated["accuracy_int8"]);
    let alone = desk.json("evaluate run/weights.bin --data-dir data --no-checksum --json");
    assert_eq!(alone["accuracy_int8"], evaluated["accuracy_int8"]);
    assert_eq!(alone["accuracy_f32_folded"], Value::Null);
    let both = desk.json("evaluate run/weights.bin --checkpoint run/checkpoint.safetensors --images 7 --json");
    assert_eq!(both["images"], 7);
    assert!(both["disagree_int8"].is_f64());
    assert!(desk.ok("inspect run/weights.bin").contains("BN-LENET"));
    assert!(desk.ok("inspect run/checkpoint.safetensors").contains("1.running_var"));
    assert!(desk.ok("evaluate run/checkpoint.safetensors").contains("accuracy, int8"));
}

#[test]
fn a_checkpoint_is_also_a_state_dict() {
    let desk = Desk::new();
    desk.train("run");
    desk.ok("import run/checkpoint.safetensors --out again.safetensors --variance biased");
    let accuracy = |file: &str| {
        desk.json(&format!("evaluate {file} --data-dir data --no-checksum --json"))["accuracy_f32_unfolded"].clone()
    };
    assert_eq!(accuracy("again.safetensors"), accuracy("run/checkpoint.safetensors"));
    let message = desk.refused(2, "import run/checkpoint.safetensors --out again.safetensors");
    assert!(message.contains("again.safetensors is there already"), "{message}");
}

#[test]
fn damaged_files_are_refused_in_one_line_and_left_as_they_were() {
    let desk = Desk::new();
    desk.train("run");
    desk.ok("export run/checkpoint.safetensors --out weights.bin --limit 100");
    for file in ["run/checkpoint.safetensors", "weights.bin"] {
        let whole = std::fs::read(desk.path(file)).unwrap();
        let mut flipped = whole.clone();
        flipped[20] ^= 0x41;
        for damaged in [&whole[..whole.len() - 1], &whole[..40], &[][..], &flipped, &[&whole[..], b"x"].concat()] {
            let name = if file.ends_with("bin") { "damaged.bin" } else { "damaged.safetensors" };
            std::fs::write(desk.path(name), damaged).unwrap();
            for (verb, data) in [("evaluate", "--data-dir data --no-checksum"), ("inspect", "")] {
                let message = desk.refused(2, &format!("{verb} {name} {data}"));
                assert!(message.contains(name) && message.contains("; "), "{message}");
            }
            assert_eq!(std::fs::read(desk.path(name)).unwrap(), damaged);
        }
    }
    std::fs::copy(desk.path("weights.bin"), desk.path("target.bin")).unwrap();
    desk.refused(2, "export damaged.safetensors --out target.bin");
    assert_eq!(std::fs::read(desk.path("target.bin")).unwrap(), std::fs::read(desk.path("weights.bin")).unwrap());
    std::fs::create_dir(desk.path("broken")).unwrap();
    std::fs::copy(desk.path("damaged.safetensors"), desk.path("broken/checkpoint.safetensors")).unwrap();
    desk.refused(2, "train --resume broken");
    desk.refused(2, "train --resume nowhere");
    desk.refused(2, "inspect nowhere");
}

#[test]
fn a_model_leaves_for_other_programs_and_comes_back() {
    let desk = Desk::new();
    desk.train("run");
    for (name, folded) in
        [("a.onnx", ""), ("b.onnx", " --folded"), ("c.safetensors", ""), ("d.safetensors", " --folded")]
    {
        let report = desk.json(&format!("export run/checkpoint.safetensors --out {name}{folded} --json"));
        assert_eq!(report["form"], if folded.is_empty() { "unfolded" } else { "folded" });
        let back = desk.json(&format!("import {name} --out {name}.checkpoint --json"));
        let (network, notes) = (back["network"].as_str().unwrap(), back["notes"].to_string());
        let gone = if name.ends_with("onnx") {
            4 - network.matches("batch_norm").count()
        } else {
            notes.matches("folded away").count()
        };
        assert_eq!(gone, if folded.is_empty() { 0 } else { 4 }, "{name}: {back}");
        desk.ok(&format!("export {name}.checkpoint --out again.onnx{folded}"));
    }
    let message = desk.refused(2, "export run/checkpoint.safetensors --out model.pt");
    assert!(message.contains("does not say what to write; say --format"), "{message}");
    std::fs::write(desk.path("damaged.onnx"), &std::fs::read(desk.path("a.onnx")).unwrap()[..999]).unwrap();
    let message = desk.refused(2, "import damaged.onnx --out none.safetensors");
    assert!(message.contains("it is no ONNX file, or a damaged one"), "{message}");
    assert!(!desk.path("none.safetensors").exists() && !desk.path("model.pt").exists());
}

#[test]
fn an_untrained_model_is_not_exported() {
    let desk = Desk::new();
    desk.train("run");
    let bytes = std::fs::read(desk.path("run/checkpoint.safetensors")).unwrap();
    let mut untouched = host_trainer::train::checkpoint::Checkpoint::from_bytes(Path::new("x"), &bytes).unwrap();
    untouched.parameters.get_mut("1.running_mean").fill(0.0);
    untouched.parameters.get_mut("1.running_var").fill(1.0);
    untouched.write(&desk.path("untouched.safetensors")).unwrap();
    let message = desk.refused(2, "export untouched.safetensors --out none.bin");
    assert!(message.contains("refused") && message.contains("never updated"), "{message}");
    assert!(!desk.path("none.bin").exists());
    let evaluated = desk.json("evaluate untouched.safetensors --json");
    assert_eq!(evaluated["accuracy_int8"], Value::Null);
    assert!(evaluated["int8_refused"].as_str().unwrap().contains("never updated"));
}

/// Needs QEMU and the microcontroller's libraries, which the program installs where it can.
#[test]
fn the_demo_goes_the_whole_way() {
    let desk = Desk::new();
    let arguments = "demo --data-dir data --no-checksum --epochs 20 --images 60 --json -q";
    let output = desk.run(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["evaluate"]["images"], &report["emulate"]["images"]), (&60.into(), &60.into()));
    assert_eq!(
        (&report["emulate"]["logits_compared"], &report["emulate"]["logits_differing"]),
        (&600.into(), &0.into())
    );
    assert_eq!(report["emulate"]["accuracy"], report["evaluate"]["accuracy_int8"]);
    // Both accuracies of the 100 test images; the second is the exported model's.
    let changed = &report["train"]["reestimated"];
    let accuracy = |totals: &Value| totals["correct"].as_f64().unwrap() / totals["examples"].as_f64().unwrap();
    assert_eq!(accuracy(&changed["test_after"]), report["train"]["test_accuracy"].as_f64().unwrap());
    assert_eq!(changed["test_before"]["examples"], TEST_IMAGES);
    assert!(report["shown"].as_array().is_some_and(|shown| shown.len() >= 5));
    for file in ["checkpoint.safetensors", "metrics.jsonl", "curves.svg", "weights.bin", "firmware.elf"] {
        assert!(desk.path("runs/demo").join(file).is_file(), "{file}");
    }
}

#[test]
fn data_says_what_there_is() {
    let desk = Desk::new();
    let summary = desk.json("data --data-dir data --no-checksum --json");
    assert_eq!((&summary["train_examples"], &summary["official"]), (&TRAINING_IMAGES.into(), &false.into()));
    assert!(desk.ok("data --data-dir data --no-checksum").contains("not Fashion-MNIST's"));
    desk.refused(2, "data --data-dir nowhere");
    let message = desk.refused(2, "data --data-dir data");
    assert!(message.contains("--no-checksum"), "{message}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let desk = Desk::new();
    desk.train("run");
    let mut child = desk
        .command("inspect run/checkpoint.safetensors")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn help_names_every_verb_and_exit_code() {
    let desk = Desk::new();
    let help = desk.ok("--help");
    let verbs = "train evaluate classify export import reestimate inspect report emulate board demo data";
    for word in verbs.split(' ').chain(["130"]) {
        assert!(help.contains(word), "{word}: {help}");
    }
    for verb in verbs.split(' ') {
        assert!(desk.ok(&format!("{verb} --help")).contains("Usage: host-trainer"), "{verb}");
    }
    assert_eq!(desk.run("").status.code(), Some(2));
    assert_eq!(desk.run("train --engine abacus").status.code(), Some(2));
}
