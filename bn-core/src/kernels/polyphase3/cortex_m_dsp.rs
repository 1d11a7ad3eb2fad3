//! Polyphase Winograd for Cortex-M cores with the DSP extension: the bits of [`portable`](super::portable), a row of tiles at a time in assembly. Linked
//! in only where the build script has chosen it.
#![allow(unsafe_code)]

use super::Polyphase3;
use crate::kernels::packed::{LANES, Maps, Output};
use crate::kernels::tiles::cortex_m_dsp::{Layer, Row, by_quads};

by_quads! { tiles:
    1 bn_lenet_polyphase3_1 2 bn_lenet_polyphase3_2 3 bn_lenet_polyphase3_3 4 bn_lenet_polyphase3_4
    5 bn_lenet_polyphase3_5 6 bn_lenet_polyphase3_6 7 bn_lenet_polyphase3_7 8 bn_lenet_polyphase3_8
    9 bn_lenet_polyphase3_9 10 bn_lenet_polyphase3_10 11 bn_lenet_polyphase3_11 12 bn_lenet_polyphase3_12
    13 bn_lenet_polyphase3_13 14 bn_lenet_polyphase3_14 15 bn_lenet_polyphase3_15 16 bn_lenet_polyphase3_16
}

/// See [`portable::polyphase3`](super::portable::polyphase3). Computes nothing where a slice has not the words of its part.
#[inline(never)]
pub(super) fn polyphase3<const QUADS: usize>(shape: &Polyphase3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let (window, channels) = (&shape.window, shape.channels);
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= channels.div_ceil(LANES) * window.positions()
        && shape.is_sound()
        && shape.quads() == QUADS
        && maps.input.is_some_and(|input| window.reads(input));
    let parts = stream.get(2..).and_then(|rest| rest.split_at_checked(window.preamble_words() - 2));
    let (true, Some((zeros, stream)), Some(input)) = (sized, parts, maps.input) else { return };
    let Some((transformed, scratch)) = scratch.split_at_mut_checked(shape.window_words()) else { return };
    let layer = Layer { tiling: shape.tiling(), channels, adds: false, input, zeros, stream };
    let tiles = const { tiles(QUADS) };
    // SAFETY: `Layer::run` gives rows that have what they say; of the strip each tile reads nine rows of five words of each plane, and
    // of the stream the pairs of channels, whose number is whole; it writes the transformed codes, and four rows of two results for
    // each channel of the pairs.
    layer.run(maps.output, transformed, scratch, |row| unsafe { tiles(row) });
    Output::new(maps.output, false).clear_rest(channels, window.positions());
}
