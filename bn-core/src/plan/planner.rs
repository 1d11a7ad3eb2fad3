//! Chooses a family for each layer (feature `build`).

use std::vec::Vec;

use super::{Family, Form, NONE, Shapes, Step, arena};
use crate::network::{Topology, Value};

/// A plan for a network.
///
/// # Errors
/// The position of the first node that no family computes.
pub fn plan(topology: &Topology<'_>) -> Result<Vec<Step>, usize> {
    choose(topology, None)
}

/// A plan with these families, step by step: those of a plan of the same nodes with other numbers of channels, or other weights.
///
/// # Errors
/// The position of the first node that its family does not compute.
pub fn plan_by(topology: &Topology<'_>, families: &[Family]) -> Result<Vec<Step>, usize> {
    choose(topology, Some(families))
}

fn choose(topology: &Topology<'_>, families: Option<&[Family]>) -> Result<Vec<Step>, usize> {
    // What quantises for LeNet's families knows LeNet alone.
    let is_lenet = topology.digest() == crate::lenet::NETWORK.topology.digest();
    let mut search = Search { topology, families, is_lenet, chosen: Vec::new(), furthest: 0 };
    if !search.from(0) {
        return Err(search.furthest);
    }
    let chosen = search.chosen;
    let places = arena::places(topology, &chosen);
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
    /// Those to take, where they are given.
    families: Option<&'a [Family]>,
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
        let (is_lenet, at) = (self.is_lenet, self.chosen.len());
        let told = self.families.map(|families| families.get(at));
        let may = |family: &Family| told.is_none_or(|told| told == Some(family)) && (is_lenet || family.is_general());
        for family in Family::ALL.into_iter().filter(may) {
            let Some(shapes) = family.takes(self.topology, first).filter(|shapes| self.meets(first, shapes)) else {
                continue;
            };
            if told.is_none() && !self.pays(family, first) {
                continue;
            }
            self.chosen.push((family, first, shapes));
            if self.from(shapes.last + 1) {
                return true;
            }
            self.chosen.pop();
        }
        false
    }

    /// Whether a family that is another way to compute the same takes fewer instructions.
    fn pays(&self, family: Family, first: usize) -> bool {
        let plain = match family {
            Family::Winograd3Add | Family::PointwiseAdd => Family::ConvAdd,
            Family::Winograd3 | Family::Pointwise | Family::Polyphase3 => Family::Conv,
            _ => return true,
        };
        let cost = |family: Family| Some(family.layer(self.topology, first)?.kernel.cost());
        cost(family) < cost(plain)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, Conv2d, Node, Op, Shape, chain};

    /// Convolutions of so many channels, a depthwise one among them.
    fn nodes(channels: usize) -> [Node; 5] {
        chain([
            Op::Conv2d(Conv2d::new(channels, 3)),
            Op::Activation(Activation::Relu),
            Op::Conv2d(Conv2d::new(channels, 3).depthwise(channels)),
            Op::GlobalAvgPool,
            Op::Linear { outputs: 2, bias: true },
        ])
    }

    fn families(steps: &[Step]) -> Vec<Option<Family>> {
        steps.iter().map(|step| Family::of_number(step.family)).collect()
    }

    #[test]
    fn a_plan_by_its_own_families_is_that_plan() {
        let nodes = nodes(8);
        let topology = Topology { input: Shape::new(3, 9, 9), nodes: &nodes };
        let steps = plan(&topology).unwrap();
        let own: Vec<Family> = families(&steps).into_iter().flatten().collect();
        assert_eq!(own, [Family::Winograd3, Family::Depthwise3, Family::MeanPool, Family::Conv]);
        assert_eq!(plan_by(&topology, &own), Ok(steps));
    }

    #[test]
    fn a_family_stays_where_another_would_be_chosen() {
        // Over one channel a depthwise convolution is one as any other.
        let nodes = nodes(1);
        let topology = Topology { input: Shape::new(3, 9, 9), nodes: &nodes };
        assert_eq!(families(&plan(&topology).unwrap())[1], Some(Family::Conv));
        let told = [Family::Conv, Family::Depthwise, Family::MeanPool, Family::Conv];
        assert_eq!(families(&plan_by(&topology, &told).unwrap()), told.map(Some));
    }

    #[test]
    fn families_that_do_not_fit_are_refused_with_the_node() {
        let nodes = nodes(8);
        let topology = Topology { input: Shape::new(3, 9, 9), nodes: &nodes };
        let told = [Family::Conv, Family::Depthwise, Family::MeanPool, Family::Conv];
        assert_eq!(plan_by(&topology, &told[..3]), Err(4));
        assert_eq!(plan_by(&topology, &[Family::Conv, Family::Add]), Err(2));
        assert_eq!(plan_by(&topology, &[]), Err(0));
    }
}
