//! LeNet's three linear layers as a network of integers: what its convolutions give is the input.
//!
//! Its activations are centred; a code is one more by 128.

use std::borrow::Cow;

use bn_core::FoldedLeNet;
use bn_core::kernels::CentredTable;
use bn_core::kernels::packed::Window;
use bn_core::lenet::{CLASSES, FLAT, LINEAR1, LINEAR2, Streams};
use bn_core::network::Shape;
use bn_core::quant::{ACTIVATION_ONE, LINEAR_UNIT, LINEAR_WEIGHT_MAX, SIGMOID_LEN, SIGMOID_STEP};

use super::lessons::Lessons;
use super::{FineTuned, FineTuning, Pupil};
use crate::data::Split;
use crate::engine::cpu::graph::integers::{Program, Row, Step, Sums, Work};
use crate::error::{Error, Result};
use crate::model::inference;
use crate::model::parameters::Parameters;
use crate::quantize::linear::Integers;
use crate::quantize::{Layer, MULTIPLIER_ONE, Quantized};

/// The code of a centred 0.
const CENTRE: i16 = 128;
/// Inputs of the layers, and outputs of the last.
const SIZES: [usize; 4] = [FLAT, LINEAR1, LINEAR2, CLASSES];

/// Fine-tunes the linear layers of integers that a device would take, which stand for `net`.
///
/// # Errors
/// [`crate::error::Error::BadArgument`] for fewer than two examples.
pub fn fine_tune(
    start: &Quantized,
    (parameters, net): (&Parameters, &FoldedLeNet),
    train: &Split,
    request: FineTuning,
) -> Result<(Quantized, FineTuned)> {
    let network = &parameters.network;
    let file = start.write(network).map_err(Error::untrusted)?;
    let flat = inference::flat(&file, train.images());
    let codes = |example: usize| Cow::Owned(flat[example].map(code).to_vec());
    let names = [Layer::Linear1, Layer::Linear2, Layer::Linear3].map(|layer| layer.to_string()).into();
    let output = (start.logit_unit() as f32, 0);
    let pupil = Pupil { program: program(start, net), names, codes: &codes, output };
    let is_sound = |program: &Program| quantized(start, program).write(network).is_ok();
    let (best, found) = pupil.fine_tune(&Lessons::new(parameters, train)?, request, is_sound)?;
    Ok((quantized(start, &best), found))
}

fn code(centred: i8) -> u8 {
    (i16::from(centred) + CENTRE) as u8
}

/// The linear layers' integers.
fn stored(f: &Streams) -> [Integers; 3] {
    [
        Integers::load(&f.linear1_weight, &f.linear1_bias, &f.linear1_multiplier, [FLAT, LINEAR1]),
        Integers::load(&f.linear2_weight, &f.linear2_bias, &f.linear2_multiplier, [LINEAR1, LINEAR2]),
        Integers::load(&f.linear3_weight, &f.linear3_bias, &f.linear3_multiplier, [LINEAR2, CLASSES]),
    ]
}

/// The three layers, which stand for those of `net`.
pub(super) fn program(start: &Quantized, net: &FoldedLeNet) -> Program {
    let wanted = [net.linear1.flat(), net.linear2.flat(), net.linear3.flat()];
    let units = [SIGMOID_STEP, SIGMOID_STEP, start.logit_unit()];
    let steps = stored(&start.streams).into_iter().enumerate().map(|(at, integers)| {
        let is_last = at == 2;
        let table: &CentredTable = &start.streams.linear_sigmoid;
        Step {
            reads: at,
            shape: Shape::flat(SIZES[at + 1]),
            work: Work::Sums(sums(&integers, wanted[at], SIZES[at], units[at])),
            range: if is_last { [i32::MIN, i32::MAX] } else { [0, SIGMOID_LEN as i32 - 1] },
            table: (!is_last).then(|| table.iter().map(|&centred| code(centred)).collect()),
        }
    });
    Program { input: Shape::flat(FLAT), steps: steps.collect() }
}

/// A layer; `unit` is the value of one after requantising.
fn sums(integers: &Integers, wanted: &[f32], inputs: usize, unit: f64) -> Sums {
    let rows = integers.weight.chunks_exact(inputs).zip(wanted.chunks_exact(inputs)).enumerate();
    let row = |(o, (weights, wanted)): (usize, (&[i8], &[f32]))| {
        let multiplier = integers.multiplier[o];
        let step = f64::from(multiplier) / MULTIPLIER_ONE * unit * f64::from(LINEAR_UNIT) * f64::from(ACTIVATION_ONE);
        let weights: Vec<i32> = weights.iter().map(|&w| w.into()).collect();
        let wanted = wanted.iter().map(|&w| (f64::from(w) / step) as f32).collect();
        let start = integers.bias[o].wrapping_sub(of_centre(&weights));
        Row { weights, wanted, start, multiplier, adds: 0 }
    };
    Sums {
        window: Window::points(Shape::flat(inputs), false),
        is_depthwise: false,
        zeros: vec![CENTRE as u8; inputs],
        other: None,
        unit: LINEAR_UNIT,
        most: LINEAR_WEIGHT_MAX.into(),
        rows: rows.map(row).collect(),
    }
}

/// What the code of 0 adds to a sum.
fn of_centre(weights: &[i32]) -> i32 {
    LINEAR_UNIT * i32::from(CENTRE) * weights.iter().sum::<i32>()
}

/// The integers of a program, the rest as it was at the start.
pub(super) fn quantized(start: &Quantized, program: &Program) -> Quantized {
    let integers = |step: &Step| {
        let Work::Sums(Sums { rows, .. }) = &step.work else { unreachable!("LeNet's linear layers have weights") };
        Integers {
            weight: rows.iter().flat_map(|row| row.weights.iter().map(|&w| w as i8)).collect(),
            bias: rows.iter().map(|row| row.start.wrapping_add(of_centre(&row.weights))).collect(),
            multiplier: rows.iter().map(|row| row.multiplier).collect(),
        }
    };
    let mut quantized = start.clone();
    let f = &mut *quantized.streams;
    let [one, two, three] = [0, 1, 2].map(|at| integers(&program.steps[at]));
    one.store(&mut f.linear1_weight, &mut f.linear1_bias, &mut f.linear1_multiplier);
    two.store(&mut f.linear2_weight, &mut f.linear2_bias, &mut f.linear2_multiplier);
    three.store(&mut f.linear3_weight, &mut f.linear3_bias, &mut f.linear3_multiplier);
    quantized
}
