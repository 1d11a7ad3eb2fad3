//! What goes wrong around a training run: a second one in its directory, damaged files, a disk that takes no more, nobody who
//! listens, signals. Nothing may be lost, and the user gets one line. Kills at random moments are in the package `tests`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;

use crate::desk::{Desk, after, behind, only_error, text};

const SCHEDULE: &str = "--data-dir data --no-checksum --batch-size 16 --epochs 20";

type Lines =
    std::iter::MapWhile<std::io::Lines<BufReader<ChildStderr>>, fn(Result<String, std::io::Error>) -> Option<String>>;

/// A run of twenty epochs in `out` that has done its first, and what it says on stderr from there on. It hears every signal,
/// also where these tests run behind `nohup` or in a script's background, whose children inherit what is ignored.
fn begun(desk: &Desk, out: &str) -> (Child, Lines) {
    let train = format!("train {SCHEDULE} --out {out}");
    let hears_all = ["--default-signal=INT,HUP,TERM"];
    begin(if cfg!(target_os = "linux") { behind(desk, "env", &hears_all, &train) } else { desk.command(&train) })
}

fn begin(mut command: Command) -> (Child, Lines) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines: Lines = lines.map_while(Result::ok);
    assert!(lines.by_ref().any(|line| line.starts_with("epoch  1/20")), "the first epoch ends");
    (child, lines)
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The checkpoint of a run, and its figures without the speeds: what must not depend on any fault.
fn outcome(desk: &Desk, out: &str) -> (Vec<u8>, Vec<Value>) {
    let metrics = fs::read_to_string(desk.path(out).join("metrics.jsonl")).unwrap();
    let line = |line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("examples_per_second");
        line
    };
    (fs::read(desk.path(out).join("checkpoint.safetensors")).unwrap(), metrics.lines().map(line).collect())
}

/// Runs [`SCHEDULE`] whole, and says what comes of it.
fn undisturbed(desk: &Desk) -> (Vec<u8>, Vec<Value>) {
    desk.ok(&format!("train {SCHEDULE} -q --out whole"));
    outcome(desk, "whole")
}

/// The program where no file may become longer than half a checkpoint.
fn on_a_full_disk(desk: &Desk, arguments: &str) -> Output {
    after(desk, "trap '' XFSZ && ulimit -f 100", arguments).output().unwrap()
}

#[test]
fn a_second_run_in_the_directory_is_refused_until_the_first_is_dead() {
    let desk = Desk::new();
    let (mut first, _lines) = begun(&desk, "run");
    signal(&first, "-STOP");
    let expected = format!("process {} is training in run; wait until it has ended", first.id());
    for arguments in ["train --resume run -q".into(), format!("train {SCHEDULE} -q --out run --force")] {
        let message = desk.refused(2, &arguments);
        assert!(message.contains(&expected), "{message}");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    fs::write(desk.path("run/.checkpoint.safetensors.a1b2c3.part"), b"half of it").unwrap();
    desk.ok("train --resume run -q");
    assert_eq!(outcome(&desk, "run"), undisturbed(&desk));
    assert_eq!(desk.names("run"), desk.names("whole"), "nothing half written is left");
}

#[test]
fn a_damaged_checkpoint_is_said_and_the_one_before_it_resumed() {
    let desk = Desk::new();
    let expected = undisturbed(&desk);
    let path = desk.path("whole/checkpoint.safetensors");
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() - 1] ^= 1;
    let damages: [(Option<&[u8]>, &str); 4] = [
        (Some(&whole[..whole.len() / 2]), "truncated"),
        (Some(&flipped), "its digest is not that of its content"),
        (Some(&[]), "the file is empty"),
        (None, "there is no such file"),
    ];
    for (damage, name) in damages {
        match damage {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let output = desk.run("train --resume whole");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{name}: {stderr}");
        let notice = stderr.lines().next().unwrap();
        assert!(notice.starts_with("notice: whole/checkpoint.safetensors: ") && notice.contains(name), "{stderr}");
        assert!(
            notice.contains("; going on from the one before it, whole/checkpoint.previous.safetensors"),
            "{stderr}"
        );
        assert!(stderr.contains("going on after epoch 19"), "{stderr}");
        assert_eq!(outcome(&desk, "whole"), expected, "{name}");
    }
    fs::write(&path, b"").unwrap();
    fs::write(desk.path("whole/checkpoint.previous.safetensors"), &whole[..99]).unwrap();
    let message = desk.refused(2, "train --resume whole");
    assert!(message.contains("; and whole/checkpoint.previous.safetensors: "), "{message}");
}

#[test]
fn another_runs_checkpoint_in_its_place_is_refused() {
    let desk = Desk::new();
    desk.train("run");
    desk.ok("train --data-dir data --no-checksum --batch-size 32 --epochs 2 -q --out other --seed 1");
    fs::copy(desk.path("other/checkpoint.safetensors"), desk.path("run/checkpoint.safetensors")).unwrap();
    let before = fs::read(desk.path("run/metrics.jsonl")).unwrap();
    let message = desk.refused(2, "train --resume run --epochs 4");
    assert!(message.contains("run/checkpoint.safetensors: it and checkpoint.previous.safetensors"), "{message}");
    assert!(message.contains("are not of one run: seeds 1 and 0; delete the one that was put there"), "{message}");
    assert_eq!(fs::read(desk.path("run/metrics.jsonl")).unwrap(), before);
}

/// A kill between the last checkpoint and the figures leaves nothing to train: resuming still has to write them.
#[test]
fn figures_that_a_kill_left_behind_are_brought_up_to_the_checkpoint() {
    let desk = Desk::new();
    let expected = undisturbed(&desk);
    let metrics = fs::read_to_string(desk.path("whole/metrics.jsonl")).unwrap();
    let first: String = metrics.lines().take(19).map(|line| line.to_owned() + "\n").collect();
    fs::write(desk.path("whole/metrics.jsonl"), first).unwrap();
    fs::remove_file(desk.path("whole/curves.svg")).unwrap();
    assert!(desk.refused(2, "train --resume whole").contains("whole has its 20 epochs"));
    assert_eq!(outcome(&desk, "whole"), expected);
    assert!(desk.path("whole/curves.svg").is_file());
}

#[test]
fn a_full_disk_leaves_what_was_saved() {
    let desk = Desk::new();
    let output = on_a_full_disk(&desk, &format!("train {SCHEDULE} -q --out new"));
    let message = only_error(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot write new/checkpoint.safetensors: File too large"), "{message}");
    assert!(message.contains("nothing was saved yet; mend that, then start again"), "{message}");
    assert_eq!(desk.names("new"), ["run.lock"]);

    desk.ok("train --data-dir data --no-checksum --batch-size 16 --epochs 5 -q --out run");
    let before = outcome(&desk, "run");
    let output = on_a_full_disk(&desk, "train --resume run --epochs 20 -q");
    let message = only_error(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("continue what was saved with `host-trainer train --resume run`"), "{message}");
    assert_eq!(outcome(&desk, "run"), before);
    desk.ok("train --resume run --epochs 20 -q");
    assert_eq!(outcome(&desk, "run"), undisturbed(&desk));
}

#[test]
fn results_that_cannot_be_written_cost_no_model() {
    let desk = Desk::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = desk.command(&format!("train {SCHEDULE} -q --out run")).stdout(full).output().unwrap();
    let message = only_error(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot write standard output: No space left on device"), "{message}");
    assert_eq!(outcome(&desk, "run"), undisturbed(&desk));
}

#[test]
fn a_run_that_nobody_listens_to_is_finished() {
    let desk = Desk::new();
    let mut command = desk.command(&format!("train {SCHEDULE} --out run"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(outcome(&desk, "run"), undisturbed(&desk));
}

#[test]
fn a_signal_saves_and_resume_ends_with_the_bytes_of_an_undisturbed_run() {
    let desk = Desk::new();
    let expected = undisturbed(&desk);
    for name in ["-INT", "-TERM", "-HUP"] {
        let (mut child, lines) = begun(&desk, name.trim_matches('-'));
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
        let said: Vec<_> = lines.collect();
        let last = said.last().unwrap();
        assert!(said.contains(&"stopping where it can be saved; press again to quit at once".to_owned()), "{said:?}");
        assert!(last.starts_with("error: interrupted; saved ") && last.contains("--resume "), "{last}");
        let out = name.trim_matches('-');
        let inspection = desk.json(&format!("inspect {out}/checkpoint.safetensors --json"));
        assert!((1..20).contains(&inspection["training"]["epoch"].as_u64().unwrap()), "{inspection}");
        desk.ok(&format!("train --resume {out} -q"));
        assert_eq!(outcome(&desk, out), expected, "{name}");
    }
}

#[test]
fn nohup_keeps_a_run_going_that_loses_its_terminal() {
    let desk = Desk::new();
    let (mut child, lines) = begin(after(&desk, "trap '' HUP", &format!("train {SCHEDULE} --out run")));
    signal(&child, "-HUP");
    assert_eq!(child.wait().unwrap().code(), Some(0), "{:?}", lines.collect::<Vec<_>>());
    assert_eq!(outcome(&desk, "run"), undisturbed(&desk));
}

#[test]
fn a_second_signal_stops_at_once_and_loses_nothing_that_was_saved() {
    let desk = Desk::new();
    let (mut child, _lines) = begun(&desk, "run");
    signal(&child, "-INT");
    // It may have saved and ended before this one.
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    desk.ok("train --resume run -q");
    assert_eq!(outcome(&desk, "run"), undisturbed(&desk));
}
