//! The inference as a WebAssembly module: no standard library, no heap, no imports. Touches its own memory alone.
//!
//! Its host writes a `weights.bin` of the module's plan, `weights_bytes` long, to where `weights` points and calls `load`. For each
//! input it then writes `input_bytes` bytes to where `input` points, calls `classify`, and reads `record_bytes` bytes, a
//! [`record`](firmware_demo::protocol::record), where `record` points, or what each step gave, where `outputs` points.
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

    use firmware_demo::protocol::{self, record_words};
    use generated::{Arena, INPUT_BYTES, Input, Model, OUTPUTS, STEP_FILLED, STEP_WORDS, STEPS, WEIGHTS_BYTES};
    use generated::{parse, predict_by_step, step_output};

    bn_core::include_model!(generated);

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
    static mut INPUT: Input = [0; INPUT_BYTES];
    static mut ARENA: Arena = Arena::new();
    static mut RECORD: [[u8; 4]; record_words(OUTPUTS, STEPS)] = [[0; 4]; record_words(OUTPUTS, STEPS)];
    static mut STEP_OUTPUTS: [u32; all_words()] = [0; all_words()];

    /// Words of the outputs of all steps.
    const fn all_words() -> usize {
        let (mut sum, mut step) = (0, 0);
        while step < STEPS {
            sum += STEP_WORDS[step];
            step += 1;
        }
        sum
    }

    /// Where `weights.bin` goes, before [`load`]. Once that has said 1, it must stay as it is.
    // SAFETY (here and below): no other symbol of the module has this name.
    #[unsafe(no_mangle)]
    extern "C" fn weights() -> *mut u8 {
        (&raw mut WEIGHTS).cast()
    }

    /// Bytes of a model.
    #[unsafe(no_mangle)]
    extern "C" fn weights_bytes() -> usize {
        WEIGHTS_BYTES
    }

    /// Where an input goes: channel, row, column, one byte each.
    #[unsafe(no_mangle)]
    extern "C" fn input() -> *mut u8 {
        (&raw mut INPUT).cast()
    }

    /// Bytes of an input.
    #[unsafe(no_mangle)]
    extern "C" fn input_bytes() -> usize {
        INPUT_BYTES
    }

    /// Bytes of a record.
    #[unsafe(no_mangle)]
    extern "C" fn record_bytes() -> usize {
        4 * record_words(OUTPUTS, STEPS)
    }

    /// Where [`classify`] leaves its record.
    #[unsafe(no_mangle)]
    extern "C" fn record() -> *const u8 {
        (&raw const RECORD).cast()
    }

    /// Bytes of the outputs of all steps.
    #[unsafe(no_mangle)]
    extern "C" fn outputs_bytes() -> usize {
        4 * all_words()
    }

    /// Where [`classify`] leaves what each step gave, one behind the other.
    #[unsafe(no_mangle)]
    extern "C" fn outputs() -> *const u8 {
        (&raw const STEP_OUTPUTS).cast()
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

    /// Classifies the input: 1 if it did, 0 if there are no weights.
    #[unsafe(no_mangle)]
    extern "C" fn classify() -> u32 {
        let (model, input) = (&raw const MODEL, &raw const INPUT);
        let (arena, record, outputs) = (&raw mut ARENA, &raw mut RECORD, &raw mut STEP_OUTPUTS);
        // SAFETY: a module has one thread and its host calls one function at a time, so these are the only references.
        let (model, input, arena, record, outputs) =
            unsafe { (&*model, &*input, &mut *arena, &mut *record, &mut *outputs) };
        let Some(model) = model else { return 0 };
        let (mut digests, mut room) = ([0; STEPS], outputs.iter_mut());
        let prediction = predict_by_step(model, input, arena, |step, arena, work| {
            work(arena);
            let output = step_output(arena, step);
            output.iter().zip(room.by_ref()).for_each(|(value, word)| *word = *value);
            if let (Some(digest), Some(filled)) = (digests.get_mut(step), STEP_FILLED.get(step)) {
                *digest = filled.digest(output);
            }
        });
        let values = protocol::record(prediction.class() as u32, prediction.logits, &digests);
        record.iter_mut().zip(values).for_each(|(word, value)| *word = value);
        1
    }
}
