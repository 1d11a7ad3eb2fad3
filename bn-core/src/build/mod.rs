//! From a `weights.bin` to Rust, in a build script (feature `build`): a straight line of kernel calls with literal sizes, one a
//! layer. It emits no arithmetic; what it emits needs no heap and cannot panic.
//!
//! ```no_run
//! // build.rs
//! bn_core::build::model("weights.bin");
//! ```
//!
//! ```ignore
//! // main.rs
//! bn_core::include_model!();
//! static WEIGHTS: model::Weights = model::WEIGHTS;
//! let model = model::parse(&WEIGHTS.0)?; // checks everything once; nothing can fail after it
//! let mut arena = model::Arena::new(); // all the memory that inference takes
//! let prediction = model::predict(&model, &input, &mut arena);
//! ```

mod c;
mod code;
#[cfg(all(test, target_endian = "little"))]
mod tests;
mod types;

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};

pub use c::header;
pub use code::generate;

use crate::file::WeightsFile;

/// Reads a `weights.bin`, a path in the package, and writes `model.rs` and `model.bin` into `OUT_DIR`, for
/// [`include_model!`](crate::include_model). Cargo runs the build script again when the file changes. Fails the build with one line
/// where the file cannot be used.
pub fn model(path: impl AsRef<Path>) {
    model_as(path, "model");
}

/// As [`model`] with a name for `include_model!(name)`, which is the module's too: for programs with several networks.
pub fn model_as(path: impl AsRef<Path>, name: &str) {
    let path = path.as_ref();
    std::println!("cargo::rerun-if-changed={}", path.display());
    if let Err(problem) = try_model(path, name) {
        std::println!("cargo::error={}: {problem}", path.display());
        std::process::exit(1);
    }
}

/// As [`model_as`], with the problem as a line. Tells cargo nothing.
///
/// # Errors
/// Why the file cannot be read or used, or the output not be written.
pub fn try_model(path: &Path, name: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err(std::format!("{name:?} cannot be a module's name; take small letters, digits and _"));
    }
    let bytes = read(path)?;
    let file = WeightsFile::read(&bytes).map_err(|error| error.to_string())?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set; call this from a build script")?);
    for (extension, content) in [("bin", file.model_bytes()), ("rs", generate(&file, name).as_bytes())] {
        let to = out.join(name).with_extension(extension);
        fs::write(&to, content).map_err(|error| std::format!("cannot write {}: {error}", to.display()))?;
    }
    Ok(())
}

/// Whether a network in generated code can have this name: a small letter, then small letters, digits and `_`, 64 at most.
pub fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase();
    let goes_on = |byte: u8| is_letter(byte) || byte.is_ascii_digit() || byte == b'_';
    name.len() <= 64 && name.bytes().next().is_some_and(is_letter) && name.bytes().all(goes_on)
}

/// A regular file that could fit a microcontroller.
fn read(path: &Path) -> Result<std::vec::Vec<u8>, String> {
    const LIMIT: u64 = 64 << 20;
    let there = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => std::format!(
            "no such file in {}; make it with `cargo trainer export CHECKPOINT --out weights.bin`",
            env::current_dir().unwrap_or_default().display()
        ),
        _ => error.to_string(),
    })?;
    if !there.is_file() || there.len() > LIMIT {
        return Err(std::format!("it is no regular file of at most {LIMIT} bytes"));
    }
    fs::read(path).map_err(|error| error.to_string())
}
