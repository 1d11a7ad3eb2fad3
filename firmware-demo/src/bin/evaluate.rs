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
    use core::ffi::CStr;

    use bn_core::lenet::PIXELS;
    use firmware_demo::classifier::Classifier;
    use firmware_demo::model::Scratch;
    use firmware_demo::place::{self, Place};
    use firmware_demo::protocol::{EXIT_OK, Record, Trailer};
    use firmware_demo::{device, images, stream};
    use semihosting::fs::File;
    use semihosting::io::{Read as _, Seek as _, SeekFrom, Write as _};

    /// Images that the host is asked for at a time. One request costs far more than the bytes it brings, but an Armv6-M
    /// chip may have no more than 16 KB of RAM.
    const BATCH: usize = if cfg!(armv6m) { 4 } else { 16 };

    /// Longest file name, with its terminating zero.
    const NAME: usize = 64;

    #[cortex_m_rt::entry]
    fn main() -> ! {
        let (place, counter) = device::start();
        if place == Place::Board {
            device::fail("evaluate streams images from an emulator's host; flash demo on a board");
        }
        if counter.is_none() {
            device::fail("instructions cannot be counted; start QEMU with -icount shift=6");
        }
        let (mut from, mut to, rounds) = open();
        let mut classifier = Classifier::new(counter);
        let scratch_bytes = size_of::<Scratch>() as u32;
        let mut trailer = Trailer { instructions_min: u32::MAX, scratch_bytes, ..Trailer::default() };
        for _ in 0..rounds {
            if from.seek(SeekFrom::Start(0)).is_err() {
                device::fail("cannot go back to the first image");
            }
            evaluate(&mut classifier, &mut from, &mut to, &mut trailer);
        }
        write(&mut to, &trailer.to_bytes());
        defmt::info!("{=u32} images classified", trailer.images);
        place::exit(EXIT_OK)
    }

    /// The two files that the command line names, and the number of rounds.
    fn open() -> (File, File, u32) {
        let Ok(arguments) = semihosting::experimental::env::args::<256>() else {
            device::fail("the command line is longer than 255 bytes");
        };
        // The program's own name comes first.
        let mut names = (&arguments).skip(1);
        let (Some(Ok(from)), Some(Ok(to))) = (names.next(), names.next()) else {
            device::fail("two arguments are needed: the file of images and the file of results");
        };
        let rounds = match names.next().map(|text| text.ok().and_then(|text| text.parse().ok())) {
            None => 1,
            Some(Some(rounds)) => rounds,
            Some(None) => device::fail("the third argument is no number of rounds"),
        };
        let (mut buffer, mut buffer2) = ([0; NAME], [0; NAME]);
        let Ok(images) = File::open(name(from, &mut buffer)) else { device::fail("cannot open the file of images") };
        let Ok(results) = File::create(name(to, &mut buffer2)) else {
            device::fail("cannot create the file of results");
        };
        (images, results, rounds)
    }

    /// The name with the zero that the host wants at its end.
    fn name<'a>(name: &str, buffer: &'a mut [u8; NAME]) -> &'a CStr {
        if name.len() >= NAME {
            device::fail("a file name is longer than 63 bytes");
        }
        buffer[..name.len()].copy_from_slice(name.as_bytes());
        match CStr::from_bytes_until_nul(buffer) {
            Ok(name) => name,
            Err(_) => device::fail("a file name does not end"),
        }
    }

    /// Classifies batch after batch until the images end. The stack of the first inference is measured.
    fn evaluate(classifier: &mut Classifier, from: &mut File, to: &mut File, trailer: &mut Trailer) {
        let mut pixels = [[0; PIXELS]; BATCH];
        let mut records = [[0; Record::BYTES]; BATCH];
        let mut first = true;
        loop {
            let images = match stream::fill(pixels.as_flattened_mut(), |buffer| from.read(buffer)) {
                Ok(images) => images,
                Err(error) => device::fail(error.describe()),
            };
            if images == 0 {
                return;
            }
            for (pixels, record) in pixels[..images].iter().zip(&mut records) {
                let image = images::image(pixels);
                if trailer.images == 0 {
                    trailer.layers = classifier.layers(image);
                }
                if core::mem::take(&mut first) {
                    trailer.stack_bytes = trailer.stack_bytes.max(classifier.stack_bytes(image));
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
            write(to, records[..images].as_flattened());
        }
    }

    fn write(to: &mut File, bytes: &[u8]) {
        if to.write_all(bytes).is_err() {
            device::fail("cannot write the file of results");
        }
    }
}
