//! Which data a model is used on: its own, by place and content, whatever its folder is called and wherever the program runs. A
//! built-in name never stands for a folder, and what differs is refused.

use std::fs;

use serde_json::Value;

use crate::desk::{Desk, TEST_IMAGES, text};

/// Names of folders that are also names of data sets.
const NAMES: [&str; 2] = ["garments", "fashion-mnist"];

/// A desk whose data lies in a folder of that name, with a run of a model trained on it.
fn trained_on(name: &str) -> Desk {
    let desk = Desk::new();
    fs::rename(desk.path("data"), desk.path(name)).unwrap();
    desk.ok(&format!("train --data-dir {name} --no-checksum --batch-size 32 --epochs 2 -q --out run"));
    desk
}

fn evaluated(desk: &Desk, arguments: &str) -> Value {
    desk.json(&format!("evaluate {arguments} --json"))
}

#[test]
fn a_built_in_name_never_stands_for_a_folder() {
    for name in NAMES {
        let desk = trained_on(name);
        let report = evaluated(&desk, "run/checkpoint.safetensors");
        let place = desk.path(name).canonicalize().unwrap().display().to_string();
        assert_eq!((&report["images"], &report["data_source"]), (&TEST_IMAGES.into(), &place.as_str().into()));
        let exported = desk.json("export run/checkpoint.safetensors --out weights.bin --limit 100 --json");
        assert_eq!(exported["test"]["data_source"], place);
        assert!(desk.ok("report run --host-only").contains(&place));
        desk.ok("reestimate run/checkpoint.safetensors --out exact.safetensors");
        desk.ok("train --resume run --epochs 3 -q");
        assert_eq!(desk.json("inspect run/checkpoint.safetensors --json")["training"]["dataset"], place);
        let message = desk.refused(2, &format!("train --dataset garments --data-dir {name} -q"));
        assert!(message.contains("leave out either --dataset or --data-dir"), "{message}");
    }
}

#[test]
fn a_run_that_is_given_no_directory_is_not_called_like_a_built_in_data_set() {
    let desk = Desk::new();
    fs::rename(desk.path("data"), desk.path("garments")).unwrap();
    let report = desk.json("train --data-dir garments --no-checksum --batch-size 32 --epochs 1 -q --engine cpu --json");
    assert_eq!(report["checkpoint"], "runs/own-garments-cpu-seed0/checkpoint.safetensors");
}

#[test]
fn a_model_finds_its_data_from_any_directory() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("a/b")).unwrap();
    let train = "train --data-dir ../data --no-checksum --batch-size 32 --epochs 2 -q --out run";
    assert!(desk.command(train).current_dir(desk.path("a")).status().unwrap().success());
    for (directory, checkpoint) in [("a", "run"), ("a/b", "../run"), ("", "a/run")] {
        let arguments = format!("evaluate {checkpoint}/checkpoint.safetensors --json");
        let output = desk.command(&arguments).current_dir(desk.path(directory)).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["data_source"], desk.path("data").canonicalize().unwrap().display().to_string());
    }
}

#[test]
fn data_that_was_moved_or_changed_is_refused_by_every_verb_until_it_is_named() {
    let desk = trained_on("own");
    let verbs = [
        "evaluate run/checkpoint.safetensors",
        "export run/checkpoint.safetensors --out weights.bin --limit 100",
        "report run --host-only",
        "reestimate run/checkpoint.safetensors --force --out exact.safetensors",
        "train --resume run --epochs 3 -q",
    ];
    fs::rename(desk.path("own"), desk.path("moved")).unwrap();
    for verb in verbs {
        let message = desk.refused(2, verb);
        assert!(message.contains("what the model was trained on is not where it was: "), "{message}");
        assert!(message.ends_with("/own does not exist; name where it lies now with --data-dir"), "{message}");
    }
    let output = desk.run("evaluate run/checkpoint.safetensors --data-dir moved --no-checksum");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));

    fs::rename(desk.path("moved"), desk.path("own")).unwrap();
    let labels = desk.path("own/t10k-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&labels, bytes).unwrap();
    for verb in verbs {
        let message = desk.refused(2, verb);
        assert!(message.contains("own is not the data that the model was trained on ("), "{message}");
        assert!(message.contains("its digest is another than ") && message.contains("--data-dir"), "{message}");
    }
    let output = desk.run("evaluate run/checkpoint.safetensors --data-dir own --no-checksum");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("notice: ") && text(&output.stderr).contains("is not the data that"));
    let message = desk.refused(2, "train --resume run --epochs 3 -q --data-dir own --no-checksum");
    assert!(message.contains("is not the data that this run was started on"), "{message}");
}

#[test]
fn images_that_were_held_out_make_no_other_data_of_it() {
    let desk = Desk::new();
    desk.ok("train --data-dir data --no-checksum --batch-size 32 --epochs 2 -q --holdout 64 --out run");
    let output = desk.run("evaluate run/checkpoint.safetensors");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    desk.ok("train --resume run --epochs 3 -q");
}
