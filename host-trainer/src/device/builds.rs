//! The builds of the integer network that a device can have, and what each puts into flash. No I/O.

use bn_core::{FormatError, Model, small};
use serde::Serialize;

/// A build of the network. All give the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Build {
    /// The fastest path that the core has.
    #[default]
    Default,
    /// The portable path, even where the core has a faster one.
    Portable,
    /// Less flash and RAM, [`bn_core::small`].
    Small,
}

impl Build {
    /// The cargo profile of the firmware.
    pub fn profile(self) -> &'static str {
        if self == Build::Small { "firmware-small" } else { "firmware" }
    }

    /// The feature of the firmware that asks for it.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Build::Default | Build::Portable => None,
            Build::Small => Some("small"),
        }
    }

    /// The compiler's flags for the device's crates: all of them.
    pub(crate) fn compiler_flags(self) -> &'static [&'static str] {
        if self == Build::Portable { &["--cfg", "bn_lenet_arch=\"portable\""] } else { &[] }
    }

    /// What the firmware has of a model in flash.
    ///
    /// # Errors
    /// [`FormatError::Sigmoid`] when the small build cannot hold it.
    pub fn baked(self, model: &Model<'_>) -> Result<Vec<u8>, FormatError> {
        Ok(match self {
            Build::Default | Build::Portable => model.file().bytes().to_vec(),
            Build::Small => small::Weights::of(model)?.bytes().to_vec(),
        })
    }
}
