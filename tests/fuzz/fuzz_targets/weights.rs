//! Arbitrary bytes as a weights.bin, and the shipped weights damaged as they say.
#![no_main]

use std::cell::RefCell;

use tests::hostile::Weights;

static SHIPPED: &[u8] = include_bytes!("../../../firmware-demo/assets/weights.bin");

thread_local! {
    static WEIGHTS: RefCell<Weights> = RefCell::new(Weights::new(SHIPPED));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    WEIGHTS.with_borrow_mut(|weights| weights.check(bytes));
});
