//! The firmware's programs; the builds of the integer network that a device can have, and what each puts into flash. No I/O.

use bn_core::file::WeightsFile;
use bn_core::lenet::Streams;
use bn_core::{FormatError, small};
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
    /// [`FormatError`] when the small build cannot hold it: its tables are no mirror images of themselves, or it is not LeNet's.
    pub fn baked(self, file: &WeightsFile) -> Result<Vec<u8>, FormatError> {
        Ok(match self {
            Build::Default | Build::Portable => file.model_bytes().to_vec(),
            Build::Small => {
                let streams = Streams::of(file).ok_or(FormatError::Description)?;
                small::Weights::of(streams, file.checksum())?.bytes().to_vec()
            }
        })
    }
}

/// A program of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Classifies the baked images and logs.
    Demo,
    /// Classifies images that the host streams in.
    Evaluate,
    /// Runs f32 networks that [`replace_networks`](crate::device::firmware::replace_networks) puts into it. Too large for small chips, so not one of those that
    /// [`build`](crate::device::firmware::build) builds.
    Float,
    /// Runs single layers that the host streams in. Takes more RAM than small chips have, so not one of those either.
    Layers,
    /// Panics, faults or hangs on purpose.
    Crash,
    /// Flips bits of its weights and reads them.
    Damage,
    /// The inference as a WebAssembly module.
    Module,
}

impl Program {
    /// Those that are built where none is named.
    pub(super) const ALL: [Self; 4] = [Program::Demo, Program::Evaluate, Program::Crash, Program::Damage];

    /// Its name, also that of its ELF.
    pub fn name(self) -> &'static str {
        match self {
            Program::Demo => "demo",
            Program::Evaluate => "evaluate",
            Program::Float => "float",
            Program::Layers => "layers",
            Program::Crash => "crash",
            Program::Damage => "damage",
            Program::Module => "module",
        }
    }
}
