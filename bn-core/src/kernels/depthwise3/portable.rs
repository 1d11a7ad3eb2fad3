//! Depthwise layers of 3x3 windows in plain Rust: the specification of every faster path.

use super::{CHANNEL, Depthwise3, PREAMBLE, SIDE, weights};
use crate::kernels::packed::{Epilogue, LANES, Maps, Output, words_of};

/// A depthwise layer with what stands behind it. `scratch` holds the three rows that a row of windows reaches over, so results may
/// take the place of what is read.
#[inline(never)]
pub fn depthwise3(shape: &Depthwise3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let Some((&[low, high, zero], channels)) = stream.split_first_chunk::<PREAMBLE>() else { return };
    let window = &shape.window;
    let (words, area) = (words_of(window.input), window.area());
    let [rows, stride] = [window.output[0], window.stride[0]];
    for (at, quad) in channels.as_chunks::<{ LANES * CHANNEL }>().0.iter().enumerate() {
        let mut known = 0;
        for row in 0..rows {
            let first = row * stride;
            for y in known.max(first)..first + SIDE {
                let Some(plane) = maps.input(words).plane(at, area) else { return };
                let to = scratch.chunks_exact_mut(shape.columns().max(1)).nth(y % SIDE).unwrap_or_default();
                copy_row(shape, plane, y, zero, to);
            }
            known = first + SIDE;
            let Some(to) = maps.output.get_mut((at * rows + row) * window.output[1]..) else { return };
            for lane in 0..LANES {
                let Some(channel) = quad.as_chunks::<CHANNEL>().0.get(lane) else { return };
                windows(shape, channel, Epilogue::new(low, high, None), [scratch, to], [first, lane]);
            }
        }
    }
    Output::new(maps.output, false).clear_rest(shape.channels(), window.positions());
}

/// A row of the map with its padding, `y` counted from the first row that windows reach.
#[inline(always)]
fn copy_row(shape: &Depthwise3, plane: &[u32], y: usize, zero: u32, to: &mut [u32]) {
    let window = &shape.window;
    let width = window.input.width;
    to.fill(zero);
    let from = y.checked_sub(window.before[0]).and_then(|row| plane.chunks_exact(width.max(1)).nth(row));
    let inside = to.get_mut(window.before[1]..).unwrap_or_default();
    inside.iter_mut().zip(from.unwrap_or_default()).for_each(|(to, &word)| *to = word);
}

/// One channel of a row of windows.
#[inline(always)]
fn windows(
    shape: &Depthwise3,
    channel: &[u32; CHANNEL],
    epilogue: Epilogue<'_>,
    [rows, to]: [&mut [u32]; 2],
    [first, lane]: [usize; 2],
) {
    let [.., start, multiplier] = *channel;
    let [a, b, c] = weights(channel);
    let (columns, lane) = (shape.columns(), lane & (LANES - 1));
    let row = |y: usize| {
        let from = (first + y) % SIDE * columns;
        bytemuck::cast_slice::<u32, [u8; LANES]>(rows.get(from..from + columns).unwrap_or_default())
    };
    let (above, at, below) = (row(0), row(1), row(2));
    let to = bytemuck::cast_slice_mut::<u32, [u8; LANES]>(to).iter_mut().take(shape.window.output[1]);
    let dot = |w: [i32; SIDE], codes: &[[u8; LANES]; SIDE], sum: i32| {
        w.iter().zip(codes).fold(sum, |sum, (w, code)| sum.wrapping_add(w * i32::from(code[lane])))
    };
    let result = |above: &[_; SIDE], at: &[_; SIDE], below: &[_; SIDE]| {
        epilogue.of(dot(c, below, dot(b, at, dot(a, above, start as i32))), multiplier as i32) as u8
    };
    // Written twice: a step of one needs no counting.
    if shape.window.stride[1] == 1 {
        let windows = above.array_windows().zip(at.array_windows()).zip(below.array_windows());
        to.zip(windows).for_each(|(to, ((above, at), below))| to[lane] = result(above, at, below));
    } else {
        let windows = above.array_windows().zip(at.array_windows()).zip(below.array_windows()).step_by(2);
        to.zip(windows).for_each(|(to, ((above, at), below))| to[lane] = result(above, at, below));
    }
}
