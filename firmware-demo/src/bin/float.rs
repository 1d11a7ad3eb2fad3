//! Runs an f32 network, BatchNorm unfolded and folded, on images that an emulator's host streams in, and writes back both
//! logits and what each inference took: what folding saves, and what integers save beside it. The host puts the networks into
//! the built program. Arguments: as `evaluate`'s; the results are [`FloatRecord`](firmware_demo::protocol::FloatRecord)s.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("float: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
mod device {
    use core::hint::black_box;

    use bn_core::infer::{self, ScratchF32};
    use bn_core::lenet::{IMAGE_SIDE, PIXELS};
    use bn_core::{CLASSES, FoldedLeNet, Image, LeNet};
    use firmware_demo::arch::watchdog;
    use firmware_demo::counter::Counter;
    use firmware_demo::protocol::{EXIT_OK, FloatRecord};
    use firmware_demo::{device, files, place};

    /// The host finds both by their names and replaces them.
    static UNFOLDED: LeNet = LeNet::zero();
    static FOLDED: FoldedLeNet = FoldedLeNet::zero();

    #[firmware_demo::entry]
    fn main() -> ! {
        let (place, counter) = device::start();
        files::require_emulator(place, counter.is_some());
        let (mut from, mut to) = files::open();
        let mut scratch = ScratchF32::new();
        let mut pixels = [[0; IMAGE_SIDE]; IMAGE_SIDE];
        if let Some(mut counter) = counter {
            while files::read(&mut from, pixels.as_flattened_mut(), PIXELS) == 1 {
                let record = classify(&mut counter, &pixels, &mut scratch);
                files::write(&mut to, &record.to_bytes());
            }
        }
        place::exit(EXIT_OK)
    }

    fn classify(counter: &mut Counter, image: &Image, scratch: &mut ScratchF32) -> FloatRecord {
        watchdog::feed();
        let (unfolded, unfolded_cost) = counter.measure(|| unfolded(image, scratch));
        watchdog::feed();
        let (folded, folded_cost) = counter.measure(|| folded(image, scratch));
        FloatRecord { logits: [unfolded, folded], instructions: [unfolded_cost, folded_cost] }
    }

    // The boxes keep the compiler from looking at numbers that the host replaces.
    #[inline(never)]
    fn unfolded(image: &Image, scratch: &mut ScratchF32) -> [f32; CLASSES] {
        black_box(infer::unfolded(black_box(&UNFOLDED), black_box(image), scratch))
    }

    #[inline(never)]
    fn folded(image: &Image, scratch: &mut ScratchF32) -> [f32; CLASSES] {
        black_box(infer::folded(black_box(&FOLDED), black_box(image), scratch))
    }
}
