//! Layers of one position for Armv6-M: the bits of [`portable`], two times four channels at a time, by the assembly of
//! [`linear`](crate::kernels::linear). Linked in only where the build script has chosen it.

use super::portable::{self, Run};
use super::{Conv, Group, MOST_GROUP, gather};
use crate::kernels::Table;
use crate::kernels::linear::cortex_m::products;
use crate::kernels::packed::{Maps, words_of};

/// See [`portable::conv`]. What computes a layer is clear where its sizes are: nothing else is linked.
#[inline(always)]
pub fn conv(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    match (shape.window.positions() == 1, shape.gives_codes()) {
        (true, true) => one::<true>(shape, stream, table, maps, scratch),
        (true, false) => one::<false>(shape, stream, table, maps, scratch),
        (false, _) => portable::conv(shape, stream, table, maps, scratch),
    }
}

/// A layer of one position.
#[inline(never)]
fn one<const CODES: bool>(shape: &Conv, stream: &[u32], table: Option<&Table>, maps: Maps<'_>, scratch: &mut [u32]) {
    let Some(patch) = scratch.as_chunks_mut().0.get_mut(..shape.quads()) else { return };
    let mut run = Run::<MOST_GROUP, CODES>::new(shape, stream, table, maps);
    gather(&shape.window, run.maps.input(words_of(shape.window.input)), run.zeros, [0; 2], patch, 0);
    let mut groups = run.channels.chunks_exact(shape.group_words().max(1)).enumerate();
    while let Some((first, words)) = groups.next() {
        // One that is left alone is computed beside itself.
        let (second, others) = groups.next().unwrap_or((first, words));
        let (Some(one), Some(other)) = (Group::of(shape, words), Group::of(shape, others)) else { return };
        let mut sums = [&one, &other].map(|group| group.start.map(|start| start as i32));
        products(patch, [one.weights, other.weights], &mut sums);
        let there = 1 + usize::from(first < second);
        for (at, group, sums) in [(first, one, sums[0]), (second, other, sums[1])].into_iter().take(there) {
            for (o, sum) in sums.into_iter().enumerate() {
                run.put_of([MOST_GROUP * at + o, 0], &[sum], group.multiplier[o], group.adds[o]);
            }
        }
    }
    run.clear_rest();
}
