//! Arbitrary bytes as a gzip of an IDX file, and in a sound gzip.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tests::hostile::idx_gz(bytes);
});
