//! A group of examples through the network: forward the device's integers, backward straight through each rounding.

use pulp::Simd;

use super::super::super::lanes::{Lanes, zero};
use super::layer::Layer;
use super::program::{Program, Work};
use super::tensors::{Finish, Results, Tensors};
use super::{plain, sums};

/// All steps of a network.
pub(super) struct Walk<'a> {
    pub(super) program: &'a Program,
    pub(super) layers: &'a [Option<Layer>],
    /// By step, of its table.
    pub(super) slopes: &'a [Option<Vec<f32>>],
}

impl Walk<'_> {
    /// From the codes of tensor 0 to the output's integers.
    #[inline(always)]
    pub(super) fn forward<S: Simd>(&self, simd: S, tensors: &mut Tensors<Lanes<S>>) {
        for (at, step) in self.program.steps.iter().enumerate() {
            let mut codes = std::mem::take(&mut tensors.codes[at + 1]);
            let mut slopes = std::mem::take(&mut tensors.slopes[at + 1]);
            let mut words = std::mem::take(&mut tensors.words);
            let is_last = at + 1 == self.program.steps.len();
            let mut to = Results {
                codes: bytemuck::cast_slice_mut(&mut codes),
                slopes: bytemuck::cast_slice_mut(&mut slopes),
                words: is_last.then_some(&mut words[..]),
            };
            let table = step.table.as_deref().zip(self.slopes[at].as_deref());
            let finish = Finish { range: step.range, table };
            match &step.work {
                Work::Sums(sums) => {
                    let layer = self.layers[at].as_ref().expect("a step with weights is a layer");
                    sums::products(simd, layer, step.reads, tensors);
                    sums::finish::<S>(layer, sums, &finish, tensors, &mut to);
                }
                _ => plain::forward(simd, step, &finish, tensors, &mut to),
            }
            (tensors.codes[at + 1], tensors.slopes[at + 1], tensors.words) = (codes, slopes, words);
        }
    }

    /// From the gradient of the output's integers to those of all that is learned, which are added to `gradient`. The gradients of
    /// all other tensors must be zero; they are again in the end.
    #[inline(always)]
    pub(super) fn backward<S: Simd>(&self, simd: S, tensors: &mut Tensors<Lanes<S>>, gradient: &mut [f32]) {
        for (at, step) in self.program.steps.iter().enumerate().rev() {
            let mut d = std::mem::take(&mut tensors.d[at + 1]);
            d.iter_mut().zip(&tensors.slopes[at + 1]).for_each(|(d, &slope)| *d = simd.mul_f32s(*d, slope));
            match &step.work {
                Work::Sums(sums) => {
                    let layer = self.layers[at].as_ref().expect("a step with weights is a layer");
                    sums::backward(simd, layer, (sums, step.reads), &d, tensors, gradient);
                }
                _ => plain::backward(simd, step, &d, tensors),
            }
            d.fill(zero(simd));
            tensors.d[at + 1] = d;
        }
        tensors.d[0].fill(zero(simd));
    }
}
