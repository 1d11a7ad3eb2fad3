//! The last two checkpoints of a run: `checkpoint.safetensors` and, before it, `checkpoint.previous.safetensors`. At every
//! moment one of them is whole, and a disk that damages one leaves the other. Touches these two files, and deletes what is
//! left of a run that is replaced.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::train::checkpoint::{Checkpoint, TrainingState};
use crate::train::claim::Claim;
use crate::train::recipe::Recipe;
use crate::train::run_dir::RunDir;

/// Writes a run's checkpoints.
#[derive(Debug)]
pub struct Saves {
    claim: Claim,
    /// What was written last, or read at the start: what is on the disk may have been damaged since.
    last: Option<Vec<u8>>,
}

/// A run that can be resumed.
#[derive(Debug)]
pub struct Saved {
    /// Where it goes on.
    pub checkpoint: Checkpoint,
    /// Why that is the previous checkpoint, where it is; one line for the user.
    pub notice: Option<String>,
    /// Of its directory.
    pub saves: Saves,
}

impl Saves {
    /// Of a new run; see [`Claim::new`].
    ///
    /// # Errors
    /// As [`Claim::new`].
    pub fn of_new_run(path: &Path, replace: bool) -> Result<Self> {
        Ok(Self { claim: Claim::new(path, replace)?, last: None })
    }

    /// Of the run that lies there, which no other process is training.
    ///
    /// # Errors
    /// As [`Claim::existing`]; [`Error::BadFile`] if neither checkpoint can be read, or the two are not of one run.
    pub fn open(path: &Path) -> Result<Saved> {
        let claim = Claim::existing(path)?;
        let (current, previous) = (claim.checkpoint(), claim.previous_checkpoint());
        let (checkpoint, bytes, notice) = match (read(&current), read(&previous)) {
            (Ok((checkpoint, bytes)), Ok((before, _))) => {
                check_one_run(&current, &checkpoint, &before)?;
                (checkpoint, bytes, None)
            }
            (Ok((checkpoint, bytes)), Err(_)) => (checkpoint, bytes, None),
            (Err(Error::BadFile { problem, .. }), Ok((checkpoint, bytes))) => {
                let name = previous.display();
                let notice = format!("{}: {problem}; going on from the one before it, {name}", current.display());
                (checkpoint, bytes, Some(notice))
            }
            (Err(Error::BadFile { path, problem, .. }), Err(Error::BadFile { problem: before, .. }))
                if previous.exists() =>
            {
                let problem = format!("{problem}; and {}: {before}", previous.display());
                let remedy = "take another copy of either, or start a new run";
                return Err(Error::bad_file(path, problem, remedy));
            }
            (Err(error), _) => return Err(error),
        };
        Ok(Saved { checkpoint, notice, saves: Self { claim, last: Some(bytes) } })
    }

    /// The run's directory.
    pub fn directory(&self) -> &RunDir {
        &self.claim
    }

    /// Whether there is something to go on from.
    pub fn any(&self) -> bool {
        self.last.is_some()
    }

    /// Writes a checkpoint; the one that was written before it becomes the previous one.
    ///
    /// # Errors
    /// [`Error::Refused`] if a value is not finite, [`Error::Io`]; what was written last then still stands.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let bytes = checkpoint.to_bytes()?;
        match &self.last {
            Some(last) => files::write(&self.claim.previous_checkpoint(), last)?,
            // Of a run that is being replaced; beside the new one's they would pass for its own.
            None => {
                for stale in [self.claim.previous_checkpoint(), self.claim.metrics(), self.claim.curves()] {
                    files::remove(&stale)?;
                }
            }
        }
        files::write(&self.claim.checkpoint(), &bytes)?;
        self.last = Some(bytes);
        Ok(())
    }
}

fn read(path: &Path) -> Result<(Checkpoint, Vec<u8>)> {
    let bytes = files::read(path, &files::CHECKPOINT)?;
    Ok((Checkpoint::from_bytes(path, &bytes)?, bytes))
}

/// Refuses a checkpoint that was put in the place of a run's own.
fn check_one_run(path: &Path, current: &Checkpoint, previous: &Checkpoint) -> Result<()> {
    // That a model was imported is said where training is resumed.
    let Some(current) = current.training() else { return Ok(()) };
    let difference = match previous.training() {
        Some(previous) => difference(current, previous),
        None => Some("the latter was imported".into()),
    };
    difference.map_or(Ok(()), |difference| {
        let problem = format!("it and checkpoint.previous.safetensors are not of one run: {difference}");
        Err(Error::bad_file(path, problem, "delete the one that was put there, or put the run's own back"))
    })
}

/// What two moments of one run cannot differ in. Its engine and its number of epochs may change when it is resumed.
fn difference(current: &TrainingState, previous: &TrainingState) -> Option<String> {
    if current.seed != previous.seed {
        return Some(format!("seeds {} and {}", current.seed, previous.seed));
    }
    let as_long = Recipe { epochs: previous.recipe.epochs, ..current.recipe.clone() };
    if as_long != previous.recipe {
        return Some(format!("recipes {} and {}", current.recipe.describe(), previous.recipe.describe()));
    }
    if (&current.dataset_digest, current.holdout) != (&previous.dataset_digest, previous.holdout) {
        return Some(format!("trained on {} and {}, or on other parts of it", current.dataset, previous.dataset));
    }
    let pairs = current.history.iter().zip(&previous.history);
    pairs.enumerate().find(|(_, (a, b))| a != b).map(|(i, _)| format!("other figures for epoch {}", i + 1))
}

#[cfg(test)]
mod tests;
