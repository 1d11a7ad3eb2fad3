//! Convolutions for Cortex-M cores from Armv7-M on: the bits of [`portable`], three positions by two channels at a time, or one by four,
//! in assembly. Linked in only where the build script has chosen it.
#![allow(unsafe_code)]

mod source;
mod whole;

use self::source::Source;
use super::portable::Run;
use super::{Conv, Copied, Group, MOST_GROUP, MOST_POSITIONS as MANY, PAIR};
use crate::kernels::Table;
use crate::kernels::packed::{Epilogue, HALVES, Input, LANES, Maps, words_of};

/// What the functions of `conv.s` read; see there.
#[repr(C)]
struct Products {
    patch: *const u32,
    patch_end: *const u32,
    quads: usize,
    stream: *const u32,
    stream_end: *const u32,
    output: *mut u32,
    /// Bytes from a word of channels to the next.
    plane: usize,
    /// Bytes from a result to what is added to it.
    added: isize,
}

unsafe extern "C" {
    fn bn_lenet_conv_three(products: &Products);
    fn bn_lenet_conv_three_add(products: &Products);
    fn bn_lenet_conv_three_sums(products: &Products);
    fn bn_lenet_conv_one(products: &Products);
    fn bn_lenet_conv_one_add(products: &Products);
    fn bn_lenet_conv_one_sums(products: &Products);
    fn bn_lenet_conv_four(products: &Products);
    fn bn_lenet_conv_four_sums(products: &Products);
    fn bn_lenet_conv_four_halves(products: &Products);
    #[cfg(bn_lenet_arch = "armv7m")]
    fn bn_lenet_conv_eight(products: &Products);
    #[cfg(bn_lenet_arch = "armv7m")]
    fn bn_lenet_conv_eight_halves(products: &Products);
}

/// What stands behind the sums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// Codes from 0 to 255.
    Codes,
    /// Likewise, with a map added.
    Added,
    /// Numbers of 16 bits, of whole groups; a smaller range is for Rust.
    Halves,
    /// Whatever Rust makes of them.
    Sums,
}

/// See [`portable::conv`](super::portable::conv). Computes nothing where a slice has not the words of its part. What computes a layer
/// is clear where its sizes are: nothing else is linked, so that the stack which a program may use is what it does use.
#[inline(always)]
pub fn conv(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    match (shape.window.is_whole(), shape.window.positions() == 1, Behind::of(shape) == Behind::Sums) {
        (true, _, false) => whole::whole::<false>(shape, stream, table, maps, scratch),
        (true, _, true) => whole::whole::<true>(shape, stream, table, maps, scratch),
        (_, true, false) => copied::<MOST_GROUP, false>(shape, stream, table, maps, scratch),
        (_, true, true) => copied::<MOST_GROUP, true>(shape, stream, table, maps, scratch),
        (_, false, false) => copied::<PAIR, false>(shape, stream, table, maps, scratch),
        (_, false, true) => copied::<PAIR, true>(shape, stream, table, maps, scratch),
    }
}

/// A layer, so many channels at a time, of which Rust computes what stands behind the sums or does not.
#[inline(always)]
fn copied<const GROUP: usize, const SUMS: bool>(
    shape: &Conv,
    stream: &[u32],
    table: Option<&Table>,
    maps: Maps<'_>,
    scratch: &mut [u32],
) {
    match shape.copied() {
        Copied::None => layer::<GROUP, SUMS, { Copied::None as u8 }>(shape, stream, table, maps, scratch),
        Copied::All => layer::<GROUP, SUMS, { Copied::All as u8 }>(shape, stream, table, maps, scratch),
        Copied::Some => layer::<GROUP, SUMS, { Copied::Some as u8 }>(shape, stream, table, maps, scratch),
    }
}

/// The layer; `COPIED` is a [`Copied`].
#[inline(never)]
fn layer<const GROUP: usize, const SUMS: bool, const COPIED: u8>(
    shape: &Conv,
    stream: &[u32],
    table: Option<&Table>,
    maps: Maps<'_>,
    scratch: &mut [u32],
) {
    if is_there(shape, stream, &maps, scratch) {
        let run = Run::new(shape, stream, table, maps);
        Layer::<GROUP, SUMS> { shape, behind: Behind::of(shape), run }.run::<COPIED>(scratch);
    }
}

/// Brings numbers of 16 bits into a smaller range.
#[inline(always)]
fn limit(epilogue: Epilogue<'_>, output: &mut [u32]) {
    if [epilogue.low, epilogue.high] != HALVES {
        let values = bytemuck::must_cast_slice_mut::<_, i16>(output).iter_mut();
        values.for_each(|value| *value = epilogue.finish((*value).into()) as i16);
    }
}

/// Whether each slice has the words of its part.
#[inline(always)]
fn is_there(shape: &Conv, stream: &[u32], maps: &Maps<'_>, scratch: &[u32]) -> bool {
    let (window, added) = (&shape.window, shape.channels.div_ceil(LANES) * shape.window.positions());
    shape.quads() > 0
        && stream.len() == shape.stream_words()
        && scratch.len() >= shape.scratch_words()
        && maps.output.len() >= shape.output_words()
        && window.reads(maps.input(words_of(window.input)))
        && (!shape.adds || matches!(maps.added(), Input::Packed(words) if words.len() >= added))
}

impl Behind {
    /// What stands behind the sums of a layer.
    #[inline(always)]
    const fn of(shape: &Conv) -> Self {
        let is_one = shape.window.positions() == 1;
        match (shape.table, shape.halves, shape.adds) {
            (false, false, false) => Behind::Codes,
            (false, false, true) if !is_one => Behind::Added,
            (false, true, false) if is_one && shape.channels.is_multiple_of(MOST_GROUP) => Behind::Halves,
            _ => Behind::Sums,
        }
    }
}

/// A layer being computed, whose sizes have been checked.
struct Layer<'a, const GROUP: usize, const SUMS: bool> {
    shape: &'a Conv,
    behind: Behind,
    run: Run<'a, GROUP, false>,
}

impl<const GROUP: usize, const SUMS: bool> Layer<'_, GROUP, SUMS> {
    /// All positions, three by three; then those that are left one by one, or once more with those before.
    fn run<const COPIED: u8>(&mut self, scratch: &mut [u32]) {
        let positions = self.shape.window.positions();
        let Some((patch, copy)) = scratch.split_at_mut_checked(self.shape.patch_words()) else { return };
        let (mut many, mut one) = (self.products_of::<MANY>(patch), self.products_of::<1>(patch));
        let mut source = Source::<COPIED>::new(self, patch.as_mut_ptr(), copy);
        // Computed again, they would find their added map overwritten, or their input.
        let repeats = self.run.maps.added.is_some() == self.shape.adds && self.run.maps.input.is_some();
        let mut position = 0;
        while position + MANY <= positions {
            source.three(self);
            self.products::<MANY>(&mut many, position);
            position += MANY;
        }
        if position < positions && repeats && positions >= MANY {
            source.at(&self.shape.window, positions - MANY);
            source.three(self);
            self.products::<MANY>(&mut many, positions - MANY);
        } else {
            for position in position..positions {
                source.one(self);
                self.products::<1>(&mut one, position);
            }
        }
        if self.behind == Behind::Halves {
            limit(self.run.epilogue, self.run.maps.output);
        }
        self.run.clear_rest();
    }

    /// The map.
    fn input(&self) -> Input<'_> {
        self.run.maps.input(words_of(self.shape.window.input))
    }

    /// Its bytes.
    fn data(&self) -> &[u8] {
        match self.input() {
            Input::Packed(words) => bytemuck::must_cast_slice(words),
            Input::Bytes(bytes) => bytes,
        }
    }

    /// What the products of a patch of so many positions need, but for the place of the results.
    #[inline(always)]
    fn products_of<const POSITIONS: usize>(&mut self, patch: &[u32]) -> Products {
        let (shape, maps) = (self.shape, &mut self.run.maps);
        let added = match maps.added {
            Some(Input::Packed(words)) => (words.as_ptr() as isize).wrapping_sub(maps.output.as_ptr() as isize),
            _ => 0,
        };
        let patch = patch.get(..2 * POSITIONS * shape.quads()).unwrap_or_default().as_ptr_range();
        let channels = self.run.channels.as_ptr_range();
        Products {
            patch: patch.start,
            patch_end: patch.end,
            quads: shape.quads(),
            stream: channels.start,
            stream_end: channels.end,
            output: maps.output.as_mut_ptr(),
            plane: LANES * shape.window.positions(),
            added,
        }
    }

    /// Products of a patch of so many positions, and what stands behind them.
    #[inline(always)]
    fn products<const POSITIONS: usize>(&mut self, products: &mut Products, position: usize) {
        if SUMS {
            return self.sums::<POSITIONS>(products, position);
        }
        let Some(output) = self.run.maps.output.get_mut(position..) else { return };
        products.output = output.as_mut_ptr();
        // SAFETY: reads the patch, whose words and their number are those of a channel's weights, and the groups of channels, whose
        // number is whole; writes the bytes of each group at each position of the tile, which `output` has, and reads those of the
        // added map, which has as many. Where the map is replaced, the patch was made of what lay there.
        unsafe {
            match (POSITIONS, GROUP, self.behind) {
                (MANY, _, Behind::Added) => bn_lenet_conv_three_add(products),
                (MANY, ..) => bn_lenet_conv_three(products),
                (_, PAIR, Behind::Added) => bn_lenet_conv_one_add(products),
                (_, PAIR, _) => bn_lenet_conv_one(products),
                (.., Behind::Halves) => bn_lenet_conv_four_halves(products),
                _ => bn_lenet_conv_four(products),
            }
        }
    }

    /// Products whose sums are not yet codes.
    #[inline(never)]
    fn sums<const POSITIONS: usize>(&mut self, products: &mut Products, position: usize) {
        let shape = self.shape;
        for (at, words) in self.run.channels.chunks_exact(shape.group_words().max(1)).enumerate() {
            let mut sums = [[0; POSITIONS]; GROUP];
            products.stream = words.as_ptr();
            products.output = sums.as_flattened_mut().as_mut_ptr().cast();
            // SAFETY: as above; writes the sums of one group.
            unsafe {
                match (POSITIONS, GROUP) {
                    (MANY, _) => bn_lenet_conv_three_sums(products),
                    (_, PAIR) => bn_lenet_conv_one_sums(products),
                    _ => bn_lenet_conv_four_sums(products),
                }
            }
            let Some(Group { multiplier, adds, .. }) = Group::<GROUP>::of(shape, words) else { return };
            for (o, sums) in sums.iter().enumerate() {
                self.run.put([GROUP * at + o, position], sums, multiplier[o], adds[o]);
            }
        }
    }
}
