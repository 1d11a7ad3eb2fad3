//! The trainer's one error type. Every message is one line that says what is wrong and what to do; every error knows the
//! exit code of the program.

use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, by who can mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file from outside is damaged, of the wrong kind, or does not fit. Exit code 2.
    #[error("{}: {problem}; {remedy}", path.display())]
    BadFile {
        /// The file, as the user named it.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// Arguments that contradict each other or name something that does not exist. Exit code 2.
    #[error("{problem}; {remedy}")]
    BadArgument {
        /// What is wrong.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// Something that the model's numbers forbid: an export that would lie. Exit code 2.
    #[error("refused: {problem}; {remedy}")]
    Refused {
        /// Why.
        problem: String,
        /// What the user can do.
        remedy: String,
    },
    /// A tool, target, device or data set is not there and could not be installed or fetched. Exit code 3.
    #[error("{what}; {remedy}")]
    Missing {
        /// What is missing, and what was tried.
        what: String,
        /// The exact command to type.
        remedy: String,
    },
    /// Training left the numbers behind. Exit code 4.
    #[error(
        "the loss is not finite at epoch {epoch}, step {step}; try a smaller --lr (it was {lr}), or another --seed"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Step within the epoch, from 1.
        step: usize,
        /// The learning rate that was used.
        lr: f64,
    },
    /// What two implementations promised to agree on differs: a bug of ours. Exit code 1.
    #[error("{problem}; please report this with the command and the files")]
    Disagreement {
        /// What differs, and where.
        problem: String,
    },
    /// A tool that was run failed. Exit code 1.
    #[error("{tool} failed: {problem}")]
    Tool {
        /// The tool's name.
        tool: String,
        /// Its last words.
        problem: String,
    },
    /// Ctrl-C; what was done is saved. Exit code 130.
    #[error("interrupted; {saved}")]
    Interrupted {
        /// Where the work so far lies and how to go on.
        saved: String,
    },
    /// A file of a run could not be written; what was saved before stands. Exit code 1.
    #[error("{problem}; {remedy}")]
    Unsaved {
        /// Which file, and what the system said.
        problem: String,
        /// How to go on.
        remedy: String,
    },
    /// The operating system refused a file operation. Exit code 1.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// The program's exit code for this error. 0 is success; 2 is also what a wrong command line gives.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Disagreement { .. } | Error::Tool { .. } | Error::Unsaved { .. } | Error::Io { .. } => 1,
            Error::BadFile { .. } | Error::BadArgument { .. } | Error::Refused { .. } => 2,
            Error::Missing { .. } => 3,
            Error::Diverged { .. } => 4,
            Error::Interrupted { .. } => 130,
        }
    }

    /// A [`Error::BadFile`]. The problem may quote the file: what is in it can neither break the line nor command a terminal.
    pub fn bad_file(path: impl AsRef<Path>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        let mut problem = problem.into();
        if problem.contains(char::is_control) {
            let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
            problem = problem.chars().map(escaped).collect();
        }
        Error::BadFile { path: path.as_ref().to_owned(), problem, remedy: remedy.into() }
    }

    /// The exporter's own output as a device reads it: a refusal there is a number that does not fit.
    pub(crate) fn untrusted(error: bn_core::FormatError) -> Self {
        let problem = format!("the device's parser says: {error}");
        Error::Refused { problem, remedy: "train again with a smaller --lr or another --seed".into() }
    }

    /// A [`Error::BadArgument`] that also says which data it is about.
    pub(crate) fn in_data(self, source: &str) -> Self {
        match self {
            Error::BadArgument { problem, remedy } => {
                Error::BadArgument { problem: format!("{source}: {problem}"), remedy }
            }
            other => other,
        }
    }

    /// An [`Error::Io`], for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Error::Io { action, path, source }
    }
}
