//! The two precisions of the reference engine: f32 for training, f64 to tell rounding from mistakes.

/// A floating-point number that ndarray can compute with.
pub trait Real: ndarray::NdFloat + From<f32> {
    /// `f32` or `f64`, for people.
    const NAME: &'static str;

    /// Rounded to this precision.
    fn of(value: f64) -> Self;

    /// Exactly this value.
    fn as_f64(self) -> f64;
}

impl Real for f32 {
    const NAME: &'static str = "f32";

    fn of(value: f64) -> Self {
        value as f32
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";

    fn of(value: f64) -> Self {
        value
    }

    fn as_f64(self) -> f64 {
        self
    }
}
