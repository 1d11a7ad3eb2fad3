//! Depthwise layers in plain Rust: the specification of every faster path.

use super::{Depthwise, HEAD, TAP, plane};
use crate::kernels::Table;
use crate::kernels::packed::{Epilogue, Input, LANES, Output};

/// A depthwise layer with what stands behind it.
#[inline(never)]
pub fn depthwise(
    shape: &Depthwise,
    stream: &[u32],
    table: Option<&Table>,
    input: Input<'_>,
    scratch: &mut [u32],
    output: &mut [u32],
) {
    let [low, high, ..] = *stream else { return };
    let epilogue = Epilogue::new(low, high, table);
    let Some((zeros, quads)) =
        stream.get(2..).and_then(|rest| rest.split_at_checked(shape.window.preamble_words() - 2))
    else {
        return;
    };
    let mut output = Output::new(output, shape.halves);
    output.clear_rest(shape.channels(), shape.window.positions());
    for (at, quad) in quads.chunks_exact(shape.quad_words().max(1)).enumerate() {
        let Some((head, weights)) = quad.split_first_chunk::<HEAD>() else { return };
        let Some((plane, width)) = plane(shape, zeros, input, at, scratch) else { return };
        let mut position = 0;
        for row in 0..shape.window.output[0] {
            for column in 0..shape.window.output[1] {
                let from = row * shape.window.stride[0] * width + column * shape.window.stride[1];
                let sums =
                    products(shape.window.kernel[1], plane.get(from..).unwrap_or_default(), width, head, weights);
                for (lane, sum) in sums.into_iter().enumerate() {
                    let channel = LANES * at + lane;
                    if channel < shape.channels() {
                        let value = epilogue.of(sum, head[LANES + lane] as i32);
                        output.put(channel, shape.window.positions(), position, value);
                    }
                }
                position += 1;
            }
        }
    }
}

/// Sums of four channels at one position. Halves and bytes are read from memory one by one: unpacked from words, they would not fit
/// a core's registers.
#[inline(always)]
fn products(columns: usize, from: &[u32], width: usize, head: &[u32; HEAD], weights: &[u32]) -> [i32; LANES] {
    let mut sums = [head[0] as i32, head[1] as i32, head[2] as i32, head[3] as i32];
    let taps = bytemuck::cast_slice::<u32, [i16; 2]>(weights).as_chunks::<TAP>().0;
    let codes = bytemuck::cast_slice::<u32, [u8; LANES]>(from);
    for (taps, codes) in taps.chunks_exact(columns.max(1)).zip(codes.chunks(width.max(1))) {
        for ([[w0, w1], [w2, w3]], [u0, u1, u2, u3]) in taps.iter().zip(codes) {
            for (sum, (w, u)) in sums.iter_mut().zip([(w0, u0), (w1, u1), (w2, u2), (w3, u3)]) {
                *sum = sum.wrapping_add(i32::from(*w) * i32::from(*u));
            }
        }
    }
    sums
}
