//! Files of a wrong kind or size for every reader: one line that names the kind, in under a second and within the memory that is
//! promised.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use crate::desk::{Desk, after, only_error, text};

/// What a reader may take of the memory's addresses, in KiB: 64 MiB, and as much for the program itself and its threads.
const MEMORY: u64 = 128 << 10;

/// Every verb that reads a file, where `FILE` is.
const READERS: [&str; 13] = [
    "evaluate FILE --data-dir data --no-checksum",
    "evaluate weights.bin --checkpoint FILE --data-dir data --no-checksum",
    "classify FILE FILE",
    "export FILE --out none.bin",
    "import FILE --out none.safetensors",
    "inspect FILE",
    "reestimate FILE --out none.safetensors",
    "emulate --weights FILE",
    "emulate --elf FILE",
    "board --weights FILE",
    "report bad --host-only",
    "train --resume bad",
    "data --data-dir bad --no-checksum",
];

/// The first entry of a zip archive, then its list of entries.
fn zip(entry: &str, content: &[u8], list: &str) -> Vec<u8> {
    let name = [&(entry.len() as u16).to_le_bytes()[..], &[0; 2], entry.as_bytes()].concat();
    [b"PK\x03\x04", &[0; 22][..], &name, content, b"PK\x01\x02", list.as_bytes()].concat()
}

/// Kinds that no reader takes, and what each is called.
fn kinds() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        ("old.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(), "a Python pickle"),
        ("net.pt", zip("net/data.pkl", b"\x80\x02}q\0", "net/version"), "a zip of pickles as torch.save writes it"),
        ("script.pt", zip("net/data.pkl", b"\x80\x02", "net/constants.pkl"), "a TorchScript archive"),
        ("last.ckpt", zip("last/data.pkl", b"pytorch-lightning_version", ""), "a PyTorch Lightning checkpoint"),
        ("net.npz", zip("0.weight.npy", b"\x93NUMPY\x01\0", ""), "NumPy arrays"),
        ("net.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0".to_vec(), "Keras"),
        ("net.tflite", b"\x1c\0\0\0TFL3\0\0\0\0".to_vec(), "TensorFlow Lite"),
        (
            "pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n".to_vec(),
            "a Git LFS pointer",
        ),
        ("cat.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "a picture (PNG)"),
        ("cat.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec(), "a picture (JPEG)"),
        ("page", b"<!DOCTYPE html><html><title>Sign in</title>".to_vec(), "a web page"),
        ("log.txt", b"404: Not Found\n".to_vec(), "a text file"),
        ("some.json", b"{\"weight_map\": {}}\n".to_vec(), "JSON"),
        ("net.7z", b"7z\xbc\xaf\x27\x1c\0\x04".to_vec(), "a 7z archive"),
        ("nothing", Vec::new(), "the file is empty"),
    ]
}

/// Every reader, asked to read `name`, must refuse it within the bounds. Hands back what each says.
fn refusals(desk: &Desk, name: &str) -> Vec<(&'static str, String)> {
    let refused = |reader: &&'static str| {
        let started = Instant::now();
        let limited = format!("ulimit -v {MEMORY}");
        let output = after(desk, &limited, &reader.replace("FILE", name)).output().unwrap();
        let seconds = started.elapsed();
        assert_eq!(output.status.code(), Some(2), "{reader} {name}: {}", text(&output.stderr));
        assert!(seconds < Duration::from_secs(1), "{reader} {name}: {seconds:?}");
        (*reader, only_error(&output))
    };
    READERS.iter().map(refused).collect()
}

/// Puts a file where each reader finds it.
fn place(desk: &Desk, name: &str) {
    fs::create_dir_all(desk.path("bad")).unwrap();
    for place in ["bad/checkpoint.safetensors", "bad/train-images-idx3-ubyte"] {
        let _ = fs::remove_file(desk.path(place)); // of the kind before
        fs::hard_link(desk.path(name), desk.path(place)).unwrap();
    }
    for other in ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        fs::copy(desk.path("data").join(other), desk.path("bad").join(other)).unwrap();
    }
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.train("run");
    desk.ok("export run/checkpoint.safetensors --out weights.bin --limit 100");
    desk
}

#[test]
fn a_file_of_another_kind_is_called_by_its_name() {
    let desk = desk();
    for (name, bytes, kind) in kinds() {
        fs::write(desk.path(name), bytes).unwrap();
        place(&desk, name);
        for (reader, message) in refusals(&desk, name) {
            assert!(message.contains(kind) && message.contains("; "), "{reader} {name}: {message}");
        }
    }
    assert!(!desk.path("none.bin").exists() && !desk.path("none.safetensors").exists());
}

#[test]
fn a_model_of_another_program_is_refused_with_the_command_that_converts_it() {
    let desk = desk();
    for (name, bytes, _) in kinds() {
        fs::write(desk.path(name), bytes).unwrap();
    }
    for (name, command) in [
        ("net.pt", "s.save_file(torch.load('net.pt', weights_only=True), 'model.safetensors')"),
        ("last.ckpt", "torch.load('last.ckpt', weights_only=True)['state_dict']"),
        ("script.pt", "torch.jit.load('script.pt').state_dict()"),
        ("net.h5", "model.export('model.onnx', format='onnx')"),
        ("pointer", "git lfs pull"),
    ] {
        let message = desk.refused(2, &format!("import {name} --out none.safetensors"));
        assert!(message.contains(command), "{message}");
    }
    desk.ok("export run/checkpoint.safetensors --out net.onnx");
    for (arguments, command) in [
        ("evaluate net.onnx", "host-trainer import net.onnx --out FILE"),
        ("emulate --weights net.onnx", "host-trainer import net.onnx --out FILE"),
        (
            "emulate --weights run/checkpoint.safetensors",
            "host-trainer export run/checkpoint.safetensors --out weights.bin",
        ),
        ("export weights.bin --out none.bin", "name the checkpoint that it was exported from"),
    ] {
        let message = desk.refused(2, arguments);
        assert!(message.contains(command), "{message}");
    }
}

#[test]
fn a_file_without_end_is_refused_for_its_size_or_kind() {
    let desk = desk();
    let header = b"\x10\0\0\0\0\0\0\0{";
    for (name, start) in
        [("zeros", &b""[..]), ("huge.safetensors", header), ("huge.bin", b"BN-LENET"), ("huge.idx", b"\0\0\x08\x03")]
    {
        fs::write(desk.path(name), start).unwrap();
        File::options().write(true).open(desk.path(name)).unwrap().set_len(12 << 30).unwrap();
        place(&desk, name);
        refusals(&desk, name);
    }
    let message = desk.refused(2, "inspect huge.safetensors");
    assert!(message.contains("it has 12884901888 bytes, and a checkpoint"), "{message}");
}

#[test]
fn what_is_no_file_is_refused_unopened() {
    let desk = desk();
    let made = std::process::Command::new("mkfifo").arg(desk.path("pipe")).status().unwrap();
    assert!(made.success());
    fs::create_dir(desk.path("folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", desk.path("lost")).unwrap();
    for (name, reason) in [
        ("/dev/zero", "this is a device or a pipe"),
        ("pipe", "this is a device or a pipe"),
        ("folder", "this is a directory"),
        ("lost", "this is a link to nowhere, which is not there"),
        ("none", "there is no such file"),
        ("weights.bin/none", "there is no such file"),
    ] {
        for reader in READERS.iter().filter(|reader| reader.contains("FILE")) {
            let message = desk.refused(2, &reader.replace("FILE", name));
            assert!(message.contains(reason), "{reader}: {message}");
        }
    }
}
