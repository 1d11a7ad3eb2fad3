//! From raw examples to what a network's first node reads.

use ndarray::Array4;

use super::real::Real;
use crate::data::{Inputs, Raw, Split, Values, augment};
use crate::engine::Task;
use crate::error::{Error, Result};
use crate::network::Network;

/// Whether inputs are what a network reads.
///
/// # Errors
/// [`Error::BadArgument`] that says what does not fit.
pub fn check_shape(network: &Network, inputs: &Inputs) -> Result<()> {
    if inputs.shape() == network.input() {
        return Ok(());
    }
    Err(Error::BadArgument {
        problem: format!("{} reads {}, the data has examples {}", network.name(), network.input(), inputs.shape()),
        remedy: "take data of that shape, or another --network".into(),
    })
}

/// Whether a split is what a network reads and tells apart.
///
/// # Errors
/// [`Error::BadArgument`] that says what does not fit.
pub fn check(network: &Network, split: &Split) -> Result<()> {
    check_shape(network, &split.inputs)?;
    let outputs = network.output().len();
    let bad = |problem: String, remedy: &str| Err(Error::BadArgument { problem, remedy: remedy.into() });
    if Task::of(network) == Task::Reconstruction {
        return Ok(());
    }
    if split.labels.len() != split.len() {
        let problem = format!("{} tells classes apart, the data has no labels", network.name());
        return bad(problem, "give one label an example");
    }
    match split.labels.iter().max() {
        Some(&label) if usize::from(label) >= outputs => {
            bad(format!("the data has label {label}, {} has {outputs} outputs", network.name()), "count labels from 0")
        }
        _ => Ok(()),
    }
}

/// Whether the inputs are LeNet's images, which its own engines and its integers read: one byte a pixel.
///
/// # Errors
/// [`Error::BadArgument`] that says what they are.
pub fn check_images(inputs: &Inputs) -> Result<()> {
    if inputs.are_images() {
        return Ok(());
    }
    let kind = if matches!(inputs.values(), Values::U8(_)) { "u8" } else { "f32" };
    Err(Error::BadArgument {
        problem: format!(
            "LeNet's integers and fast engines read pixels, u8 1x28x28, and the data is {kind} {}",
            inputs.shape()
        ),
        remedy: "give pixels as u8, or take f32: --engine reference, predict".into(),
    })
}

/// Some samples, see [`augment`], as a network's first node reads them: `[n, channels, height, width]`.
///
/// # Panics
/// If a sample's example is out of range.
pub fn gather<T: Real>(
    network: &Network,
    inputs: &Inputs,
    samples: impl IntoIterator<Item = u32, IntoIter: ExactSizeIterator>,
) -> Array4<T> {
    let samples = samples.into_iter();
    let [channels, height, width] = inputs.shape().dims();
    let mut x = Array4::zeros((samples.len(), channels, height, width));
    let examples = x.as_slice_mut().expect("x is row-major").chunks_exact_mut(inputs.shape().len());
    for (to, sample) in examples.zip(samples) {
        match inputs.raw(augment::example(sample)) {
            Raw::U8(values) => read(network, |at| f64::from(values[at]), sample, to, [height, width]),
            Raw::F32(values) => read(network, |at| f64::from(values[at]), sample, to, [height, width]),
        }
    }
    x
}

/// `(raw * multiply / divide - mean) / std`, a channel at a time; a sample may be moved, and what is moved in is a raw 0.
fn read<T: Real>(network: &Network, raw: impl Fn(usize) -> f64, sample: u32, to: &mut [T], map: [usize; 2]) {
    let (preprocessing, [height, width]) = (network.preprocessing(), map);
    let [multiply, divide] = [preprocessing.multiply, preprocessing.divide].map(|v| T::of(v.into()));
    for (channel, plane) in to.chunks_exact_mut(height * width).enumerate() {
        let (mean, std) = preprocessing.mean_and_std(channel);
        let (mean, std) = (T::of(mean.into()), T::of(std.into()));
        for (position, to) in plane.iter_mut().enumerate() {
            let from = augment::source(sample, map, [position / width, position % width]);
            let raw = from.map_or(0.0, |[row, column]| raw((channel * height + row) * width + column));
            *to = (T::of(raw) * multiply / divide - mean) / std;
        }
    }
}

#[cfg(test)]
mod tests {
    use bn_core::network::Shape;

    use super::*;
    use crate::network::text;

    #[test]
    fn pixels_become_shares_of_white() {
        let mut split = Split::of_images(vec![[[0; 28]; 28]; 2], vec![3, 7]);
        split.images_mut()[1][0] = [255; 28];
        split.images_mut()[1][1][0] = 51;
        let x = gather::<f64>(&Network::lenet(), &split.inputs, [1, 0]);
        assert_eq!((x[(0, 0, 0, 27)], x[(0, 0, 1, 0)], x[(1, 0, 0, 0)]), (1.0, 0.2, 0.0));
    }

    #[test]
    fn preprocessing_is_a_channels() {
        let text = "network n\ninput 2x1x2\npreprocess scale 2/4 mean 1,2 std 0.5,4\n\nconv2d 2 1x1";
        let network = text::parse(text).unwrap();
        let inputs = Inputs::new(network.input(), Values::F32(vec![1.0, -2.0, 4.0, 0.5]));
        let split = Split { inputs, labels: Vec::new() };
        let x = gather::<f64>(&network, &split.inputs, [0]);
        assert!(check(&network, &split).is_ok());
        assert_eq!(x.into_raw_vec_and_offset().0, [-1.0, -4.0, 0.0, -0.4375]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let lenet = Network::lenet();
        let problem = |split: &Split| check(&lenet, split).unwrap_err().to_string();
        let images = |labels| Split::of_images(vec![[[0; 28]; 28]; 2], labels);
        assert!(check(&lenet, &images(vec![0, 9])).is_ok());
        assert!(problem(&images(vec![0, 10])).starts_with("the data has label 10, lenet has 10 outputs; "));
        assert!(problem(&images(vec![])).starts_with("lenet tells classes apart, the data has no labels; "));
        let vectors = Inputs::new(Shape::flat(784), Values::U8(vec![0; 784]));
        let vectors = Split { inputs: vectors, labels: vec![0] };
        assert!(problem(&vectors).starts_with("lenet reads 1x28x28, the data has examples 784; "));
    }
}
