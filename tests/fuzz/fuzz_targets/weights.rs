//! Arbitrary bytes as a weights.bin.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tests::hostile::weights(bytes);
});
