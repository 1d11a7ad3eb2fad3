//! Inference over many inputs, on all cores: any network in f32, LeNet by bn-core's own code, in integers too. Results do not
//! depend on the number of threads.

use std::borrow::Cow;

use bn_core::file::{Arena, WeightsFile};
use bn_core::infer::{self, ScratchF32, argmax};
use bn_core::lenet::{FLAT, Streams};
use bn_core::quant::Scale;
use bn_core::quant::{Quad, quantize_input};
use bn_core::wide::{WideInt8Scratch, WideLeNet, WideModel, WideScratch};
use bn_core::{CLASSES, FoldedLeNet, Image, LeNet};
use ndarray::Array4;

use super::fold::{Folded, InputPadding};
use super::input::gather;
use super::parameters::Parameters;
use crate::cores::cores;
use crate::data::{Inputs, Raw};
use crate::engine::reference::network::Net;
use crate::network::Network;

/// Examples of one pass of the interpreter: few enough to stay in the cache.
pub const BATCH: usize = 32;

/// What a network says of many inputs, `[n][outputs]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    width: usize,
    values: Vec<f32>,
}

impl Outputs {
    /// Rows of that many values.
    ///
    /// # Panics
    /// If the values are not whole rows.
    pub fn new(width: usize, values: Vec<f32>) -> Self {
        assert!(values.len().is_multiple_of(width), "{} values are no whole rows of {width}", values.len());
        Self { width, values }
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One row an input.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width)
    }

    /// Class of each row: its largest value, the first of several.
    pub fn classes(&self) -> Vec<usize> {
        self.rows().map(argmax).collect()
    }

    /// Largest difference of two values at the same place.
    pub fn largest_difference(&self, other: &Self) -> f64 {
        let pairs = self.values.iter().zip(&other.values);
        pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max)
    }
}

/// What a network says of raw inputs, in f32, as it is described: its preprocessing, then its nodes.
pub fn outputs(parameters: &Parameters, inputs: &Inputs) -> Outputs {
    let net = Net::from_parameters(parameters);
    interpret(&net, inputs, |range| gather(net.network(), inputs, samples(range)))
}

/// Examples as they are, as [`augment`](crate::data::augment) numbers them.
pub fn samples(range: std::ops::Range<usize>) -> std::ops::Range<u32> {
    range.start as u32..range.end as u32
}

/// The same of a folded model.
pub fn folded_outputs(folded: &Folded, inputs: &Inputs) -> Outputs {
    let net = Net::from_parameters(&folded.parameters);
    interpret(&net, inputs, |range| {
        let x = gather(net.network(), inputs, samples(range));
        folded.padding.as_ref().map_or(x.clone(), |padding| pad(&x, padding))
    })
}

/// Mean over all inputs of the mean squared difference between output and what the first node read.
pub fn reconstruction_error(network: &Network, outputs: &Outputs, inputs: &Inputs) -> f64 {
    let error = |(example, row): (usize, &[f32])| {
        let x: Array4<f32> = gather(network, inputs, [example as u32]);
        let squares = row.iter().zip(&x).map(|(&y, &x)| (f64::from(y) - f64::from(x)).powi(2));
        squares.sum::<f64>() / row.len() as f64
    };
    outputs.rows().enumerate().map(error).sum::<f64>() / inputs.len() as f64
}

/// Rows and columns of a stated value around every map.
fn pad(x: &Array4<f32>, padding: &InputPadding) -> Array4<f32> {
    let (n, c, h, w) = x.dim();
    let pads = padding.pads;
    let shape = (n, c, h + pads.top + pads.bottom, w + pads.left + pads.right);
    Array4::from_shape_fn(shape, |(n, c, row, column)| {
        let (row, column) = (row.wrapping_sub(pads.top), column.wrapping_sub(pads.left));
        if row < h && column < w { x[(n, c, row, column)] } else { padding.values[c] }
    })
}

/// The outputs of all inputs; each thread interprets a run of batches.
fn interpret(net: &Net<f32>, inputs: &Inputs, batch: impl Fn(std::ops::Range<usize>) -> Array4<f32> + Sync) -> Outputs {
    let share = inputs.len().div_ceil(cores()).next_multiple_of(BATCH).max(BATCH);
    let run = |start: usize| {
        let end = inputs.len().min(start + share);
        let batches = (start..end).step_by(BATCH);
        batches
            .flat_map(|at| net.infer(batch(at..end.min(at + BATCH))).into_raw_vec_and_offset().0)
            .collect::<Vec<f32>>()
    };
    let run = &run;
    let values = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..inputs.len()).step_by(share).map(|start| scope.spawn(move || run(start))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("inference does not panic")).collect()
    });
    Outputs::new(net.network().output().len(), values)
}

/// f32 logits with BatchNorm computed on its own, one row an image.
pub fn unfolded(net: &LeNet, images: &[Image]) -> Vec<[f32; CLASSES]> {
    each(images, ScratchF32::new, |image, scratch| infer::unfolded(net, image, scratch))
}

/// f32 logits with BatchNorm folded away, one row an image.
pub fn folded(net: &FoldedLeNet, images: &[Image]) -> Vec<[f32; CLASSES]> {
    let net = Box::new(WideLeNet::new(net));
    each(images, WideScratch::new, |image, scratch| net.infer(image, scratch))
}

/// What the integer network says of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The class with the largest integer; the lowest index wins a tie.
    pub class: usize,
    /// The integers of the output.
    pub logits: Vec<i32>,
}

impl Prediction {
    /// Of an output.
    pub fn new(logits: Vec<i32>) -> Self {
        Self { class: argmax(&logits), logits }
    }
}

/// What the integer network says, one prediction an input: on vector units where it is LeNet's, else by the portable kernels.
///
/// # Panics
/// If the network does not read inputs of this shape.
pub fn int8(file: &WeightsFile, inputs: &Inputs) -> Vec<Prediction> {
    if let Some(model) = Streams::of(file).and_then(WideModel::new).map(Box::new).filter(|_| inputs.are_images()) {
        let logits = each(inputs.images(), WideInt8Scratch::new, |image, scratch| model.predict(image, scratch));
        return logits.into_iter().map(|logits| Prediction::new(logits.to_vec())).collect();
    }
    let examples: Vec<usize> = (0..inputs.len()).collect();
    let run = |example: &usize, arena: &mut Arena| {
        Prediction::new(file.run(&codes(file, inputs, *example), arena, |_, _| ()))
    };
    each(&examples, Arena::default, run)
}

/// An input as the device takes it: bytes are codes, other numbers become codes by the file's scale.
pub fn codes<'a>(file: &WeightsFile, inputs: &'a Inputs, example: usize) -> Cow<'a, [u8]> {
    match inputs.raw(example) {
        Raw::U8(codes) => Cow::Borrowed(codes),
        Raw::F32(values) => values.iter().map(|&raw| quantize_input(raw, file.input_scale())).collect(),
    }
}

/// The integers' outputs as numbers; each is exact in f32 up to 24 bits.
pub fn dequantized(file: &WeightsFile, predictions: &[Prediction]) -> Outputs {
    let Scale { scale, zero_point } = file.output_scale();
    let values = predictions.iter().flat_map(|p| &p.logits);
    let value = |&logit: &i32| (f64::from(logit.wrapping_sub(zero_point)) * f64::from(scale)) as f32;
    Outputs::new(file.outputs(), values.map(value).collect())
}

/// What reaches the first linear layer of LeNet's integers, one row an image: channel, row, column, centred.
pub fn flat(file: &WeightsFile, images: &[Image]) -> Vec<[i8; FLAT]> {
    each(images, Arena::default, |image, arena| {
        let mut flat = [0; FLAT];
        file.run(image.as_flattened(), arena, |step, output| {
            if step == 1 {
                let values = bytemuck::cast_slice::<_, Quad>(output).iter().flat_map(|quad| quad.values());
                flat.iter_mut().zip(values).for_each(|(to, value)| *to = value);
            }
        });
        flat
    })
}

/// Class of each row of logits.
pub fn classes(logits: &[[f32; CLASSES]]) -> Vec<usize> {
    logits.iter().map(|row| argmax(row)).collect()
}

/// Share of classes that are the label.
pub fn accuracy(classes: &[usize], labels: &[u8]) -> f64 {
    let correct = classes.iter().zip(labels).filter(|&(&class, &label)| class == usize::from(label)).count();
    correct as f64 / labels.len() as f64
}

/// Share of images that two networks classify differently.
pub fn disagreement(a: &[usize], b: &[usize]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a != b).count() as f64 / a.len() as f64
}

/// `f` of every item, in order; each thread has a scratch of its own.
pub(crate) fn each<T: Sync, S, R: Send>(items: &[T], scratch: fn() -> S, f: impl Fn(&T, &mut S) -> R + Sync) -> Vec<R> {
    let threads = cores();
    let chunk = items.len().div_ceil(threads).max(1);
    let run = |items: &[T]| {
        let mut scratch = Box::new(scratch());
        items.iter().map(|item| f(item, &mut scratch)).collect::<Vec<R>>()
    };
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = items.chunks(chunk).map(|items| scope.spawn(move || run(items))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("inference does not panic")).collect()
    })
}
