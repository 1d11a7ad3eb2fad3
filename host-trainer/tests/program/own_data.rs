//! Own data through the program: the same pictures through files of every mode and through IDX give the same model, class names come
//! along everywhere, and what is wrong is one line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bn_core::CLASS_NAMES;
use bn_core::lenet::NETWORK;
use host_trainer::data::garments::garments;
use host_trainer::data::{Split, picture};
use serde_json::{Value, json};

use crate::desk::{Desk, TEST_IMAGES, TRAINING_IMAGES};
use crate::jpeg::jpeg;

/// Sizes of the pictures, width and height: the network's, larger, smaller, and not square.
const SIZES: [(usize, usize); 5] = [(28, 28), (56, 56), (84, 28), (45, 61), (20, 24)];

/// An image at another size: the nearest pixel.
fn sized(pixels: &[u8], (width, height): (usize, usize)) -> Vec<u8> {
    (0..height).flat_map(|y| (0..width).map(move |x| pixels[y * 28 / height * 28 + x * 28 / width])).collect()
}

/// A PNG in one of four modes, each of which becomes the same grey: grey, RGB, RGBA, 16 bits.
fn png(pixels: &[u8], (width, height): (usize, usize), mode: usize) -> Vec<u8> {
    let repeated = |count: usize| pixels.iter().flat_map(|&v| std::iter::repeat_n(v, count)).collect::<Vec<u8>>();
    let (colour, depth, values) = match mode % 4 {
        0 => (png::ColorType::Grayscale, png::BitDepth::Eight, pixels.to_vec()),
        1 => (png::ColorType::Rgb, png::BitDepth::Eight, repeated(3)),
        2 => (png::ColorType::Rgba, png::BitDepth::Eight, repeated(4)),
        _ => (png::ColorType::Grayscale, png::BitDepth::Sixteen, repeated(2)),
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&values).unwrap();
    writer.finish().unwrap();
    bytes
}

/// Garments as a folder of PNG files of mixed sizes and modes, `pictures`, and their test images as JPEG files, `jpeg`; and what they are at the
/// network's size as IDX files, `idx`, in the order of the folders.
fn with_pictures() -> Desk {
    let desk = Desk::new();
    let (train, test) = garments(0, TRAINING_IMAGES, TEST_IMAGES);
    for (prefix, part, split) in [("train", "train", &train), ("t10k", "test", &test)] {
        let pictures = desk.path("pictures").join(part);
        for (at, (image, &label)) in split.images().iter().zip(&split.labels).enumerate() {
            let size = SIZES[at % SIZES.len()];
            let pixels = sized(image.as_flattened(), size);
            let name = CLASS_NAMES[usize::from(label)];
            // The extension says nothing: content does.
            write(&pictures.join(name).join(format!("{at:04}.png")), &png(&pixels, size, at / 3));
            if part == "test" {
                write(&desk.path("jpeg").join(name).join(format!("{at:04}.jpg")), &jpeg(&pixels, size, at % 2 == 0));
            }
        }
        write_idx(&desk, prefix, &pictures, split);
    }
    desk
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The pictures of a folder at the network's size, as `tests/golden/pictures` holds them to PIL.
fn write_idx(desk: &Desk, prefix: &str, pictures: &Path, split: &Split) {
    let count = (split.len() as u32).to_be_bytes();
    let side = 28_u32.to_be_bytes();
    let mut images = [[0, 0, 8, 3], count, side, side].concat();
    let mut labels = [[0, 0, 8, 1], count].concat();
    for (label, name) in sorted_names().iter().enumerate() {
        for path in entries(&pictures.join(name)) {
            images.extend(picture::read(&path, NETWORK.topology.input).unwrap().planes());
            labels.push(label as u8);
        }
    }
    write(&desk.path("idx").join(format!("{prefix}-images-idx3-ubyte")), &images);
    write(&desk.path("idx").join(format!("{prefix}-labels-idx1-ubyte")), &labels);
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Class names by label, in the order of their folders.
fn sorted_names() -> [&'static str; 10] {
    let mut names = CLASS_NAMES;
    names.sort_unstable();
    names
}

fn trained(desk: &Desk, arguments: &str) -> Value {
    let report = desk.json(&format!("train --data {arguments} --batch-size 32 --epochs 2 -q --json"));
    let checkpoint = report["checkpoint"].as_str().unwrap().to_owned();
    desk.json(&format!("inspect {checkpoint} --json"))
}

#[test]
fn garments_as_pictures_of_mixed_sizes_and_modes_are_those_of_idx_to_every_verb() {
    let desk = with_pictures();
    let (pictures, idx) = (trained(&desk, "pictures --out p"), trained(&desk, "idx --out i"));
    assert_eq!(pictures["training"]["dataset_digest"], idx["training"]["dataset_digest"]);
    assert_eq!(pictures["training"]["history"], idx["training"]["history"]);
    assert_eq!(pictures["training"]["dataset"], desk.path("pictures").canonicalize().unwrap().display().to_string());
    let evaluated = |arguments: &str| desk.json(&format!("evaluate p/checkpoint.safetensors {arguments} --json"));
    let own = evaluated("");
    let accuracy = own["accuracy_f32_unfolded"].as_f64().unwrap();
    assert!(accuracy > 0.3, "two epochs of 640 garments: {accuracy}");
    assert_eq!(evaluated("--data idx")["accuracy_f32_unfolded"], accuracy);
    let names =
        |rows: &Value, key: &str| rows.as_array().unwrap().iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(names(&own["classes"], "class"), sorted_names());
    let support: u64 = names(&own["classes"], "support").iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((support, own["class_mean"]["classes"].as_u64()), (100, Some(10)));
    let text = desk.ok("evaluate p/checkpoint.safetensors");
    assert!(sorted_names().iter().all(|name| text.contains(&format!("\n{name} "))), "{text}");

    // The recall of every class is the share of its folder that is classified so.
    let classified = desk.json("classify p/checkpoint.safetensors pictures/test --json");
    assert_eq!((&classified["classes"], &classified["arithmetic"]), (&json!(sorted_names()), &json!("f32")));
    let shown = |picture: &Value| {
        let file = picture["file"].as_str().unwrap().to_owned();
        (file.split('/').rev().nth(1).unwrap().to_owned(), picture["class"].as_str().unwrap().to_owned())
    };
    let pictures = classified["pictures"].as_array().unwrap();
    assert_eq!(pictures.iter().map(shown).filter(|(folder, class)| folder == class).count() as f64 / 100.0, accuracy);
    let modes: BTreeMap<_, _> = pictures.iter().map(|p| (p["mode"].as_str().unwrap(), &p["done"])).collect();
    assert_eq!(
        modes.keys().copied().collect::<Vec<_>>(),
        ["RGB, 8 bits", "RGBA, 8 bits", "grey, 16 bits", "grey, 8 bits"]
    );
    assert_eq!(modes["grey, 16 bits"][0], "16 bits made 8");

    // JPEG loses a little, and no class with it.
    let lossy = evaluated("--data jpeg");
    assert!((lossy["accuracy_f32_unfolded"].as_f64().unwrap() - accuracy).abs() <= 0.03, "{lossy}");
    assert_eq!(names(&lossy["classes"], "class"), sorted_names());
    let lossy = desk.json("classify p/checkpoint.safetensors jpeg --json");
    let same = lossy["pictures"].as_array().unwrap().iter().zip(pictures).filter(|(a, b)| a["class"] == b["class"]);
    assert!(same.count() >= 97);

    desk.ok("report p --host-only");
    let html = fs::read_to_string(desk.path("p/report.html")).unwrap();
    assert!(sorted_names().iter().all(|name| html.contains(name)) && html.contains("precision"));
    desk.ok("train --resume p --epochs 3 -q");
    let data = desk.json("data --data pictures --json");
    assert_eq!((&data["classes"][0]["class"], &data["test_examples"]), (&json!("ankle boot"), &json!(100)));
}

#[test]
fn a_picture_is_classified_with_bars_or_refused_in_one_line() {
    let desk = with_pictures();
    desk.ok("train --data pictures --batch-size 32 --epochs 2 -q --out p");
    desk.ok("export p/checkpoint.safetensors --out w.bin --limit 100");
    let [dark, light] = [0, 255].map(|value| jpeg(&[value; 48], (8, 6), false));
    write(&desk.path("some/dark.jpg"), &dark);
    write(&desk.path("some/light.jpg"), &light);
    for model in ["p/checkpoint.safetensors", "w.bin"] {
        let text = desk.ok(&format!("classify {model} some/dark.jpg"));
        assert!(text.starts_with("some/dark.jpg: ") && !text.contains('\x1b'), "{text}");
        assert!(text.contains("  JPEG 8x6, grey, 8 bits\n  resized from 8x6 to 28x28; preprocessing "), "{text}");
        assert!(text.contains('█') && text.contains(" others "), "{text}");
        let json = desk.json(&format!("classify {model} some --json"));
        let hints: Vec<_> = json["pictures"].as_array().unwrap().iter().map(|p| p["hint"].is_string()).collect();
        // The model's classes are Fashion-MNIST's in another order, so nothing is known of their ground.
        assert_eq!(hints, [false, false]);
        let sure = json["pictures"][0]["probability"].as_f64().unwrap();
        let rejected = |reject: f64| {
            desk.json(&format!("classify {model} some/dark.jpg --reject {reject} --json"))["pictures"][0]["unsure"]
                .clone()
        };
        assert_eq!((rejected(sure / 2.0), rejected((1.0 + sure) / 2.0)), (json!(false), json!(true)));
        let inverted = desk.json(&format!("classify {model} some/light.jpg --invert --json"));
        assert_eq!(inverted["pictures"][0]["probabilities"], json["pictures"][0]["probabilities"]);
        assert_eq!(inverted["pictures"][0]["done"], json!(["resized from 8x6 to 28x28", "inverted"]));
    }
    let text = desk.ok("classify w.bin pictures/test/bag --reject 0.999999");
    assert_eq!(text.lines().count(), 12);
    assert!(text.contains("  unsure (") && text.ends_with("unsure 10\n"), "{text}");
    fs::create_dir(desk.path("empty")).unwrap();
    write(&desk.path("some/broken.png"), b"\x89PNG\r\n\x1a\n");
    write(&desk.path("deep/a/b/c/d/x.png"), b"?");
    for (arguments, message) in [
        ("w.bin none.png", "none.png: there is no such file"),
        ("w.bin some", "some/broken.png: it is a damaged PNG"),
        ("w.bin empty", "empty: it holds no picture; "),
        ("w.bin deep", "deep/a/b/c/d: it lies too deep in the folder; "),
        ("w.bin idx/train-labels-idx1-ubyte", "this is an IDX file"),
        ("some/dark.jpg some/dark.jpg", "this is a picture (JPEG), not a checkpoint"),
    ] {
        let line = desk.refused(2, &format!("classify {arguments}"));
        assert!(line.contains(message), "{line}");
    }
    assert_eq!(desk.run("classify w.bin some/dark.jpg --reject 1").status.code(), Some(2));
    desk.ok("init autoencoder --out a.safetensors");
    assert!(desk.refused(2, "classify a.safetensors some").contains("gives its input back and tells no classes apart"));
    desk.ok("init sequence --out s.safetensors");
    assert!(desk.refused(2, "classify s.safetensors some/dark.jpg").contains("a picture is 1xHxW"));
}

#[test]
fn a_folder_of_three_classes_makes_a_network_of_three_outputs() {
    let desk = with_pictures();
    for name in &sorted_names()[..3] {
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
