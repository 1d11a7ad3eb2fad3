//! The README: what it says of the file format is the format's own table, and every file it points to exists.

use std::path::Path;

use bn_core::format::FIELDS;
use bn_core::lenet::{MACS, TRAINED_PARAMETERS};
use host_trainer::device::firmware::shipped_weights;
use host_trainer::model::weights;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("README.md is readable")
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
    let readme = readme();
    let mut table = String::from("| offset | bytes | field | holds |\n|---:|---:|---|---|\n");
    for field in FIELDS {
        let (offset, bytes) = (thousands(field.offset), thousands(field.bytes));
        table += &format!("| {offset} | {bytes} | `{}` | {} |\n", field.name, field.meaning);
    }
    let shipped = weights::read(&shipped_weights().expect("a checkout")).expect("shipped weights");
    assert!(readme.contains(&table), "put this table into the README:\n\n{table}");
    assert!(
        readme.contains(&format!("{} bytes", thousands(shipped.to_bytes().len()))),
        "the README names the file's length"
    );
}

#[test]
fn sizes_of_the_network_are_its_own() {
    let readme = readme();
    for number in [TRAINED_PARAMETERS, MACS] {
        assert!(readme.contains(&thousands(number)), "{}", thousands(number));
    }
}

#[test]
fn every_file_it_links_to_exists() {
    let readme = readme();
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local: Vec<&str> = targets.filter(|t| !t.starts_with("http") && !t.starts_with('#')).collect();
    assert!(local.len() > 10, "the README links to the files it speaks of");
    for target in local {
        let path = target.split('#').next().unwrap_or(target);
        assert!(root().join(path).exists(), "README.md links to {target}");
    }
}
