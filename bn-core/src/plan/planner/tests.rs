//! Which families are chosen, by cost and within budgets.

use super::*;
use crate::network::{Activation, Conv2d, Node, Op, Pads, Preprocessing, Shape, chain};

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

/// Convolutions of 3x3 windows one after the other, each of which two families compute.
fn convolutions() -> [Node; 6] {
    let conv = |channels| Op::Conv2d(Conv2d { pads: Pads::all(1), ..Conv2d::new(channels, 3) });
    chain([conv(16), conv(24), conv(8), conv(32), Op::GlobalAvgPool, Op::Linear { outputs: 2, bias: true }])
}

const INPUT: Shape = Shape::new(3, 9, 9);

fn network<'a>(nodes: &'a [Node]) -> Network<'a> {
    Network { topology: Topology { input: INPUT, nodes }, preprocessing: Preprocessing::NONE, classes: "" }
}

fn families(steps: &[Step]) -> Vec<Family> {
    steps.iter().filter_map(|step| Family::of_number(step.family)).collect()
}

fn best(nodes: &[Node], goal: Goal) -> Result<Vec<Step>, NoPlan> {
    let steps = plan(&network(nodes), &goal);
    assert_eq!(steps, plan(&network(nodes), &goal));
    steps
}

/// Instructions of all layers, bytes of the file, bytes of the arena.
fn figures_of(nodes: &[Node], steps: &[Step], core: Core) -> [usize; 3] {
    let network = network(nodes);
    let ends = steps.iter().map(|step| {
        let shapes = Family::of_number(step.family).unwrap().takes(&network.topology, step.first.into()).unwrap();
        (step.output as usize + shapes.output).max(step.scratch as usize + shapes.scratch)
    });
    let cost = |step: &Step| {
        let family = Family::of_number(step.family).unwrap();
        family.layer(&network.topology, step.first.into()).unwrap().kernel.cost(core)
    };
    [steps.iter().map(cost).sum(), flash_bytes(&network, steps), WORD * ends.max().unwrap()]
}

/// Every choice between the two families of each of the four convolutions.
fn all_plans(nodes: &[Node]) -> Vec<Vec<Step>> {
    let of = |choice: usize| {
        let conv = |at: usize| if choice >> at & 1 == 0 { Family::Conv } else { Family::Winograd3 };
        let families = [conv(0), conv(1), conv(2), conv(3), Family::MeanPool, Family::Conv];
        plan_by(&network(nodes).topology, &families).unwrap()
    };
    (0..16).map(of).collect()
}

#[test]
fn a_plan_by_its_own_families_is_that_plan() {
    let nodes = nodes(8);
    let steps = best(&nodes, Goal::default()).unwrap();
    let own = families(&steps);
    assert_eq!(own, [Family::Winograd3, Family::Depthwise3, Family::MeanPool, Family::Conv]);
    assert_eq!(plan_by(&network(&nodes).topology, &own), Ok(steps));
}

#[test]
fn a_family_stays_where_another_would_be_chosen() {
    let nodes = nodes(8);
    let told = [Family::Conv, Family::Depthwise, Family::MeanPool, Family::Conv];
    assert_eq!(families(&plan_by(&network(&nodes).topology, &told).unwrap()), told);
}

#[test]
fn families_that_do_not_fit_are_refused_with_the_node() {
    let nodes = nodes(8);
    let topology = network(&nodes).topology;
    let told = [Family::Conv, Family::Depthwise, Family::MeanPool, Family::Conv];
    assert_eq!(plan_by(&topology, &told[..3]), Err(4));
    assert_eq!(plan_by(&topology, &[Family::Conv, Family::Add]), Err(2));
    assert_eq!(plan_by(&topology, &[]), Err(0));
}

/// Of all plans none that keeps to the budgets is faster.
#[test]
fn within_budgets_the_fastest_plan_is_chosen() {
    let nodes = convolutions();
    let all = all_plans(&nodes);
    for core in [Core::M4, Core::M3, Core::M0] {
        let figures: Vec<[usize; 3]> = all.iter().map(|steps| figures_of(&nodes, steps, core)).collect();
        let of = |at: usize| figures.iter().map(move |figures| figures[at]);
        let budgets = |at: usize| of(at).map(Some).chain([None]).collect::<Vec<_>>();
        for (flash, ram) in budgets(1).into_iter().flat_map(|flash| budgets(2).into_iter().map(move |ram| (flash, ram)))
        {
            let fits = |[_, bytes, arena]: &&[usize; 3]| {
                flash.is_none_or(|most| *bytes <= most) && ram.is_none_or(|most| *arena <= most)
            };
            let fastest = figures.iter().filter(fits).map(|figures| figures[0]).min();
            let found = best(&nodes, Goal { core, flash, ram }).ok();
            let found = found.map(|steps| figures_of(&nodes, &steps, core));
            assert!(found.iter().all(|figures| fits(&figures)), "{core:?} {flash:?} {ram:?}: {found:?}");
            assert_eq!(found.map(|figures| figures[0]), fastest, "{core:?} {flash:?} {ram:?}");
        }
    }
}

#[test]
fn a_budget_that_is_too_small_says_the_least_and_the_layer() {
    let nodes = convolutions();
    let figures: Vec<[usize; 3]> = all_plans(&nodes).iter().map(|steps| figures_of(&nodes, steps, Core::M4)).collect();
    let least = |at: usize| figures.iter().map(|figures| figures[at]).min().unwrap();
    let flash = best(&nodes, Goal { flash: Some(least(1) - 1), ..Goal::default() }).unwrap_err();
    assert!(matches!(flash, NoPlan::Flash { least: bytes, first: 1, .. } if bytes == least(1)), "{flash:?}");
    let ram = best(&nodes, Goal { ram: Some(least(2) - 1), ..Goal::default() }).unwrap_err();
    assert!(matches!(ram, NoPlan::Ram { least: bytes, .. } if bytes == least(2)), "{ram:?}");
    assert!(best(&nodes, Goal { flash: Some(least(1)), ..Goal::default() }).is_ok());
    assert!(best(&nodes, Goal { ram: Some(least(2)), ..Goal::default() }).is_ok());
    // Nothing at all.
    assert!(matches!(
        best(&nodes, Goal { flash: Some(0), ram: Some(0), ..Goal::default() }),
        Err(NoPlan::Flash { .. })
    ));
}
