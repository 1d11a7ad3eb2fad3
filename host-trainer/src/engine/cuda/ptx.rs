//! The kernels as the driver gets them: PTX, which it compiles for the device at hand.
//!
//! `kernels/lenet.ptx` is made by NVRTC 12.0 from `kernels/lenet.cu` (`kernels/check --write`), in PTX 8.0 for compute
//! capability 6.0 and later. A driver loads every PTX up to its own version, so that one text serves all drivers of CUDA 12 and 13, and
//! nobody needs a compiler to train. Tests compare it with the sources and hand it to the assemblers of both.

use std::sync::LazyLock;

/// The text.
pub(super) const PTX: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/lenet.ptx"));

/// Name and sizes in bytes of the parameters of every kernel.
static KERNELS: LazyLock<Vec<(&'static str, Vec<usize>)>> = LazyLock::new(|| parse(PTX));

/// Names of all kernels.
pub(super) fn kernels() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().map(|(name, _)| *name)
}

/// Sizes in bytes of a kernel's parameters; none for an unknown one.
pub(super) fn parameter_sizes(kernel: &str) -> impl Iterator<Item = usize> {
    KERNELS.iter().find(|(name, _)| *name == kernel).into_iter().flat_map(|(_, sizes)| sizes.iter().copied())
}

/// Version of the PTX, `8.0`.
pub(super) fn version() -> &'static str {
    directive(PTX, ".version")
}

/// What stands behind a directive at the beginning of a line.
fn directive<'a>(ptx: &'a str, name: &str) -> &'a str {
    ptx.lines().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim)
}

/// `.visible .entry NAME(` is followed by a `.param .u64 NAME_param_0,` a line, up to a line with `)`.
fn parse(ptx: &str) -> Vec<(&str, Vec<usize>)> {
    let mut lines = ptx.lines();
    let mut kernels = Vec::new();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix(".visible .entry ") else { continue };
        let parameters = lines.by_ref().take_while(|line| !line.starts_with(')'));
        let sizes = parameters.map(|line| match line.trim().split(' ').nth(1) {
            Some(".u64" | ".f64" | ".b64") => 8,
            Some(".u32" | ".f32" | ".b32") => 4,
            other => panic!("the kernels have no parameter of type {other:?}"),
        });
        kernels.push((name.trim_end_matches('('), sizes.collect()));
    }
    kernels
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use md5::{Digest, Md5};

    use super::*;

    /// `kernels/check` compiles and compares; this needs no compiler.
    #[test]
    fn the_ptx_was_made_from_these_sources() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
        let is_source = |path: &PathBuf| path.extension().is_some_and(|e| ["cu", "cuh", "h"].iter().any(|&s| e == s));
        let mut sources: Vec<PathBuf> = entries.filter(is_source).collect();
        sources.sort();
        let sources: Vec<Vec<u8>> = sources.iter().map(|path| std::fs::read(path).unwrap()).collect();
        let (first_line, rest) = PTX.split_once('\n').unwrap();
        let expected = format!("MD5 of the sources {}, of the rest {}", md5(&sources.concat()), md5(rest.as_bytes()));
        assert!(first_line.ends_with(&expected), "kernels/lenet.ptx is old; make it anew with kernels/check --write");
    }

    fn md5(bytes: &[u8]) -> String {
        Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn kernels_and_their_parameters_are_found() {
        assert_eq!(version(), "8.0");
        assert_eq!(kernels().count(), 16);
        assert_eq!(parameter_sizes("infer_totals").collect::<Vec<_>>(), [8, 8, 4]);
        assert_eq!(parameter_sizes("absent").count(), 0);
    }
}
