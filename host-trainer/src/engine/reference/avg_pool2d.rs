//! Average pooling over squares of side [`POOL`], with the same stride.

use bn_core::lenet::POOL;
use ndarray::Array4;

use super::real::Real;

/// `[n, c, h, w]` to `[n, c, h / 2, w / 2]`: the mean of each square.
///
/// # Panics
/// If the squares do not tile the input.
pub fn avg_pool2d_forward<T: Real>(x: &Array4<T>) -> Array4<T> {
    let (n, c, h, w) = x.dim();
    assert!(h % POOL == 0 && w % POOL == 0, "the pool does not tile {h}x{w}");
    let share = T::one() / T::of((POOL * POOL) as f64);
    let mut y = Array4::zeros((n, c, h / POOL, w / POOL));
    let x_bands = x.as_slice().expect("activations are row-major").chunks_exact(POOL * w);
    let y_rows = y.as_slice_mut().expect("y is row-major").chunks_exact_mut(w / POOL);
    for (x_band, y_row) in x_bands.zip(y_rows) {
        for x_row in x_band.chunks_exact(w) {
            for (y, x) in y_row.iter_mut().zip(x_row.chunks_exact(POOL)) {
                *y = x.iter().fold(*y, |sum, &x| sum + x);
            }
        }
        y_row.iter_mut().for_each(|y| *y *= share);
    }
    y
}

/// Backward: every input of a square gets the same share of its output's gradient. `[n, c, h / 2, w / 2]` to `[n, c, h, w]`.
pub fn avg_pool2d_backward<T: Real>(d_y: &Array4<T>) -> Array4<T> {
    let (n, c, h, w) = (d_y.dim().0, d_y.dim().1, d_y.dim().2 * POOL, d_y.dim().3 * POOL);
    let share = T::one() / T::of((POOL * POOL) as f64);
    let mut d_x = Array4::zeros((n, c, h, w));
    let d_x_bands = d_x.as_slice_mut().expect("d_x is row-major").chunks_exact_mut(POOL * w);
    let d_y_rows = d_y.as_slice().expect("gradients are row-major").chunks_exact(w / POOL);
    for (d_x_band, d_y_row) in d_x_bands.zip(d_y_rows) {
        for d_x_row in d_x_band.chunks_exact_mut(w) {
            for (d_x, &d_y) in d_x_row.chunks_exact_mut(POOL).zip(d_y_row) {
                d_x.fill(d_y * share);
            }
        }
    }
    d_x
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;

    #[test]
    fn forward_is_the_mean_of_each_square() {
        let x = Array4::from_shape_fn((1, 2, 2, 4), |(_, c, row, column)| (100 * c + 10 * row + column) as f64);
        assert_eq!(avg_pool2d_forward(&x).into_raw_vec_and_offset().0, [5.5, 7.5, 105.5, 107.5]);
    }

    #[test]
    fn gradient() {
        let (x, d_y) = (random(1, (2, 3, 4, 6)), random(2, (2, 3, 2, 3)));
        check("d_x", &avg_pool2d_backward(&d_y), &x, |x| weighted_sum(&avg_pool2d_forward(&x), &d_y));
    }
}
