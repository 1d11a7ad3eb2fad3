//! The teacher of a run: a checkpoint whose outputs the network learns, and what a run's own checkpoint keeps of it.

use std::path::Path;

use crate::engine::cpu::graph::GraphCpu;
use crate::engine::taught::Taught;
use crate::engine::{Engine, Task};
use crate::error::{Error, Result};
use crate::model::parameters::Parameters;
use crate::network::{Network, text};
use crate::train::checkpoint::{Checkpoint, Teaching};

/// A teacher, read.
pub struct Teacher {
    parameters: Parameters,
    teaching: Teaching,
}

impl Teacher {
    /// Reads a checkpoint as a teacher.
    ///
    /// # Errors
    /// What [`Checkpoint::read`] gives.
    pub fn open(path: &Path, temperature: f64, weight: f64) -> Result<Self> {
        let Checkpoint { parameters, .. } = Checkpoint::read(path)?;
        let place = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let teaching = Teaching { place, digest: digest(&parameters), temperature, weight };
        Ok(Self { parameters, teaching })
    }

    /// Reads a run's teacher again, from where it lay or from another place.
    ///
    /// # Errors
    /// What [`Checkpoint::read`] gives; [`Error::BadArgument`] if it is another teacher.
    pub fn reopen(teaching: &Teaching, place: Option<&Path>) -> Result<Self> {
        let place = place.unwrap_or(&teaching.place);
        let found = Self::open(place, teaching.temperature, teaching.weight)?;
        if found.teaching.digest != teaching.digest {
            return Err(Error::BadArgument {
                problem: format!("{} is not the teacher that this run was started with", place.display()),
                remedy: "name the same one with --teacher, or start a new run".into(),
            });
        }
        Ok(found)
    }

    /// Whether a network can learn from it.
    ///
    /// # Errors
    /// [`Error::BadArgument`] that says what does not fit.
    pub fn check(&self, student: &Network) -> Result<()> {
        let teacher = &self.parameters.network;
        let bad = |problem: String, remedy: &str| Err(Error::BadArgument { problem, remedy: remedy.into() });
        if Task::of(student) != Task::Classes || Task::of(teacher) != Task::Classes {
            return bad("a teacher's softened outputs are of classes".into(), "train without --teacher");
        }
        let shapes = |network: &Network| (network.input(), network.output().len());
        if shapes(teacher) != shapes(student) {
            let of = |network: &Network| {
                let (input, outputs) = shapes(network);
                format!("{} reads {input} and gives {outputs} outputs", network.name())
            };
            let problem = format!("the teacher {}, {}", of(teacher), of(student));
            return bad(problem, "take a teacher of the same inputs and classes");
        }
        let differ = teacher.class_names().zip(student.class_names()).find(|(theirs, ours)| theirs != ours);
        match differ {
            Some((theirs, ours)) => {
                bad(format!("the teacher's class {theirs} is {ours} here"), "take a teacher of the same classes")
            }
            None => Ok(()),
        }
    }

    /// What a run's checkpoint keeps of it.
    pub fn teaching(&self) -> &Teaching {
        &self.teaching
    }

    /// An engine that learns from it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn teach(self, student: Box<dyn Engine>) -> Result<Box<dyn Engine>> {
        self.check(&student.parameters().network)?;
        let Teaching { temperature, weight, .. } = self.teaching;
        Ok(Box::new(Taught { student, teacher: GraphCpu::of(&self.parameters, None), temperature, weight }))
    }
}

fn digest(parameters: &Parameters) -> String {
    let mut md5 = md5::Context::new();
    md5.consume(text::print(&parameters.network));
    parameters.tensors.iter().flatten().for_each(|&value| md5.consume((value as f32).to_le_bytes()));
    format!("{:x}", md5.finalize())
}
