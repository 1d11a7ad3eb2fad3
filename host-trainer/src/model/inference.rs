//! bn-core's inference over many images, on all cores. Results do not depend on the number of threads.

use bn_core::fast;
use bn_core::infer::{self, ScratchF32, argmax};
use bn_core::lenet::FLAT;
use bn_core::wide::{WideInt8Scratch, WideLeNet, WideModel, WideScratch};
use bn_core::{CLASSES, FoldedLeNet, Image, LeNet, Model, Prediction, Scratch};

use crate::cores::cores;
use crate::device::builds::Build;

/// f32 logits with BatchNorm computed on its own, one row an image.
pub fn unfolded(net: &LeNet, images: &[Image]) -> Vec<[f32; CLASSES]> {
    each(images, ScratchF32::new, |image, scratch| infer::unfolded(net, image, scratch))
}

/// f32 logits with BatchNorm folded away, one row an image.
pub fn folded(net: &FoldedLeNet, images: &[Image]) -> Vec<[f32; CLASSES]> {
    let net = Box::new(WideLeNet::new(net));
    each(images, WideScratch::new, |image, scratch| net.infer(image, scratch))
}

/// What the integer network says, one prediction an image.
pub fn int8(model: &Model<'_>, images: &[Image]) -> Vec<Prediction> {
    let model = Box::new(WideModel::new(*model));
    each(images, WideInt8Scratch::new, |image, scratch| model.predict(image, scratch))
}

/// What reaches the first linear layer of the integer network, one row an image: channel, row, column, centred.
pub fn flat(model: &Model<'_>, images: &[Image]) -> Vec<[i8; FLAT]> {
    each(images, Scratch::new, |image, scratch| {
        infer::predict(model, image, scratch);
        let (_, [flat, ..]) = scratch.stages();
        std::array::from_fn(|i| flat[i / 4].values()[i % 4])
    })
}

/// What the integer network of a build says, one prediction an image.
pub fn int8_of(build: Build, model: &Model<'_>, images: &[Image]) -> Vec<Prediction> {
    match build {
        Build::Default | Build::Portable | Build::Small => int8(model, images),
        Build::Fast => {
            let weights = Box::new(fast::Weights::of(model));
            each(images, fast::Scratch::new, |image, scratch| fast::predict(&weights, image, scratch))
        }
    }
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

/// `f` of every image, in order; each thread has a scratch of its own.
pub(crate) fn each<S, R: Send>(images: &[Image], scratch: fn() -> S, f: impl Fn(&Image, &mut S) -> R + Sync) -> Vec<R> {
    let threads = cores();
    let chunk = images.len().div_ceil(threads).max(1);
    let run = |images: &[Image]| {
        let mut scratch = Box::new(scratch());
        images.iter().map(|image| f(image, &mut scratch)).collect::<Vec<R>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = images
            .chunks(chunk)
            .map(|images| {
                scope.spawn({
                    let run = &run;
                    move || run(images)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("inference does not panic")).collect()
    })
}
