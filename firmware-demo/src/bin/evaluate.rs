//! Classifies images that an emulator's host streams in through semihosting, and writes back every class and logit and,
//! at the end, what it counted. Arguments: the file of images, the file of results; [`firmware_demo::protocol`] describes both.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("evaluate: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
mod device {
    use bn_core::lenet::PIXELS;
    use firmware_demo::classifier::Classifier;
    use firmware_demo::model::Scratch;
    use firmware_demo::place;
    use firmware_demo::protocol::{EXIT_OK, Record, Trailer};
    use firmware_demo::{device, files, images};
    use semihosting::fs::File;

    /// Images that the host is asked for at a time. One request costs far more than the bytes it brings, but an Armv6-M
    /// chip may have no more than 16 KB of RAM.
    const BATCH: usize = if cfg!(armv6m) { 4 } else { 16 };

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let (place, counter) = device::start();
        files::require_emulator(place, counter.is_some());
        let (mut from, mut to) = files::open();
        let mut classifier = Classifier::new(counter);
        let trailer = evaluate(&mut classifier, &mut from, &mut to);
        files::write(&mut to, &trailer.to_bytes());
        defmt::info!("{=u32} images classified", trailer.images);
        place::exit(EXIT_OK)
    }

    /// Classifies batch after batch until the images end.
    fn evaluate(classifier: &mut Classifier, from: &mut File, to: &mut File) -> Trailer {
        let mut pixels = [[0; PIXELS]; BATCH];
        let mut records = [[0; Record::BYTES]; BATCH];
        let scratch_bytes = size_of::<Scratch>() as u32;
        let mut trailer = Trailer { instructions_min: u32::MAX, scratch_bytes, ..Trailer::default() };
        loop {
            let images = files::read(from, pixels.as_flattened_mut());
            if images == 0 {
                return trailer;
            }
            for (pixels, record) in pixels[..images].iter().zip(&mut records) {
                let image = images::image(pixels);
                if trailer.images == 0 {
                    trailer.stack_bytes = classifier.stack_bytes(image);
                    trailer.layers = classifier.layers(image);
                }
                let (prediction, count) = classifier.classify(image);
                let Some(count) = count else {
                    device::fail("an inference takes more instructions than the counter holds");
                };
                trailer.images += 1;
                trailer.instructions += u64::from(count);
                trailer.instructions_min = trailer.instructions_min.min(count);
                trailer.instructions_max = trailer.instructions_max.max(count);
                *record = Record { class: prediction.class as u32, logits: prediction.logits }.to_bytes();
            }
            files::write(to, records[..images].as_flattened());
        }
    }
}
