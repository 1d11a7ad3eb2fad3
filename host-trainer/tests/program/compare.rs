//! `compare`: every combination with every seed, one picture, one table, nothing trained twice, nothing lost; and what `train`
//! makes of the same values.

use serde_json::Value;

use crate::desk::{Desk, text};

const DATA: &str = "--data-dir data --no-checksum --epochs 2 -q";
const GRID: &str = "compare --network lenet,lenet_plain --lr 0.1,1.0 --batch-size 32 --seeds 2 --out both";

#[test]
fn every_combination_is_drawn_tabulated_and_reported() {
    let desk = Desk::new();
    let table = desk.ok(&format!("{GRID} {DATA}"));
    assert!(table.starts_with("after 2 epochs on ") && table.contains(", mean of 2 seeds (least to most)"), "{table}");
    let rows = ["lenet, lr 0.1 ", "lenet, lr 1 ", "lenet_plain, lr 0.1 ", "lenet_plain, lr 1 "];
    assert!(rows.iter().all(|row| table.lines().any(|line| line.starts_with(row))), "{table}");

    let picture = std::fs::read_to_string(desk.path("both/comparison.svg")).unwrap();
    let parts =
        ["train loss", "test accuracy", "lenet_plain, lr 0.1", "prefers-color-scheme: dark", r#"class="band s1 d1""#];
    assert!(parts.iter().all(|part| picture.contains(part)), "{picture}");

    // What a run is here, `train` makes of it on its own.
    let again = desk.run(&format!("{GRID} {DATA} --json").replace("-q", ""));
    assert!(text(&again.stderr).contains("8 of 8 runs lie in both already"), "{}", text(&again.stderr));
    let comparison: Value = serde_json::from_slice(&again.stdout).unwrap();
    let variant = &comparison["variants"][2];
    assert_eq!((&variant["label"], &variant["values"]["lr"]), (&"lenet_plain, lr 0.1".into(), &0.1.into()));
    assert_eq!((&variant["runs"][1]["seed"], &variant["runs"][1]["engine"]), (&1.into(), &"cpu".into()));
    let trained =
        desk.json(&format!("train --network lenet_plain --lr 0.1 --batch-size 32 --seed 1 --json --out run {DATA}"));
    for figure in ["train_loss", "test_loss", "test_accuracy"] {
        assert_eq!(variant["runs"][1]["epochs"][1][figure], trained[figure], "{figure}");
    }

    let summary = desk.json("report both --json");
    assert_eq!((&summary["variants"], &summary["runs"]), (&4.into(), &8.into()));
    assert!(desk.path("both/report.html").is_file());
    assert!(desk.refused(2, "report both --images 5").contains("a comparison, which has no model"));
}

#[test]
fn what_lies_there_is_kept_until_told_and_only_the_rest_is_trained() {
    let desk = Desk::new();
    let grid = |lr: &str, more: &str| format!("compare --lr {lr} --batch-size 64 --out c {DATA} {more}");
    desk.ok(&grid("0.1,0.5", ""));
    let before = std::fs::read(desk.path("c/comparison.json")).unwrap();
    let refused = desk.refused(2, &grid("0.1,0.2", ""));
    assert!(refused.contains("c holds another comparison") && refused.contains("--force"), "{refused}");
    assert_eq!(std::fs::read(desk.path("c/comparison.json")).unwrap(), before);
    let wider = desk.run(&grid("0.1,0.5,0.9", "--json").replace("-q", ""));
    assert!(text(&wider.stderr).contains("2 of 3 runs lie in c already"), "{}", text(&wider.stderr));
    assert_eq!(desk.json(&grid("0.1,0.2", "--force --json"))["variants"].as_array().unwrap().len(), 2);
    std::fs::write(desk.path("c/comparison.json"), "{\"dataset\": 1}").unwrap();
    assert!(desk.refused(2, &grid("0.1,0.2", "")).contains("it is no comparison"));
}

#[test]
fn a_run_that_diverges_is_a_result() {
    let desk = Desk::new();
    let comparison = desk.json(&format!("compare --lr 0.1,1e38 --batch-size 32 --out c --json {DATA}"));
    let diverged = &comparison["variants"][1];
    assert_eq!((&diverged["runs"][0]["diverged"], &diverged["last"]["train_loss"]), (&1.into(), &Value::Null));
    assert!(std::fs::read_to_string(desk.path("c/comparison.svg")).unwrap().contains("(diverged)"));
}

#[test]
fn other_networks_and_all_of_batch_norms_values_are_compared() {
    let desk = Desk::new();
    let compared = |flags: &str| {
        desk.json(&format!("compare {flags} --out c --force --json {DATA} --epochs 1").replace("--epochs 2 ", ""))
    };
    let values = compared("--bn-momentum 0.1,0.9 --eps 1e-5,1e-1 --bn-fixed none,both --batch-size 64");
    let labels: Vec<_> = values["variants"].as_array().unwrap().iter().map(|v| v["label"].as_str().unwrap()).collect();
    assert_eq!(labels.len(), 8);
    assert_eq!(labels[7], "momentum 0.9, eps 0.1, gamma and beta fixed");
    std::fs::write(
        desk.path("tiny.net"),
        "network tiny\ninput 1x28x28\nconv2d 2 5x5 stride 3 | batch_norm | relu\nflatten | linear 10\n",
    )
    .unwrap();
    let networks = compared("--network tiny.net,lenet --batch-size 64");
    assert_eq!(networks["variants"][0]["label"], "tiny");
}

#[test]
fn what_is_no_comparison_is_one_line() {
    let desk = Desk::new();
    for (flags, says) in [
        ("", "one training alone is no comparison"),
        ("--lr 0.1,0.1", "a value is listed twice"),
        ("--network lenet,lenet_plain --bn-fixed none,both", "lenet_plain has no BatchNorm"),
        ("--lr 1,2,3,4,5,6,7", "7 curves cannot be told apart"),
        ("--network lenet,nothing", "there is no network nothing"),
    ] {
        let refused = desk.refused(2, &format!("compare {flags} {DATA}"));
        assert!(refused.contains(says), "{refused}");
    }
    assert!(!desk.path("runs").exists());
}

#[test]
fn batch_norms_values_are_trained_and_resumed_with() {
    let desk = Desk::new();
    let train = |out: &str, epochs: usize| {
        let flags =
            "--data-dir data --no-checksum -q --batch-size 32 --bn-fixed gamma --bn-momentum 0.5 --eps 0.01 --json";
        desk.json(&format!("train {flags} --epochs {epochs} --out {out}"))
    };
    let gamma = train("short", 1)["gamma"].clone();
    assert!(gamma.as_array().unwrap().iter().all(|gamma| *gamma == 1.0), "{gamma}");
    desk.ok("train --resume short --epochs 2 -q");
    train("long", 2);
    let read = |run: &str| std::fs::read(desk.path(run).join("checkpoint.safetensors")).unwrap();
    assert_eq!(read("short"), read("long"));
}
