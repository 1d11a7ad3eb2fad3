//! Arbitrary bytes as a stream of images, and as results.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tests::hostile::image_stream(bytes);
});
