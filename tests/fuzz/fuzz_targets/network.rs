//! A network's description in text, as arbitrary bytes spell it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tests::hostile::network(bytes);
});
