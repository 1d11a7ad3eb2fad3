//! What an inference takes of a device: instructions, flash, RAM. No I/O.

use serde::Serialize;

use super::profile::Executed;
use super::protocol::Trailer;
use super::shard::Counted;
use crate::device::firmware::Sizes;

/// What an inference takes. The fields are keys of `emulate --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Executed instructions of an inference, the mean over all images. Instructions, not cycles.
    pub instructions_per_inference: u64,
    /// Fewest and most of one image.
    pub instructions_range: [u32; 2],
    /// What the log of every executed instruction of an inference says; only when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed: Option<Executed>,
    /// Statics of the program, the scratch memory of an inference among them.
    pub ram_bytes: u64,
    /// The scratch memory alone.
    pub scratch_bytes: u64,
    /// Deepest stack of an inference, measured by painting.
    pub stack_bytes: u64,
    /// Stack that no inference exceeds, computed from the machine code.
    pub stack_bound_bytes: u64,
    /// The inference in flash: its code, the weights and tables.
    pub inference_flash_bytes: u64,
    /// Everything that is flashed.
    pub flash_bytes: u64,
    /// The weights and tables in it.
    pub weights_bytes: u64,
}

impl Cost {
    /// Of what each emulator counted, and of the program's sizes. `None` when nothing was counted.
    pub(super) fn of(counted: &[Counted], sizes: Sizes) -> Option<Self> {
        let trailers: Vec<Trailer> = counted.iter().map(|counted| counted.trailer).collect();
        let most = |of: fn(&Trailer) -> u32| trailers.iter().map(of).max();
        let images: u64 = trailers.iter().map(|trailer| u64::from(trailer.images)).sum();
        let instructions: u64 = trailers.iter().map(|trailer| trailer.instructions).sum();
        let scratch_bytes = most(|trailer| trailer.scratch_bytes)?.into();
        Some(Self {
            instructions_per_inference: (instructions + images / 2) / images.max(1),
            instructions_range: [
                trailers.iter().map(|trailer| trailer.instructions_min).min()?,
                most(|trailer| trailer.instructions_max)?,
            ],
            executed: None,
            ram_bytes: sizes.statics,
            scratch_bytes,
            stack_bytes: most(|trailer| trailer.stack_bytes)?.into(),
            stack_bound_bytes: sizes.stack_bound,
            inference_flash_bytes: sizes.inference_code + sizes.weights,
            flash_bytes: sizes.flash,
            weights_bytes: sizes.weights,
        })
    }
}
