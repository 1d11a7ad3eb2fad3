//! The README and the documents: the format's table is the format's own, sizes are the network's, every file they point to exists,
//! every command is understood, and the README stays short.

use std::path::Path;

use bn_core::format::FIELDS;
use bn_core::lenet::{MACS, TRAINED_PARAMETERS};
use clap::Parser;
use host_trainer::cli::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// Most words of the README: who wants to know more follows its links.
const WORDS: usize = 900;

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// README, CONTRIBUTING, and what lies in `docs`.
fn documents() -> Vec<String> {
    let docs = std::fs::read_dir(root().join("docs")).expect("a folder");
    let names = docs.map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned());
    let documents = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    ["README.md", "CONTRIBUTING.md"].map(str::to_owned).into_iter().chain(documents).collect()
}

/// `1888` as `1,888`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).expect("digits")).collect();
    groups.join(",")
}

#[test]
fn the_format_table_is_the_format() {
    let document = text("docs/format.md");
    let mut table = String::from("| offset | bytes | field | holds |\n|---:|---:|---|---|\n");
    for field in FIELDS {
        let (offset, bytes) = (thousands(field.offset), thousands(field.bytes));
        table += &format!("| {offset} | {bytes} | `{}` | {} |\n", field.name, field.meaning);
    }
    assert!(document.contains(&table), "put this table into docs/format.md:\n\n{table}");
    let bytes = format!("{} bytes", thousands(tests::shipped().to_bytes().len()));
    assert!(document.contains(&bytes), "docs/format.md names the file's length, {bytes}");
}

/// What a stranger copies from the page is what the tests run.
#[test]
fn the_page_about_firmware_shows_its_examples() {
    let page = text("docs/own-firmware.md");
    for file in ["own-firmware/build.rs", "own-firmware/src/main.rs"] {
        let code = text(&format!("docs/examples/{file}"));
        assert!(page.contains(&format!("```rust\n{code}```")), "put {file} into docs/own-firmware.md:\n\n{code}");
    }
    let embassy = text("docs/examples/embassy/src/main.rs");
    let task = page.split("```rust\n").find(|part| part.starts_with("#[embassy_executor::task]")).expect("a task");
    let task = task.split("```").next().unwrap_or_default();
    assert!(embassy.contains(task), "{task} is not in the example");
}

#[test]
fn sizes_of_the_network_are_its_own() {
    let readme = text("README.md");
    for number in [TRAINED_PARAMETERS, MACS] {
        assert!(readme.contains(&thousands(number)), "{}", thousands(number));
    }
}

#[test]
fn every_file_they_link_to_exists() {
    let mut links = 0;
    for document in documents() {
        let text = text(&document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let folder = root().join(&document).parent().expect("a file lies in a folder").to_owned();
        for target in targets.filter(|t| !t.starts_with("http") && !t.starts_with('#')) {
            let path = target.split('#').next().unwrap_or(target);
            assert!(folder.join(path).exists(), "{document} links to {target}");
            links += 1;
        }
    }
    assert!(links > 30, "the documents link to the files they speak of");
}

#[test]
fn the_readme_stays_short() {
    let words = text("README.md").split_whitespace().count();
    assert!(words <= WORDS, "{words} words, more than {WORDS}: put the rest into docs/");
}

/// Written by our own commands, readable on either ground, and small.
#[test]
fn the_pictures_follow_light_and_dark() {
    let entries = std::fs::read_dir(root().join("docs")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let pictures: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "svg")).collect();
    assert!(!pictures.is_empty());
    for picture in pictures {
        let text = std::fs::read_to_string(&picture).expect("text");
        assert!(text.contains("prefers-color-scheme: dark") && text.len() < 40_000, "{}", picture.display());
    }
}

/// The words of a line that a reader may type, as the program gets them.
fn command_line(line: &str) -> Option<Vec<&str>> {
    let line = line.split(" #").next().unwrap_or_default().trim();
    let line = line.strip_prefix("cargo ")?;
    let verbs = ["demo", "emulate", "board"].iter().any(|verb| line.split(' ').next() == Some(verb));
    let line = if verbs { Some(line) } else { line.strip_prefix("trainer ") };
    line.map(|line| ["host-trainer"].into_iter().chain(line.split_whitespace()).collect())
}

/// What each does is in the tests of its verb; here every verb and flag that a page names must exist.
#[test]
fn every_command_of_the_documents_is_understood() {
    let mut commands = 0;
    for document in documents() {
        let text = text(&document);
        let blocks = text.split("```").skip(1).step_by(2).flat_map(str::lines);
        let spans = text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2));
        for words in blocks.chain(spans).filter_map(command_line) {
            // A page may leave out what a verb needs, and write N for a number.
            if let Err(error) = Cli::try_parse_from(&words) {
                use clap::error::ErrorKind::{InvalidSubcommand, UnknownArgument};
                let unknown = [InvalidSubcommand, UnknownArgument].contains(&error.kind());
                assert!(!unknown, "{document}: {words:?}: {error}");
            }
            commands += 1;
        }
    }
    assert!(commands > 30, "{commands} commands");
}
