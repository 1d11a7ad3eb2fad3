//! Engines by their command-line names, and which of them this build has.

use clap::ValueEnum;

use super::Engine;
use super::cpu::Cpu;
use super::cpu::graph::GraphCpu;
use super::cuda::{Cuda, Level};
use super::reference::Reference;
use crate::error::{Error, Result};
use crate::model::lenet::is_lenet;
use crate::model::parameters::Parameters;
use crate::network::Network;

/// An engine by its command-line name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// The readable ndarray implementation, one thread: the oracle of the others
    Reference,
    /// Every core, every vector unit
    Cpu,
    /// The GPU engine, for NVIDIA GPUs: one persistent kernel where a batch fits the GPU, in clusters where it has them, else CUDA graphs
    Cuda,
    /// The GPU engine, in CUDA graphs
    CudaGraph,
    /// The GPU engine, in one persistent kernel without clusters or not at all
    CudaPersistent,
    /// The GPU engine, in one persistent kernel in clusters or not at all
    CudaCluster,
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
            EngineName::CudaCluster => "cuda-cluster",
            EngineName::Auto => "auto",
        }
    }
}

/// An engine with that model. `auto` takes [`AUTO`], and the CPU engine is LeNet's own where the network is LeNet.
///
/// # Errors
/// [`Error::BadArgument`] if the engine is made for another network; [`Error::Missing`] if this machine has no such device;
/// [`Error::Tool`] if the device refuses.
pub fn create(name: EngineName, parameters: &Parameters) -> Result<Box<dyn Engine>> {
    create_on(name, parameters, None)
}

/// [`create`] on so many threads where the engine has a choice; by default on every core.
///
/// # Errors
/// As [`create`].
pub fn create_on(name: EngineName, parameters: &Parameters, threads: Option<usize>) -> Result<Box<dyn Engine>> {
    let network = &parameters.network;
    let variance = parameters.variance;
    let mut engine: Box<dyn Engine> = match name {
        EngineName::Auto => return create_on(AUTO, parameters, threads),
        EngineName::Reference => Box::new(Reference::<f32>::of(parameters)),
        EngineName::Cpu if !is_lenet(network) => Box::new(GraphCpu::of(parameters, threads)),
        _ if !is_lenet(network) => return Err(not_lenet(name, network)),
        EngineName::Cpu => Box::new(Cpu::new(0, variance, threads)),
        EngineName::Cuda => Box::new(Cuda::new(0, variance, Level::Auto)?),
        EngineName::CudaGraph => Box::new(Cuda::new(0, variance, Level::Graph)?),
        EngineName::CudaPersistent => Box::new(Cuda::new(0, variance, Level::Persistent)?),
        EngineName::CudaCluster => Box::new(Cuda::new(0, variance, Level::Cluster)?),
    };
    engine.set_parameters(parameters);
    Ok(engine)
}

fn not_lenet(name: EngineName, network: &Network) -> Error {
    Error::BadArgument {
        problem: format!(
            "engine {} is made for LeNet with ten classes, one eps and pixels as shares of white; the network is {}",
            name.name(),
            network.name()
        ),
        remedy: "take --engine cpu, or --engine auto, which finds it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parameters::Variance;
    use crate::network::shipped;

    #[test]
    fn auto_is_the_first_that_takes_the_network() {
        let engine =
            |name, network: &str| create(name, &Parameters::zero(&shipped::get(network).unwrap(), Variance::Biased));
        assert_eq!(engine(EngineName::Auto, "lenet").unwrap().name(), AUTO.name());
        assert_eq!(engine(EngineName::Auto, "small28").unwrap().name(), AUTO.name());
        let refused = engine(EngineName::Cuda, "small28").err().unwrap();
        assert!(refused.to_string().contains("the network is small28; take --engine cpu"), "{refused}");
    }

    #[test]
    fn a_run_names_its_engine() {
        assert_eq!(EngineName::of_run("reference"), Some(EngineName::Reference));
        assert_eq!(EngineName::of_run("cuda-graph"), Some(EngineName::CudaGraph));
        assert_eq!(EngineName::of_run("auto"), None);
    }
}
