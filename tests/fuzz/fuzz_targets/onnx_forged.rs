//! An ONNX graph of operators, attributes and tensors as arbitrary bytes choose them, through the import.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tests::hostile::onnx_forged(bytes);
});
