//! The persistent kernel: whether it fits the device, and a run of training steps in one launch. `kernels/persistent.cu` says
//! what happens inside.

use cudarc::driver::CudaSlice;

use super::launch::{Argument, Device, Launch};
use super::shapes::{
    CONV_WEIGHTS, EXAMPLES_PER_BLOCK, EXCHANGE_PAIRS, PERSISTENT_BLOCKS, PERSISTENT_SHARED, PERSISTENT_THREADS,
    WORKSPACE_PER_EXAMPLE,
};
use super::split::DeviceSplit;
use super::step::Model;
use crate::engine::Optimizer;
use crate::error::{Error, Result};

const KERNEL: &str = "persistent_train";

/// How the CUDA engine trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// [`Persistent`](Level::Persistent) where a batch fits the device, else [`Graph`](Level::Graph).
    Auto,
    /// A kernel an operation, in CUDA graphs.
    Graph,
    /// One cooperative kernel runs all the steps of a call.
    Persistent,
}

/// The largest batch that the device trains on at once: all blocks of the kernel must be on it side by side, and they are
/// [`PERSISTENT_BLOCKS`] at the most. 0 if it is too old, launches no cooperative kernels, or has too little shared memory.
pub(super) fn largest_batch(device: &Device) -> Result<usize> {
    let blocks = device.resident_blocks(KERNEL, PERSISTENT_THREADS, PERSISTENT_SHARED)?;
    Ok(blocks.min(PERSISTENT_BLOCKS) * EXAMPLES_PER_BLOCK)
}

/// Why the kernel does not train on batches of `n`.
pub(super) fn limit(largest_batch: usize) -> String {
    match largest_batch {
        0 => "the persistent kernel does not fit this device".into(),
        most => format!("the persistent kernel takes batches of up to {most} here"),
    }
}

/// `--engine cuda-persistent` on a device too small.
pub(super) fn too_small(largest_batch: usize) -> Error {
    Error::BadArgument { problem: limit(largest_batch), remedy: "use --engine cuda or --engine cuda-graph".into() }
}

/// The kernel was launched, and the device reports an error: a wait of a block for others that takes too long ends in a trap.
pub(super) fn broken(error: Error) -> Error {
    match error {
        Error::Tool { tool, problem } => Error::Tool {
            tool,
            problem: format!("{problem}, most likely a barrier of the persistent kernel; try --engine cuda-graph"),
        },
        other => other,
    }
}

/// What blocks tell each other, for batches of up to `n`.
pub(super) struct Workspace {
    n: usize,
    floats: CudaSlice<f32>,
    /// Pairs behind the barriers' counters; zero at every launch.
    exchange: CudaSlice<f32>,
}

impl Workspace {
    fn new(device: &Device, n: usize) -> Result<Self> {
        let blocks = n.div_ceil(EXAMPLES_PER_BLOCK);
        Ok(Self {
            n,
            floats: device.zeros(WORKSPACE_PER_EXAMPLE * n + CONV_WEIGHTS * blocks)?,
            exchange: device.zeros(2 * EXCHANGE_PAIRS)?,
        })
    }
}

/// A run of steps over the order that lies on the device, in batches of `n`.
pub(super) struct Steps {
    pub(super) count: usize,
    pub(super) n: usize,
    pub(super) optimizer: Optimizer,
}

/// Queues the steps. `workspace` is made anew if it is too small.
#[rustfmt::skip] // the arguments as the kernel's declaration groups them
pub(super) fn train(
    device: &Device, m: &Model, split: &DeviceSplit, workspace: &mut Option<Workspace>, steps: &Steps,
) -> Result<()> {
    let w = match workspace.take().filter(|workspace| workspace.n >= steps.n) {
        Some(current) => workspace.insert(current),
        None => workspace.insert(Workspace::new(device, steps.n)?),
    };
    device.clear(&mut w.exchange)?;
    device.launch_cooperative(&Launch {
        kernel: KERNEL,
        blocks: steps.n.div_ceil(EXAMPLES_PER_BLOCK),
        threads: PERSISTENT_THREADS,
        arguments: &[
            Argument::from(&split.images), Argument::from(&split.labels), Argument::from(&m.order),
            Argument::from(&m.settings), Argument::from(&m.coefficients), Argument::from(&m.treatments),
            Argument::from(&m.parameters), Argument::from(&m.moments[0]), Argument::from(&m.moments[1]),
            Argument::from(&m.gradients), Argument::from(&m.batch_mean), Argument::from(&m.batch_var),
            Argument::from(&m.totals), Argument::from(&w.floats), Argument::from(&w.exchange),
            Argument::from(usize::from(steps.optimizer.has_moments())), Argument::from(steps.count), Argument::from(steps.n),
        ],
    }, PERSISTENT_SHARED)
}
