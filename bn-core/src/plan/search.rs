//! The fastest steps of a network within bounds (feature `build`).
//!
//! A path is the steps of the nodes before a position. Of the paths to a position those stay that no other beats, in instructions
//! and, where flash is bounded, in bytes too: so the best path of all ends among those to the end. What a step has in memory while
//! it runs does not depend on how other layers are computed, so a bound on that leaves steps out.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::arena::Chosen;
use super::{Family, Form, Shapes, Step, TABLE_WORDS, WORD};
use crate::kernels::Core;
use crate::network::{Topology, Value};
use crate::quant::Scale;

/// Bytes that a step takes in a file besides its stream and its table: its record, its scale, its golden checksum.
pub(super) const STEP_BYTES: usize = size_of::<Step>() + size_of::<Scale>() + WORD;

/// What there is to choose from.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) topology: &'a Topology<'a>,
    /// Whose instructions count.
    pub(super) core: Core,
    /// The family of each step, where that is given.
    pub(super) families: Option<&'a [Family]>,
    is_lenet: bool,
}

/// What the steps must keep to.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of flash of all of them.
    pub(super) flash: usize,
    /// Words of memory of each, of all maps that are there while it runs.
    pub(super) memory: usize,
}

impl Bounds {
    /// Nothing.
    pub(super) const NONE: Self = Self { flash: usize::MAX, memory: usize::MAX };
}

/// Steps from the first node to a position.
struct Path {
    steps: Vec<Chosen>,
    /// About how many instructions they take.
    cost: usize,
    /// Bytes of flash.
    flash: usize,
}

/// The most paths that are looked at in order.
const MOST_PATHS: usize = 20_000;

/// In what order paths are better.
type Key = fn(&Path) -> [usize; 2];

impl<'a> Search<'a> {
    pub(super) fn new(topology: &'a Topology<'a>, core: Core, families: Option<&'a [Family]>) -> Self {
        let is_lenet = topology.digest() == crate::lenet::NETWORK.topology.digest();
        Self { topology, core, families, is_lenet }
    }

    /// The steps that take the fewest instructions.
    ///
    /// # Errors
    /// The position of the first node that no step within the bounds computes.
    pub(super) fn fastest(&self, bounds: Bounds) -> Result<Vec<Chosen>, usize> {
        self.first_by(|path| [path.cost, path.flash], bounds)
    }

    /// The steps that take the least flash.
    ///
    /// # Errors
    /// As [`fastest`](Self::fastest).
    pub(super) fn smallest(&self) -> Result<Vec<Chosen>, usize> {
        self.first_by(|path| [path.flash, path.cost], Bounds::NONE)
    }

    fn first_by(&self, key: Key, bounds: Bounds) -> Result<Vec<Chosen>, usize> {
        let nodes = self.topology.nodes.len();
        let mut paths: Vec<Vec<Path>> = (0..=nodes).map(|_| Vec::new()).collect();
        paths[0].push(Path { steps: Vec::new(), cost: 0, flash: 0 });
        let mut furthest = 0;
        for first in 0..nodes {
            for path in core::mem::take(&mut paths[first]) {
                furthest = first;
                for (family, shapes) in self.steps(&path, first, bounds) {
                    let next = self.with(&path, (family, first, shapes));
                    if next.flash <= bounds.flash {
                        keep(&mut paths[shapes.last + 1], next, key, bounds.flash < usize::MAX);
                    }
                }
            }
        }
        let last = core::mem::take(&mut paths[nodes]).into_iter();
        last.min_by_key(key).map(|path| path.steps).ok_or(furthest)
    }

    /// All steps of the network within bounds, the fastest first: paths go on in the order of what they take and what the rest takes
    /// at least.
    pub(super) fn in_order(&self, bounds: Bounds) -> impl Iterator<Item = Vec<Chosen>> {
        let (nodes, rest) = (self.topology.nodes.len(), self.least_from());
        let start = Path { steps: Vec::new(), cost: 0, flash: 0 };
        // Of paths that are equally good the one that was found first.
        let (mut paths, mut serial) = (BTreeMap::from([([rest[0], 0], (0, start))]), 0);
        core::iter::from_fn(move || {
            while let Some((_, (first, path))) = paths.pop_first() {
                if first == nodes {
                    return Some(path.steps);
                }
                for (family, shapes) in self.steps(&path, first, bounds) {
                    let next = self.with(&path, (family, first, shapes));
                    let at = shapes.last + 1;
                    if next.flash <= bounds.flash && serial < MOST_PATHS {
                        serial += 1;
                        paths.insert([next.cost.saturating_add(rest[at]), serial], (at, next));
                    }
                }
            }
            None
        })
    }

    /// By position the least that its node and those behind it take.
    fn least_from(&self) -> Vec<usize> {
        let nodes = self.topology.nodes.len();
        let mut least = std::vec![usize::MAX; nodes + 1];
        least[nodes] = 0;
        for first in (0..nodes).rev() {
            let families = Family::ALL.into_iter().filter(|family| family.is_general() != self.is_lenet);
            let takes = families.filter_map(|family| Some((family, family.takes(self.topology, first)?)));
            let costs = takes.map(|(family, shapes)| self.cost(family, first).saturating_add(least[shapes.last + 1]));
            least[first] = costs.min().unwrap_or(usize::MAX);
        }
        least
    }

    /// About how many instructions a step takes.
    fn cost(&self, family: Family, first: usize) -> usize {
        family.layer(self.topology, first).map_or(0, |layer| layer.kernel.cost(self.core))
    }

    /// Steps that can follow a path, the more special families first.
    fn steps(&self, path: &Path, first: usize, bounds: Bounds) -> impl Iterator<Item = (Family, Shapes)> {
        // What quantises for LeNet's families knows LeNet alone, and for it no other.
        let is_lenet = self.is_lenet;
        let told = self.families.map(|families| families.get(path.steps.len()).copied());
        let may = move |family: &Family| match told {
            Some(told) => told == Some(*family) && (is_lenet || family.is_general()),
            None => is_lenet != family.is_general(),
        };
        let takes = |family: Family| Some((family, family.takes(self.topology, first)?));
        let fits = |(_, shapes): &(Family, Shapes)| {
            self.meets(path, first, shapes) && memory(self.topology, &path.steps, first, shapes) <= bounds.memory
        };
        Family::ALL.into_iter().filter(may).filter_map(takes).filter(fits).collect::<Vec<_>>().into_iter()
    }

    /// Whether what a step reads has the form that it takes.
    fn meets(&self, path: &Path, first: usize, shapes: &Shapes) -> bool {
        let gives = |node: usize, form, words| {
            path.steps.iter().any(|(.., from)| (from.last, from.forms[1], from.output) == (node, form, words))
        };
        shapes.terms(self.topology, first).into_iter().flatten().all(|(term, form, words)| match term {
            Value::Input => form == Form::Bytes,
            Value::Node(node) => gives(node, form, words),
        })
    }

    /// A path with one step more.
    fn with(&self, path: &Path, step: Chosen) -> Path {
        let (family, first, _) = step;
        Path {
            steps: path.steps.iter().copied().chain([step]).collect(),
            cost: path.cost.saturating_add(self.cost(family, first)),
            flash: path.flash + flash(&path.steps, &step),
        }
    }
}

/// Adds a path to others to the same position, unless one of them beats it; without those that it beats.
fn keep(paths: &mut Vec<Path>, path: Path, key: Key, flash_counts: bool) {
    let beats = |one: &Path, other: &Path| key(one) <= key(other) && (!flash_counts || one.flash <= other.flash);
    if !paths.iter().any(|other| beats(other, &path)) {
        paths.retain(|other| !beats(&path, other));
        paths.push(path);
    }
}

/// Bytes of flash that a step takes behind others.
pub(super) fn flash(before: &[Chosen], (family, _, shapes): &Chosen) -> usize {
    let is_there = shares_table(*family) && before.iter().any(|(before, ..)| before == family);
    let table = if shapes.table && !is_there { WORD * TABLE_WORDS } else { 0 };
    WORD * shapes.stream + table + STEP_BYTES
}

/// Whether all steps of a family read the same table.
pub(super) fn shares_table(family: Family) -> bool {
    // Sigmoids of one step.
    family == Family::LinearSigmoid
}

/// Words that must be in memory while a step runs, behind others: no place for each of them can be better.
pub(super) fn memory(topology: &Topology<'_>, before: &[Chosen], first: usize, shapes: &Shapes) -> usize {
    let readers = |from: &Shapes| topology.readers(Value::Node(from.last)).filter(|&reader| reader >= first);
    let there = before.iter().filter(|(.., from)| readers(from).next().is_some());
    // Read by this step for the last time.
    let ends = |value: Value| {
        let last = before.iter().find(|(.., from)| value == Value::Node(from.last));
        last.is_some_and(|(.., from)| readers(from).all(|reader| reader <= shapes.last))
    };
    let input = topology.nodes[first].input;
    let replaces_other = shapes.other_in_place && shapes.other.is_some_and(ends);
    let shared = if replaces_other {
        shapes.output
    } else if shapes.in_place && ends(input) {
        shapes.input.min(shapes.output)
    } else {
        0
    };
    there.map(|(.., from)| from.output).sum::<usize>() + shapes.output + shapes.scratch - shared
}
