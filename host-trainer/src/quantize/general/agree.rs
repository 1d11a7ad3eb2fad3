//! The check of a network without its dead channels: on every input each code that stays is what it was.

use bn_core::file::{Arena, WeightsFile};

use super::dead::Kept;
use crate::data::Inputs;
use crate::error::{Error, Result};
use crate::model::inference;

/// Runs both networks on all inputs and compares every value of every channel that both have.
///
/// # Errors
/// [`Error::Disagreement`] with the first value that differs.
pub(super) fn check(whole: &WeightsFile, reduced: &WeightsFile, kept: &Kept, inputs: &Inputs) -> Result<()> {
    let examples: Vec<usize> = (0..inputs.len()).collect();
    let differences = inference::each(&examples, <[Arena; 2]>::default, |&example, [ours, theirs]| {
        let codes = inference::codes(whole, inputs, example);
        let mut wanted: Vec<Vec<i32>> = Vec::new();
        whole.run(&codes, ours, |step, output| wanted.push(whole.step_values(step, output)));
        let mut difference = None;
        reduced.run(&codes, theirs, |step, output| {
            let found = first_difference(&wanted[step], &reduced.step_values(step, output), &kept[step + 1]);
            difference = difference.or(found.map(|channel| (step, channel)));
        });
        difference
    });
    let Some((example, (step, channel))) = examples.iter().zip(differences).find_map(|(e, found)| Some((e, found?)))
    else {
        return Ok(());
    };
    let name = whole.step_name(step);
    Err(Error::Disagreement {
        problem: format!(
            "without its dead channels the network gives other values in channel {channel} of {name} for example {example}"
        ),
    })
}

/// The first channel, as the whole network counts, whose values are not the same.
fn first_difference(wanted: &[i32], given: &[i32], kept: &[usize]) -> Option<usize> {
    let area = given.len() / kept.len();
    let mut pairs = given.chunks_exact(area).zip(kept);
    pairs.find(|(given, channel)| wanted[**channel * area..][..area] != **given).map(|(_, &channel)| channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_the_number_of_the_whole_network() {
        let wanted = [1, 2, 3, 4, 5, 6];
        assert_eq!(first_difference(&wanted, &[1, 2, 5, 6], &[0, 2]), None);
        assert_eq!(first_difference(&wanted, &[1, 2, 5, 7], &[0, 2]), Some(2));
        assert_eq!(first_difference(&wanted, &[1, 2, 5, 6], &[0, 1]), Some(1));
    }
}
