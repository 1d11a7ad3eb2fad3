//! What training images say of each layer's inputs: their means, and of the linear layers their covariance.

use bn_core::infer::{self, ScratchF32};
use bn_core::lenet::{CONV1_CHANNELS, FLAT, LINEAR1, LINEAR2};
use bn_core::{FoldedLeNet, Image};

use super::Layer;
use super::rounding::Covariance;
use crate::model::inference;

/// Mean of every input of the five layers over some training images; a convolution's are means over its map too.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// How many images.
    pub images: usize,
    /// By layer: one mean for each input channel of a convolution or input feature of a linear layer.
    pub input_means: [Vec<f64>; 5],
    /// Of the inputs of the three linear layers; nothing without images.
    covariances: Option<[Covariance; 3]>,
}

impl Calibration {
    /// Runs the folded network over `images`. No image gives no correction, and the nearest integers.
    pub fn new(net: &FoldedLeNet, images: &[Image]) -> Self {
        let sizes = [1, CONV1_CHANNELS, FLAT, LINEAR1, LINEAR2];
        // All cores run the network; what each image gives is added up in the order of the images.
        let of_images = inference::each(images, ScratchF32::new, |image, scratch| {
            infer::folded(net, image, scratch);
            let [pooled1, pooled2, linear1, linear2] = scratch.stages();
            let inputs = [scratch.pixels(), pooled1, pooled2, linear1, linear2];
            let share =
                |run: &[f32]| run.iter().map(|&v| f64::from(v)).sum::<f64>() / (run.len() * images.len()) as f64;
            let shares =
                |at: usize| inputs[at].chunks_exact(inputs[at].len() / sizes[at]).map(share).collect::<Vec<_>>();
            ([0, 1, 2, 3, 4].map(shares), [pooled2, linear1, linear2].map(<[f32]>::to_vec))
        });
        let mut input_means = sizes.map(|size| vec![0.0; size]);
        let mut linear_inputs = [const { Vec::new() }; 3];
        for (shares, inputs) in of_images {
            let means = input_means.iter_mut().flatten();
            means.zip(shares.iter().flatten()).for_each(|(mean, share)| *mean += share);
            linear_inputs.iter_mut().zip(inputs).for_each(|(all, x)| all.extend(x));
        }
        let of = |at: usize| Covariance::of(&linear_inputs[at], sizes[at + 2]);
        let covariances = (!images.is_empty()).then(|| [0, 1, 2].map(of));
        Self { images: images.len(), input_means, covariances }
    }

    /// Of a linear layer's inputs, where images were seen.
    pub(super) fn covariance(&self, layer: Layer) -> Option<&Covariance> {
        let at = (layer as usize).checked_sub(Layer::Linear1 as usize)?;
        self.covariances.as_ref().map(|covariances| &covariances[at])
    }
}
