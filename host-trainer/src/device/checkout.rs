//! The checkout that this program was built from. Asks whether it is still there.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The directory of the workspace that this program was built from.
///
/// # Errors
/// [`Error::Missing`] when it has been moved since.
pub fn workspace_root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match root.canonicalize() {
        Ok(root) if root.join("firmware-demo/Cargo.toml").is_file() => Ok(root),
        _ => Err(Error::Missing {
            what: format!("the firmware's sources are no longer in {}", root.display()),
            remedy: "start this program with cargo from a checkout, for example: cargo emulate".into(),
        }),
    }
}

/// The `weights.bin` that the repository ships, which the firmware gets when nothing else is asked for.
///
/// # Errors
/// As [`workspace_root`].
pub fn shipped_weights() -> Result<PathBuf> {
    Ok(workspace_root()?.join("firmware-demo/assets/weights.bin"))
}
