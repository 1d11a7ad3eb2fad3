//! The integers of a step's output, in the order of its description.

use std::vec::Vec;

use super::WeightsFile;
use crate::kernels::packed::Input;
use crate::network::{Shape, Value};
use crate::plan::{Filled, Form};
use crate::quant::{Pair, Quad};

impl WeightsFile {
    /// Shape of what a step gives.
    pub fn step_shape(&self, step: usize) -> Shape {
        self.network().topology.shape(Value::Node(self.steps[step].step.last.into()))
    }

    /// Where values lie in the output of a step.
    pub fn step_filled(&self, step: usize) -> Filled {
        Filled::of(self.output_form(step), self.step_shape(step))
    }

    /// The integers of a step's output as they are stored: channel, row, column.
    ///
    /// # Panics
    /// If the output has fewer words than the step gives.
    pub fn step_values(&self, step: usize, output: &[u32]) -> Vec<i32> {
        let (form, shape) = (self.output_form(step), self.step_shape(step));
        let area = shape.height * shape.width;
        (0..shape.len()).map(|at| value(form, output, area, at)).collect()
    }
}

/// The integer at a place of the description's order; `area` is what a channel has of them.
fn value(form: Form, output: &[u32], area: usize, at: usize) -> i32 {
    let (channel, position) = (at / area, at % area);
    match form {
        Form::Bytes => output[at / 4].to_le_bytes()[at % 4].into(),
        Form::PairSums => {
            let Pair { low, high } = bytemuck::cast(output[channel / 2 * area + position]);
            if channel % 2 == 0 { low.into() } else { high.into() }
        }
        Form::Quads => {
            let quad: Quad = bytemuck::cast([output[at / 4 * 2], output[at / 4 * 2 + 1]]);
            quad.values()[at % 4].into()
        }
        Form::Packed => Input::Packed(output).code(channel, area, position).into(),
        Form::Words => output[at] as i32,
        Form::Halves => bytemuck::cast::<_, [i16; 2]>(output[at / 2])[at % 2].into(),
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn each_form_gives_its_values_back() {
        let pairs: [u32; 2] = bytemuck::cast([Pair::new(1, -2), Pair::new(3, 4)]);
        let of =
            |form, output: &[u32], area, count| (0..count).map(|at| value(form, output, area, at)).collect::<Vec<_>>();
        assert_eq!(of(Form::PairSums, &pairs, 2, 4), [1, 3, -2, 4]);
        let quads: [u32; 4] = bytemuck::cast([Quad::new([1, -2, 127, -127]), Quad::new([5, 0, 0, 0])]);
        assert_eq!(of(Form::Quads, &quads, 1, 5), [1, -2, 127, -127, 5]);
        assert_eq!(of(Form::Words, &[u32::MAX, 7], 1, 2), [-1, 7]);
        assert_eq!(of(Form::Halves, &[0x0007_FFFF, 9], 1, 3), [-1, 7, 9]);
        assert_eq!(
            of(Form::Packed, &[0x0403_0201, 0x1413_1211, 0xFF25, 0xFF35], 2, 10),
            [1, 17, 2, 18, 3, 19, 4, 20, 37, 53]
        );
        assert_eq!(of(Form::Bytes, &[0x0201_00FF], 2, 3), [255, 0, 1]);
    }
}
