//! The shipped weights with bytes overwritten, under a right checksum.
#![no_main]

use std::cell::RefCell;

use tests::hostile::Forge;

static SHIPPED: &[u8] = include_bytes!("../../../firmware-demo/assets/weights.bin");

thread_local! {
    static FORGE: RefCell<Forge> = RefCell::new(Forge::new(SHIPPED));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    FORGE.with_borrow_mut(|forge| forge.check(bytes));
});
