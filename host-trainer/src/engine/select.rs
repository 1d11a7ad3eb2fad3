//! Engines by their command-line names, and which of them this build has.

use super::Engine;
use super::reference::Reference;
use crate::error::{Error, Result};
use crate::parameters::Variance;

/// An engine by its command-line name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineName {
    /// The readable ndarray implementation, one thread: the oracle of the others
    Reference,
    /// The fast CPU engine; not in this build
    Cpu,
    /// The GPU engine; not in this build
    Cuda,
    /// The fastest that this build and this machine have
    Auto,
}

/// What this build has, fastest first.
pub const AVAILABLE: [EngineName; 1] = [EngineName::Reference];

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
/// [`Error::BadArgument`] if this build has no such engine.
pub fn create(name: EngineName, seed: u64, variance: Variance) -> Result<Box<dyn Engine>> {
    match name {
        EngineName::Reference | EngineName::Auto => Ok(Box::new(Reference::<f32>::new(seed, variance))),
        EngineName::Cpu | EngineName::Cuda => {
            let have: Vec<_> = AVAILABLE.iter().map(|e| e.name()).collect();
            Err(Error::BadArgument {
                problem: format!("this build has no {} engine", name.name()),
                remedy: format!("choose --engine {}, or auto for the best of them", have.join(", ")),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_the_best_there_is_and_the_rest_says_what_there_is() {
        let engine = create(EngineName::Auto, 0, Variance::Biased).unwrap();
        assert_eq!(engine.name(), AVAILABLE[0].name());
        let error = create(EngineName::Cuda, 0, Variance::Biased).err().unwrap();
        assert_eq!(
            error.to_string(),
            "this build has no cuda engine; choose --engine reference, or auto for the best of them"
        );
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_run_names_its_engine() {
        assert_eq!(EngineName::of_run("reference"), Some(EngineName::Reference));
        assert_eq!(EngineName::of_run("auto"), None);
    }
}
