//! Exact BatchNorm statistics: those of a whole split in place of moving averages over batches.
//!
//! Layer by layer: the statistics of a BatchNorm layer are those of what reaches it once the layers before have theirs. So
//! the result is what one batch of all examples would give in training mode (with the biased variance). Which thread does
//! what never shows.

use bn_core::network::Value;
use serde::{Deserialize, Serialize};

use crate::cores::cores;
use crate::data::{Dataset, Inputs};
use crate::engine::reference::network::Net;
use crate::engine::{Engine, Totals};
use crate::error::Result;
use crate::model::inference::{BATCH, samples};
use crate::model::input::gather;
use crate::model::parameters::{Parameters, Variance};

/// Examples whose statistics one thread works out in one go. Part of the result's bits.
const CHUNK: usize = 1000;

/// What re-estimation changed. The largest changes are over all channels of all layers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reestimated {
    /// Largest change of a mean, in standard deviations of its channel.
    pub mean_shift: f64,
    /// Largest ratio between an old and a new variance, whichever is larger.
    pub variance_ratio: f64,
    /// Inference-mode losses and hits on the training examples as they are, before.
    pub before: Totals,
    /// And after.
    pub after: Totals,
    /// The same of the test examples, before: what moving averages predict.
    #[serde(default)]
    pub test_before: Option<Totals>,
    /// And after: what exact statistics predict.
    #[serde(default)]
    pub test_after: Option<Totals>,
}

/// What re-estimation changed in one BatchNorm layer. The largest changes are over its channels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerChange {
    /// Module of PyTorch's `state_dict`.
    pub module: String,
    /// Largest change of a mean, in standard deviations of its channel.
    pub mean_shift: f64,
    /// Largest ratio between an old and a new variance, whichever is larger.
    pub variance_ratio: f64,
}

/// Gives the engine's model the statistics of `inputs`; says what that changed, on all of the data set too.
///
/// # Errors
/// Only what the engine's device refuses.
///
/// # Panics
/// If there are fewer than two inputs.
pub fn reestimate_model(engine: &mut dyn Engine, inputs: &Inputs, dataset: &Dataset) -> Result<Reestimated> {
    let old = engine.parameters();
    let (before, test_before) = (engine.evaluate(&dataset.train)?, engine.evaluate(&dataset.test)?);
    let new = reestimate(&old, inputs);
    engine.set_parameters(&new);
    let (after, test_after) = (engine.evaluate(&dataset.train)?, engine.evaluate(&dataset.test)?);
    let (mean_shift, variance_ratio) = largest_changes(&old, &new);
    let (test_before, test_after) = (Some(test_before), Some(test_after));
    Ok(Reestimated { mean_shift, variance_ratio, before, after, test_before, test_after })
}

/// The parameters with the statistics of `inputs`. The convention of the variance stays.
///
/// # Panics
/// If there are fewer than two inputs.
pub fn reestimate(parameters: &Parameters, inputs: &Inputs) -> Parameters {
    assert!(inputs.len() > 1, "statistics of {} inputs", inputs.len());
    let mut parameters = parameters.clone();
    let network = parameters.network.clone();
    for node in network.batch_norms() {
        let moments = before_node(&Net::from_parameters(&parameters), network.nodes()[node].input, inputs);
        let unbiased = parameters.variance == Variance::Unbiased;
        let [.., means, variances] = parameters.of_mut(node) else { unreachable!("a BatchNorm has four tensors") };
        for (channel, Moments { count, mean, m2 }) in moments.into_iter().enumerate() {
            let divisor = if unbiased { count - 1.0 } else { count };
            means[channel] = f64::from(mean as f32);
            variances[channel] = f64::from((m2 / divisor) as f32);
        }
    }
    parameters
}

/// The largest change of a mean in standard deviations, and the largest ratio of two variances.
pub fn largest_changes(before: &Parameters, after: &Parameters) -> (f64, f64) {
    let larger =
        |(shift, ratio): (f64, f64), layer: LayerChange| (shift.max(layer.mean_shift), ratio.max(layer.variance_ratio));
    changes(before, after).into_iter().fold((0.0, 1.0), larger)
}

/// The same of each BatchNorm layer.
pub fn changes(before: &Parameters, after: &Parameters) -> Vec<LayerChange> {
    let of_layer = |node: usize| {
        let (module, eps) = (before.network.module(node).into_owned(), f64::from(before.network.eps(node)));
        let mut change = LayerChange { module, mean_shift: 0.0, variance_ratio: 1.0 };
        let channels = |of: &Parameters| of.of(node)[2].clone().into_iter().zip(of.of(node)[3].clone());
        for ((old_mean, old_var), (mean, var)) in channels(before).zip(channels(after)) {
            let (old, new) = (old_var + eps, var + eps);
            change.mean_shift = change.mean_shift.max((mean - old_mean).abs() / new.sqrt());
            change.variance_ratio = change.variance_ratio.max(old / new).max(new / old);
        }
        change
    };
    before.network.batch_norms().map(of_layer).collect()
}

/// Number of values, their mean, and the sum of squared distances from it.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// In two passes.
    fn of(values: &[f32]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        Self { count, mean, m2: values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum() }
    }

    /// Source: Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance".
    fn add(&mut self, other: Self) {
        let count = self.count + other.count;
        let distance = other.mean - self.mean;
        self.mean += distance * other.count / count;
        self.m2 += other.m2 + distance * distance * self.count * other.count / count;
        self.count = count;
    }
}

/// Statistics of a value over all inputs, a channel each.
fn before_node(net: &Net<f32>, value: Value, inputs: &Inputs) -> Vec<Moments> {
    let chunks: Vec<usize> = (0..inputs.len()).step_by(CHUNK).collect();
    let share = chunks.len().div_ceil(cores().min(chunks.len()));
    let mut of_chunks = vec![Vec::new(); chunks.len()];
    std::thread::scope(|scope| {
        for (part, results) in chunks.chunks(share).zip(of_chunks.chunks_mut(share)) {
            scope.spawn(move || {
                for (&start, result) in part.iter().zip(results) {
                    *result = of_examples(net, value, inputs, start..inputs.len().min(start + CHUNK));
                }
            });
        }
    });
    of_chunks.into_iter().reduce(combine).expect("there is an input")
}

fn combine(mut sums: Vec<Moments>, others: Vec<Moments>) -> Vec<Moments> {
    sums.iter_mut().zip(others).for_each(|(sum, other)| sum.add(other));
    sums
}

fn of_examples(net: &Net<f32>, value: Value, inputs: &Inputs, examples: std::ops::Range<usize>) -> Vec<Moments> {
    let mut sums = Vec::new();
    for start in examples.clone().step_by(BATCH) {
        let x = gather(net.network(), inputs, samples(start..examples.end.min(start + BATCH)));
        for example in net.value(x, value).outer_iter() {
            sums.resize(example.shape()[0], Moments::default());
            for (sum, channel) in sums.iter_mut().zip(example.outer_iter()) {
                let channel = channel.as_standard_layout();
                sum.add(Moments::of(channel.as_slice().expect("it is contiguous now")));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::data::Split;
    use crate::engine::{MOMENTUM, initial_parameters, reference::Reference};
    use crate::network::Network;

    fn examples(count: usize) -> Split {
        let mut rng = chacha20::ChaCha8Rng::seed_from_u64(4);
        let mut images = vec![[[0u8; 28]; 28]; count];
        for image in &mut images {
            // Of different brightness, lest a pool sees nearly the same everywhere and f32's rounding is all that varies.
            let brightness = rng.random_range(0..200);
            image.as_flattened_mut().fill_with(|| brightness + rng.random_range(0..56));
        }
        Split::of_images(images, vec![0; count])
    }

    /// A step of length zero over one batch of all examples moves the statistics by MOMENTUM of the way.
    #[test]
    fn it_is_what_one_batch_of_everything_gives() {
        let split = examples(40);
        let start = initial_parameters(&Network::lenet(), 3, Variance::Biased);
        let mut engine = Reference::<f64>::new(3, Variance::Biased);
        engine.train(&split, &(0..40).collect::<Vec<_>>(), 40, 0.0).unwrap();
        let (stepped, found) = (engine.parameters(), reestimate(&start, &split.inputs));
        for (at, parameter) in start.network.parameters().iter().enumerate() {
            for ((old, stepped), found) in start.tensors[at].iter().zip(&stepped.tensors[at]).zip(&found.tensors[at]) {
                let is_statistic = !parameter.role.is_trained();
                let expected = if is_statistic { old + (stepped - old) / MOMENTUM } else { *old };
                let off = (found - expected).abs();
                assert!(off <= 1e-4 * expected.abs().max(0.1), "{parameter:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn the_convention_of_the_variance_stays() {
        let inputs = examples(5).inputs;
        let [biased, unbiased] = [Variance::Biased, Variance::Unbiased].map(|variance| {
            reestimate(&initial_parameters(&Network::lenet(), 3, variance), &inputs).get("1.running_var")[2]
        });
        let count = 5.0 * 24.0 * 24.0;
        assert!((unbiased / biased - count / (count - 1.0)).abs() < 1e-6);
    }

    #[test]
    fn chunks_add_up_and_changes_are_measured() {
        let split = examples(CHUNK + 7);
        let start = initial_parameters(&Network::lenet(), 3, Variance::Biased);
        let net = Net::from_parameters(&start);
        let found = before_node(&net, Value::Node(0), &split.inputs);
        let whole = of_examples(&net, Value::Node(0), &split.inputs, 0..split.len());
        for (a, b) in found.iter().zip(&whole) {
            assert!((a.mean - b.mean).abs() < 1e-9 && (a.m2 / b.m2 - 1.0).abs() < 1e-9 && a.count == b.count);
        }
        let mut moved = start.clone();
        moved.get_mut("10.running_var")[3] = 4.0;
        moved.get_mut("10.running_mean")[3] = 1.0;
        let (shift, ratio) = largest_changes(&start, &moved);
        assert!((shift - 0.5).abs() < 1e-4 && (ratio - 4.0).abs() < 1e-3, "{shift} {ratio}");
        assert_eq!(largest_changes(&start, &start), (0.0, 1.0));
        let layers = changes(&start, &moved);
        assert_eq!(layers.iter().map(|layer| layer.module.as_str()).collect::<Vec<_>>(), ["1", "5", "10", "13"]);
        let changed = layers.iter().filter(|layer| (layer.mean_shift, layer.variance_ratio) != (0.0, 1.0));
        assert_eq!(changed.map(|layer| (layer.module.as_str(), layer.mean_shift)).collect::<Vec<_>>(), [("10", shift)]);
    }
}
