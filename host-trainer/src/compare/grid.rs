//! The variants of a comparison: every combination of the values that were listed.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::chart::{COLOURS, DASHES};
use crate::data::Dataset;
use crate::engine::Fixed;
use crate::error::{Error, Result};
use crate::network::{Network, text};
use crate::train::recipe::Recipe;
use crate::train::{of_data, with_eps};

use super::{Last, Variant};

/// What may differ, each a list; one that is empty is the recipe's or the network's own value.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// The networks; at least one.
    pub networks: Vec<Arc<Network>>,
    /// Learning rates.
    pub lr: Vec<f64>,
    /// Batch sizes.
    pub batch_size: Vec<usize>,
    /// BatchNorm's momentum.
    pub bn_momentum: Vec<f64>,
    /// BatchNorm's eps.
    pub eps: Vec<f64>,
    /// What of BatchNorm is not trained.
    pub bn_fixed: Vec<Fixed>,
}

/// One variant before it is trained.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the values are of, in the order of the flags, with each value for programs and for people.
    values: Vec<(&'static str, Value, String)>,
    /// The network.
    pub network: Arc<Network>,
    /// How it is trained.
    pub recipe: Recipe,
}

/// Sets one value.
type Set<'a> = Box<dyn Fn(&mut Plan) -> Result<()> + 'a>;

/// A value for programs and for people, and what it sets.
type Choice<'a> = (Value, String, Set<'a>);

impl Lists {
    /// Every combination, and what differs between them.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: nothing or too much differs, a value is there twice, or it would change nothing.
    pub fn plans(&self, recipe: &Recipe) -> Result<(Vec<Plan>, Vec<String>)> {
        self.check()?;
        let factors = self.factors();
        let first = Plan { values: Vec::new(), network: self.networks[0].clone(), recipe: recipe.clone() };
        let mut plans = vec![first];
        for (name, choices) in &factors {
            let mut next = Vec::new();
            for plan in &plans {
                for (value, words, set) in choices {
                    let mut plan = plan.clone();
                    set(&mut plan)?;
                    if choices.len() > 1 {
                        plan.values.push((name, value.clone(), words.clone()));
                    }
                    next.push(plan);
                }
            }
            plans = next;
        }
        let counts: Vec<usize> = factors.iter().map(|(_, choices)| choices.len()).filter(|&n| n > 1).collect();
        if counts.is_empty() {
            return Err(bad("one training alone is no comparison", "give two values or more, as in --lr 0.1,1.0"));
        }
        looks(&counts)?;
        for plan in &plans {
            plan.recipe.check().map_err(|problem| bad(problem, "choose another value"))?;
        }
        let differ = factors.iter().filter(|(_, choices)| choices.len() > 1).map(|(name, _)| (*name).to_owned());
        Ok((plans, differ.collect()))
    }

    fn check(&self) -> Result<()> {
        let names: Vec<&str> = self.networks.iter().map(|network| network.name()).collect();
        let of_batch_norm = [self.bn_momentum.len(), self.eps.len(), self.bn_fixed.len()];
        let plain = self.networks.iter().find(|network| network.batch_norms().next().is_none());
        if let Some(plain) = plain.filter(|_| of_batch_norm.iter().any(|&n| n > 1)) {
            let problem =
                format!("{} has no BatchNorm, so its momentum, eps, gamma and beta change nothing", plain.name());
            return Err(bad(problem, "compare that in networks with BatchNorm alone"));
        }
        if has_twins(&names) || has_twins(&self.lr) || has_twins(&self.batch_size) || has_twins(&self.bn_fixed) {
            return Err(bad("a value is listed twice", "list each value once; two networks need two names"));
        }
        if has_twins(&self.bn_momentum) || has_twins(&self.eps) {
            return Err(bad("a value is listed twice", "list each value once"));
        }
        Ok(())
    }

    /// The lists that hold something, by the names of their flags.
    fn factors(&self) -> Vec<(&'static str, Vec<Choice<'_>>)> {
        let networks = choices(
            &self.networks,
            |network| network.name().into(),
            |network| network.name().into(),
            |plan, network| {
                plan.network = network.clone();
                Ok(())
            },
        );
        let lr = choices(
            &self.lr,
            |&v| v.into(),
            |v| format!("lr {v}"),
            |plan, &v| {
                plan.recipe.lr = v;
                Ok(())
            },
        );
        let batch_size = choices(
            &self.batch_size,
            |&v| v.into(),
            |v| format!("batches of {v}"),
            |plan, &v| {
                plan.recipe.batch_size = v;
                Ok(())
            },
        );
        let bn_momentum = choices(
            &self.bn_momentum,
            |&v| v.into(),
            |v| format!("momentum {v}"),
            |plan, &v| {
                plan.recipe.bn_momentum = v;
                Ok(())
            },
        );
        let eps = choices(
            &self.eps,
            |&v| v.into(),
            |v| format!("eps {v}"),
            |plan, &v| {
                plan.network = with_eps(&plan.network, v)?;
                Ok(())
            },
        );
        let fixed =
            |v: &Fixed| if *v == Fixed::None { "all trained".into() } else { format!("{} fixed", v.described()) };
        let bn_fixed = choices(
            &self.bn_fixed,
            |v| v.name().into(),
            fixed,
            |plan, &v| {
                plan.recipe.bn_fixed = v;
                Ok(())
            },
        );
        let all = [
            ("network", networks),
            ("lr", lr),
            ("batch_size", batch_size),
            ("bn_momentum", bn_momentum),
            ("eps", eps),
            ("bn_fixed", bn_fixed),
        ];
        all.into_iter().filter(|(_, choices)| !choices.is_empty()).collect()
    }
}

fn choices<'a, T>(
    values: &'a [T],
    value: impl Fn(&T) -> Value,
    words: impl Fn(&T) -> String,
    set: impl Fn(&mut Plan, &T) -> Result<()> + Copy + 'a,
) -> Vec<Choice<'a>> {
    let choice = |v: &'a T| -> Choice<'a> { (value(v), words(v), Box::new(move |plan: &mut Plan| set(plan, v))) };
    values.iter().map(choice).collect()
}

fn has_twins<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().any(|(i, value)| values[..i].contains(value))
}

fn bad(problem: impl Into<String>, remedy: &str) -> Error {
    Error::BadArgument { problem: problem.into(), remedy: remedy.into() }
}

/// A colour and a kind of dash for each combination of so many values: the dashes are those of one thing that differs, the first
/// if it can be, and the colours those of the others together.
///
/// # Errors
/// [`Error::BadArgument`] if they could not be told apart.
pub fn looks(counts: &[usize]) -> Result<Vec<[usize; 2]>> {
    let total: usize = counts.iter().product();
    if counts.len() == 1 && total <= COLOURS {
        return Ok((0..total).map(|i| [i, i % DASHES]).collect());
    }
    let fits = |&at: &usize| counts[at] <= DASHES && total / counts[at] <= COLOURS;
    let Some(dashed) = (0..counts.len()).find(fits) else {
        let problem = format!("{total} curves cannot be told apart in one picture");
        return Err(bad(problem, "take fewer values: up to 6 of one thing, or 4 of one with 6 of the others together"));
    };
    // The last thing that differs changes fastest.
    let inner: usize = counts[dashed + 1..].iter().product();
    let look = |i: usize| [i / (inner * counts[dashed]) * inner + i % inner, i / inner % counts[dashed]];
    Ok((0..total).map(look).collect())
}

impl Plan {
    /// The plan as it is trained on a data set.
    ///
    /// # Errors
    /// [`Error::BadArgument`] with what does not fit.
    pub fn on(&self, dataset: &Dataset) -> Result<Self> {
        Ok(Self { network: of_data(&self.network, dataset)?, ..self.clone() })
    }

    /// The values in a few words.
    pub fn label(&self) -> String {
        self.values.iter().map(|(.., words)| words.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// As part of a comparison, without a run.
    pub fn variant(&self) -> Variant {
        let values: Map<String, Value> =
            self.values.iter().map(|(name, v, _)| ((*name).to_owned(), v.clone())).collect();
        Variant {
            label: self.label(),
            values,
            network: text::print(&self.network),
            recipe: self.recipe.clone(),
            runs: Vec::new(),
            last: Last::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::shipped;
    use crate::train::recipe::SEED;

    fn lists(networks: &[&str]) -> Lists {
        Lists { networks: networks.iter().map(|name| shipped::get(name).unwrap()).collect(), ..Lists::default() }
    }

    #[test]
    fn every_combination_is_a_variant_and_says_what_it_is() {
        let lists = Lists { lr: vec![0.1, 1.0], batch_size: vec![64], ..lists(&["lenet", "lenet_plain"]) };
        let (plans, differ) = lists.plans(&SEED).unwrap();
        assert_eq!(differ, ["network", "lr"]);
        let labels: Vec<_> = plans.iter().map(Plan::label).collect();
        assert_eq!(labels, ["lenet, lr 0.1", "lenet, lr 1", "lenet_plain, lr 0.1", "lenet_plain, lr 1"]);
        assert!(plans.iter().all(|plan| plan.recipe.batch_size == 64));
        assert_eq!(plans[3].variant().values["lr"], 1.0);
    }

    #[test]
    fn each_thing_that_differs_is_set() {
        let both = Lists { eps: vec![1e-5, 1e-3], bn_fixed: vec![Fixed::None, Fixed::Both], ..lists(&["lenet"]) };
        let (plans, _) = both.plans(&SEED).unwrap();
        assert_eq!(plans[3].label(), "eps 0.001, gamma and beta fixed");
        assert_eq!((plans[3].network.common_eps(), plans[3].recipe.bn_fixed), (Some(1e-3), Fixed::Both));
        let momentum = Lists { bn_momentum: vec![0.01, 0.5], ..lists(&["lenet"]) };
        assert_eq!(momentum.plans(&SEED).unwrap().0[1].recipe.bn_momentum, 0.5);
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        let refused = |lists: &Lists| lists.plans(&SEED).unwrap_err().to_string();
        assert!(refused(&lists(&["lenet"])).contains("no comparison"));
        assert!(refused(&lists(&["lenet", "lenet"])).contains("twice"));
        assert!(refused(&Lists { lr: vec![0.1; 2], ..lists(&["lenet"]) }).contains("twice"));
        assert!(refused(&Lists { eps: vec![0.1, 0.2], ..lists(&["lenet_plain"]) }).contains("no BatchNorm"));
        assert!(refused(&Lists { eps: vec![0.1, 2.0], ..lists(&["lenet"]) }).contains("eps 2"));
        let many = (1..8).map(f64::from).collect();
        assert!(refused(&Lists { lr: many, ..lists(&["lenet"]) }).contains("7 curves cannot be told apart"));
    }

    #[test]
    fn no_two_curves_look_alike() {
        for counts in [&[6][..], &[2, 3], &[6, 4], &[4, 6], &[2, 2, 3], &[3, 2, 2]] {
            let looks = looks(counts).unwrap();
            assert!(!has_twins(&looks) && looks.len() == counts.iter().product::<usize>(), "{counts:?}: {looks:?}");
        }
        assert_eq!(looks(&[2, 3]).unwrap(), [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]);
        assert!(looks(&[5, 5]).is_err());
    }
}
