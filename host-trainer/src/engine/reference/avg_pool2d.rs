//! Average pooling.

use bn_core::network::Pool;
use ndarray::Array4;

use super::window::{Window, of_pool};
use crate::model::real::Real;

/// `[n, c, h, w]` to `[n, c, out_h, out_w]`: the mean of each window. With `count_pad` a padded position counts as a zero, else
/// the mean is over the others.
pub fn avg_pool2d_forward<T: Real>(x: &Array4<T>, pool: &Pool, count_pad: bool) -> Array4<T> {
    let (n, c, h, w) = x.dim();
    let [rows, cols] = of_pool(pool, [h, w]);
    let mut y = Array4::zeros((n, c, rows.output, cols.output));
    let planes = x.as_slice().expect("activations are row-major").chunks_exact(h * w);
    let y_planes = y.as_slice_mut().expect("y is row-major").chunks_exact_mut(rows.output * cols.output);
    for (plane, y_plane) in planes.zip(y_planes) {
        for (row, y_row) in y_plane.chunks_exact_mut(cols.output).enumerate() {
            for x_row in plane.chunks_exact(w).take(rows.inputs(row).end).skip(rows.inputs(row).start) {
                for (col, y) in y_row.iter_mut().enumerate() {
                    *y = x_row[cols.inputs(col)].iter().fold(*y, |sum, &x| sum + x);
                }
            }
            y_row.iter_mut().enumerate().for_each(|(col, y)| *y *= share(pool, count_pad, [&rows, &cols], [row, col]));
        }
    }
    y
}

/// Backward, to maps of the given `[h, w]`: every input of a window gets the same share of its output's gradient.
pub fn avg_pool2d_backward<T: Real>(d_y: &Array4<T>, pool: &Pool, count_pad: bool, [h, w]: [usize; 2]) -> Array4<T> {
    let (n, c, _, _) = d_y.dim();
    let [rows, cols] = of_pool(pool, [h, w]);
    let mut d_x = Array4::zeros((n, c, h, w));
    let d_x_planes = d_x.as_slice_mut().expect("d_x is row-major").chunks_exact_mut(h * w);
    let d_y_planes = d_y.as_slice().expect("gradients are row-major").chunks_exact(rows.output * cols.output);
    for (d_x_plane, d_y_plane) in d_x_planes.zip(d_y_planes) {
        for (at, &d_y) in d_y_plane.iter().enumerate() {
            let (row, col) = (at / cols.output, at % cols.output);
            let d = d_y * share(pool, count_pad, [&rows, &cols], [row, col]);
            for x_row in rows.inputs(row) {
                d_x_plane[x_row * w..][cols.inputs(col)].iter_mut().for_each(|d_x| *d_x += d);
            }
        }
    }
    d_x
}

/// One over the number of positions of a window that count.
fn share<T: Real>(pool: &Pool, count_pad: bool, [rows, cols]: [&Window; 2], [row, col]: [usize; 2]) -> T {
    let [height, width] = if count_pad { pool.kernel } else { [rows.inputs(row).len(), cols.inputs(col).len()] };
    T::one() / T::of((height * width) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;
    use bn_core::network::Pads;

    fn values(y: Array4<f64>) -> Vec<f64> {
        y.into_raw_vec_and_offset().0
    }

    #[test]
    fn forward_is_the_mean_of_each_square() {
        let x = Array4::from_shape_fn((1, 2, 2, 4), |(_, c, row, column)| (100 * c + 10 * row + column) as f64);
        assert_eq!(values(avg_pool2d_forward(&x, &Pool::new(2), true)), [5.5, 7.5, 105.5, 107.5]);
        // A fifth column fills no window.
        let wider = Array4::from_shape_fn((1, 1, 2, 5), |(_, _, row, column)| (10 * row + column) as f64);
        assert_eq!(values(avg_pool2d_forward(&wider, &Pool::new(2), false)), [5.5, 7.5]);
    }

    #[test]
    fn padding_counts_as_zeros_or_not_at_all() {
        let x = Array4::from_shape_vec((1, 1, 2, 2), vec![4.0, 8.0, 12.0, 24.0]).unwrap();
        let pool = Pool { pads: Pads { top: 1, left: 1, ..Pads::NONE }, ..Pool::new(2) };
        assert_eq!(values(avg_pool2d_forward(&x, &pool, true)), [1.0]);
        assert_eq!(values(avg_pool2d_forward(&x, &pool, false)), [4.0]);
    }

    #[test]
    fn gradients() {
        let overlapping = Pool { kernel: [3, 2], stride: [2, 1], pads: Pads { top: 1, left: 0, bottom: 2, right: 1 } };
        let global = Pool { kernel: [4, 6], ..Pool::new(1) };
        for (pool, count_pad) in [(Pool::new(2), true), (overlapping, true), (overlapping, false), (global, false)] {
            let x = random(1, (2, 3, 4, 6));
            let d_y = random(2, avg_pool2d_forward(&x, &pool, count_pad).raw_dim());
            let d_x = avg_pool2d_backward(&d_y, &pool, count_pad, [4, 6]);
            check("d_x", &d_x, &x, |x| weighted_sum(&avg_pool2d_forward(&x, &pool, count_pad), &d_y));
        }
    }
}
