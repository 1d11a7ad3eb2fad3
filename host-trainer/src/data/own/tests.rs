//! What own data is read as, whatever it lies in; and that each mistake is named with its file.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::data::Raw;

const SHAPE: Shape = Shape::new(1, 2, 3);

fn wanted() -> Wanted<'static> {
    Wanted { shape: Some(SHAPE), ..Wanted::default() }
}

fn refused(path: &Path) -> String {
    let error = load(path, &wanted()).unwrap_err();
    let line = error.to_string();
    assert_eq!(error.exit_code(), 2);
    assert!(line.contains("; ") && !line.contains('\n'), "{line}");
    line
}

/// A folder with files of that content.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// A grey PNG of 3x2 pixels.
fn png(values: [u8; 6]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&values).unwrap();
    writer.finish().unwrap();
    bytes
}

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn header(kind: &str, shape: &str) -> String {
    format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n")
}

/// A zip archive of entries that are stored.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let sizes = [crc.sum(), content.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
        let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0], sizes.as_slice(), &[name.len() as u8, 0, 0, 0]].concat();
        list.extend(
            [b"PK\x01\x02\x14\0", common.as_slice(), &[0; 10], &(file.len() as u32).to_le_bytes(), name.as_bytes()]
                .concat(),
        );
        file.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes(), content].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let places = [list.len() as u32, file.len() as u32].map(u32::to_le_bytes).concat();
    [file.as_slice(), &list, b"PK\x05\x06\0\0\0\0", &count, &count, &places, &[0, 0]].concat()
}

#[test]
fn a_subfolder_is_a_class_and_a_share_of_each_tests() {
    let picture = |value| png([value; 6]);
    let (a, b, c, d) = (picture(1), picture(2), picture(3), picture(4));
    let folder = folder(&[
        ("cat/2.png", &b),
        ("cat/1.png", &a),
        ("dog/x.png", &c),
        ("dog/y", &d),
        (".cache/z", b"?"),
        ("dog/Thumbs.db", b"?"),
    ]);
    let whole = load(folder.path(), &wanted()).unwrap();
    assert_eq!(
        (whole.classes.as_slice(), whole.train.labels.as_slice()),
        (["cat", "dog"].map(String::from).as_slice(), [0, 0, 1, 1].as_slice())
    );
    assert_eq!((whole.train.inputs.raw(1), &whole.test), (Raw::U8(&[2; 6]), &whole.train));
    assert_eq!(whole.name, folder.path().canonicalize().unwrap().display().to_string());
    let rule = Rule::Share { share: 0.2, seed: 0 };
    let split = load(folder.path(), &Wanted { rule: Some(rule), ..wanted() }).unwrap();
    assert_eq!((split.train.labels, split.test.labels, split.rule), (vec![0, 1], vec![0, 1], Some(rule)));
}

#[test]
fn train_and_test_folders_are_taken_as_they_are_and_classes_by_name() {
    let picture = png([9; 6]);
    let names = ["train/10/a.png", "train/2/a.png", "test/10/a.png"].map(|name| (name, picture.as_slice()));
    let folder = folder(&names);
    let own = load(folder.path(), &wanted()).unwrap();
    assert_eq!(
        (own.classes, own.train.labels, own.test.labels),
        (["2", "10"].map(String::from).into(), vec![0, 1], vec![1])
    );
    let model = ["10", "2", "7"].map(String::from);
    let own = load(folder.path(), &Wanted { classes: &model, ..wanted() }).unwrap();
    assert_eq!((own.classes.as_slice(), own.train.labels, own.test.labels), (model.as_slice(), vec![1, 0], vec![0]));
    let other = ["a", "b"].map(String::from);
    let error = load(folder.path(), &Wanted { classes: &other, ..wanted() }).unwrap_err().to_string();
    assert!(error.contains("its class 2 is none of the model's (a, b); "), "{error}");
}

#[test]
fn a_mistake_in_a_folder_is_named_with_its_file() {
    let sound = png([0; 6]);
    let cases: [(&str, &[u8], &str); 8] = [
        ("cat/notes.txt", b"some words", "cat/notes.txt: this is a text file, not a PNG"),
        ("cat/empty.png", b"", "cat/empty.png: the file is empty"),
        ("cat/cut.png", &sound[..40], "cat/cut.png: it is a damaged PNG"),
        ("beside.png", &sound, "beside.png: it lies beside the folders of classes"),
        ("cat/deeper/x.png", &sound, "cat/deeper: this is a folder inside a class's folder"),
        ("a,b/x.png", &sound, "\"a,b\" cannot be a class's name"),
        ("train/cat/x.png", &sound, "it has train/ but no test/"),
        ("cat/x.gif", b"GIF89a", "cat/x.gif: this is a picture (GIF), not a PNG, JPEG or BMP"),
    ];
    for (name, content, message) in cases {
        let folder = folder(&[("cat/sound.png", &sound), (name, content)]);
        let line = refused(folder.path());
        assert!(line.contains(message), "{line}");
    }
    let empty = folder(&[("cat/sound.png", &sound)]);
    fs::create_dir(empty.path().join("dog")).unwrap();
    assert!(refused(empty.path()).contains("dog: it holds no picture"));
    let more = folder(&[("train/cat/x.png", &sound), ("test/dog/x.png", &sound)]);
    assert!(refused(more.path()).contains("the class dog is not in train/"));
    assert!(refused(&more.path().join("nowhere")).contains("there is nothing here"));
    let flat = load(empty.path(), &Wanted { shape: Some(Shape::flat(6)), ..wanted() }).unwrap_err().to_string();
    assert!(!flat.is_empty());
}

#[test]
fn arrays_are_known_by_their_names() {
    let inputs = npy(&header("|u1", "(2, 2, 3)"), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let labels = npy(&header("<i8", "(2,)"), &[1_i64, 0].map(i64::to_le_bytes).concat());
    let classes: Vec<u8> = "b\0a\0".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    let classes = npy(&header("<U2", "(2,)"), &classes);
    let entries = [("x.npy", inputs.as_slice()), ("y.npy", &labels), ("classes.npy", &classes), ("other.npy", b"?")];
    let own = arrays::from_bytes(Path::new("x"), &zip(&entries), Some(SHAPE)).unwrap();
    assert_eq!((own.train.inputs.raw(1), own.train.labels), (Raw::U8(&[7, 8, 9, 10, 11, 12]), vec![1, 0]));
    assert_eq!((own.classes, own.test), (["b", "a"].map(String::from).into(), None));
    let both = [("x_train", &inputs), ("y_train", &labels), ("test_images", &inputs), ("test_labels", &labels)];
    let both = both.map(|(name, content)| (format!("{name}.npy"), content));
    let entries: Vec<_> = both.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let own = arrays::from_bytes(Path::new("x"), &zip(&entries), None).unwrap();
    assert_eq!(own.test, Some(own.train));
    assert!(arrays::from_bytes(Path::new("x"), &inputs, Some(SHAPE)).unwrap().train.labels.is_empty());
}

#[test]
fn channels_may_come_last() {
    let array = npy(&header("|u1", "(1, 1, 2, 3)"), &[1, 2, 3, 4, 5, 6]);
    let own = arrays::from_bytes(Path::new("x"), &array, Some(Shape::new(3, 1, 2))).unwrap();
    assert_eq!(own.train.inputs.raw(0), Raw::U8(&[1, 4, 2, 5, 3, 6]));
}

#[test]
fn a_safetensors_file_has_input_and_label() {
    let floats: Vec<u8> = [1.5_f32; 6].iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 1, 2, 3], &floats).unwrap();
    let labels = (-1_i64).to_le_bytes();
    let label = safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![1], &labels).unwrap();
    let file = safetensors::serialize([("input", view), ("label", label)], None).unwrap();
    let split = arrays::from_bytes(Path::new("x"), &file, Some(SHAPE)).unwrap().train;
    assert_eq!((split.inputs.raw(0), split.labels.len()), (Raw::F32(&[1.5; 6]), 0));
}

#[test]
fn what_is_wrong_with_an_array_is_named() {
    let refused = |bytes: &[u8]| arrays::from_bytes(Path::new("x"), bytes, Some(SHAPE)).unwrap_err().to_string();
    assert!(refused(b"\x93NUMPY\x01").contains("it is cut off"));
    assert!(refused(&npy(&header("<f8", "(1, 2, 3)"), &[0; 48])).contains("it holds <f8; save it as uint8 or float32"));
    assert!(refused(&npy(&header("|O", "(1, 2, 3)"), &[0; 48])).contains("it holds |O, neither uint8 nor float32"));
    assert!(
        refused(&npy(&header("|u1", "(1, 3, 2)"), &[0; 6])).contains("[1, 3, 2], and the network reads [n, 1, 2, 3]")
    );
    assert!(refused(&npy(&header("|u1", "(1, 2, 3)"), &[0; 5])).contains("it has 5 bytes of values"));
    assert!(refused(&npy(&header("|u1", "(0, 2, 3)"), &[])).contains("it has no input"));
    let columns = npy("{'descr': '|u1', 'fortran_order': True, 'shape': (1, 2, 3)}", &[0; 6]);
    assert!(refused(&columns).contains("column-major"));
    let nan = npy(&header("<f4", "(1, 2, 3)"), &[0, 0, 0, 0, 0, 0, 0xC0, 0x7F].repeat(3));
    assert!(refused(&nan).contains("input 0 holds NaN at position 1"), "{}", refused(&nan));
    assert!(refused(b"anything else").contains("no sound safetensors file"));
    let inputs = npy(&header("|u1", "(1, 2, 3)"), &[0; 6]);
    assert!(refused(&zip(&[("a.npy", &inputs)])).contains("it has no array `x` or `x_train`; it has a.npy"));
    let labels = npy(&header("|u1", "(2,)"), &[0; 2]);
    assert!(refused(&zip(&[("x.npy", &inputs), ("y.npy", &labels)])).contains("it has 1 inputs and 2 labels"));
    let mut damaged = zip(&[("x.npy", &inputs)]);
    damaged[30 + 5 + inputs.len() - 1] ^= 1;
    assert!(refused(&damaged).contains("its entry x.npy is damaged"), "{}", refused(&damaged));
}

#[test]
fn a_row_is_an_example() {
    let read = |text: &str| csv::from_texts(&[(Path::new("x.csv"), text)], Some(SHAPE));
    let own = read("\u{feff}label,p0,p1,p2,p3,p4,p5\r\n1,0,1,2,3,4,255\r\n\r\n0,9,9,9,9,9,9\r\n").unwrap();
    assert_eq!((own.train.inputs.raw(0), own.train.labels), (Raw::U8(&[0, 1, 2, 3, 4, 255]), vec![1, 0]));
    let own = read("v,v,v,v,v,v,class\n1,2,3,4,5,6.5,\"walk\"\n1,2,3,4,5,6,run\n").unwrap();
    assert_eq!((own.classes, own.train.labels), (["run", "walk"].map(String::from).into(), vec![1, 0]));
    assert_eq!(own.train.inputs.raw(1), Raw::F32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    for (text, message) in [
        ("", "it has no row"),
        ("label,a,b\n", "no row but its header"),
        ("0;1;2\n", "its first row has one cell"),
        ("0,1,2,3,4,5,6\n0,1,2\n", "row 2 has 3 cells, the first has 7"),
        ("0,1,2,3,4,5,6\n0,1,2,x,4,5,6\n", "row 2, column 4: \"x\" is no number"),
        ("0,1,2,3,4,5,6\n0,1,2,nan,4,5,6\n", "row 2, column 4: \"nan\" is no number"),
        ("0,1,2\n", "its rows have 2 values, and the network reads 1x2x3: 6 of them"),
        ("300,1,2,3,4,5,6\n", "example 0 has the label 300; labels lie between 0 and 255"),
    ] {
        let line = read(text).unwrap_err().to_string();
        assert!(line.starts_with("x.csv: ") && line.contains(message), "{line}");
    }
    let folder = folder(&[("train.csv", b"a,1,2,3,4,5,6\nb,1,2,3,4,5,6\n"), ("test.csv", b"b,1,2,3,4,5,7.5\n")]);
    let own = load(folder.path(), &wanted()).unwrap();
    assert_eq!(
        (own.train.labels, own.test.labels, own.train.inputs.raw(0)),
        (vec![0, 1], vec![1], Raw::F32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    );
}

/// An IDX file of a type and dimensions, with those values.
fn idx(kind: u8, dims: &[u32], values: &[u8]) -> Vec<u8> {
    let dimensions: Vec<u8> = dims.iter().flat_map(|dim| dim.to_be_bytes()).collect();
    [&[0, 0, kind, dims.len() as u8], dimensions.as_slice(), values].concat()
}

#[test]
fn idx_files_of_any_size_are_known_by_their_publishers_names() {
    let images = idx(8, &[2, 3, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let letters = idx(8, &[2], &[1, 26]);
    let name = |part: &str, what: &str| format!("EMNIST/raw/emnist-letters-{part}-{what}-ubyte");
    let names = ["train", "test"].map(|part| [name(part, "images-idx3"), name(part, "labels-idx1")]);
    let files: Vec<_> = names.as_flattened().iter().zip([&images, &letters].into_iter().cycle()).collect();
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let emnist = folder(&files);
    for path in ["", "EMNIST", "EMNIST/raw", "EMNIST/raw/emnist-letters-test-labels-idx1-ubyte"] {
        let own = load(&emnist.path().join(path), &wanted()).unwrap();
        // Upright, counted from 0, named.
        assert_eq!(
            (own.train.inputs.raw(0), own.train.labels.as_slice()),
            (Raw::U8(&[1, 3, 5, 2, 4, 6]), [0, 25].as_slice())
        );
        assert_eq!(json!([own.classes[0], own.classes[25]]), json!(["A", "Z"]));
    }
    let words: Vec<u8> =
        [7, 1, 2, 3, 4, 5, 6, 7, 3, 1, 2, 3, 4, 5, 6, 7].into_iter().flat_map(u32::to_be_bytes).collect();
    let (images, digits) = (idx(8, &[2, 2, 3], &[5; 12]), idx(12, &[2, 8], &words));
    let name = |part: &str, what: &str| format!("qmnist-{part}-{what}");
    let names = ["train", "test"].map(|part| [name(part, "images-idx3-ubyte"), name(part, "labels-idx2-int")]);
    let files: Vec<_> = names.as_flattened().iter().zip([&images, &digits].into_iter().cycle()).collect();
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    assert_eq!(load(folder(&files).path(), &wanted()).unwrap().train.labels, [7, 3]);
    assert!(refused(folder(&files[..3]).path()).contains("the test labels that belong to it are not in its folder"));
    let two = [("a/raw/train-images-idx3-ubyte", images.as_slice()), ("b/raw/train-images-idx3-ubyte", &images)];
    assert!(refused(folder(&two).path()).contains("holds 2 data sets; name one by its training images: --data "));
    let line = load(emnist.path(), &Wanted { shape: Some(Shape::new(1, 5, 5)), ..wanted() }).unwrap_err().to_string();
    assert!(line.contains("its inputs are [2, 2, 3], and the network reads [n, 1, 5, 5]"), "{line}");
}
