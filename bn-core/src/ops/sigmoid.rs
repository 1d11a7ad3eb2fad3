//! The logistic sigmoid, `1 / (1 + exp(-x))`.

/// In place, on f32.
pub fn sigmoid_f32(values: &mut [f32]) {
    for value in values {
        *value = 1.0 / (1.0 + libm::expf(-*value));
    }
}
