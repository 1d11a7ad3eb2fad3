//! For tests: a backward pass against central differences of its forward pass, in f64.

use chacha20::ChaCha8Rng;
use ndarray::{Array, Dimension, Zip};
use rand::{RngExt, SeedableRng};

/// Half the distance of a central difference: near the cube root of f64's precision, where rounding and curvature balance.
const STEP: f64 = 1e-5;

/// Uniform values in [-1, 1).
pub(super) fn random<Sh: ndarray::ShapeBuilder>(seed: u64, shape: Sh) -> Array<f64, Sh::Dim> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array::from_shape_simple_fn(shape, || 2.0 * rng.random::<f64>() - 1.0)
}

/// What stands in for the rest of the network: a scalar with the gradient `d_y` by `y`.
pub(super) fn weighted_sum<D: Dimension>(y: &Array<f64, D>, d_y: &Array<f64, D>) -> f64 {
    Zip::from(y).and(d_y).fold(0.0, |sum, y, d_y| sum + y * d_y)
}

/// Compares `gradient` with the central differences of `loss` at `x`, one coordinate after another: within 1e-8, and within
/// 1e-7 of the largest.
pub(super) fn check<D: Dimension>(
    what: &str,
    gradient: &Array<f64, D>,
    x: &Array<f64, D>,
    loss: impl Fn(Array<f64, D>) -> f64,
) {
    assert_eq!(gradient.shape(), x.shape(), "{what}");
    let scale = gradient.iter().fold(0.0f64, |largest, g| largest.max(g.abs()));
    assert!(scale > 0.0, "{what}: a gradient of zero checks nothing");
    let allowed = (1e-8 * scale.max(1.0)).min(1e-7 * scale);
    for (position, &gradient) in gradient.iter().enumerate() {
        let at = |offset: f64| {
            let mut x = x.clone();
            x.as_slice_mut().expect("test inputs are row-major")[position] += offset;
            loss(x)
        };
        let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        assert!((gradient - difference).abs() <= allowed, "{what}[{position}]: {gradient} {difference}");
    }
}
