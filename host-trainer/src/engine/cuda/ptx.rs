//! The kernels as the driver gets them: PTX, which it compiles for the device at hand.
//!
//! `kernels/*.ptx` are made by NVRTC 12.0 from the `.cu` beside them (`kernels/check --write`), in PTX 8.0. A driver loads every PTX
//! up to its own version, so that one text serves all drivers of CUDA 12 and 13, and nobody needs a compiler to train. Tests compare
//! them with the sources and hand them to the assemblers of both.

use std::sync::LazyLock;

/// What is loaded at once: the text, and what it declares.
pub(super) struct Module {
    pub(super) text: &'static str,
    /// Name and sizes in bytes of the parameters of every kernel.
    kernels: Vec<(&'static str, Vec<usize>)>,
}

/// The kernels of the graph, which every device takes, and the persistent one, without clusters and with.
pub(super) static MODULES: LazyLock<[Module; 3]> = LazyLock::new(|| {
    [
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/lenet.ptx")),
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/persistent.ptx")),
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/persistent_cluster.ptx")),
    ]
    .map(|text| Module { text, kernels: parse(text) })
});

impl Module {
    /// Whether it has a kernel of that name.
    pub(super) fn has(&self, kernel: &str) -> bool {
        self.kernels().any(|name| name == kernel)
    }

    /// Names of its kernels.
    pub(super) fn kernels(&self) -> impl Iterator<Item = &'static str> {
        self.kernels.iter().map(|(name, _)| *name)
    }

    /// Version of the PTX, `8.0`.
    pub(super) fn version(&self) -> &'static str {
        directive(self.text, ".version")
    }

    /// The compute capability that it asks of a device, 70 for 7.0.
    pub(super) fn compute_capability(&self) -> i32 {
        directive(self.text, ".target sm_").parse().expect("NVRTC names the target")
    }
}

/// Sizes in bytes of a kernel's parameters; none for an unknown one.
pub(super) fn parameter_sizes(kernel: &str) -> impl Iterator<Item = usize> {
    let all = MODULES.iter().flat_map(|module| &module.kernels);
    all.filter(move |(name, _)| *name == kernel).flat_map(|(_, sizes)| sizes.iter().copied())
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
        for module in MODULES.iter() {
            let (first_line, rest) = module.text.split_once('\n').unwrap();
            let expected =
                format!("MD5 of the sources {}, of the rest {}", md5(&sources.concat()), md5(rest.as_bytes()));
            assert!(first_line.ends_with(&expected), "kernels/*.ptx is old; make it anew with kernels/check --write");
        }
    }

    fn md5(bytes: &[u8]) -> String {
        format!("{:x}", md5::compute(bytes))
    }

    #[test]
    fn kernels_and_their_parameters_are_found() {
        let of_modules = MODULES.each_ref().map(|m| (m.version(), m.compute_capability(), m.kernels().count()));
        assert_eq!(of_modules, [("8.0", 60, 16), ("8.0", 80, 1), ("8.0", 90, 1)]);
        assert_eq!(parameter_sizes("infer_totals").collect::<Vec<_>>(), [8, 8, 4]);
        assert_eq!(parameter_sizes("absent").count(), 0);
    }
}
