//! Own data through the program: the same pictures through files of every mode and through IDX give the same model, class names come
//! along everywhere, and what is wrong is one line.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::desk::Desk;

/// Class names by label, in the order of their folders.
const NAMES: [&str; 10] =
    ["ankle boot", "bag", "coat", "dress", "pullover", "sandal", "shirt", "sneaker", "t-shirt", "trouser"];

/// A PNG of 28x28 pixels in one of four modes, each of which becomes the same grey: grey, RGB, RGBA, 16 bits.
fn png(pixels: &[u8], mode: usize) -> Vec<u8> {
    let repeated = |count: usize| pixels.iter().flat_map(|&v| std::iter::repeat_n(v, count)).collect::<Vec<u8>>();
    let (colour, depth, values) = match mode % 4 {
        0 => (png::ColorType::Grayscale, png::BitDepth::Eight, pixels.to_vec()),
        1 => (png::ColorType::Rgb, png::BitDepth::Eight, repeated(3)),
        2 => (png::ColorType::Rgba, png::BitDepth::Eight, repeated(4)),
        _ => (png::ColorType::Grayscale, png::BitDepth::Sixteen, repeated(2)),
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 28, 28);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&values).unwrap();
    writer.finish().unwrap();
    bytes
}

/// The desk's data as a folder of pictures, and as IDX files in that folder's order.
fn with_pictures() -> Desk {
    let desk = Desk::new();
    fs::create_dir(desk.path("idx")).unwrap();
    for (prefix, part) in [("train", "train"), ("t10k", "test")] {
        let [image_name, label_name] = ["images-idx3", "labels-idx1"].map(|what| format!("{prefix}-{what}-ubyte"));
        let images = fs::read(desk.path("data").join(&image_name)).unwrap();
        let labels = fs::read(desk.path("data").join(&label_name)).unwrap();
        let mut examples: Vec<_> = images[16..].chunks_exact(784).zip(&labels[8..]).enumerate().collect();
        examples.sort_by_key(|(at, (_, label))| (**label, *at));
        let (mut sorted_images, mut sorted_labels) = (images[..16].to_vec(), labels[..8].to_vec());
        for (at, (image, &label)) in examples {
            let folder = desk.path("pictures").join(part).join(NAMES[usize::from(label)]);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{at:04}.png")), png(image, at)).unwrap();
            sorted_images.extend(image);
            sorted_labels.push(label);
        }
        fs::write(desk.path("idx").join(&image_name), sorted_images).unwrap();
        fs::write(desk.path("idx").join(&label_name), sorted_labels).unwrap();
    }
    desk
}

fn trained(desk: &Desk, arguments: &str) -> Value {
    let report = desk.json(&format!("train --data {arguments} --batch-size 32 --epochs 2 -q --json"));
    let checkpoint = report["checkpoint"].as_str().unwrap().to_owned();
    desk.json(&format!("inspect {checkpoint} --json"))
}

#[test]
fn pictures_and_idx_of_the_same_images_train_the_same_model() {
    let desk = with_pictures();
    let (pictures, idx) = (trained(&desk, "pictures --out p"), trained(&desk, "idx --out i"));
    assert_eq!(pictures["training"]["dataset_digest"], idx["training"]["dataset_digest"]);
    assert_eq!(pictures["training"]["history"], idx["training"]["history"]);
    assert_eq!(pictures["training"]["dataset"], desk.path("pictures").canonicalize().unwrap().display().to_string());
    let evaluated = |arguments: &str| desk.json(&format!("evaluate p/checkpoint.safetensors {arguments} --json"));
    let own = evaluated("");
    for other in ["--data idx", "--data-dir data --no-checksum"] {
        assert_eq!(evaluated(other)["accuracy_f32_unfolded"], own["accuracy_f32_unfolded"], "{other}");
    }
    let html = {
        desk.ok("report p --host-only");
        fs::read_to_string(desk.path("p/report.html")).unwrap()
    };
    assert!(NAMES.iter().all(|name| html.contains(name)));
    desk.ok("train --resume p --epochs 3 -q");
    let data = desk.json("data --data pictures --json");
    assert_eq!((&data["classes"][0]["class"], &data["test_examples"]), (&json!("ankle boot"), &json!(100)));
}

#[test]
fn a_folder_of_three_classes_makes_a_network_of_three_outputs() {
    let desk = with_pictures();
    for name in &NAMES[..3] {
        fs::create_dir_all(desk.path("three")).unwrap();
        fs::rename(desk.path("pictures/train").join(name), desk.path("three").join(name)).unwrap();
    }
    let model = trained(&desk, "three --test-share 0.25 --out run");
    assert_eq!(model["training"]["rule"], json!({"share": {"share": 0.25, "seed": 0}}));
    let evaluated = desk.json("evaluate run/checkpoint.safetensors --json");
    assert_eq!(evaluated["images"], 48, "a quarter of 3 x 64");
    let message = desk.refused(2, "evaluate run/checkpoint.safetensors --data pictures");
    assert!(message.contains("the class ") || message.contains("its class "), "{message}");
    fs::write(desk.path("three/bag/broken.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let message = desk.refused(2, "train --data three -q --out other");
    assert!(message.contains(&Path::new("three/bag/broken.png").display().to_string()), "{message}");
    assert!(!desk.path("other").exists());
}

#[test]
fn windows_of_numbers_train_a_network_of_ones_own() {
    let desk = Desk::new();
    let row = |i: usize| {
        let label = if i.is_multiple_of(2) { "walk" } else { "run" };
        let values = (0..12).map(|t| format!("{:.3}", ((i % 2 + 1) * t + i) as f32 * 0.37 % 1.0));
        [label.to_owned()].into_iter().chain(values).collect::<Vec<_>>().join(",")
    };
    fs::write(desk.path("windows.csv"), (0..120).map(row).collect::<Vec<_>>().join("\n")).unwrap();
    fs::write(desk.path("w.net"), "network w\ninput 3x4\n\nconv2d 4 3x1\nbatch_norm\nrelu\nflatten\nlinear 2\n")
        .unwrap();
    let model = trained(&desk, "windows.csv --network w.net --out run");
    assert_eq!(model["training"]["dataset"], desk.path("windows.csv").canonicalize().unwrap().display().to_string());
    assert_eq!(desk.json("evaluate run/checkpoint.safetensors --json")["images"], 24);
}
