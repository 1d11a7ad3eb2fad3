//! The inference as a WebAssembly module: no standard library, no heap, no imports. Touches its own memory alone.
//!
//! Its host writes a `weights.bin` to where `weights` points and calls `load`. For each image it then writes the 784 pixels to
//! where `image` points, calls `classify`, and reads a [`Record`] where `record` points.
//!
//! A panic would be an import, which the host does not have: a module that starts has none in reach.
#![cfg_attr(target_arch = "wasm32", no_std, no_main)]
#![allow(unsafe_code)]

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    println!("module: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_arch = "wasm32")]
mod module {
    use core::panic::PanicInfo;

    use bn_core::format::{WEIGHTS_BYTES, parse};
    use bn_core::lenet::IMAGE_SIDE;
    use bn_core::{Image, Model, Scratch, predict};
    use firmware_demo::protocol::Record;

    unsafe extern "C" {
        safe fn a_panic_is_reachable() -> !;
    }

    #[panic_handler]
    fn panic(_: &PanicInfo<'_>) -> ! {
        a_panic_is_reachable()
    }

    #[repr(C, align(4))]
    struct Aligned<T>(T);

    static mut WEIGHTS: Aligned<[u8; WEIGHTS_BYTES]> = Aligned([0; WEIGHTS_BYTES]);
    static mut MODEL: Option<Model<'static>> = None;
    static mut IMAGE: Image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
    static mut SCRATCH: Scratch = Scratch::new();
    static mut RECORD: [u8; Record::BYTES] = [0; Record::BYTES];

    /// Where `weights.bin` goes, before [`load`]. Once that has said 1, it must stay as it is.
    // SAFETY (here and below): no other symbol of the module has this name.
    #[unsafe(no_mangle)]
    extern "C" fn weights() -> *mut u8 {
        (&raw mut WEIGHTS).cast()
    }

    /// Where the pixels go: row by row, one byte each.
    #[unsafe(no_mangle)]
    extern "C" fn image() -> *mut u8 {
        (&raw mut IMAGE).cast()
    }

    /// Where [`classify`] leaves its [`Record`].
    #[unsafe(no_mangle)]
    extern "C" fn record() -> *const u8 {
        (&raw const RECORD).cast()
    }

    /// Parses the weights: 1 if they can be used, 0 if not.
    #[unsafe(no_mangle)]
    extern "C" fn load() -> u32 {
        let (weights, model) = (&raw const WEIGHTS, &raw mut MODEL);
        // SAFETY: a module has one thread, its host calls one function at a time and has promised to leave the weights alone.
        let (weights, model) = unsafe { (&*weights, &mut *model) };
        *model = parse(&weights.0).ok();
        model.is_some().into()
    }

    /// Classifies the image: 1 if it did, 0 if there are no weights.
    #[unsafe(no_mangle)]
    extern "C" fn classify() -> u32 {
        let (model, image) = (&raw const MODEL, &raw const IMAGE);
        let (scratch, record) = (&raw mut SCRATCH, &raw mut RECORD);
        // SAFETY: a module has one thread and its host calls one function at a time, so these are the only references.
        let (model, image, scratch, record) = unsafe { (&*model, &*image, &mut *scratch, &mut *record) };
        let Some(model) = model else { return 0 };
        let prediction = predict(model, image, scratch);
        *record = Record { class: prediction.class as u32, logits: prediction.logits }.to_bytes();
        1
    }
}
