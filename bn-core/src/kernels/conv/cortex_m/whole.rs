//! A layer whose one window is the whole map, as a linear layer's is: its patch is the map unpacked, word by word.

use super::{Behind, Layer, Products, bn_lenet_conv_four, bn_lenet_conv_four_halves, is_there, limit};
#[cfg(bn_lenet_arch = "armv7m")]
use super::{bn_lenet_conv_eight, bn_lenet_conv_eight_halves};
use crate::kernels::Table;
use crate::kernels::conv::portable::Run;
use crate::kernels::conv::{Conv, MOST_GROUP, unpacked};
use crate::kernels::packed::{Epilogue, Input, LANES, Maps, Output, words_of};

/// The layer, four channels at a time, of which Rust computes what stands behind the sums or does not.
#[inline(never)]
pub(super) fn whole<const SUMS: bool>(
    shape: &Conv,
    stream: &[u32],
    table: Option<&Table>,
    maps: Maps<'_>,
    scratch: &mut [u32],
) {
    if !is_there(shape, stream, &maps, scratch) {
        return;
    }
    let Some(patch) = scratch.get_mut(..2 * shape.quads()) else { return };
    unpack(patch, maps.input(words_of(shape.window.input)));
    if SUMS {
        return sums(shape, stream, table, maps, patch);
    }
    let behind = Behind::of(shape);
    let channels = stream.get(shape.window.preamble_words()..).unwrap_or_default().as_ptr_range();
    let products = Products {
        patch: patch.as_ptr_range().start,
        patch_end: patch.as_ptr_range().end,
        quads: shape.quads(),
        stream: channels.start,
        stream_end: channels.end,
        output: maps.output.as_mut_ptr(),
        plane: LANES,
        added: 0,
    };
    #[cfg(bn_lenet_arch = "armv7m")]
    let products = eights(shape, behind, products);
    if products.stream != products.stream_end {
        // SAFETY: reads the patch, whose words and their number are those of a channel's weights, and the groups of channels, whose
        // number is whole; writes four results of each group, for which the output has room.
        unsafe {
            match behind {
                Behind::Halves => bn_lenet_conv_four_halves(&products),
                _ => bn_lenet_conv_four(&products),
            }
        }
    }
    match (behind, stream) {
        (Behind::Halves, &[low, high, ..]) => limit(Epilogue::new(low, high, None), maps.output),
        _ => Output::new(maps.output, false).clear_rest(shape.channels, 1),
    }
}

/// Groups two by two. What is left: one, or none.
#[cfg(bn_lenet_arch = "armv7m")]
#[inline(always)]
fn eights(shape: &Conv, behind: Behind, products: Products) -> Products {
    let twos = shape.groups() & !1;
    if twos == 0 {
        return products;
    }
    let end = products.stream.wrapping_add(twos * shape.group_words());
    let eights = Products { stream_end: end, ..products };
    // SAFETY: as above, of so many groups, whose number is even.
    unsafe {
        match behind {
            Behind::Halves => bn_lenet_conv_eight_halves(&eights),
            _ => bn_lenet_conv_eight(&eights),
        }
    }
    let results = if behind == Behind::Halves { MOST_GROUP / 2 } else { 1 };
    Products { stream: end, output: products.output.wrapping_add(twos * results), ..products }
}

/// Likewise, where Rust stands behind the sums.
#[inline(never)]
fn sums(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, patch: &[u32]) {
    let mut layer =
        Layer::<MOST_GROUP, true> { shape, behind: Behind::Sums, run: Run::new(shape, stream, table, maps) };
    let mut products = layer.products_of::<1>(patch);
    layer.sums::<1>(&mut products, 0);
    layer.run.clear_rest();
}

/// Two words of a patch for each four codes. What bytes lack to a whole word, and a patch to a whole block, is zero.
#[inline(always)]
fn unpack(patch: &mut [u32], input: Input<'_>) {
    let mut patch = patch.as_chunks_mut().0.iter_mut();
    let mut put = |word| {
        if let Some(slot) = patch.next() {
            *slot = <[u32; 2]>::from(unpacked(word));
        }
    };
    match input {
        Input::Packed(words) => words.iter().copied().for_each(&mut put),
        Input::Bytes(bytes) => {
            let (words, rest) = bytes.as_chunks::<LANES>();
            words.iter().copied().map(u32::from_le_bytes).for_each(&mut put);
            if !rest.is_empty() {
                put(u32::from_le_bytes(core::array::from_fn(|lane| rest.get(lane).copied().unwrap_or(0))));
            }
        }
    }
    // At most one word only pads, and meets weights of zero.
    put(0);
}
