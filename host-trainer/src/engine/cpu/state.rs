//! What a training step keeps in memory: a group of examples side by side in the lanes of vectors, and the numbers that all
//! groups share. A group is 400 KB and is made of zeroed memory: written out as a value it would be 200 KB of code.

use bn_core::lenet::{
    CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, IMAGE_SIDE, KERNEL, LINEAR1, LINEAR2,
    POOL1_SIDE,
};
use bytemuck::Zeroable;

use super::lanes::MAX_LANES;
use super::moments::PatchMoments;

/// A square map of vectors.
pub(super) type Map<V, const SIDE: usize> = [[V; SIDE]; SIDE];

/// Values of a linear layer, one row an example, for sums over examples.
pub(super) type Rows<const N: usize> = [[f32; N]; MAX_LANES];

/// Row lengths rounded up to whole vectors of any instruction set.
pub(super) const LINEAR1_ROW: usize = LINEAR1.next_multiple_of(2 * MAX_LANES);
/// As [`LINEAR1_ROW`].
pub(super) const LINEAR2_ROW: usize = LINEAR2.next_multiple_of(2 * MAX_LANES);
/// As [`LINEAR1_ROW`].
pub(super) const CLASSES_ROW: usize = CLASSES.next_multiple_of(2 * MAX_LANES);

/// The convolutional part of a group of examples.
#[derive(Zeroable)]
#[repr(C, align(64))]
pub(super) struct Conv<V> {
    /// Pixels, 0 to 255.
    pub(super) image: Map<V, IMAGE_SIDE>,
    /// Sigmoids of layer 1.
    pub(super) s1: [Map<V, CONV1_SIDE>; CONV1_CHANNELS],
    /// Pooled sigmoids of layer 1.
    pub(super) p1: [Map<V, POOL1_SIDE>; CONV1_CHANNELS],
    /// Output of convolution 2; in the backward pass its gradient.
    pub(super) z2: [Map<V, CONV2_SIDE>; CONV2_CHANNELS],
    /// Sigmoids of layer 2; in the backward pass the gradient of their argument.
    pub(super) s2: [Map<V, CONV2_SIDE>; CONV2_CHANNELS],
    /// 1 where a lane holds an example.
    pub(super) mask: V,
    /// Number of examples.
    pub(super) count: usize,
    /// Sums that lead to BatchNorm 1.
    pub(super) moments: PatchMoments,
    /// Per channel of layer 2 the mean of `z2` and the sum of squared distances from it.
    pub(super) z2_statistics: [(f64, f64); CONV2_CHANNELS],
    /// Per channel of layer 2 the sums of the argument's gradient, and of its products with the normalised values.
    pub(super) g2_sums: [(f64, f64); CONV2_CHANNELS],
    /// Gradient of convolution 2's weights.
    pub(super) d_weight2: [[[[f32; KERNEL]; KERNEL]; CONV1_CHANNELS]; CONV2_CHANNELS],
    /// Sums of the argument's gradient of layer 1 times the pixels under each weight, and alone.
    pub(super) g1_patches: [([[f64; KERNEL]; KERNEL], f64); CONV1_CHANNELS],
}

/// The linear part of a group of examples.
#[derive(Zeroable)]
#[repr(C, align(64))]
pub(super) struct Dense<V> {
    /// Output of linear layer 1; `g` and `d_z` of it in the backward pass.
    pub(super) z3: [V; LINEAR1],
    /// Sigmoids of layer 3.
    pub(super) s3: [V; LINEAR1],
    /// Gradient of the sigmoids' argument.
    pub(super) g3: [V; LINEAR1],
    /// Output of linear layer 2.
    pub(super) z4: [V; LINEAR2],
    /// Sigmoids of layer 4.
    pub(super) s4: [V; LINEAR2],
    /// Gradient of the sigmoids' argument.
    pub(super) g4: [V; LINEAR2],
    /// Output of linear layer 3.
    pub(super) logits: [V; CLASSES],
    /// Inputs of the linear layers.
    pub(super) flat_rows: Rows<FLAT>,
    /// As above.
    pub(super) s3_rows: Rows<LINEAR1_ROW>,
    /// As above.
    pub(super) s4_rows: Rows<LINEAR2_ROW>,
    /// Gradients of the linear layers' outputs.
    pub(super) d_z3_rows: Rows<LINEAR1_ROW>,
    /// As above.
    pub(super) d_z4_rows: Rows<LINEAR2_ROW>,
    /// As above.
    pub(super) d_logits_rows: Rows<CLASSES_ROW>,
    /// 1 where a lane holds an example.
    pub(super) mask: V,
    /// Number of examples.
    pub(super) count: usize,
    /// Sum of the examples' losses.
    pub(super) loss: f64,
    /// Examples whose largest logit is at the label.
    pub(super) correct: usize,
}
