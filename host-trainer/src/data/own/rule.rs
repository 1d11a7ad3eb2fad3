//! Which examples test, where the data does not say: a seeded share of each class, or the last ones.

use chacha20::ChaCha8Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::data::Split;

/// The share that tests where nothing else is said.
pub const DEFAULT_SHARE: f64 = 0.2;

/// A rule; the same rule splits the same data in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Rule {
    /// That share of each class, drawn by the seed. A class with two examples or more has one of either.
    Share {
        /// Above 0, below 1.
        share: f64,
        /// Of the draw.
        seed: u64,
    },
    /// So many examples at the end.
    Last(usize),
}

impl Rule {
    /// Whether its numbers make sense: a file may hold anything.
    pub fn is_sound(&self) -> bool {
        match *self {
            Rule::Share { share, .. } => share > 0.0 && share < 1.0,
            Rule::Last(count) => count > 0,
        }
    }

    /// Training and test examples, each in the order of the data.
    ///
    /// # Errors
    /// What is too little for that, in words.
    pub fn split(&self, all: &Split) -> Result<(Split, Split), String> {
        let tests = match *self {
            Rule::Last(count) => {
                let left = all.len().checked_sub(count).filter(|&left| left > 0);
                let left = left.ok_or_else(|| format!("it has {} examples, {count} cannot be held out", all.len()))?;
                return Ok(all.split_last(all.len() - left));
            }
            Rule::Share { share, seed } => drawn(all, share, seed),
        };
        let of = |tested: bool| (0..all.len()).filter(|&example| tests[example] == tested).collect::<Vec<_>>();
        let (train, test) = (of(false), of(true));
        if train.is_empty() || test.is_empty() {
            return Err(format!("its {} examples are too few to train and to test", all.len()));
        }
        Ok((all.select(&train), all.select(&test)))
    }
}

/// Which examples test. Each class is drawn from a stream of its own, so another class's examples change nothing.
fn drawn(all: &Split, share: f64, seed: u64) -> Vec<bool> {
    let label = |example: usize| all.labels.get(example).copied().unwrap_or(0);
    let mut tests = vec![false; all.len()];
    for class in 0..=u8::MAX {
        let mut examples: Vec<usize> = (0..all.len()).filter(|&example| label(example) == class).collect();
        if examples.len() < 2 {
            continue;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(class.into());
        examples.shuffle(&mut rng);
        let count = (share * examples.len() as f64).round().clamp(1.0, (examples.len() - 1) as f64) as usize;
        examples[..count].iter().for_each(|&example| tests[example] = true);
    }
    tests
}

#[cfg(test)]
mod tests {
    use bn_core::network::Shape;

    use super::*;
    use crate::data::{Inputs, Values};

    fn split(labels: &[u8]) -> Split {
        let values = (0..labels.len() as u8).collect();
        Split { inputs: Inputs::new(Shape::flat(1), Values::U8(values)), labels: labels.to_vec() }
    }

    #[test]
    fn every_class_is_in_both_by_its_share() {
        let all = split(&[[0; 40].as_slice(), &[1; 10], &[2; 2], &[3]].concat());
        let rule = Rule::Share { share: 0.25, seed: 7 };
        let (train, test) = rule.split(&all).unwrap();
        let counts = |split: &Split| [0, 1, 2, 3].map(|c| split.labels.iter().filter(|&&l| l == c).count());
        assert_eq!((counts(&train), counts(&test)), ([30, 7, 1, 1], [10, 3, 1, 0]));
        assert_eq!(rule.split(&all).unwrap(), (train.clone(), test));
        assert_ne!(Rule::Share { share: 0.25, seed: 8 }.split(&all).unwrap().0, train);
    }

    #[test]
    fn the_last_are_the_last_and_too_few_are_refused() {
        let all = split(&[0, 1, 0, 1]);
        let (train, test) = Rule::Last(1).split(&all).unwrap();
        assert_eq!((train.len(), test.labels), (3, vec![1]));
        assert!(Rule::Last(4).split(&all).unwrap_err().contains("it has 4 examples, 4 cannot be held out"));
        assert!(Rule::Share { share: 0.5, seed: 0 }.split(&split(&[0, 1])).unwrap_err().contains("too few"));
        assert!(!Rule::Share { share: f64::NAN, seed: 0 }.is_sound() && !Rule::Last(0).is_sound());
    }
}
