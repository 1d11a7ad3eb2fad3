//! A data set for machines without a network: garments of Fashion-MNIST's ten classes, drawn from a seed. Touches no file.
//!
//! The drawings imitate what makes the real data set hard: tops that differ by little but a collar or a line of buttons, and
//! often not even by those, sandals among sneakers, cloth of any brightness and pattern, garments that lie askew. A figure
//! measured on them is not Fashion-MNIST's. Each drawing depends on the seed and its own number alone, and its pixels are the
//! same on every platform.

mod canvas;
mod dice;
mod fabric;
mod others;
mod shoes;
mod tops;

use std::thread;

use bn_core::lenet::{CLASSES, IMAGE_SIDE};
use bn_core::{CLASS_NAMES, Image};

use self::canvas::{Canvas, Placement};
use self::dice::Dice;
use self::tops::Top;
use super::{Dataset, DatasetName, FileSummary, Split, Summary};
use crate::cores::cores;

/// Examples to train on, as many as Fashion-MNIST has.
pub const TRAIN_EXAMPLES: usize = 60_000;
/// Examples to test on, as many as Fashion-MNIST has.
pub const TEST_EXAMPLES: usize = 10_000;

/// Streams of random numbers: of the training images 0 and on, then these.
const TEST_STREAM: u64 = 1 << 40;
const SINGLE_STREAM: u64 = 2 << 40;
const LABEL_STREAM: u64 = 3 << 40;

/// The data set of a seed: [`TRAIN_EXAMPLES`] and [`TEST_EXAMPLES`] drawings.
pub fn dataset(seed: u64) -> Dataset {
    let (train, test) = garments(seed, TRAIN_EXAMPLES, TEST_EXAMPLES);
    Dataset {
        name: name(),
        source: source(seed),
        train,
        test,
        classes: CLASS_NAMES.map(String::from).into(),
        rule: None,
    }
}

/// What [`dataset`] would give, without drawing it.
pub fn summary(seed: u64) -> Summary {
    Summary {
        dataset: name(),
        source: source(seed),
        directory: None,
        official: false,
        train_examples: TRAIN_EXAMPLES,
        test_examples: TEST_EXAMPLES,
        files: Vec::<FileSummary>::new(),
        classes: Vec::new(),
    }
}

fn name() -> String {
    use clap::ValueEnum;
    DatasetName::Garments.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn source(seed: u64) -> String {
    format!("drawn by the built-in generator from seed {seed}; not Fashion-MNIST")
}

/// Draws a training and a test split. A longer split begins with the images of a shorter one.
pub fn garments(seed: u64, train_count: usize, test_count: usize) -> (Split, Split) {
    (split(seed, 0, train_count), split(seed, TEST_STREAM, test_count))
}

/// Draws one garment of a class below 10. Every seed gives another one.
///
/// # Panics
/// If there is no such class.
pub fn draw(seed: u64, class: usize) -> Image {
    assert!(class < CLASSES, "there are {CLASSES} classes: {CLASS_NAMES:?}");
    garment(class, &mut Dice::new(seed, SINGLE_STREAM + class as u64))
}

fn split(seed: u64, first_stream: u64, count: usize) -> Split {
    let labels: Vec<u8> = (0..count.div_ceil(CLASSES)).flat_map(|ten| all_classes(seed, first_stream, ten)).collect();
    let labels = labels[..count].to_vec();
    let mut images = vec![[[0; IMAGE_SIDE]; IMAGE_SIDE]; count];
    // Drawings do not depend on each other, so the number of threads changes nothing but the time.
    let threads = cores();
    let share = count.div_ceil(threads).max(1);
    thread::scope(|scope| {
        for (part, (images, labels)) in images.chunks_mut(share).zip(labels.chunks(share)).enumerate() {
            scope.spawn(move || {
                for (index, (image, &label)) in images.iter_mut().zip(labels).enumerate() {
                    let stream = first_stream + (part * share + index) as u64;
                    *image = garment(usize::from(label), &mut Dice::new(seed, stream));
                }
            });
        }
    });
    Split::of_images(images, labels)
}

/// The ten classes in random order: every ten images hold each class once.
fn all_classes(seed: u64, first_stream: u64, ten: usize) -> [u8; CLASSES] {
    let mut dice = Dice::new(seed, LABEL_STREAM + first_stream + ten as u64);
    let mut classes = std::array::from_fn(|class| class as u8);
    for last in (1..CLASSES).rev() {
        classes.swap(last, dice.below(last + 1));
    }
    classes
}

fn garment(class: usize, dice: &mut Dice) -> Image {
    let mut canvas = Canvas::new(placement(dice));
    match class {
        0 => tops::draw(&mut canvas, Top::TShirt, dice),
        1 => others::trouser(&mut canvas, dice),
        2 => tops::draw(&mut canvas, Top::Pullover, dice),
        3 => others::dress(&mut canvas, dice),
        4 => tops::draw(&mut canvas, Top::Coat, dice),
        5 => shoes::sandal(&mut canvas, dice),
        6 => tops::draw(&mut canvas, Top::Shirt, dice),
        7 => shoes::sneaker(&mut canvas, dice),
        8 => others::bag(&mut canvas, dice),
        _ => shoes::ankle_boot(&mut canvas, dice),
    }
    canvas.finish(dice.between(1.0, 11.0), dice)
}

/// A little askew, a little larger or smaller, a little off the middle.
fn placement(dice: &mut Dice) -> Placement {
    let size = dice.between(0.8, 1.03);
    let scale = [size * dice.between(0.93, 1.06), size * dice.between(0.95, 1.03)];
    Placement::new(dice.bell() * 0.04, scale, dice.bell() * 0.05, [dice.bell() * 1.1, dice.bell() * 1.0])
}

#[cfg(test)]
mod tests;
