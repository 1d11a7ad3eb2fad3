//! Max pooling. A padded position never wins; of equal values the first in row-major order does, and takes the gradient, as
//! in PyTorch. A NaN wins over any number.

use bn_core::network::Pool;
use ndarray::Array4;

use super::window::of_pool;
use crate::model::real::Real;

/// Where each output's value lies in its input map, row-major, `[n * c * out_h * out_w]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winners(Vec<u32>);

/// `[n, c, h, w]` to `[n, c, out_h, out_w]`: the largest value of each window; and where it stood.
pub fn max_pool2d_forward<T: Real>(x: &Array4<T>, pool: &Pool) -> (Array4<T>, Winners) {
    let (n, c, h, w) = x.dim();
    let [rows, cols] = of_pool(pool, [h, w]);
    let mut y = Array4::zeros((n, c, rows.output, cols.output));
    let mut winners = Vec::with_capacity(y.len());
    let planes = x.as_slice().expect("activations are row-major").chunks_exact(h * w);
    let y_planes = y.as_slice_mut().expect("y is row-major").chunks_exact_mut(rows.output * cols.output);
    for (plane, y_plane) in planes.zip(y_planes) {
        for (at, y) in y_plane.iter_mut().enumerate() {
            let (window_rows, window_cols) = (rows.inputs(at / cols.output), cols.inputs(at % cols.output));
            let mut winner = window_rows.start * w + window_cols.start;
            for row in window_rows {
                for col in window_cols.clone() {
                    let position = row * w + col;
                    // Not "larger or NaN" alone: the first of two NaNs stays.
                    if plane[position] > plane[winner] || (plane[position].is_nan() && !plane[winner].is_nan()) {
                        winner = position;
                    }
                }
            }
            *y = plane[winner];
            winners.push(winner as u32);
        }
    }
    (y, Winners(winners))
}

/// Backward, to maps of the given `[h, w]`: the winner takes the gradient of every window that it won.
pub fn max_pool2d_backward<T: Real>(d_y: &Array4<T>, winners: &Winners, [h, w]: [usize; 2]) -> Array4<T> {
    let (n, c, out_h, out_w) = d_y.dim();
    let mut d_x = Array4::zeros((n, c, h, w));
    let d_x_planes = d_x.as_slice_mut().expect("d_x is row-major").chunks_exact_mut(h * w);
    let d_y_planes = d_y.as_slice().expect("gradients are row-major").chunks_exact(out_h * out_w);
    for ((d_x, d_y), winners) in d_x_planes.zip(d_y_planes).zip(winners.0.chunks_exact(out_h * out_w)) {
        for (&winner, &d) in winners.iter().zip(d_y) {
            d_x[winner as usize] += d;
        }
    }
    d_x
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random, weighted_sum};
    use super::*;
    use bn_core::network::Pads;

    fn row(values: &[f64]) -> Array4<f64> {
        Array4::from_shape_vec((1, 1, 1, values.len()), values.to_vec()).unwrap()
    }

    #[test]
    fn the_first_of_equals_takes_the_gradient() {
        let pool = Pool { kernel: [2, 3], stride: [1, 1], ..Pool::new(1) };
        let x = Array4::from_shape_vec((1, 1, 2, 4), vec![1.0, 5.0, 5.0, 0.0, 5.0, 2.0, 3.0, 5.0]).unwrap();
        let (y, winners) = max_pool2d_forward(&x, &pool);
        assert_eq!((y.into_raw_vec_and_offset().0, &winners.0[..]), (vec![5.0, 5.0], &[1, 1][..]));
        let d_x = max_pool2d_backward(&row(&[2.0, 3.0]), &winners, [2, 4]);
        assert_eq!(d_x.into_raw_vec_and_offset().0, [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn padding_never_wins_and_a_nan_does() {
        let pool = Pool { pads: Pads { left: 1, right: 1, ..Pads::NONE }, kernel: [1, 2], stride: [1, 2] };
        let (y, _) = max_pool2d_forward(&row(&[-3.0, -1.0, -2.0, f64::NEG_INFINITY]), &pool);
        assert_eq!(y.into_raw_vec_and_offset().0, [-3.0, -1.0, f64::NEG_INFINITY]);
        let (y, winners) =
            max_pool2d_forward(&row(&[f64::NAN, 1.0, 2.0, f64::NAN]), &Pool { pads: Pads::NONE, ..pool });
        assert!(y.iter().all(|y| y.is_nan()) && winners == Winners(vec![0, 3]));
    }

    #[test]
    fn gradients() {
        let overlapping = Pool { kernel: [3, 2], stride: [2, 1], pads: Pads { top: 1, left: 0, bottom: 2, right: 1 } };
        let global = Pool { kernel: [4, 6], ..Pool::new(1) };
        for pool in [Pool::new(2), overlapping, global] {
            let x = random(1, (2, 3, 4, 6));
            let (y, winners) = max_pool2d_forward(&x, &pool);
            let d_y = random(2, y.raw_dim());
            let d_x = max_pool2d_backward(&d_y, &winners, [4, 6]);
            check("d_x", &d_x, &x, |x| weighted_sum(&max_pool2d_forward(&x, &pool).0, &d_y));
        }
    }
}
