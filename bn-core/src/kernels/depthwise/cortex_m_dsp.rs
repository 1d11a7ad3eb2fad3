//! Depthwise layers for Cortex-M cores with the DSP extension: the bits of [`portable`], windows of three columns in assembly. Linked
//! in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::{Depthwise, HEAD, plane, portable};
use crate::kernels::Table;
use crate::kernels::packed::{Input, LANES, Output};

/// A row of windows; see `depthwise.s`.
#[repr(C)]
struct Row {
    input: *const u32,
    /// Bytes from a window to the next.
    step: usize,
    /// Bytes from a row to the next.
    pitch: usize,
    rows: usize,
    /// Start values, multipliers, weights of four channels.
    stream: *const u32,
    output: *mut u32,
    output_end: *mut u32,
}

unsafe extern "C" {
    fn bn_lenet_depthwise3(row: &Row);
}

/// See [`portable::depthwise`]; a layer with a table, another range, other windows or the network's output is left to that.
#[inline(never)]
pub fn depthwise(
    shape: &Depthwise,
    stream: &[u32],
    table: Option<&Table>,
    input: Input<'_>,
    scratch: &mut [u32],
    output: &mut [u32],
) {
    let window = &shape.window;
    let is_plain = !shape.words && table.is_none() && window.kernel[1] == 3 && matches!(*stream, [0, 255, ..]);
    let parts = stream.get(2..).and_then(|rest| rest.split_at_checked(shape.preamble() - 2));
    let Some((zeros, quads)) = parts.filter(|_| is_plain) else {
        return portable::depthwise(shape, stream, table, input, scratch, output);
    };
    let positions = window.positions();
    let maps = output.chunks_exact_mut(positions.max(1));
    for ((at, quad), map) in quads.chunks_exact(shape.quad_words().max(1)).enumerate().zip(maps) {
        let Some((plane, width)) = plane(shape, zeros, input, at, scratch) else { return };
        for (row, to) in map.chunks_exact_mut(window.output[1].max(1)).enumerate() {
            let reach = (window.kernel[0] - 1) * width + (window.output[1] - 1) * window.stride[1] + 3;
            let from = plane.get(row * window.stride[0] * width..).filter(|from| from.len() >= reach);
            let Some(from) = from.filter(|_| quad.len() == HEAD + 6 * window.kernel[0]) else { return };
            let to = to.as_mut_ptr_range();
            let row = Row {
                input: from.as_ptr(),
                step: 4 * window.stride[1],
                pitch: 4 * width,
                rows: window.kernel[0],
                stream: quad.as_ptr(),
                output: to.start,
                output_end: to.end,
            };
            // SAFETY: reads the windows of one row, which the plane was just found to hold, and the words of four channels; writes
            // one word a window.
            unsafe { bn_lenet_depthwise3(&row) };
        }
    }
    Output::new(output, false).clear_rest(shape.channels(), positions);
    const { assert!(HEAD == 8 && LANES == 4, "as depthwise.s has it") }
}
