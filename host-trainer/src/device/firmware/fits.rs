//! Whether a board, or what an emulator models, can hold a network. No I/O.

use bn_core::file::WeightsFile;
use bn_core::lenet::Streams;
use clap::ValueEnum as _;

use super::{Build, Inputs};
use crate::device::board::Board;
use crate::device::boards::{self, Needs};
use crate::device::machine::Machine;
use crate::error::{Error, Result};

/// What a network takes of a board.
fn needs(file: &WeightsFile) -> Needs {
    Needs {
        model: file.model_bytes().len(),
        arena: 4 * file.arena_words(),
        input: file.network().topology.input.len(),
        outputs: file.outputs(),
        steps: file.steps().len(),
    }
}

/// Whether the firmware of a network can be built.
///
/// # Errors
/// [`Error::BadArgument`] that names what can hold it; for a small build of another network than LeNet.
pub(super) fn check(file: &WeightsFile, inputs: &Inputs<'_>) -> Result<()> {
    if inputs.build == Build::Small && Streams::of(file).is_none() {
        return Err(Error::BadArgument {
            problem: "the small build is LeNet's alone".into(),
            remedy: "leave out --small".into(),
        });
    }
    let needs = needs(file);
    // A WebAssembly module has no board.
    let fits = |feature: &str| boards::named(feature).is_none_or(|board| board.shares(&needs).is_some());
    let (name, feature) = match inputs.board {
        Some(board) => (board.name(), board.name()),
        None => (inputs.machine.name(), inputs.machine.board()),
    };
    let Some(board) = boards::named(feature).filter(|_| !fits(feature)) else { return Ok(()) };
    let (flag, others): (_, Vec<_>) = match inputs.board {
        Some(_) => ("--board", Board::value_variants().iter().map(|board| board.name()).filter(|n| fits(n)).collect()),
        None => {
            let machines = Machine::value_variants().iter().filter(|machine| fits(machine.board()));
            ("--machine", machines.map(|machine| machine.name()).collect())
        }
    };
    Err(Error::BadArgument {
        problem: format!(
            "{} takes {} bytes of RAM and {} of flash, {name} has {} and {}",
            file.texts().network.escape_debug(),
            needs.ram(),
            needs.flash(),
            board.ram,
            board.flash
        ),
        remedy: if others.is_empty() {
            format!("no {flag} is large enough; take a smaller network")
        } else {
            format!("it fits {flag} {}", others.join(", "))
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_and_board_has_its_memories() {
        for machine in Machine::value_variants().iter().filter(|machine| machine.counts()) {
            let board = boards::named(machine.board()).unwrap();
            assert!(board.has_core(machine.target()) && board.place != "board", "{machine}");
        }
        for board in Board::value_variants() {
            let memories = boards::named(board.name()).unwrap();
            assert!(memories.has_core(board.target()) && memories.place != "emulator", "{board:?}");
        }
    }
}
