//! Four IDX files that belong together, under the names that MNIST, KMNIST, Fashion-MNIST (`train-images-idx3-ubyte`,
//! `t10k-labels-idx1-ubyte`), EMNIST (`emnist-letters-train-images-idx3-ubyte`) and QMNIST (`qmnist-train-labels-idx2-int`) have, gzipped or
//! not, in their own folder or in torchvision's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bn_core::network::Shape;

use super::{Own, fit, known};
use crate::data::files::{FILES, Kind, md5_hex};
use crate::data::{Split, Values, idx};
use crate::error::{Error, Result};
use crate::files;

/// What stands in a file's name for its place: training images, training labels, test images, test labels.
const PLACES: [&str; 4] = ["training images", "training labels", "test images", "test labels"];

/// The files of one set, by [`PLACES`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Set {
    /// What stands before `train` and `test`: `emnist-letters`, or nothing.
    prefix: String,
    files: [Option<PathBuf>; 4],
}

/// The set of a folder, or of the folders below it where torchvision keeps them.
///
/// # Errors
/// [`Error::BadArgument`] where there are several.
pub(super) fn in_folder(folder: &Path) -> Result<Option<Set>> {
    let subfolders = sorted(folder)?.into_iter().filter(|path| path.is_dir()).map(|path| path.join("raw"));
    let folders = [folder.to_owned(), folder.join("raw")].into_iter().chain(subfolders);
    let mut sets = Vec::new();
    for folder in folders.filter(|folder| folder.is_dir()) {
        sets.extend(sets_of(&folder)?);
    }
    match sets.len() {
        0 | 1 => Ok(sets.pop()),
        count => {
            let images = sets.iter().filter_map(|set| set.files[0].as_ref()).map(|path| path.display().to_string());
            Err(Error::BadArgument {
                problem: format!("{} holds {count} data sets", folder.display()),
                remedy: format!(
                    "name one by its training images: --data {}",
                    images.collect::<Vec<_>>().join(" or --data ")
                ),
            })
        }
    }
}

/// The set that a file belongs to by its name.
///
/// # Errors
/// As [`in_folder`].
pub(super) fn of_file(path: &Path) -> Result<Option<Set>> {
    let Some((prefix, _)) = path.file_name().and_then(|name| name.to_str()).and_then(place) else { return Ok(None) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(sets_of(folder)?.into_iter().find(|set| set.prefix == prefix))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut paths: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(Error::io("read", folder))?;
    paths.sort();
    Ok(paths)
}

/// The sets whose files lie in a folder, however incomplete.
fn sets_of(folder: &Path) -> Result<Vec<Set>> {
    let mut sets: BTreeMap<String, Set> = BTreeMap::new();
    for path in sorted(folder)?.into_iter().filter(|path| path.is_file()) {
        let Some((prefix, at)) = path.file_name().and_then(|name| name.to_str()).and_then(place) else { continue };
        let set = sets.entry(prefix.into()).or_insert_with(|| Set { prefix: prefix.into(), ..Set::default() });
        // Packed or unpacked, they are the same.
        set.files[at].get_or_insert(path.clone());
    }
    Ok(sets.into_values().collect())
}

/// The set's prefix and the place among [`PLACES`] of a file's name; none of any other file.
fn place(name: &str) -> Option<(&str, usize)> {
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let stem = stem.strip_suffix("-ubyte").or_else(|| stem.strip_suffix("-int"))?;
    let stem = stem.strip_suffix(|c: char| c.is_ascii_digit())?.strip_suffix("idx")?;
    let stem = stem.strip_suffix(['-', '.'])?;
    let (stem, labels) = match (stem.strip_suffix("-images"), stem.strip_suffix("-labels")) {
        (Some(stem), _) => (stem, 0),
        (_, Some(stem)) => (stem, 1),
        _ => return None,
    };
    let parts = [("train", 0), ("t10k", 2), ("test", 2)];
    let (stem, test) = parts.into_iter().find_map(|(part, at)| stem.strip_suffix(part).map(|stem| (stem, at)))?;
    let prefix = stem.strip_suffix('-').or(stem.is_empty().then_some(stem))?;
    Some((prefix, test + labels))
}

impl Set {
    /// Reads all four.
    ///
    /// # Errors
    /// [`Error::BadFile`] that names the file at fault, or one that has no partner.
    pub(super) fn read(&self, shape: Option<Shape>) -> Result<Own> {
        let there = self.files.iter().flatten().next().expect("a set has a file");
        if let Some(at) = self.files.iter().position(Option::is_none) {
            let problem = format!("the {} that belong to it are not in its folder", PLACES[at]);
            return Err(Error::bad_file(there, problem, "put the data set's four files there"));
        }
        let files: Vec<&PathBuf> = self.files.iter().flatten().collect();
        let (train, is_fashion) = self.split(files[0], files[1], shape)?;
        let (test, _) = self.split(files[2], files[3], Some(train.inputs.shape()))?;
        let classes = if is_fashion { bn_core::CLASS_NAMES.map(String::from).into() } else { self.classes() };
        Ok(Own { train, test: Some(test), classes })
    }

    /// Images with their labels; and whether they are Fashion-MNIST's own.
    fn split(&self, images: &Path, labels: &Path, shape: Option<Shape>) -> Result<(Split, bool)> {
        let (mut content, md5) = read(images, Kind::Images)?;
        let is_fashion = [FILES[0].md5, FILES[0].content_md5].contains(&md5.as_str());
        if self.is_emnist() {
            content.transpose();
        }
        let bad = |path: &Path, problem: String| {
            Error::bad_file(path, problem, "take data of that shape, or another --network")
        };
        let inputs = fit(Values::U8(content.values), &content.dims, shape).map_err(|problem| bad(images, problem))?;
        let (found, _) = read(labels, Kind::Labels)?;
        let mut found: Vec<i64> = found.values.into_iter().map(i64::from).collect();
        if found.len() != inputs.len() {
            let problem = format!("{} labels for {} images", found.len(), inputs.len());
            return Err(Error::bad_file(labels, problem, "use the label file that belongs to the image file"));
        }
        if self.counts_from_one() {
            found.iter_mut().for_each(|label| *label -= 1);
            if found.contains(&-1) {
                return Err(Error::bad_file(
                    labels,
                    "it has a label 0, and EMNIST's letters count from 1",
                    "take the data set's own file",
                ));
            }
        }
        let split = known(inputs, &found, &self.classes()).map_err(|problem| bad(labels, problem))?;
        Ok((split, is_fashion))
    }

    /// EMNIST's images lie on their side: columns first.
    fn is_emnist(&self) -> bool {
        self.prefix.starts_with("emnist-")
    }

    fn counts_from_one(&self) -> bool {
        self.prefix == "emnist-letters"
    }

    /// EMNIST's classes (Cohen et al. 2017, table II); none where the names do not tell.
    fn classes(&self) -> Vec<String> {
        let (digits, upper, lower) = ('0'..='9', 'A'..='Z', 'a'..='z');
        let names: Vec<char> = match self.prefix.as_str() {
            "emnist-letters" => upper.collect(),
            "emnist-digits" | "emnist-mnist" => digits.collect(),
            "emnist-byclass" => digits.chain(upper).chain(lower).collect(),
            // Letters whose two cases look alike are one class.
            "emnist-balanced" | "emnist-bymerge" => digits.chain(upper).chain("abdefghnqrt".chars()).collect(),
            _ => Vec::new(),
        };
        names.into_iter().map(String::from).collect()
    }
}

/// A file's content and the MD5 of its bytes.
fn read(path: &Path, kind: Kind) -> Result<(idx::Content, String)> {
    let name = path.to_string_lossy();
    let check = |start: &[u8], length| idx::check_start(&name, start, length, kind).map_err(|damage| damage.at(path));
    let bytes = files::read_checked(path, &files::IDX, check)?;
    let content = idx::parse(&name, &bytes, kind, None).map_err(|damage| damage.at(path))?;
    Ok((content, md5_hex(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_publishers_names_are_known() {
        let names = [
            ("train-images-idx3-ubyte.gz", Some(("", 0))),
            ("t10k-labels.idx1-ubyte", Some(("", 3))),
            ("emnist-letters-test-images-idx3-ubyte.gz", Some(("emnist-letters", 2))),
            ("qmnist-train-labels-idx2-int.gz", Some(("qmnist", 1))),
            ("qmnist-test-images-idx3-ubyte", Some(("qmnist", 2))),
            ("emnist-letters-mapping.txt", None),
            ("qmnist-test-labels.tsv.gz", None),
            ("mytrain-images-idx3-ubyte", None),
            ("train-images.png", None),
        ];
        for (name, expected) in names {
            assert_eq!(place(name), expected, "{name}");
        }
        let classes = |prefix: &str| Set { prefix: prefix.into(), ..Set::default() }.classes().len();
        assert_eq!(["emnist-balanced", "emnist-byclass", "emnist-letters", "qmnist"].map(classes), [47, 62, 26, 0]);
    }
}
