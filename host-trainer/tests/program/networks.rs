//! Any network through the verbs: described, trained, continued, evaluated, exported, imported, and what goes wrong with it.

use crate::desk::Desk;

const TINY: &str = "network tiny\ninput 1x28x28\npreprocess scale 1/255\n\n\
                    conv2d 4 3x3 stride 2 pad 1 no_bias | batch_norm | relu as stem\n\
                    conv2d 4 3x3 pad 1 | batch_norm | add stem | relu6 | max_pool2d 2x2\n\
                    global_avg_pool | linear 10\n";
const AUTOENCODER: &str = "network squeeze\ninput 12\n\nlinear 3 | batch_norm | relu\nlinear 12\n";

fn with(files: &[(&str, &[u8])]) -> Desk {
    let desk = Desk::new();
    files.iter().for_each(|(name, content)| std::fs::write(desk.path(name), content).unwrap());
    desk
}

/// A `.npy` of f32 or u8.
fn npy(shape: &str, kind: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// The tensor `output` of a file.
fn output(desk: &Desk, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(desk.path(name)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("output").unwrap();
    (tensor.shape().to_vec(), tensor.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}

#[test]
fn a_description_is_trained_continued_and_used_on_every_verb() {
    let desk = with(&[("tiny.net", TINY.as_bytes())]);
    let data = "--data-dir data --no-checksum";
    let train = format!("train --network tiny.net {data} --batch-size 32 --lr 0.2 -q --json");
    let report = desk.json(&format!("{train} --epochs 2 --out short"));
    assert_eq!((&report["engine"], &report["network"]), (&"cpu".into(), &"tiny".into()));
    desk.ok(&format!("{train} --epochs 4 --out long"));
    desk.ok("train --resume short --epochs 4 -q");
    let read = |name: &str| std::fs::read(desk.path(name)).unwrap();
    assert_eq!(read("short/checkpoint.safetensors"), read("long/checkpoint.safetensors"));

    let checkpoint = "long/checkpoint.safetensors";
    let inspected = desk.json(&format!("inspect {checkpoint} --json"));
    let text = inspected["network"].as_str().unwrap();
    assert!(text.contains("conv2d 4 3x3 pad 1 | batch_norm | add stem | relu6 | max_pool2d 2x2\n"), "{text}");
    assert!(text.contains("classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"), "the data's classes: {text}");
    std::fs::write(desk.path("again.net"), text).unwrap();
    assert!(desk.ok("inspect again.net").starts_with(text), "a description prints as it was");

    let evaluated = desk.json(&format!("evaluate {checkpoint} {data} --json"));
    assert_eq!(evaluated["accuracy_f32_unfolded"], evaluated["accuracy_f32_folded"]);
    assert!(evaluated["accuracy_f32_unfolded"].as_f64().unwrap() > 0.3, "{evaluated}");
    assert!(evaluated["accuracy_int8"].as_f64().unwrap() > 0.3, "{evaluated}");
    let exported = desk.json(&format!("export {checkpoint} {data} --limit 50 --json"));
    assert_eq!(exported["export"]["layers"].as_array().unwrap().len(), 3, "{exported}");
    let tuned =
        desk.json(&format!("export {checkpoint} {data} --limit 50 --qat --qat-epochs 2 --out tuned.bin --json"));
    let layers = tuned["export"]["fine_tuned"]["layers"].as_array().unwrap();
    let weights: Vec<_> = layers.iter().map(|layer| layer["weights"].as_u64().unwrap()).collect();
    assert_eq!(weights, [36, 144, 40], "{tuned}");
    desk.ok(&format!("report long {data}"));
    let page = std::fs::read_to_string(desk.path("long/report.html")).unwrap();
    assert!(page.contains("<h1>tiny on ") && page.contains("behind conv2d 4 3x3 stride 2 pad 1 no_bias"));
    desk.ok(&format!("reestimate {checkpoint} --out exact.safetensors {data}"));

    std::fs::write(desk.path("x.npy"), npy("2, 28, 28", "|u1", &[7; 2 * 784])).unwrap();
    desk.ok(&format!("export {checkpoint} --calibrate noise --limit 100 --out noise.bin"));
    for weights in ["weights.bin", "noise.bin"] {
        assert_eq!(desk.json(&format!("predict {weights} x.npy --out int8.out --json"))["form"], "int8");
    }
    for (format, import) in [("onnx", ""), ("safetensors", "--network tiny.net")] {
        desk.ok(&format!("export {checkpoint} --out out.{format}"));
        desk.ok(&format!("import out.{format} {import} --out back.safetensors --force"));
        desk.ok("predict back.safetensors x.npy --out back.out --json");
        desk.ok(&format!("predict {checkpoint} x.npy --out ours.out"));
        assert_eq!(output(&desk, "back.out"), output(&desk, "ours.out"), "{format}");
    }
}

#[test]
fn dead_channels_are_listed_and_leave_the_file() {
    let desk = with(&[("tiny.net", TINY.as_bytes()), ("x.npy", &npy("2, 28, 28", "|u1", &[9; 2 * 784]))]);
    desk.ok("init tiny.net --seed 3 --out init.safetensors");
    desk.ok("export init.safetensors --out state.safetensors");
    // Behind its ReLU the second channel of the stem is 0, and the third of the sum's other term as well: a sum needs both.
    let mut bytes = std::fs::read(desk.path("state.safetensors")).unwrap();
    for (name, channel, value) in [
        ("1.weight", 1, 0.0_f32),
        ("1.bias", 1, -1.0),
        ("4.weight", 1, 0.0),
        ("4.bias", 1, 0.0),
        ("1.weight", 2, 0.0),
        ("1.bias", 2, -1.0),
    ] {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let at = file.tensor(name).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize + 4 * channel;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    std::fs::write(desk.path("state.safetensors"), bytes).unwrap();
    desk.ok("import state.safetensors --network tiny.net --out model.safetensors");
    let export = "export model.safetensors --calibrate noise --limit 100";
    let report = desk.json(&format!("{export} --out without.bin --json"));
    let dead = &report["export"]["dead_channels"];
    let of = |layer: &serde_json::Value| ["channels", "dead", "removed"].map(|key| layer[key].as_u64().unwrap());
    assert_eq!(dead["layers"][0]["layer"], "0");
    assert_eq!(of(&dead["layers"][0]), [4, 2, 1], "{dead}");
    assert_eq!(of(&dead["layers"][1]), [4, 1, 1], "{dead}");
    assert!(dead["macs"].as_u64() < dead["macs_with"].as_u64(), "{dead}");
    let text = desk.ok(&format!("{export} --out with.bin --keep-dead"));
    assert!(text.contains("dead channels ") && text.contains("multiply-accumulates of an inference: "), "{text}");
    for weights in ["with", "without"] {
        desk.ok(&format!("predict {weights}.bin x.npy --out {weights}.out"));
    }
    assert_eq!(output(&desk, "with.out"), output(&desk, "without.out"));
    let bytes = |name: &str| std::fs::read(desk.path(name)).unwrap();
    assert_ne!(bytes("without.bin"), bytes("with.bin"));
}

#[test]
fn both_forms_predict_the_same_of_a_network_that_pads_a_mean() {
    let net = TINY.replace("scale 1/255", "scale 1/255 mean 0.286 std 0.353");
    let desk = with(&[
        ("tiny.net", net.as_bytes()),
        ("x.npy", &npy("3, 1, 28, 28", "|u1", &[[0_u8; 784], [200; 784], [31; 784]].concat())),
    ]);
    let made = desk.json("init tiny.net --seed 3 --out init.safetensors --json");
    assert_eq!(made["network"], "tiny");
    desk.ok("predict init.safetensors x.npy --out a.out");
    desk.ok("predict init.safetensors x.npy --form folded --out b.out");
    let ((shape, a), (_, b)) = (output(&desk, "a.out"), output(&desk, "b.out"));
    assert_eq!(shape, [3, 10]);
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4 * a.abs().max(1.0)), "{a:?} {b:?}");
    assert!(a.iter().any(|a| a.abs() > 1e-3), "{a:?}");

    let nan = [f32::NAN.to_le_bytes(); 784].concat();
    std::fs::write(desk.path("nan.npy"), npy("1, 784", "<f4", &nan)).unwrap();
    assert!(desk.refused(2, "predict init.safetensors nan.npy --out c.out").contains("inputs are [1, 784]"));
    std::fs::write(desk.path("nan.npy"), npy("1, 28, 28", "<f4", &nan)).unwrap();
    assert!(desk.refused(2, "predict init.safetensors nan.npy --out c.out").contains("holds NaN at position 0"));
    assert!(!desk.path("c.out").exists());
}

#[test]
fn a_network_without_classes_learns_to_give_its_input_back() {
    let values: Vec<u8> =
        (0..400 * 12_u32).flat_map(|i| (((i % 12) * (i / 12 % 5)) as f32 / 20.0).to_le_bytes()).collect();
    let desk = with(&[("squeeze.net", AUTOENCODER.as_bytes()), ("x.npy", &npy("400, 12", "<f4", &values))]);
    let train = "train --network squeeze.net --data x.npy --holdout 80 --batch-size 20 --lr 0.1 --epochs 20 -q --json --out run";
    let report = desk.json(train);
    assert_eq!(report["test_accuracy"], serde_json::Value::Null);
    let loss = report["test_loss"].as_f64().unwrap();
    assert!(loss < 0.05, "{report}");
    let evaluated = desk.json("evaluate run/checkpoint.safetensors --data x.npy --json");
    assert!((evaluated["error_f32_folded"].as_f64().unwrap() - loss).abs() < 0.02, "{evaluated}");
    assert!(desk.ok("report run --data x.npy").contains("mean squared error"));
    let tuned = desk.ok("export run/checkpoint.safetensors --data x.npy --qat --out tuned.bin");
    assert!(tuned.contains("squared error, share of f32's squares"), "{tuned}");
    assert!(tuned.contains(" of 36 in ") && !tuned.contains("nats"), "{tuned}");
}

/// A network learns from a teacher, stops, goes on to the same bytes, and is not taken in by another teacher.
#[test]
fn a_run_with_a_teacher_resumes_to_the_same_bytes() {
    let desk = with(&[("tiny.net", TINY.as_bytes())]);
    desk.ok("init tiny.net --seed 1 --out teacher.safetensors");
    desk.ok("init tiny.net --seed 2 --out other.safetensors");
    let train = "train --network tiny.net --data-dir data --no-checksum --batch-size 16 --lr 0.1 -q";
    desk.ok(&format!(
        "{train} --epochs 2 --out whole --teacher teacher.safetensors --temperature 2 --teacher-weight 0.5"
    ));
    desk.ok(&format!(
        "{train} --epochs 1 --out parts --teacher teacher.safetensors --temperature 2 --teacher-weight 0.5"
    ));
    let resume = "train --resume parts --epochs 2 -q";
    let message = desk.refused(2, &format!("{resume} --teacher other.safetensors"));
    assert!(message.contains("other.safetensors is not the teacher that this run was started with"), "{message}");
    desk.ok(resume);
    let read = |run: &str| std::fs::read(desk.path(run).join("checkpoint.safetensors")).unwrap();
    assert!(read("whole") == read("parts"));
    desk.ok(&format!("{train} --epochs 2 --out alone"));
    assert!(read("whole") != read("alone"));
    let message = desk.refused(2, "train --network resnet8 --teacher teacher.safetensors --out run");
    assert!(
        message.contains("the teacher tiny reads 1x28x28 and gives 10 outputs, resnet8 reads 3x32x32"),
        "{message}"
    );
}

#[test]
fn what_a_network_cannot_do_is_one_line() {
    let desk = with(&[("bad.net", b"input 1x28x28\nconv2d 8 3x3 | swish\n"), ("tiny.net", TINY.as_bytes())]);
    let message = desk.refused(2, "inspect bad.net");
    assert!(message.contains("bad.net: line 2: swish is no operation; there are conv2d"), "{message}");
    assert!(desk.refused(2, "train --network nothing").contains("name one of lenet, lenet_plain"));
    let message = desk.refused(2, "train --network tiny.net --engine cuda --out run");
    assert!(message.contains("engine cuda is made for LeNet") && message.contains("--engine cpu"), "{message}");
    let message = desk.refused(2, "train --network resnet8 --data-dir data --no-checksum --out run");
    assert!(
        message.contains("resnet8 reads 3x32x32, the data has examples 1x28x28; take data of that shape"),
        "{message}"
    );
    assert!(desk.ok("inspect mobilenet_v1_025").contains("7,489,664 multiply-accumulates"));
}
