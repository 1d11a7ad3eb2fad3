//! LeNet in f32, BatchNorm unfolded and folded, and what an integer network says. Scratch memory is the caller's and of const
//! size; nothing here can fail.

use core::cmp::Reverse;

use crate::lenet::{
    CLASSES, CONV1_CHANNELS, CONV1_SIDE, CONV2_CHANNELS, CONV2_SIDE, FLAT, FoldedLeNet, IMAGE_SIDE, Image, LINEAR1,
    LINEAR2, LeNet, POOL1_SIDE, POOL2_SIDE,
};
use crate::ops::{avg_pool2d_f32, conv2d_f32, linear_f32, sigmoid_f32};
use crate::quant::PIXEL_ONE;

/// What an integer network says of an input: its output, where it lies in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Prediction<'a, const OUTPUTS: usize, Logit = i16> {
    /// The integers of the output, in units of its scale.
    pub logits: &'a [Logit; OUTPUTS],
}

impl<const OUTPUTS: usize, Logit: Copy + Ord> Prediction<'_, OUTPUTS, Logit> {
    /// Returns the class with the largest logit; the lowest index wins a tie.
    pub fn class(&self) -> usize {
        argmax(self.logits)
    }

    /// Returns all classes by falling logit; the lowest index comes first on a tie.
    pub fn ranking(&self) -> [usize; OUTPUTS] {
        let mut classes = core::array::from_fn(|class| class);
        classes.sort_unstable_by_key(|&class| (Reverse(self.logits.get(class).copied()), class));
        classes
    }
}

/// Index of the largest value; the lowest index wins a tie, and a NaN never does (unless it is first).
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if values.get(best).is_some_and(|best| value > best) {
            best = index;
        }
    }
    best
}

/// Memory of one f32 inference. Contents need not be cleared between images.
#[derive(Clone, Debug)]
pub struct ScratchF32 {
    image: [[[f32; IMAGE_SIDE]; IMAGE_SIDE]; 1],
    map1: [[[f32; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS],
    pooled1: [[[f32; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS],
    map2: [[[f32; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS],
    pooled2: [[[f32; POOL2_SIDE]; POOL2_SIDE]; CONV2_CHANNELS],
    linear1: [f32; LINEAR1],
    linear2: [f32; LINEAR2],
}

impl ScratchF32 {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            image: [[[0.0; IMAGE_SIDE]; IMAGE_SIDE]; 1],
            map1: [[[0.0; CONV1_SIDE]; CONV1_SIDE]; CONV1_CHANNELS],
            pooled1: [[[0.0; POOL1_SIDE]; POOL1_SIDE]; CONV1_CHANNELS],
            map2: [[[0.0; CONV2_SIDE]; CONV2_SIDE]; CONV2_CHANNELS],
            pooled2: [[[0.0; POOL2_SIDE]; POOL2_SIDE]; CONV2_CHANNELS],
            linear1: [0.0; LINEAR1],
            linear2: [0.0; LINEAR2],
        }
    }

    /// Activations of the last inference that follow a layer's sigmoid (and pool), the quantiser's view of the network.
    pub fn stages(&self) -> [&[f32]; 4] {
        let (pooled1, pooled2) =
            (self.pooled1.as_flattened().as_flattened(), self.pooled2.as_flattened().as_flattened());
        [pooled1, pooled2, &self.linear1, &self.linear2]
    }

    /// The last image, as the first layer saw it: pixel / 255.
    pub fn pixels(&self) -> &[f32] {
        self.image.as_flattened().as_flattened()
    }

    fn load(&mut self, image: &Image) {
        for (to, from) in self.image.as_flattened_mut().as_flattened_mut().iter_mut().zip(image.as_flattened()) {
            *to = f32::from(*from) / f32::from(PIXEL_ONE);
        }
    }
}

impl Default for ScratchF32 {
    fn default() -> Self {
        Self::new()
    }
}

/// Logits in f32 with every BatchNorm computed on its own, as in training's inference mode.
pub fn unfolded(net: &LeNet, image: &Image, scratch: &mut ScratchF32) -> [f32; CLASSES] {
    let s = scratch;
    s.load(image);
    conv2d_f32(&s.image, &net.conv1, &mut s.map1);
    net.bn1.infer(s.map1.as_flattened_mut().as_flattened_mut());
    sigmoid_f32(s.map1.as_flattened_mut().as_flattened_mut());
    avg_pool2d_f32(&s.map1, &mut s.pooled1);
    conv2d_f32(&s.pooled1, &net.conv2, &mut s.map2);
    net.bn2.infer(s.map2.as_flattened_mut().as_flattened_mut());
    sigmoid_f32(s.map2.as_flattened_mut().as_flattened_mut());
    avg_pool2d_f32(&s.map2, &mut s.pooled2);
    linear_f32(flatten(&s.pooled2), &net.linear1, &mut s.linear1);
    net.bn3.infer(&mut s.linear1);
    sigmoid_f32(&mut s.linear1);
    linear_f32(&s.linear1, &net.linear2, &mut s.linear2);
    net.bn4.infer(&mut s.linear2);
    sigmoid_f32(&mut s.linear2);
    let mut logits = [0.0; CLASSES];
    linear_f32(&s.linear2, &net.linear3, &mut logits);
    logits
}

/// Logits in f32 with every BatchNorm folded away.
pub fn folded(net: &FoldedLeNet, image: &Image, scratch: &mut ScratchF32) -> [f32; CLASSES] {
    let s = scratch;
    s.load(image);
    conv2d_f32(&s.image, &net.conv1, &mut s.map1);
    sigmoid_f32(s.map1.as_flattened_mut().as_flattened_mut());
    avg_pool2d_f32(&s.map1, &mut s.pooled1);
    conv2d_f32(&s.pooled1, &net.conv2, &mut s.map2);
    sigmoid_f32(s.map2.as_flattened_mut().as_flattened_mut());
    avg_pool2d_f32(&s.map2, &mut s.pooled2);
    linear_f32(flatten(&s.pooled2), &net.linear1, &mut s.linear1);
    sigmoid_f32(&mut s.linear1);
    linear_f32(&s.linear1, &net.linear2, &mut s.linear2);
    sigmoid_f32(&mut s.linear2);
    let mut logits = [0.0; CLASSES];
    linear_f32(&s.linear2, &net.linear3, &mut logits);
    logits
}

/// The second pooled map as one row of features: channel, row, column.
fn flatten(pooled: &[[[f32; POOL2_SIDE]; POOL2_SIDE]; CONV2_CHANNELS]) -> &[f32; FLAT] {
    bytemuck::must_cast_ref(pooled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_takes_the_lowest_index_on_ties() {
        assert_eq!(argmax(&[1, 3, 3, 2]), 1);
        assert_eq!(argmax(&[0.0, f32::NAN, 1.0]), 2);
        assert_eq!(argmax(&[5]), 0);
    }

    #[test]
    fn ranking_falls_and_breaks_ties_by_index() {
        let prediction = Prediction { logits: &[0, 5, -1, 9, 5, 0, 0, 0, 0, 0] };
        assert_eq!(prediction.class(), 3);
        assert_eq!(prediction.ranking(), [3, 1, 4, 0, 5, 6, 7, 8, 9, 2]);
    }
}
