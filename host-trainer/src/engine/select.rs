//! Engines by their command-line names, and which of them this build has.

use super::Engine;
use super::cpu::Cpu;
use super::cuda::Cuda;
use super::reference::Reference;
use crate::error::{Error, Result};
use crate::parameters::Variance;

/// An engine by its command-line name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// The readable ndarray implementation, one thread: the oracle of the others
    Reference,
    /// Every core, every vector unit
    Cpu,
    /// The GPU engine, for NVIDIA GPUs
    Cuda,
    /// The fastest that this build and this machine have
    Auto,
}

/// What this build has, fastest first.
pub const AVAILABLE: [EngineName; 3] = [EngineName::Cuda, EngineName::Cpu, EngineName::Reference];

impl EngineName {
    /// The engine that trained a run, by the name in its checkpoint.
    pub fn of_run(name: &str) -> Option<Self> {
        [EngineName::Reference, EngineName::Cpu, EngineName::Cuda].into_iter().find(|e| e.name() == name)
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            EngineName::Reference => "reference",
            EngineName::Cpu => "cpu",
            EngineName::Cuda => "cuda",
            EngineName::Auto => "auto",
        }
    }
}

/// An engine with an untrained model drawn from `seed`.
///
/// # Errors
/// [`Error::Missing`] if this machine has no such device, which `auto` answers with the next engine; [`Error::Tool`] if the
/// device refuses.
pub fn create(name: EngineName, seed: u64, variance: Variance) -> Result<Box<dyn Engine>> {
    match name {
        EngineName::Reference => Ok(Box::new(Reference::<f32>::new(seed, variance))),
        EngineName::Cpu => Ok(Box::new(Cpu::new(seed, variance, None))),
        EngineName::Cuda => Ok(Box::new(Cuda::new(seed, variance)?)),
        EngineName::Auto => match create(EngineName::Cuda, seed, variance) {
            Err(Error::Missing { .. }) => create(EngineName::Cpu, seed, variance),
            engine => engine,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_the_best_there_is() {
        let engine = create(EngineName::Auto, 0, Variance::Biased).unwrap();
        let best = AVAILABLE.into_iter().find_map(|name| create(name, 0, Variance::Biased).ok()).unwrap();
        assert_eq!(engine.name(), best.name());
    }

    #[test]
    fn a_run_names_its_engine() {
        assert_eq!(EngineName::of_run("reference"), Some(EngineName::Reference));
        assert_eq!(EngineName::of_run("auto"), None);
    }
}
