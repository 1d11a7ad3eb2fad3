//! What an emulation says. No I/O.

use serde::Serialize;

use super::compare::Difference;
use super::{Cost, FloatReport, LayerProfile, Machine};
use crate::device::firmware::Build;
use crate::error::{Error, Result};

/// What came out. `machine` and so on are keys of `emulate --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EmulateReport {
    /// The compiler's name for the processor.
    pub target: &'static str,
    /// What ran it.
    pub machine: Machine,
    /// The build of the network.
    pub build: Build,
    /// Images classified, in all rounds together.
    pub images: usize,
    /// Share that the firmware classified as labelled; `None` without labels.
    pub accuracy: Option<f64>,
    /// Logits compared with the host's: all of each image.
    pub logits_compared: usize,
    /// Logits of which at least one bit differs.
    pub logits_differing: usize,
    /// Images whose class differs.
    pub classes_differing: usize,
    /// Outputs of layers compared with the host's: all of each image.
    pub outputs_compared: usize,
    /// Outputs of which at least one bit differs.
    pub outputs_differing: usize,
    /// The first of them, in the order of the layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_difference: Option<Difference>,
    /// Each layer, in order.
    pub layers: Vec<LayerProfile>,
    /// What an inference takes of the device; `None` where nothing can be counted.
    #[serde(flatten)]
    pub cost: Option<Cost>,
    /// The network in f32 on the same machine; only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub float: Option<FloatReport>,
    /// Emulators that ran side by side.
    pub emulators: usize,
    /// Wall time of the emulation, without the build.
    pub seconds: f64,
}

impl EmulateReport {
    /// Whether every bit agrees.
    pub fn agrees(&self) -> bool {
        self.logits_differing == 0 && self.classes_differing == 0 && self.outputs_differing == 0
    }

    /// An error unless every bit agrees.
    ///
    /// # Errors
    /// [`Error::Disagreement`] with the counts and the first difference.
    pub fn verdict(&self) -> Result<()> {
        if self.agrees() {
            return Ok(());
        }
        let Self { logits_differing, logits_compared, classes_differing, images, .. } = self;
        let Self { outputs_differing, outputs_compared, first_difference, .. } = self;
        let first = first_difference.as_ref().map_or(String::new(), |first| format!("; first in {first}"));
        Err(Error::Disagreement {
            problem: format!(
                "emulator and host differ in {logits_differing} of {logits_compared} logits, {classes_differing} of {images} \
                 classes and {outputs_differing} of {outputs_compared} outputs of layers{first}"
            ),
        })
    }
}
