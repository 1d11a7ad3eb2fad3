//! F(4x2, 3x3) for Cortex-M cores with the DSP extension: the bits of [`portable`](super::portable), a row of tiles at a time in assembly. Linked in
//! only where the build script has chosen it.
#![allow(unsafe_code)]

use super::Winograd3;
use crate::kernels::packed::{Input, LANES, Maps, Output};
use crate::kernels::tiles::cortex_m_dsp::{Layer, Row, by_quads};

by_quads! { tiles:
    1 bn_lenet_winograd3_1 2 bn_lenet_winograd3_2 3 bn_lenet_winograd3_3 4 bn_lenet_winograd3_4
    5 bn_lenet_winograd3_5 6 bn_lenet_winograd3_6 7 bn_lenet_winograd3_7 8 bn_lenet_winograd3_8
    9 bn_lenet_winograd3_9 10 bn_lenet_winograd3_10 11 bn_lenet_winograd3_11 12 bn_lenet_winograd3_12
    13 bn_lenet_winograd3_13 14 bn_lenet_winograd3_14 15 bn_lenet_winograd3_15 16 bn_lenet_winograd3_16
}
by_quads! { tiles_add:
    1 bn_lenet_winograd3_add_1 2 bn_lenet_winograd3_add_2 3 bn_lenet_winograd3_add_3 4 bn_lenet_winograd3_add_4
    5 bn_lenet_winograd3_add_5 6 bn_lenet_winograd3_add_6 7 bn_lenet_winograd3_add_7 8 bn_lenet_winograd3_add_8
    9 bn_lenet_winograd3_add_9 10 bn_lenet_winograd3_add_10 11 bn_lenet_winograd3_add_11 12 bn_lenet_winograd3_add_12
    13 bn_lenet_winograd3_add_13 14 bn_lenet_winograd3_add_14 15 bn_lenet_winograd3_add_15 16 bn_lenet_winograd3_add_16
}

/// See [`portable::winograd3`](super::portable::winograd3). Computes nothing where a slice has not the words of its part.
#[inline(never)]
pub(super) fn winograd3<const QUADS: usize, const ADDS: bool>(
    shape: &Winograd3,
    stream: &[u32],
    maps: Maps<'_>,
    scratch: &mut [u32],
) {
    let (window, channels) = (&shape.window, shape.channels);
    let results = channels.div_ceil(LANES) * window.positions();
    let added = if let (true, Input::Packed(words)) = (shape.adds, maps.added()) { words.len() } else { usize::MAX };
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= results
        && added >= results
        && shape.is_sound()
        && shape.quads() == QUADS
        && shape.adds == ADDS
        && maps.input.is_some_and(|input| window.reads(input));
    let parts = stream.get(2..).and_then(|rest| rest.split_at_checked(window.preamble_words() - 2));
    let (true, Some((zeros, stream)), Some(input)) = (sized, parts, maps.input) else { return };
    if let (true, Some(Input::Packed(words))) = (shape.adds, maps.added) {
        // Each result is added to where it goes.
        maps.output.iter_mut().zip(words).for_each(|(to, &word)| *to = word);
    }
    let Some((transformed, scratch)) = scratch.split_at_mut_checked(shape.window_words()) else { return };
    let layer = Layer { tiling: shape.tiling(), channels, adds: shape.adds, input, zeros, stream };
    let tiles = const { if ADDS { tiles_add(QUADS) } else { tiles(QUADS) } };
    // SAFETY: `Layer::run` gives rows that have what they say; of the strip each tile reads six rows of six words of each plane, and
    // of the stream the pairs of channels, whose number is whole; it writes the transformed codes, and four rows of four results for
    // each channel of the pairs, and reads these where a map is added.
    layer.run(maps.output, transformed, scratch, |row| unsafe { tiles(row) });
    Output::new(maps.output, false).clear_rest(channels, window.positions());
}
