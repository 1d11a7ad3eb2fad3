//! The persistent kernel: whether it fits the device, and a run of training steps in one launch. `kernels/persistent.cu` says
//! what happens inside.

use cudarc::driver::CudaSlice;

use super::launch::{Argument, Device, Launch};
use super::shapes::{
    BLOCKS_PER_TEAM, CLUSTER_SHARED, CONV_WEIGHTS, EXAMPLES_PER_BLOCK, EXCHANGE_PAIRS, PERSISTENT_BLOCKS,
    PERSISTENT_SHARED, PERSISTENT_THREADS, WORKSPACE_PER_EXAMPLE,
};
use super::split::DeviceSplit;
use super::step::Model;
use crate::engine::Optimizer;
use crate::error::{Error, Result};

const KERNEL: &str = "persistent_train";
const CLUSTER_KERNEL: &str = "persistent_train_cluster";

/// How the CUDA engine trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// [`Cluster`](Level::Cluster) where a batch fits the device, else [`Persistent`](Level::Persistent), else
    /// [`Graph`](Level::Graph).
    Auto,
    /// A kernel an operation, in CUDA graphs.
    Graph,
    /// One cooperative kernel runs all the steps of a call.
    Persistent,
    /// The same in clusters of blocks, which write into each other's memory.
    Cluster,
}

impl Level {
    /// Kernels beside those of the graph.
    pub(super) fn kernels(self) -> &'static [&'static str] {
        match self {
            Self::Auto => &[KERNEL, CLUSTER_KERNEL],
            Self::Graph => &[],
            Self::Persistent => &[KERNEL],
            Self::Cluster => &[CLUSTER_KERNEL],
        }
    }
}

/// A form of the persistent kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Blocks,
    Clusters,
}

/// The largest batches that the device trains on at once: all blocks of the kernel must be on it side by side, and they are
/// [`PERSISTENT_BLOCKS`] at the most. 0 if it is too old, launches no cooperative kernels, has too little shared memory, or if nobody
/// asked for that form.
pub(super) struct Largest {
    batch: usize,
    /// In clusters; then a batch fills whole ones, but for one example.
    in_clusters: usize,
}

impl Largest {
    pub(super) fn on(device: &Device) -> Result<Self> {
        let blocks = device.resident_blocks(KERNEL, PERSISTENT_THREADS, PERSISTENT_SHARED)?;
        let most =
            Launch { kernel: CLUSTER_KERNEL, blocks: PERSISTENT_BLOCKS, threads: PERSISTENT_THREADS, arguments: &[] };
        let clusters = device.resident_clusters(&most, CLUSTER_SHARED, BLOCKS_PER_TEAM)?;
        let batch = |blocks: usize| blocks.min(PERSISTENT_BLOCKS) * EXAMPLES_PER_BLOCK;
        Ok(Self { batch: batch(blocks), in_clusters: batch(clusters * BLOCKS_PER_TEAM) })
    }

    /// The kernel's form at a level on batches of `n`; none where it takes no such batches.
    pub(super) fn form(&self, level: Level, n: usize) -> Option<Form> {
        let whole_clusters = n.div_ceil(EXAMPLES_PER_BLOCK).is_multiple_of(BLOCKS_PER_TEAM);
        match level {
            Level::Auto | Level::Cluster if n <= self.in_clusters && whole_clusters => Some(Form::Clusters),
            Level::Auto | Level::Persistent if n <= self.batch => Some(Form::Blocks),
            _ => None,
        }
    }

    /// Why the kernel does not train on a batch at a level.
    pub(super) fn limit(&self, level: Level) -> String {
        let step = EXAMPLES_PER_BLOCK * BLOCKS_PER_TEAM;
        match (level, self.in_clusters, self.batch) {
            (Level::Cluster, 0, _) => "the persistent kernel does not fit this device in clusters".into(),
            (Level::Cluster, most, _) => {
                format!(
                    "the persistent kernel in clusters takes batches of up to {most} here that fill clusters of {step}"
                )
            }
            (_, _, 0) => "the persistent kernel does not fit this device".into(),
            (_, _, most) => format!("the persistent kernel takes batches of up to {most} here"),
        }
    }

    /// A level named on the command line, on a device too small.
    pub(super) fn too_small(&self, level: Level) -> Error {
        Error::BadArgument { problem: self.limit(level), remedy: "use --engine cuda or --engine cuda-graph".into() }
    }
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
    pub(super) form: Form,
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
    let (kernel, shared, cluster) = match steps.form {
        Form::Blocks => (KERNEL, PERSISTENT_SHARED, None),
        Form::Clusters => (CLUSTER_KERNEL, CLUSTER_SHARED, Some(BLOCKS_PER_TEAM)),
    };
    device.launch_cooperative(&Launch {
        kernel,
        blocks: steps.n.div_ceil(EXAMPLES_PER_BLOCK),
        threads: PERSISTENT_THREADS,
        arguments: &[
            Argument::from(&split.images), Argument::from(&split.labels), Argument::from(&m.order), Argument::from(&m.teacher),
            Argument::from(&m.settings), Argument::from(&m.coefficients), Argument::from(&m.treatments),
            Argument::from(&m.parameters), Argument::from(&m.moments[0]), Argument::from(&m.moments[1]),
            Argument::from(&m.gradients), Argument::from(&m.batch_mean), Argument::from(&m.batch_var),
            Argument::from(&m.totals), Argument::from(&w.floats), Argument::from(&w.exchange),
            Argument::from(usize::from(steps.optimizer.has_moments())), Argument::from(steps.count), Argument::from(steps.n),
        ],
    }, shared, cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some GPUs have 132 multiprocessors, but not in 16 groups of eight.
    #[test]
    fn a_batch_that_clusters_do_not_hold_takes_blocks() {
        let odd = Largest { batch: 256, in_clusters: 240 };
        let forms = |n| [Level::Auto, Level::Graph, Level::Persistent, Level::Cluster].map(|level| odd.form(level, n));
        assert_eq!(forms(256), [Some(Form::Blocks), None, Some(Form::Blocks), None]);
        assert_eq!(forms(239), [Some(Form::Clusters), None, Some(Form::Blocks), Some(Form::Clusters)]);
        assert_eq!(forms(200), [Some(Form::Blocks), None, Some(Form::Blocks), None]);
        assert_eq!(forms(258), [None; 4]);
    }
}
