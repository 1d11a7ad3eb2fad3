//! F(4x2, 3x3) for Cortex-M cores with the DSP extension: the bits of [`portable`], a row of tiles at a time in assembly. Linked in
//! only where the build script has chosen it.
#![allow(unsafe_code)]

use super::{Winograd3, portable};
use crate::kernels::packed::{Input, LANES, Maps, Output};
use crate::kernels::tiles::cortex_m_dsp::{Layer, Row};

unsafe extern "C" {
    fn bn_lenet_winograd3(row: &Row);
    fn bn_lenet_winograd3_add(row: &Row);
}

/// See [`portable::winograd3`]; another range than a code's is left to that.
#[inline(never)]
pub fn winograd3(shape: &Winograd3, stream: &[u32], maps: Maps<'_>, scratch: &mut [u32]) {
    let (window, channels) = (&shape.window, shape.channels);
    let results = channels.div_ceil(LANES) * window.positions();
    let added = if let (true, Input::Packed(words)) = (shape.adds, maps.added()) { words.len() } else { usize::MAX };
    let sized = stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= results
        && added >= results
        && shape.is_sound()
        && maps.input.is_some_and(|input| window.reads(input));
    let parts = stream.get(2..).and_then(|rest| rest.split_at_checked(window.preamble_words() - 2));
    let (true, &[0, 255, ..], Some((zeros, stream)), Some(input)) = (sized, stream, parts, maps.input) else {
        return portable::winograd3(shape, stream, maps, scratch);
    };
    if let (true, Some(Input::Packed(words))) = (shape.adds, maps.added) {
        // Each result is added to where it goes.
        maps.output.iter_mut().zip(words).for_each(|(to, &word)| *to = word);
    }
    let Some((transformed, scratch)) = scratch.split_at_mut_checked(shape.window_words()) else { return };
    let layer = Layer { tiling: shape.tiling(), channels, adds: shape.adds, input, zeros, stream };
    // SAFETY: `Layer::run` gives rows that have what they say; of the strip each tile reads six rows of six words of each plane, and
    // of the stream the pairs of channels, whose number is whole; it writes the transformed codes, and four rows of four results for
    // each channel of the pairs, and reads these where a map is added.
    layer.run(maps.output, transformed, scratch, |row| unsafe {
        if shape.adds { bn_lenet_winograd3_add(row) } else { bn_lenet_winograd3(row) }
    });
    Output::new(maps.output, false).clear_rest(channels, window.positions());
}
