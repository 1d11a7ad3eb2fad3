//! Classifies images that an emulator's host streams in through semihosting, and writes back every class and logit and,
//! at the end, what it counted. Arguments: the file of images, the file of results ([`firmware_demo::protocol`] describes both),
//! and how often to go through the images, once if it is left out.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("evaluate: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
mod device {
    use firmware_demo::classifier::Classifier;
    use firmware_demo::model::{Arena, INPUT_BYTES, OUTPUTS, STEPS};
    use firmware_demo::place;
    use firmware_demo::protocol::{EXIT_OK, Trailer, record, record_words};
    use firmware_demo::{device, files};
    use semihosting::fs::File;
    use semihosting::io::{Seek as _, SeekFrom};

    /// Images that the host is asked for at a time. One request costs far more than the bytes it brings, but an Armv6-M
    /// chip may have no more than 16 KB of RAM.
    const BATCH: usize = if cfg!(armv6m) { 4 } else { 16 };

    #[firmware_demo::entry]
    fn main() -> ! {
        let (place, counter) = device::start();
        files::require_emulator(place, counter.is_some());
        let (mut from, mut to) = files::open();
        let mut classifier = Classifier::new(counter);
        let scratch_bytes = size_of::<Arena>() as u32;
        let mut steps = [0; STEPS];
        let mut trailer = Trailer { instructions_min: u32::MAX, scratch_bytes, ..Trailer::default() };
        for _ in 0..files::rounds() {
            if from.seek(SeekFrom::Start(0)).is_err() {
                device::fail("cannot go back to the first image");
            }
            evaluate(&mut classifier, &mut from, &mut to, &mut steps, &mut trailer);
        }
        files::write(&mut to, steps.map(u32::to_le_bytes).as_flattened());
        files::write(&mut to, &trailer.to_bytes());
        defmt::info!("{=u32} images classified", trailer.images);
        place::exit(EXIT_OK)
    }

    /// Classifies batch after batch until the images end. The stack of the first inference is measured.
    fn evaluate(
        classifier: &mut Classifier,
        from: &mut File,
        to: &mut File,
        steps: &mut [u32; STEPS],
        trailer: &mut Trailer,
    ) {
        let mut inputs = [[0; INPUT_BYTES]; BATCH];
        let mut records = [[[0; 4]; record_words(OUTPUTS)]; BATCH];
        let mut first = true;
        loop {
            let images = files::read(from, inputs.as_flattened_mut(), INPUT_BYTES);
            if images == 0 {
                return;
            }
            for (input, words) in inputs[..images].iter().zip(&mut records) {
                if trailer.images == 0 {
                    *steps = classifier.steps(input);
                }
                if core::mem::take(&mut first) {
                    trailer.stack_bytes = trailer.stack_bytes.max(classifier.stack_bytes(input));
                }
                let (prediction, count) = classifier.classify(input);
                let Some(count) = count else {
                    device::fail("an inference takes more instructions than the counter holds");
                };
                trailer.images += 1;
                trailer.instructions += u64::from(count);
                trailer.instructions_min = trailer.instructions_min.min(count);
                trailer.instructions_max = trailer.instructions_max.max(count);
                let values = record(prediction.class as u32, &prediction.logits);
                words.iter_mut().zip(values).for_each(|(word, value)| *word = value);
            }
            files::write(to, records[..images].as_flattened().as_flattened());
        }
    }
}
