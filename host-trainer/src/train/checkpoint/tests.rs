//! Checkpoints come back as they were, and every kind of damage has a name.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::train::recipe::SEED;

/// A checkpoint after one epoch of three steps and two steps of the next, with values that show a swap or a rounding.
pub(crate) fn example() -> Checkpoint {
    let network = Arc::new(Network::lenet().with_eps(2e-5).unwrap());
    let mut parameters = Parameters::zero(&network, Variance::Unbiased);
    for (at, values) in parameters.tensors.iter_mut().enumerate() {
        for (i, v) in values.iter_mut().enumerate() {
            *v = f64::from((at as f32 + 0.1) * (1.0 + i as f32 / 7.0));
        }
    }
    let totals = |examples, loss, correct| Totals { examples, loss, correct };
    let state = TrainingState {
        engine: "reference".into(),
        dataset: "garments".into(),
        dataset_digest: "d41d8cd98f00b204e9800998ecf8427e".into(),
        seed: u64::MAX,
        recipe: Recipe { batch_size: 4, ..SEED },
        epoch: 1,
        step: 2,
        partial: totals(8, 1.1 / 3.0, 5),
        history: vec![EpochTotals { train: totals(12, 17.300000000000004, 6), test: Some(totals(10, 12.5, 4)) }],
        holdout: 0,
        rule: None,
        reestimated: None,
        mean: None,
        teacher: None,
    };
    Checkpoint { parameters, batches_tracked: 5, origin: Origin::Trained(Box::new(state)), moments: None }
}

fn refused(bytes: &[u8]) -> String {
    let error = Checkpoint::from_bytes(Path::new("a.safetensors"), bytes).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert!(message.starts_with("a.safetensors: ") && !message.contains('\n'), "{message}");
    message
}

/// The example's file with its JSON header changed.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = example().to_bytes().unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header);
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat()
}

/// The example's file with our metadata changed, and without a digest, as once.
fn with_metadata(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    with_header(|header| {
        let text = &mut header["__metadata__"][METADATA_KEY];
        let mut metadata: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        metadata.as_object_mut().unwrap().remove("digest");
        change(&mut metadata);
        *text = Value::String(metadata.to_string());
    })
}

#[test]
fn a_checkpoint_comes_back_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.safetensors");
    example().write(&path).unwrap();
    assert_eq!(Checkpoint::read(&path).unwrap(), example());
    assert_eq!(Checkpoint::from_bytes(&path, &with_metadata(|_| ())).unwrap(), example(), "the tests' own editing");
}

#[test]
fn a_flipped_bit_of_a_weight_is_refused() {
    let mut bytes = example().to_bytes().unwrap();
    let last = bytes.len() - 1;
    for at in [last, last - 3, last / 2] {
        bytes[at] ^= 1;
        assert!(refused(&bytes).contains("its digest is not that of its content"));
        bytes[at] ^= 1;
    }
}

#[test]
fn the_same_checkpoint_gives_the_same_bytes() {
    let first = example().to_bytes().unwrap();
    assert!((0..8).all(|_| example().to_bytes().unwrap() == first));
}

#[test]
fn a_cut_or_lengthened_file_is_refused_wherever_it_is_cut() {
    let bytes = example().to_bytes().unwrap();
    for length in [0, 7, 8, 9, 100, 1000, bytes.len() - 1] {
        let message = refused(&bytes[..length]);
        assert!(message.contains("truncated") || message.contains("too few"), "{length}: {message}");
    }
    let message = refused(&[&bytes[..], &[0]].concat());
    assert!(message.contains("something is appended"), "{message}");
}

#[test]
fn a_damaged_header_is_refused() {
    let bytes = example().to_bytes().unwrap();
    let mut scrambled = bytes.clone();
    scrambled[8] = b'?';
    assert!(refused(&scrambled).contains("header is damaged"));
    let mut enormous = bytes.clone();
    enormous[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(refused(&enormous).contains("does not fit"));
    let overlapping = with_header(|h| h["0.bias"]["data_offsets"] = json!([0, 24]));
    assert!(refused(&overlapping).contains("header contradicts itself"));
}

#[test]
fn tensors_that_the_network_has_not_or_has_otherwise_are_refused() {
    let rename = |to: &str| {
        with_header(|h| {
            let tensor = h.as_object_mut().unwrap().shift_remove("15.bias").unwrap();
            h[to] = tensor;
        })
    };
    assert!(refused(&rename("15.offset")).contains("no tensor 15.bias"));
    let swapped = with_header(|h| h["9.weight"]["shape"] = json!([256, 120]));
    assert!(refused(&swapped).contains("tensor 9.weight has the shape [256, 120], the network's is [120, 256]"));
    let integers = with_header(|h| h["0.bias"]["dtype"] = json!("I32"));
    assert!(refused(&integers).contains("tensor 0.bias holds I32, not F32"));
    let counter = with_header(|h| {
        let tensor = h.as_object_mut().unwrap().shift_remove("5.num_batches_tracked").unwrap();
        h["extra"] = tensor;
    });
    assert!(refused(&counter).contains("no tensor 5.num_batches_tracked"));
}

#[test]
fn values_that_no_network_has_are_neither_read_nor_written() {
    for (name, value, problem) in [
        ("9.weight", f64::NAN, "tensor 9.weight holds NaN at position 1"),
        ("0.bias", f64::INFINITY, "tensor 0.bias holds inf"),
        ("5.running_var", -1e-9, "tensor 5.running_var holds a negative variance"),
    ] {
        let mut broken = example();
        broken.parameters.get_mut(name)[1] = value;
        let refusal = broken.to_bytes().unwrap_err().to_string();
        assert!(refusal.contains(problem), "{refusal}");

        let mut bytes = example().to_bytes().unwrap();
        let marker = (example().parameters.get(name)[1] as f32).to_le_bytes();
        let data = bytes.len() - 4 * broken.parameters.tensors.iter().map(Vec::len).sum::<usize>();
        let at = data + bytes[data..].as_chunks().0.iter().position(|b: &[u8; 4]| *b == marker).unwrap() * 4;
        bytes[at..at + 4].copy_from_slice(&(value as f32).to_le_bytes());
        let message = Checkpoint::from_bytes(Path::new("a"), &bytes).unwrap_err().to_string();
        assert!(message.contains(problem.split(" at ").next().unwrap()), "{message}");
    }
}

#[test]
fn metadata_that_is_missing_foreign_or_contradictory_is_refused() {
    let absent = with_header(|h| drop(h.as_object_mut().unwrap().shift_remove("__metadata__")));
    assert!(refused(&absent).contains("`host-trainer import` it first"));
    assert!(refused(&with_metadata(|m| m["format"] = json!(1))).contains("version 1, this program reads version 2"));
    for eps in ["0", "1", "nan", "1e-60"] {
        let network = text::print(&Network::lenet()).replacen("batch_norm", &format!("batch_norm eps {eps}"), 1);
        let message = refused(&with_metadata(|m| m["network"] = json!(network)));
        assert!(message.contains("its network cannot be read: line 6:"), "{eps}: {message}");
    }
    assert!(refused(&with_metadata(|m| m["variance"] = json!("both"))).contains("cannot be read"));
    assert!(refused(&with_metadata(|m| m["colour"] = json!("red"))).contains("cannot be read"));
    for (field, value) in [("epoch", json!(2)), ("step", json!(3))] {
        let message = refused(&with_metadata(|m| m["origin"]["trained"][field] = value));
        assert!(message.contains("contradicts itself"), "{message}");
    }
    let enormous = with_metadata(|m| m["origin"]["trained"]["step"] = json!(usize::MAX));
    assert!(refused(&enormous).contains("contradicts itself"));
    let batch = with_metadata(|m| m["origin"]["trained"]["recipe"]["batch_size"] = json!(1));
    assert!(refused(&batch).contains("batch size 1"));
    let history = with_metadata(|m| m["origin"]["trained"]["history"][0]["train"]["examples"] = json!(16));
    assert!(refused(&history).contains("5 batches of 4 tracked, 24 examples seen"));
}

#[test]
fn pytorch_finds_every_name_of_its_state_dict() {
    let bytes = example().to_bytes().unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), example().parameters.tensors.len() + 4);
    let counter = file.tensor("13.num_batches_tracked").unwrap();
    assert_eq!((counter.dtype(), counter.shape(), counter.data()), (Dtype::I64, &[][..], &5i64.to_le_bytes()[..]));
}

#[test]
fn the_first_batch_norm_is_named_by_role() {
    let example = example();
    let (gamma, beta) = first_batch_norm(&example.parameters);
    assert_eq!((gamma, beta), (example.parameters.get("1.weight"), example.parameters.get("1.bias")));
}

#[test]
fn a_missing_file_says_so() {
    let error = Checkpoint::read(&PathBuf::from("no/such/file")).unwrap_err();
    assert_eq!(error.to_string(), "no/such/file: there is no such file; check the path");
}
