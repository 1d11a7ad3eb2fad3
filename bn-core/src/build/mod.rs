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

mod code;
#[cfg(all(test, target_endian = "little"))]
mod tests;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};

pub use code::generate;

use crate::file::WeightsFile;

/// Reads a `weights.bin` and writes `model.rs` and `model.bin` into `OUT_DIR`, for [`include_model!`](crate::include_model). Fails
/// the build with one line where the file cannot be used.
pub fn model(path: impl AsRef<Path>) {
    let path = path.as_ref();
    std::println!("cargo::rerun-if-changed={}", path.display());
    if let Err(problem) = try_model(path, "model") {
        std::println!("cargo::error={}: {problem}", path.display());
        std::process::exit(1);
    }
}

/// As [`model`] with another name, and with the problem as a line.
///
/// # Errors
/// Why the file cannot be read or used, or the output not be written.
pub fn try_model(path: &Path, name: &str) -> Result<(), String> {
    let bytes = read(path)?;
    let file = WeightsFile::read(&bytes).map_err(|error| error.to_string())?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set; call this from a build script")?);
    for (extension, content) in [("bin", file.model_bytes()), ("rs", generate(&file, name).as_bytes())] {
        let to = out.join(name).with_extension(extension);
        fs::write(&to, content).map_err(|error| std::format!("cannot write {}: {error}", to.display()))?;
    }
    Ok(())
}

/// A regular file that could fit a microcontroller.
fn read(path: &Path) -> Result<std::vec::Vec<u8>, String> {
    const LIMIT: u64 = 64 << 20;
    let there = fs::metadata(path).map_err(|error| error.to_string())?;
    if !there.is_file() || there.len() > LIMIT {
        return Err(std::format!("it is no regular file of at most {LIMIT} bytes"));
    }
    fs::read(path).map_err(|error| error.to_string())
}
