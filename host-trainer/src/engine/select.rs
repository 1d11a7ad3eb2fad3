//! Engines by their command-line names, and which of them this build has.

use clap::ValueEnum;

use super::Engine;
use super::cpu::Cpu;
use super::cuda::{Cuda, Level};
use super::reference::Reference;
use crate::error::Result;
use crate::model::parameters::Variance;

/// An engine by its command-line name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// The readable ndarray implementation, one thread: the oracle of the others
    Reference,
    /// Every core, every vector unit
    Cpu,
    /// The GPU engine, for NVIDIA GPUs: one persistent kernel where a batch fits the GPU, else CUDA graphs
    Cuda,
    /// The GPU engine, in CUDA graphs
    CudaGraph,
    /// The GPU engine, in one persistent kernel or not at all
    CudaPersistent,
    /// The fastest that has proved itself: cpu
    Auto,
}

/// What `auto` stands for. The CUDA engine has passed its tests on a CPU build of its kernels, never yet on a GPU, so it trains only
/// where it is asked for by name.
pub const AUTO: EngineName = EngineName::Cpu;

/// What every machine can run.
pub const AVAILABLE: [EngineName; 2] = [EngineName::Cpu, EngineName::Reference];

impl EngineName {
    /// The engine that trained a run, by the name in its checkpoint.
    pub fn of_run(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|e| *e != EngineName::Auto && e.name() == name)
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            EngineName::Reference => "reference",
            EngineName::Cpu => "cpu",
            EngineName::Cuda => "cuda",
            EngineName::CudaGraph => "cuda-graph",
            EngineName::CudaPersistent => "cuda-persistent",
            EngineName::Auto => "auto",
        }
    }
}

/// An engine with an untrained model drawn from `seed`.
///
/// # Errors
/// [`Error::Missing`](crate::Error::Missing) if this machine has no such device; [`Error::Tool`](crate::Error::Tool) if the device refuses.
pub fn create(name: EngineName, seed: u64, variance: Variance) -> Result<Box<dyn Engine>> {
    match name {
        EngineName::Auto => create(AUTO, seed, variance),
        EngineName::Reference => Ok(Box::new(Reference::<f32>::new(seed, variance))),
        EngineName::Cpu => Ok(Box::new(Cpu::new(seed, variance, None))),
        EngineName::Cuda => Ok(Box::new(Cuda::new(seed, variance, Level::Auto)?)),
        EngineName::CudaGraph => Ok(Box::new(Cuda::new(seed, variance, Level::Graph)?)),
        EngineName::CudaPersistent => Ok(Box::new(Cuda::new(seed, variance, Level::Persistent)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_what_it_stands_for() {
        let engine = create(EngineName::Auto, 0, Variance::Biased).unwrap();
        assert_eq!(engine.name(), AUTO.name());
    }

    #[test]
    fn a_run_names_its_engine() {
        assert_eq!(EngineName::of_run("reference"), Some(EngineName::Reference));
        assert_eq!(EngineName::of_run("cuda-graph"), Some(EngineName::CudaGraph));
        assert_eq!(EngineName::of_run("auto"), None);
    }
}
