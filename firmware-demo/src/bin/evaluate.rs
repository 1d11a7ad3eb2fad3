//! Classifies images that an emulator's host streams in through semihosting, and writes back every class and logit, a digest of
//! what each step gave and, at the end, what it counted; or all that each step gave. Arguments: the file of images, the file of
//! results ([`firmware_demo::protocol`] describes both), and how often to go through the images, once if it is left out, or
//! `outputs`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("evaluate: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
mod device {
    use firmware_demo::classifier::Classifier;
    use firmware_demo::files::Task;
    use firmware_demo::model::{Arena, INPUT_BYTES, Input, OUTPUTS, STEP_FILLED, STEPS};
    use firmware_demo::place;
    use firmware_demo::protocol::{EXIT_OK, Trailer, record, record_words};
    use firmware_demo::{device, files};
    use semihosting::fs::File;
    use semihosting::io::{Seek as _, SeekFrom};

    include!(concat!(env!("OUT_DIR"), "/stream.rs"));

    #[firmware_demo::entry]
    fn main() -> ! {
        let (place, counter) = device::start();
        files::require_emulator(place, counter.is_some());
        let (mut from, mut to) = files::open();
        let mut classifier = Classifier::new(counter);
        match files::task() {
            Task::Records(rounds) => records(&mut classifier, &mut from, &mut to, rounds),
            Task::Outputs => outputs(&mut classifier, &mut from, &mut to),
        }
        place::exit(EXIT_OK)
    }

    /// Goes through the images `rounds` times, then writes what it counted.
    fn records(classifier: &mut Classifier, from: &mut File, to: &mut File, rounds: u32) {
        let mut counted = Counted::new();
        for _ in 0..rounds {
            if from.seek(SeekFrom::Start(0)).is_err() {
                device::fail("cannot go back to the first image");
            }
            evaluate(classifier, from, to, &mut counted);
        }
        files::write(to, counted.steps.map(u64::to_le_bytes).as_flattened());
        files::write(to, &counted.trailer.to_bytes());
        defmt::info!("{=u32} images classified", counted.trailer.images);
    }

    /// Classifies batch after batch until the images end. The stack of the first inference is measured.
    fn evaluate(classifier: &mut Classifier, from: &mut File, to: &mut File, counted: &mut Counted) {
        let mut inputs = [[0; INPUT_BYTES]; INPUTS];
        let mut records = [[[0; 4]; record_words(OUTPUTS, STEPS)]; INPUTS];
        let mut first = true;
        loop {
            let images = files::read(from, inputs.as_flattened_mut(), INPUT_BYTES);
            if images == 0 {
                return;
            }
            for (input, words) in inputs[..images].iter().zip(&mut records) {
                if core::mem::take(&mut first) {
                    counted.first(classifier, input);
                }
                let mut digests = [0; STEPS];
                let (prediction, steps) = classifier.classify_by_step(input, |step, output| {
                    digests[step] = STEP_FILLED[step].digest(output);
                });
                counted.add(&steps);
                let values = record(prediction.class() as u32, prediction.logits, &digests);
                words.iter_mut().zip(values).for_each(|(word, value)| *word = value);
            }
            files::write(to, records[..images].as_flattened().as_flattened());
        }
    }

    /// Writes what each step gives for each image.
    fn outputs(classifier: &mut Classifier, from: &mut File, to: &mut File) {
        let mut input = [0; INPUT_BYTES];
        while files::read(from, &mut input, INPUT_BYTES) == 1 {
            classifier.classify_by_step(&input, |_, output| files::write_words(to, output));
        }
    }

    /// What was counted so far.
    struct Counted {
        trailer: Trailer,
        /// Instructions of each step, of all images together.
        steps: [u64; STEPS],
        /// What an inference takes beside its steps: the calls, and the choice of the class.
        beside: u32,
    }

    impl Counted {
        fn new() -> Self {
            let scratch_bytes = size_of::<Arena>() as u32;
            let trailer = Trailer { instructions_min: u32::MAX, scratch_bytes, ..Trailer::default() };
            Self { trailer, steps: [0; STEPS], beside: 0 }
        }

        /// Takes an inference as a whole, and one for its stack. The other images are counted by step.
        fn first(&mut self, classifier: &mut Classifier, input: &Input) {
            let whole = classifier.classify(input).1.unwrap_or(0);
            let (_, steps) = classifier.classify_by_step(input, |_, _| ());
            self.beside = whole.wrapping_sub(steps.iter().sum());
            self.trailer.stack_bytes = self.trailer.stack_bytes.max(classifier.stack_bytes(input));
        }

        /// Adds an inference.
        fn add(&mut self, steps: &[u32; STEPS]) {
            let count = steps.iter().sum::<u32>().wrapping_add(self.beside);
            self.steps.iter_mut().zip(steps).for_each(|(sum, &step)| *sum += u64::from(step));
            let trailer = &mut self.trailer;
            trailer.images += 1;
            trailer.instructions += u64::from(count);
            trailer.instructions_min = trailer.instructions_min.min(count);
            trailer.instructions_max = trailer.instructions_max.max(count);
        }
    }
}
