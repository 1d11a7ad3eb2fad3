//! Every command of `docs/chapter.md`, in its order, on data that are small enough for a test.

use crate::desk::Desk;

const DOCUMENT: &str = include_str!("../../../docs/chapter.md");
const DATA: &str = "--data-dir data --no-checksum";

/// The `cargo trainer` commands of a document's blocks.
fn commands(document: &str) -> Vec<&str> {
    document.lines().filter_map(|line| line.strip_prefix("cargo trainer ")).collect()
}

#[test]
fn the_commands_of_the_chapter_run_in_its_order() {
    let desk = Desk::new();
    let mut verbs = Vec::new();
    for command in commands(DOCUMENT) {
        let verb = command.split(' ').next().unwrap();
        let small = match verb {
            "train" | "compare" => format!("{DATA} --epochs 1 --batch-size 64 -q"),
            "evaluate" | "reestimate" => DATA.into(),
            "export" if command.ends_with("weights.bin") => format!("{DATA} --limit 100"),
            _ => String::new(),
        };
        if verb == "import" {
            // What a reader saves in the notebook.
            desk.ok("export runs/chapter/checkpoint.safetensors --out net.safetensors");
        }
        desk.ok(&format!("{command} {small}"));
        verbs.push(verb);
    }
    for verb in ["compare", "inspect", "train", "reestimate", "import", "evaluate"] {
        assert!(verbs.contains(&verb), "{verb} is missing among {verbs:?}");
    }
}
