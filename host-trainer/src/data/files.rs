//! The four files of the data set, as their publisher lists them: names, sizes, MD5 sums; and what is known about files that
//! are often found in their place. Asks which of them a directory holds; reads none.

use std::path::{Path, PathBuf};

/// What an IDX file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[n][28][28]` pixels.
    Images,
    /// `[n]` classes.
    Labels,
}

/// One of the four files.
#[derive(Clone, Copy, Debug)]
pub struct DataFile {
    /// Name as published, with `.gz`.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Examples in Fashion-MNIST's file.
    pub count: usize,
    /// Bytes of Fashion-MNIST's `.gz` file.
    pub bytes: u64,
    /// MD5 of Fashion-MNIST's `.gz` file, as in the data set's own README.
    pub md5: &'static str,
    /// MD5 of what is inside it, for those who keep it unpacked.
    pub content_md5: &'static str,
    /// MD5 of MNIST's `.gz` file of the same name.
    pub mnist_md5: &'static str,
}

/// The four files: train images, train labels, test images, test labels.
pub const FILES: [DataFile; 4] = [
    DataFile {
        name: "train-images-idx3-ubyte.gz",
        kind: Kind::Images,
        count: 60_000,
        bytes: 26_421_880,
        md5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        content_md5: "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        mnist_md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    },
    DataFile {
        name: "train-labels-idx1-ubyte.gz",
        kind: Kind::Labels,
        count: 60_000,
        bytes: 29_515,
        md5: "25c81989df183df01b3e8a0aad5dffbe",
        content_md5: "9018921c3c673c538a1fc5bad174d6f9",
        mnist_md5: "d53e105ee54ea40749a09fcbcd1e9432",
    },
    DataFile {
        name: "t10k-images-idx3-ubyte.gz",
        kind: Kind::Images,
        count: 10_000,
        bytes: 4_422_102,
        md5: "bef4ecab320f06d8554ea6380940ec79",
        content_md5: "8181f5470baa50b63fa0f6fddb340f0a",
        mnist_md5: "9fb629c4189551a2d022fa330f9573f3",
    },
    DataFile {
        name: "t10k-labels-idx1-ubyte.gz",
        kind: Kind::Labels,
        count: 10_000,
        bytes: 5_148,
        md5: "bb300cfdad3c16e7a12a480ee83cd310",
        content_md5: "15d484375f8d13e6eb1aabb0c3f46965",
        mnist_md5: "ec29112dd5afa0611ce80d1b7f02629c",
    },
];

impl DataFile {
    /// Name without `.gz`, for those who keep it unpacked.
    pub fn unpacked_name(&self) -> &'static str {
        self.name.trim_end_matches(".gz")
    }

    /// Whether that MD5 is MNIST's file of this name: the mistake that is made most often.
    pub fn is_mnist(&self, md5: &str) -> bool {
        md5 == self.mnist_md5
    }
}

/// MD5 of bytes, as lower-case hexadecimal digits.
pub fn md5_hex(bytes: &[u8]) -> String {
    format!("{:x}", md5::compute(bytes))
}

/// Whether bytes are the beginning of a web page: what a proxy, a login page or a wrong link hands out in place of a file.
pub fn looks_like_html(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |with: &[u8]| start.len() >= with.len() && start[..with.len()].eq_ignore_ascii_case(with);
    [b"<!doctype".as_slice(), b"<html", b"<head", b"<body", b"<?xml", b"<!--"].iter().any(|with| begins(with))
}

/// What to do when the files cannot be had.
pub const REMEDY: &str = "put the four files of https://github.com/zalandoresearch/fashion-mnist into a directory and pass \
                          --data-dir or set FASHION_MNIST_DIR, or use --dataset garments";

/// Path of a file in a directory: under its published name or with a dot for the second hyphen, as some archives have it, and
/// the `.gz` file or else the unpacked one. A folder of that name, as others have it, is taken only where there is no file.
pub fn path_in(directory: &Path, file: &DataFile) -> Option<PathBuf> {
    let names = [file.name, file.unpacked_name()].map(|name| [name.to_owned(), name.replacen("-idx", ".idx", 1)]);
    let paths = names.as_flattened().iter().map(|name| directory.join(name));
    paths.clone().find(|path| path.is_file()).or_else(|| paths.clone().find(|path| path.exists()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_is_written_as_the_tools_write_it() {
        assert_eq!(md5_hex(b""), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn web_pages_are_recognised() {
        for page in ["<!DOCTYPE html><html>", "\n  <HTML lang=en>", "\u{feff}<html>", "<?xml version='1.0'?><Error/>"] {
            assert!(looks_like_html(page.as_bytes()), "{page}");
        }
        for other in [&b"\x1f\x8b\x08"[..], b"\x00\x00\x08\x03", b"", b"<ht"] {
            assert!(!looks_like_html(other), "{other:?}");
        }
    }
}
