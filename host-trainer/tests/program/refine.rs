//! What is done to a model after training: exact statistics, fine-tuned integers.

use crate::desk::{Desk, TEST_IMAGES, TRAINING_IMAGES, text};

const DATA: &str = "--data-dir data --no-checksum --json";

#[test]
fn exact_statistics_of_a_trained_model_are_those_of_training_with_reestimate() {
    let desk = Desk::new();
    desk.train("plain");
    let exact = desk.run(&format!("train {DATA} --batch-size 32 --epochs 2 --reestimate --out exact"));
    // Only the last epoch was tested so, and its line says it.
    let said: Vec<_> = text(&exact.stderr)
        .lines()
        .filter(|l| l.starts_with("epoch "))
        .map(|l| l.contains("by exact statistics"))
        .collect();
    assert_eq!(said, [false, true], "{}", text(&exact.stderr));
    let report = desk.json(&format!("reestimate plain/checkpoint.safetensors --out after.safetensors {DATA}"));
    assert_eq!(report["images"], TRAINING_IMAGES);
    assert_eq!(report["layers"].as_array().unwrap().len(), 4);
    assert!(report["layers"][0]["mean_shift"].as_f64().unwrap() > 0.0, "{report}");

    let wanted = desk.json("inspect exact/checkpoint.safetensors --json");
    let found = desk.json("inspect after.safetensors --json");
    assert_eq!(found["tensors"], wanted["tensors"]);
    assert_eq!(report["reestimated"]["test_before"]["examples"], TEST_IMAGES);
    assert_eq!(found["training"]["reestimated"], report["reestimated"]);
    assert_eq!(found["training"]["reestimated"], wanted["training"]["reestimated"]);

    let again = format!("reestimate plain/checkpoint.safetensors --out after.safetensors {DATA}");
    assert!(desk.refused(2, &again).contains("--force"));
    assert_eq!(desk.json(&format!("{again} --force")), report);
    // Once more changes nothing.
    let nothing = desk.json(&format!("reestimate after.safetensors --out same.safetensors {DATA}"));
    assert_eq!(nothing["reestimated"]["mean_shift"], 0.0);
    assert_eq!(desk.json("inspect same.safetensors --json")["tensors"], wanted["tensors"]);
}

#[test]
fn fine_tuned_integers_are_written_reported_and_the_same_twice() {
    let desk = Desk::new();
    desk.train("run");
    let export = |out: &str| {
        desk.json(&format!("export run/checkpoint.safetensors --limit 100 --qat --qat-epochs 3 --out {out} {DATA}"))
    };
    let (first, second) = (export("a.bin"), export("b.bin"));
    let tuned = &first["export"]["fine_tuned"];
    assert_eq!(tuned, &second["export"]["fine_tuned"]);
    assert_eq!(std::fs::read(desk.path("a.bin")).unwrap(), std::fs::read(desk.path("b.bin")).unwrap());
    assert_eq!((&tuned["epochs"], &tuned["held_out"]), (&3.into(), &(TRAINING_IMAGES / 6).into()));
    assert_eq!(tuned["agreement"].as_array().unwrap().len(), 4);
    let divergence = |epoch: usize| tuned["agreement"][epoch]["divergence"].as_f64().unwrap();
    let kept = tuned["kept"].as_u64().unwrap() as usize;
    assert!((0..4).all(|epoch| divergence(kept) <= divergence(epoch)), "{tuned}");

    let plain = format!("export run/checkpoint.safetensors --limit 100 --out plain.bin {DATA}");
    assert!(desk.json(&plain)["export"]["fine_tuned"].is_null());
    let same = std::fs::read(desk.path("plain.bin")).unwrap() == std::fs::read(desk.path("a.bin")).unwrap();
    assert_eq!(same, kept == 0);
    let text = "export run/checkpoint.safetensors --limit 100 --qat --data-dir data --no-checksum --out c.bin";
    assert!(desk.ok(text).contains("on 106 training examples held out"));
}

#[test]
fn fine_tuning_is_of_a_weights_bin_alone() {
    let desk = Desk::new();
    desk.train("run");
    let error = desk.refused(2, "export run/checkpoint.safetensors --qat --out net.onnx");
    assert!(error.contains("weights.bin"), "{error}");
    let error = desk.run("export run/checkpoint.safetensors --qat-epochs 3");
    assert_eq!(error.status.code(), Some(2));
}
