//! A state_dict in safetensors, damaged as arbitrary bytes say, through the import.
#![no_main]

use std::cell::RefCell;

use tests::hostile::Models;

thread_local! {
    static MODELS: RefCell<Models> = RefCell::new(Models::state_dicts());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    MODELS.with_borrow_mut(|models| models.check(bytes));
});
