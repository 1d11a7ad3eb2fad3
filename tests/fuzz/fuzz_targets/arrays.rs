//! Arrays (.npz, .npy), damaged as arbitrary bytes say.
#![no_main]

use std::cell::RefCell;

use tests::hostile::{self, Files};

thread_local! {
    static FILES: RefCell<Files> = RefCell::new(hostile::array_files());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    FILES.with_borrow_mut(|files| hostile::arrays(files.damaged(bytes)));
});
