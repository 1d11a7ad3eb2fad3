//! Exact BatchNorm statistics: those of a whole split in place of moving averages over batches.
//!
//! Layer by layer: the statistics of a BatchNorm layer are those of what reaches it once the layers before have theirs. So
//! the result is what one batch of all examples would give in training mode (with the biased variance). Which thread does
//! what never shows.

use bn_core::lenet::{
    CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, IMAGE_SIDE, Image, LINEAR1, LINEAR2, LeNet, POOL1_SIDE,
    POOL2_SIDE, Role, TENSORS,
};
use bn_core::ops::{avg_pool2d_f32, conv2d_f32, linear_f32, sigmoid_f32};
use serde::{Deserialize, Serialize};

use crate::cores::cores;
use crate::data::Split;
use crate::engine::{Engine, Totals};
use crate::error::Result;
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
}

/// What re-estimation changed in one BatchNorm layer. The largest changes are over its channels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerChange {
    /// Module of PyTorch's `state_dict`.
    pub module: &'static str,
    /// Largest change of a mean, in standard deviations of its channel.
    pub mean_shift: f64,
    /// Largest ratio between an old and a new variance, whichever is larger.
    pub variance_ratio: f64,
}

/// Gives the engine's model the statistics of `images`; says what that changed, on all of `train` too.
///
/// # Errors
/// Only what the engine's device refuses.
///
/// # Panics
/// If there are fewer than two images.
pub fn reestimate_model(engine: &mut dyn Engine, images: &[Image], train: &Split) -> Result<Reestimated> {
    let before = engine.parameters();
    let totals_before = engine.evaluate(train)?;
    let after = reestimate(&before, images);
    engine.set_parameters(&after);
    let (mean_shift, variance_ratio) = largest_changes(&before, &after);
    Ok(Reestimated { mean_shift, variance_ratio, before: totals_before, after: engine.evaluate(train)? })
}

/// The parameters with the statistics of `images`. The convention of the variance stays.
///
/// # Panics
/// If there are fewer than two images.
pub fn reestimate(parameters: &Parameters, images: &[Image]) -> Parameters {
    assert!(images.len() > 1, "statistics of {} images", images.len());
    let mut parameters = parameters.clone();
    let layers = TENSORS.iter().enumerate().filter(|(_, spec)| spec.role == Role::RunningMean);
    for (layer, (mean_at, _)) in layers.enumerate() {
        let moments = of_layer(&parameters.to_lenet(), layer, images);
        for (channel, Moments { count, mean, m2 }) in moments.into_iter().enumerate() {
            let divisor = if parameters.variance == Variance::Unbiased { count - 1.0 } else { count };
            parameters.tensors[mean_at][channel] = f64::from(mean as f32);
            parameters.tensors[mean_at + 1][channel] = f64::from((m2 / divisor) as f32);
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
    let of_layer = |at: usize| {
        let module = TENSORS[at].name.trim_end_matches(".running_mean");
        let mut change = LayerChange { module, mean_shift: 0.0, variance_ratio: 1.0 };
        let channels = |of: &Parameters| of.tensors[at].clone().into_iter().zip(of.tensors[at + 1].clone());
        for ((old_mean, old_var), (mean, var)) in channels(before).zip(channels(after)) {
            let (old, new) = (old_var + before.eps, var + before.eps);
            change.mean_shift = change.mean_shift.max((mean - old_mean).abs() / new.sqrt());
            change.variance_ratio = change.variance_ratio.max(old / new).max(new / old);
        }
        change
    };
    (0..TENSORS.len()).filter(|&at| TENSORS[at].role == Role::RunningMean).map(of_layer).collect()
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

/// Statistics of what reaches BatchNorm layer `layer`, counted from 0, a channel each.
fn of_layer(net: &LeNet, layer: usize, images: &[Image]) -> Vec<Moments> {
    let chunks: Vec<&[Image]> = images.chunks(CHUNK).collect();
    let threads = cores().min(chunks.len());
    let mut of_chunks = vec![Vec::new(); chunks.len()];
    std::thread::scope(|scope| {
        for (part, results) in
            chunks.chunks(chunks.len().div_ceil(threads)).zip(of_chunks.chunks_mut(chunks.len().div_ceil(threads)))
        {
            scope.spawn(move || {
                for (images, result) in part.iter().zip(results) {
                    *result = of_images(net, layer, images);
                }
            });
        }
    });
    of_chunks.into_iter().reduce(combine).expect("there is an image")
}

fn combine(mut sums: Vec<Moments>, others: Vec<Moments>) -> Vec<Moments> {
    sums.iter_mut().zip(others).for_each(|(sum, other)| sum.add(other));
    sums
}

fn of_images(net: &LeNet, layer: usize, images: &[Image]) -> Vec<Moments> {
    let channels = [CONV1_CHANNELS, CONV2_CHANNELS, LINEAR1, LINEAR2][layer];
    let mut memory = Memory::new();
    let mut sums = vec![Moments::default(); channels];
    for image in images {
        let values = memory.before_batch_norm(net, layer, image);
        for (sum, values) in sums.iter_mut().zip(values.chunks_exact(values.len() / channels)) {
            sum.add(Moments::of(values));
        }
    }
    sums
}

/// A square map a channel.
type Maps<const C: usize, const SIDE: usize> = Box<[[[f32; SIDE]; SIDE]; C]>;

/// Activations of one image.
struct Memory {
    image: Maps<1, IMAGE_SIDE>,
    map1: Maps<CONV1_CHANNELS, CONV1_SIDE>,
    pooled1: Maps<CONV1_CHANNELS, POOL1_SIDE>,
    map2: Maps<CONV2_CHANNELS, CONV2_SIDE>,
    pooled2: Maps<CONV2_CHANNELS, POOL2_SIDE>,
    linear1: [f32; LINEAR1],
    linear2: [f32; LINEAR2],
}

impl Memory {
    fn new() -> Self {
        Self {
            image: bytemuck::zeroed_box(),
            map1: bytemuck::zeroed_box(),
            pooled1: bytemuck::zeroed_box(),
            map2: bytemuck::zeroed_box(),
            pooled2: bytemuck::zeroed_box(),
            linear1: [0.0; LINEAR1],
            linear2: [0.0; LINEAR2],
        }
    }

    /// What reaches BatchNorm layer `layer`, channel after channel; the layers behind it are not computed.
    fn before_batch_norm(&mut self, net: &LeNet, layer: usize, image: &Image) -> &[f32] {
        for (to, &from) in self.image.as_flattened_mut().as_flattened_mut().iter_mut().zip(image.as_flattened()) {
            *to = f32::from(from) / 255.0;
        }
        conv2d_f32(&self.image, &net.conv1, &mut self.map1);
        if layer == 0 {
            return self.map1.as_flattened().as_flattened();
        }
        let map1 = self.map1.as_flattened_mut().as_flattened_mut();
        net.bn1.infer(map1);
        sigmoid_f32(map1);
        avg_pool2d_f32(&self.map1, &mut self.pooled1);
        conv2d_f32(&self.pooled1, &net.conv2, &mut self.map2);
        if layer == 1 {
            return self.map2.as_flattened().as_flattened();
        }
        let map2 = self.map2.as_flattened_mut().as_flattened_mut();
        net.bn2.infer(map2);
        sigmoid_f32(map2);
        avg_pool2d_f32(&self.map2, &mut self.pooled2);
        linear_f32(bytemuck::must_cast_ref(&*self.pooled2), &net.linear1, &mut self.linear1);
        if layer == 2 {
            return &self.linear1;
        }
        net.bn3.infer(&mut self.linear1);
        sigmoid_f32(&mut self.linear1);
        linear_f32(&self.linear1, &net.linear2, &mut self.linear2);
        &self.linear2
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::engine::{MOMENTUM, initial_parameters, reference::Reference};

    fn examples(count: usize) -> Split {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let mut images = vec![[[0u8; 28]; 28]; count];
        for image in &mut images {
            // Of different brightness, lest a pool sees nearly the same everywhere and f32's rounding is all that varies.
            let brightness = rng.random_range(0..200);
            image.as_flattened_mut().fill_with(|| brightness + rng.random_range(0..56));
        }
        Split { images, labels: vec![0; count] }
    }

    /// A step of length zero over one batch of all examples moves the statistics by MOMENTUM of the way.
    #[test]
    fn it_is_what_one_batch_of_everything_gives() {
        let split = examples(40);
        let start = initial_parameters(3, Variance::Biased);
        let mut engine = Reference::<f64>::new(3, Variance::Biased);
        engine.train(&split, &(0..40).collect::<Vec<_>>(), 40, 0.0).unwrap();
        let (stepped, found) = (engine.parameters(), reestimate(&start, &split.images));
        for at in 0..TENSORS.len() {
            for ((old, stepped), found) in start.tensors[at].iter().zip(&stepped.tensors[at]).zip(&found.tensors[at]) {
                let is_statistic = !TENSORS[at].role.is_trained();
                let expected = if is_statistic { old + (stepped - old) / MOMENTUM } else { *old };
                let off = (found - expected).abs();
                assert!(off <= 1e-4 * expected.abs().max(0.1), "{}: {found} {expected}", TENSORS[at].name);
            }
        }
    }

    #[test]
    fn the_convention_of_the_variance_stays() {
        let images = examples(5).images;
        let [biased, unbiased] = [Variance::Biased, Variance::Unbiased]
            .map(|variance| reestimate(&initial_parameters(3, variance), &images).get("1.running_var")[2]);
        let count = 5.0 * (CONV1_SIDE * CONV1_SIDE) as f64;
        assert!((unbiased / biased - count / (count - 1.0)).abs() < 1e-6);
    }

    #[test]
    fn chunks_add_up_and_changes_are_measured() {
        let split = examples(CHUNK + 7);
        let start = initial_parameters(3, Variance::Biased);
        let found = of_layer(&start.to_lenet(), 0, &split.images);
        let whole = of_images(&start.to_lenet(), 0, &split.images);
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
        assert_eq!(layers.iter().map(|layer| layer.module).collect::<Vec<_>>(), ["1", "5", "10", "13"]);
        let changed = layers.iter().filter(|layer| (layer.mean_shift, layer.variance_ratio) != (0.0, 1.0));
        assert_eq!(changed.map(|layer| (layer.module, layer.mean_shift)).collect::<Vec<_>>(), [("10", shift)]);
    }
}
