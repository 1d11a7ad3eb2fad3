//! Chooses a family for each layer, within budgets of flash and of memory (feature `build`).

use core::fmt;
use std::vec::Vec;

use super::arena::{self, Chosen};
use super::search::{Bounds, STEP_BYTES, Search, flash, memory, shares_table};
use super::{Family, NONE, Step, TABLE_WORDS, WORD};
use crate::format::HEADER_BYTES;
use crate::kernels::Core;
use crate::network::{Network, Topology, Value};
use crate::quant::Scale;

/// What a plan is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Goal {
    /// Whose instructions count.
    pub core: Core,
    /// Most bytes of what a firmware links of the file; code comes on top.
    pub flash: Option<usize>,
    /// Most bytes of the arena; the input and the stack come on top.
    pub ram: Option<usize>,
}

/// Why there is no plan. Layers are named by the position of their first node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPlan {
    /// No family computes that node.
    Node(usize),
    /// The budget of flash is too small.
    Flash {
        /// Bytes of the smallest plan.
        least: usize,
        /// The layer that takes most of them.
        first: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// The budget of memory is too small, within that of flash if there is one.
    Ram {
        /// Bytes of the smallest arena.
        least: usize,
        /// The layer that it is so large for.
        first: usize,
    },
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPlan::Node(node) => write!(f, "no family computes node {node}"),
            NoPlan::Flash { least, first, bytes } => {
                write!(f, "it takes at least {least} bytes of flash, of which the layer of node {first} takes {bytes}")
            }
            NoPlan::Ram { least, first } => {
                write!(f, "it takes at least {least} bytes of memory, for the layer of node {first}")
            }
        }
    }
}

impl core::error::Error for NoPlan {}

/// The fastest plan of a network. The same network and goal give the same plan.
///
/// # Errors
/// [`NoPlan`] with what stands against one.
pub fn plan(network: &Network<'_>, goal: &Goal) -> Result<Vec<Step>, NoPlan> {
    let topology = &network.topology;
    let search = Search::new(topology, goal.core, None);
    let chosen = match goal {
        Goal { flash: None, ram: None, .. } => search.fastest(Bounds::NONE).map_err(NoPlan::Node)?,
        _ => within(&search, network, goal)?,
    };
    Ok(placed(topology, &chosen))
}

/// A plan with these families, step by step: those of a plan of the same nodes with other numbers of channels, or other weights.
///
/// # Errors
/// The position of the first node that its family does not compute.
pub fn plan_by(topology: &Topology<'_>, families: &[Family]) -> Result<Vec<Step>, usize> {
    let search = Search::new(topology, Core::default(), Some(families));
    Ok(placed(topology, &search.fastest(Bounds::NONE)?))
}

/// Bytes that a firmware links of the file of a plan: all but the names.
pub fn flash_bytes(network: &Network<'_>, steps: &[Step]) -> usize {
    let tables = steps.iter().filter(|step| step.table != Step::NO_TABLE).map(|step| 1 + usize::from(step.table)).max();
    let streams = steps.iter().map(|step| WORD * step.stream as usize + STEP_BYTES).sum::<usize>();
    fixed(network) + streams + WORD * TABLE_WORDS * tables.unwrap_or(0)
}

/// Bytes of a file that no plan changes: header, description, scale of the input.
fn fixed(network: &Network<'_>) -> usize {
    let mut bytes = HEADER_BYTES + size_of::<Scale>();
    network.encode(&mut |word| bytes += word.len());
    bytes
}

/// The most plans whose arena is tried, the fastest first.
const MOST_TRIED: usize = 500;

/// The fastest steps within budgets. Of so many plans, the fastest first, that whose arena fits; behind them with fewer and fewer words
/// of memory for each step, until all of them together fit. Where the places of tensors leave gaps, an arena is larger than any step
/// needs; of a large network a faster plan with fewer gaps may then be missed.
fn within(search: &Search<'_>, network: &Network<'_>, goal: &Goal) -> Result<Vec<Chosen>, NoPlan> {
    let flash = goal.flash.unwrap_or(usize::MAX);
    let smallest = search.smallest().map_err(NoPlan::Node)?;
    let least = flash_bytes(network, &placed(search.topology, &smallest));
    if least > flash {
        return Err(flash_is_short(least, &smallest));
    }
    let mut bounds =
        Bounds { flash: if goal.flash.is_some() { flash - fixed(network) } else { flash }, ..Bounds::NONE };
    let bytes = |chosen: &[Chosen]| WORD * arena_words(chosen, &arena::places(search.topology, chosen));
    if let Some(ram) = goal.ram {
        let within = Bounds { memory: ram / WORD, ..bounds };
        if let Some(chosen) = search.in_order(within).take(MOST_TRIED).find(|chosen| bytes(chosen) <= ram) {
            return Ok(chosen);
        }
    }
    let mut least: Option<(usize, usize)> = None;
    while let Ok(chosen) = search.fastest(bounds) {
        let bytes = bytes(&chosen);
        if goal.ram.is_none_or(|ram| bytes <= ram) {
            return Ok(chosen);
        }
        let (most, first) = neediest(search.topology, &chosen);
        if least.is_none_or(|(least, _)| bytes < least) {
            least = Some((bytes, first));
        }
        bounds.memory = most - 1;
    }
    let (least, first) = least.unwrap_or((0, 0));
    Err(NoPlan::Ram { least, first })
}

fn flash_is_short(least: usize, smallest: &[Chosen]) -> NoPlan {
    let bytes = (0..smallest.len()).map(|at| (flash(&smallest[..at], &smallest[at]), smallest[at].1));
    // The first of the largest.
    let (bytes, first) = bytes.rev().max_by_key(|(bytes, _)| *bytes).unwrap_or((0, 0));
    NoPlan::Flash { least, first, bytes }
}

/// The words that the neediest step needs, and its first node.
fn neediest(topology: &Topology<'_>, chosen: &[Chosen]) -> (usize, usize) {
    let needs = chosen
        .iter()
        .enumerate()
        .map(|(at, (_, first, shapes))| (memory(topology, &chosen[..at], *first, shapes), *first));
    needs.rev().max_by_key(|(words, _)| *words).unwrap_or((0, 0))
}

/// Words of the arena.
fn arena_words(chosen: &[Chosen], places: &[(u32, u32)]) -> usize {
    let ends = chosen.iter().zip(places).map(|((.., shapes), &(output, scratch))| {
        (output as usize + shapes.output).max(scratch as usize + shapes.scratch)
    });
    ends.max().unwrap_or(0)
}

/// Steps with a place for each tensor.
fn placed(topology: &Topology<'_>, chosen: &[Chosen]) -> Vec<Step> {
    let places = arena::places(topology, chosen);
    let (mut tables, mut shared) = (0, None);
    let steps = chosen.iter().zip(&places).map(|(&(family, first, shapes), &(output, scratch))| {
        let mut new = || {
            tables += 1;
            tables - 1
        };
        let table = match family {
            _ if !shapes.table => Step::NO_TABLE,
            _ if shares_table(family) => *shared.get_or_insert_with(new),
            _ => new(),
        };
        let from = chosen.iter().position(|(.., from)| topology.nodes[first].input == Value::Node(from.last));
        Step {
            family: family.number(),
            table,
            first: first as u16,
            last: shapes.last as u16,
            input: from.map_or(NONE, |from| places[from].0),
            output,
            scratch,
            stream: shapes.stream as u32,
        }
    });
    steps.collect()
}

#[cfg(test)]
mod tests;
