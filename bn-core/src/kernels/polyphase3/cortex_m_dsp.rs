//! Polyphase Winograd for Cortex-M cores with the DSP extension: the bits of [`portable`], a row of tiles at a time in assembly. Linked
//! in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::{Polyphase3, portable};
use crate::kernels::packed::{LANES, Maps, Output};
use crate::kernels::tiles::cortex_m_dsp::{Layer, Row};

unsafe extern "C" {
    fn bn_lenet_polyphase3(row: &Row);
}

/// See [`portable::polyphase3`]; another range than a code's is left to that.
#[inline(never)]
pub fn polyphase3(shape: &Polyphase3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let (window, channels) = (&shape.window, shape.channels);
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= channels.div_ceil(LANES) * window.positions()
        && shape.is_sound()
        && maps.input.is_some_and(|input| window.reads(input));
    let parts = stream.get(2..).and_then(|rest| rest.split_at_checked(window.preamble_words() - 2));
    let (true, &[0, 255, ..], Some((zeros, stream)), Some(input)) = (sized, stream, parts, maps.input) else {
        return portable::polyphase3(shape, stream, maps, scratch);
    };
    let Some((transformed, scratch)) = scratch.split_at_mut_checked(shape.window_words()) else { return };
    let layer = Layer { tiling: shape.tiling(), channels, adds: false, input, zeros, stream };
    // SAFETY: `Layer::run` gives rows that have what they say; of the strip each tile reads nine rows of five words of each plane, and
    // of the stream the pairs of channels, whose number is whole; it writes the transformed codes, and four rows of two results for
    // each channel of the pairs.
    layer.run(maps.output, transformed, scratch, |row| unsafe { bn_lenet_polyphase3(row) });
    Output::new(maps.output, false).clear_rest(channels, window.positions());
}
