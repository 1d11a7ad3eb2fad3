//! Chooses a family for each layer and a place in the arena for each tensor (feature `build`).

use std::vec::Vec;

use super::{Family, Form, NONE, Shapes, Step};
use crate::network::{Topology, Value};

/// A plan for a network.
///
/// # Errors
/// The position of the first node that no family computes.
pub fn plan(topology: &Topology<'_>) -> Result<Vec<Step>, usize> {
    // What quantises for LeNet's families knows LeNet alone.
    let is_lenet = topology.digest() == crate::lenet::NETWORK.topology.digest();
    let mut search = Search { topology, is_lenet, chosen: Vec::new(), furthest: 0 };
    if !search.from(0) {
        return Err(search.furthest);
    }
    let chosen = search.chosen;
    let places = places(topology, &chosen);
    let (mut tables, mut linear_table) = (0, None);
    let steps = chosen.iter().zip(&places).map(|(&(family, first, shapes), &(output, scratch))| {
        let mut new = || {
            tables += 1;
            tables - 1
        };
        let table = match family {
            _ if !shapes.table => Step::NO_TABLE,
            // All of them have tables of one step.
            Family::LinearSigmoid => *linear_table.get_or_insert_with(new),
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
    Ok(steps.collect())
}

/// The first families that fit together, the more special ones first.
struct Search<'a> {
    topology: &'a Topology<'a>,
    is_lenet: bool,
    chosen: Vec<(Family, usize, Shapes)>,
    /// The last node that something was sought for.
    furthest: usize,
}

impl Search<'_> {
    /// Chooses steps for the nodes from `first` on.
    fn from(&mut self, first: usize) -> bool {
        if first == self.topology.nodes.len() {
            return true;
        }
        self.furthest = self.furthest.max(first);
        let is_lenet = self.is_lenet;
        for family in Family::ALL.into_iter().filter(|family| is_lenet || family.is_general()) {
            let Some(shapes) = family.takes(self.topology, first).filter(|shapes| self.meets(first, shapes)) else {
                continue;
            };
            self.chosen.push((family, first, shapes));
            if self.from(shapes.last + 1) {
                return true;
            }
            self.chosen.pop();
        }
        false
    }

    /// Whether what a step reads has the form that it takes.
    fn meets(&self, first: usize, shapes: &Shapes) -> bool {
        let gives = |node: usize, form, words| {
            self.chosen.iter().any(|(.., from)| (from.last, from.forms[1], from.output) == (node, form, words))
        };
        shapes.terms(self.topology, first).into_iter().flatten().all(|(term, form, words)| match term {
            Value::Input => form == Form::Bytes,
            Value::Node(node) => gives(node, form, words),
        })
    }
}

/// A tensor or what a step works in, and the steps from whose start to whose end it must stay.
struct Piece {
    words: usize,
    from: usize,
    to: usize,
}

/// Where each step's output and scratch lie: the largest pieces first, each at the lowest place where it meets no piece that is
/// there at the same time.
fn places(topology: &Topology<'_>, chosen: &[(Family, usize, Shapes)]) -> Vec<(u32, u32)> {
    let last_reader = |at: usize| {
        let readers = topology.readers(Value::Node(chosen[at].2.last));
        let step_of = |node: usize| chosen.iter().position(|(.., shapes)| node <= shapes.last);
        readers.filter_map(step_of).max().unwrap_or(at)
    };
    let outputs = (0..chosen.len()).map(|at| Piece { words: chosen[at].2.output, from: at, to: last_reader(at) });
    let scratches = (0..chosen.len()).map(|at| Piece { words: chosen[at].2.scratch, from: at, to: at });
    let pieces: Vec<Piece> = outputs.chain(scratches).collect();
    let mut order: Vec<usize> = (0..pieces.len()).filter(|&piece| pieces[piece].words > 0).collect();
    order.sort_by_key(|&piece| core::cmp::Reverse(pieces[piece].words));
    let mut places: Vec<Option<usize>> = std::vec![None; pieces.len()];
    for piece in order {
        let Piece { words, from, to } = pieces[piece];
        let meets = |other: usize| places[other].filter(|_| pieces[other].from <= to && from <= pieces[other].to);
        let mut taken: Vec<(usize, usize)> =
            (0..pieces.len()).filter_map(|other| Some((meets(other)?, pieces[other].words))).collect();
        taken.sort_unstable();
        let mut place = 0;
        for (start, length) in taken {
            if place + words <= start {
                break;
            }
            place = place.max(start + length);
        }
        places[piece] = Some(place);
    }
    let at = |piece: usize| places[piece].unwrap_or(0) as u32;
    (0..chosen.len()).map(|step| (at(step), at(chosen.len() + step))).collect()
}
