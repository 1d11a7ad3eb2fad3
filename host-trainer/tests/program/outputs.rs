//! Every verb with an output, at every kind of place. What is no place for a file is refused before the work: here before the
//! data is looked for, which is nowhere.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::desk::{Desk, after, as_nobody, only_error, text};

/// Verbs that write one file, where `OUT` is.
const VERBS: [&str; 7] = [
    "export run/checkpoint.safetensors --format weights --limit 100 --out OUT",
    "export run/checkpoint.safetensors --format onnx --out OUT",
    "export run/checkpoint.safetensors --format safetensors --folded --out OUT",
    "import net.safetensors --force --out OUT",
    "reestimate run/checkpoint.safetensors --force --out OUT",
    "report run --host-only --out OUT",
    "evaluate run/checkpoint.safetensors --logits OUT",
];
/// Verbs that write into a directory, where `OUT` is.
const RUNS: [&str; 2] = [
    "train --data-dir data --no-checksum --batch-size 32 --epochs 1 -q --out OUT",
    "demo --data-dir data --no-checksum --epochs 1 -q --out OUT",
];

fn desk() -> Desk {
    let desk = Desk::new();
    desk.train("run");
    desk.ok("export run/checkpoint.safetensors --out net.safetensors");
    desk
}

/// The program under a umask.
fn under(desk: &Desk, umask: &str, arguments: &str) -> Output {
    after(desk, &format!("umask {umask}"), arguments).output().unwrap()
}

fn done(output: &Output, arguments: &str) {
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", text(&output.stderr));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_file_has_the_mode_of_the_umask_and_replaces_only_a_file() {
    let desk = desk();
    for verb in VERBS {
        for (umask, expected) in [("022", 0o644), ("077", 0o600)] {
            let out = format!("new{umask}/deep/out");
            let arguments = verb.replace("OUT", &out);
            done(&under(&desk, umask, &arguments), &arguments);
            let first = fs::read(desk.path(&out)).unwrap();
            assert_eq!(mode(&desk.path(&out)), expected, "{arguments}");
            fs::write(desk.path(&out), b"old").unwrap();
            fs::set_permissions(desk.path(&out), fs::Permissions::from_mode(0o666)).unwrap();
            done(&under(&desk, umask, &arguments), &arguments);
            assert_eq!(mode(&desk.path(&out)), expected, "{arguments}");
            assert_eq!(fs::read(desk.path(&out)).unwrap().len(), first.len(), "{arguments}");
            assert_eq!(desk.names(&format!("new{umask}/deep")), ["out"], "{arguments}");
            fs::remove_dir_all(desk.path(&format!("new{umask}"))).unwrap();
        }
    }
}

#[test]
fn a_link_stays_and_what_it_points_to_is_written() {
    let desk = desk();
    for verb in VERBS {
        fs::create_dir(desk.path("far")).unwrap();
        fs::write(desk.path("far/old"), b"old").unwrap();
        for (link, target) in [("link", "far/old"), ("dangling", "far/new")] {
            symlink(target, desk.path(link)).unwrap();
            desk.ok(&verb.replace("OUT", link));
            assert!(desk.path(link).is_symlink(), "{verb}");
            assert!(fs::read(desk.path(target)).unwrap().len() > 3, "{verb}");
            fs::remove_file(desk.path(link)).unwrap();
        }
        assert_eq!(desk.names("far"), ["new", "old"], "{verb}");
        fs::remove_dir_all(desk.path("far")).unwrap();
    }
}

/// A device of characters that takes everything: one of its own where that may be made, so that a failure of this test costs the
/// computer nothing.
fn null(desk: &Desk) -> String {
    let made = Command::new("mknod").arg(desk.path("null")).args(["c", "1", "3"]).stderr(Stdio::null()).status();
    let made =
        made.is_ok_and(|status| status.success()) && fs::OpenOptions::new().write(true).open(desk.path("null")).is_ok();
    if made { "null".into() } else { "/dev/null".into() }
}

#[test]
fn a_device_and_a_pipe_are_written_into() {
    let desk = desk();
    let null = null(&desk);
    assert!(Command::new("mkfifo").arg(desk.path("pipe")).status().unwrap().success());
    for verb in VERBS {
        desk.ok(&verb.replace("OUT", &null));
        assert!(fs::symlink_metadata(desk.path(&null)).unwrap().file_type().is_char_device(), "{verb}");
        let reader = Command::new("cat").arg(desk.path("pipe")).stdout(Stdio::piped()).spawn().unwrap();
        desk.ok(&verb.replace("OUT", "pipe"));
        let read = reader.wait_with_output().unwrap().stdout;
        desk.ok(&verb.replace("OUT", "file"));
        assert_eq!(read.len(), fs::read(desk.path("file")).unwrap().len(), "{verb}");
        assert!(fs::symlink_metadata(desk.path("pipe")).unwrap().file_type().is_fifo(), "{verb}");
        fs::remove_file(desk.path("file")).unwrap();
    }
}

/// In place of data that is there: whatever is refused for its output is refused before.
fn without_data(arguments: &str) -> String {
    match arguments.split(' ').next() {
        Some("import") => arguments.to_owned(),
        Some("train" | "demo") => arguments.replace("--data-dir data", "--data-dir nowhere"),
        _ if arguments.contains("--format onnx") || arguments.contains("--format safetensors") => arguments.to_owned(),
        _ => format!("{arguments} --data-dir nowhere"),
    }
}

#[test]
fn what_is_no_place_for_a_file_is_refused_before_the_work() {
    let desk = desk();
    fs::create_dir(desk.path("folder")).unwrap();
    symlink("nowhere/out", desk.path("lost")).unwrap();
    symlink("circle", desk.path("circle")).unwrap();
    for verb in VERBS {
        for (out, reason) in [
            ("folder", "folder: this is a directory; name a file in it"),
            ("new/", "new/: this names a directory; name a file in it"),
            ("net.safetensors/out", "net.safetensors is no directory; name another place"),
            ("lost", "whose folder is not there; make that folder, or name another place"),
            ("circle", "; name another place"),
        ] {
            let message = desk.refused(2, &without_data(&verb.replace("OUT", out)));
            assert!(message.contains(reason), "{verb}: {message}");
        }
    }
    for verb in RUNS {
        for out in ["net.safetensors", "lost", "circle"] {
            let message = desk.refused(2, &without_data(&verb.replace("OUT", out)));
            assert!(message.contains("; name another place"), "{verb}: {message}");
        }
    }
    assert_eq!(desk.names(""), ["circle", "data", "folder", "lost", "net.safetensors", "run"]);
}

#[test]
fn what_is_in_the_way_in_a_run_directory_is_refused_before_the_work() {
    let desk = Desk::new();
    for (name, verbs) in
        [("checkpoint.previous.safetensors", &RUNS[..]), ("curves.svg", &RUNS[..]), ("weights.bin", &RUNS[1..])]
    {
        fs::create_dir_all(desk.path("run").join(name)).unwrap();
        for verb in verbs {
            let message = desk.refused(2, &without_data(&verb.replace("OUT", "run")));
            let is_a_run = message.contains("run holds a training run already");
            assert!(is_a_run || message.contains(&format!("run/{name}: this is a directory")), "{message}");
        }
        fs::remove_dir_all(desk.path("run")).unwrap();
    }
}

#[test]
fn a_place_that_may_not_be_written_is_refused_before_the_work() {
    let desk = desk();
    fs::create_dir(desk.path("shut")).unwrap();
    fs::write(desk.path("kept"), b"old").unwrap();
    desk.open_to_all();
    for (path, mode) in [("shut", 0o555), ("kept", 0o444)] {
        fs::set_permissions(desk.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for verb in VERBS {
        for (out, reason) in [("shut/out", "no file can be made in shut"), ("kept", "it cannot be replaced")] {
            let message = only_error(&as_nobody(&desk, &without_data(&verb.replace("OUT", out))));
            assert!(message.contains(reason) && message.contains("Permission denied"), "{verb}: {message}");
        }
    }
    for verb in RUNS {
        let message = only_error(&as_nobody(&desk, &without_data(&verb.replace("OUT", "shut"))));
        assert!(message.contains("no file can be made in shut: Permission denied"), "{verb}: {message}");
    }
    assert_eq!(fs::metadata(desk.path("kept")).unwrap().size(), 3);
}

/// A run directory that is a link, or whose files are links, stays one.
#[test]
fn a_run_may_lie_behind_links() {
    let desk = Desk::new();
    fs::create_dir(desk.path("far")).unwrap();
    fs::create_dir(desk.path("run")).unwrap();
    symlink("far", desk.path("link")).unwrap();
    symlink("../far/model", desk.path("run/checkpoint.safetensors")).unwrap();
    desk.train("run");
    desk.ok("train --resume run --epochs 3 -q");
    assert!(desk.path("run/checkpoint.safetensors").is_symlink() && desk.path("far/model").is_file());
    desk.train("link");
    assert!(desk.path("link").is_symlink() && desk.path("far/checkpoint.safetensors").is_file());
}

#[test]
fn no_output_takes_the_place_of_what_it_is_made_of() {
    let desk = desk();
    symlink("run/checkpoint.safetensors", desk.path("link")).unwrap();
    let before = fs::read(desk.path("run/checkpoint.safetensors")).unwrap();
    for verb in [VERBS[0], VERBS[1], VERBS[2], VERBS[5], VERBS[6]] {
        for out in ["run/checkpoint.safetensors", "link", "./run/../run/checkpoint.safetensors"] {
            let message = desk.refused(2, &verb.replace("OUT", out));
            assert!(message.contains("this is what is read; name another file for what is written"), "{message}");
        }
    }
    assert_eq!(fs::read(desk.path("run/checkpoint.safetensors")).unwrap(), before);
}
