//! Convolutions for Cortex-M cores from Armv7-M on: the bits of [`portable`], three positions by two channels at a time, or one by four,
//! in assembly. Linked in only where the build script has chosen it.
#![allow(unsafe_code)]

mod source;
mod whole;

use self::source::Source;
use super::portable::Run;
use super::{Conv, Group, MOST_GROUP, MOST_POSITIONS as MANY, PAIR};
use crate::kernels::Table;
use crate::kernels::packed::{CODES, HALVES, Input, LANES, Maps, words_of};

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
    /// Numbers of 16 bits, of whole groups.
    Halves,
    /// Whatever Rust makes of them.
    Sums,
}

/// See [`portable::conv`](super::portable::conv). Computes nothing where a slice has not the words of its part. Which function computes a layer is clear
/// where its sizes are: the others are not linked.
#[inline(always)]
pub fn conv(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    if shape.window.is_whole() {
        whole::whole(shape, stream, table, maps, scratch);
    } else if shape.window.positions() == 1 {
        layer::<MOST_GROUP>(shape, stream, table, maps, scratch);
    } else {
        layer::<PAIR>(shape, stream, table, maps, scratch);
    }
}

/// A layer, so many channels at a time.
#[inline(never)]
fn layer<const GROUP: usize>(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    if let Some(behind) = Behind::of(shape, stream, table.is_some(), &maps, scratch) {
        Layer::<GROUP> { shape, behind, run: Run::new(shape, stream, table, maps) }.run(scratch);
    }
}

impl Behind {
    /// What stands behind the sums of a layer; `None` where a slice has not the words of its part.
    #[inline(always)]
    fn of(shape: &Conv, stream: &[u32], table: bool, maps: &Maps<'_>, scratch: &[u32]) -> Option<Self> {
        let (window, added) = (&shape.window, shape.channels.div_ceil(LANES) * shape.window.positions());
        let is_there = shape.quads() > 0
            && stream.len() == shape.stream_words()
            && scratch.len() >= shape.scratch_words()
            && maps.output.len() >= shape.output_words()
            && window.reads(maps.input(words_of(window.input)))
            && (!shape.adds || matches!(maps.added(), Input::Packed(words) if words.len() >= added));
        let [low, high, ..] = *stream else { return None };
        let range = [low as i32, high as i32];
        let is_one = window.positions() == 1;
        is_there.then_some(match (table, shape.halves, shape.adds) {
            (false, false, false) if range == CODES => Behind::Codes,
            (false, false, true) if range == CODES && !is_one => Behind::Added,
            (false, true, false) if range == HALVES && is_one && shape.channels.is_multiple_of(MOST_GROUP) => {
                Behind::Halves
            }
            _ => Behind::Sums,
        })
    }
}

/// A layer being computed, whose sizes have been checked.
struct Layer<'a, const GROUP: usize> {
    shape: &'a Conv,
    behind: Behind,
    run: Run<'a, GROUP>,
}

impl<const GROUP: usize> Layer<'_, GROUP> {
    /// All positions, three by three; then those that are left one by one, or once more with those before.
    fn run(&mut self, scratch: &mut [u32]) {
        let positions = self.shape.window.positions();
        let Some((patch, copy)) = scratch.split_at_mut_checked(self.shape.patch_words()) else { return };
        let (mut many, mut one) = (self.products_of::<MANY>(patch), self.products_of::<1>(patch));
        let mut source = Source::new(self, patch.as_mut_ptr(), copy);
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
        if self.behind == Behind::Sums {
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
