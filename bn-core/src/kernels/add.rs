//! The sum of two maps of one shape, each with a scale of its own, rounded once; and the flat order of a map.

use super::packed::{Epilogue, Input, LANES, Output};
use super::{Core, Fault, Table};
use crate::network::Shape;

/// Words of the stream of a sum: range of the results, the two multipliers, start value, and by how many bits the sum is finer
/// than a result.
pub const STREAM: usize = 6;
/// The largest magnitude of a multiplier.
pub const MULTIPLIER_MAX: i32 = 1 << 21;
/// The most bits by which a sum is finer.
pub const SHIFT_MAX: u32 = 28;

/// Sizes of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add {
    /// Shape of both terms.
    pub shape: Shape,
    /// Whether its results are the network's.
    pub halves: bool,
    /// Whether a table stands behind it.
    pub table: bool,
}

impl Add {
    /// About how many instructions it takes on a core.
    pub const fn cost(&self, core: Core) -> usize {
        self.shape.len() * core.of([15, 15, 24, 17])
    }
}

/// About how many instructions [`flatten`] takes on a core.
pub const fn flatten_cost(shape: &Shape, core: Core) -> usize {
    shape.len() * core.of([12, 12, 17, 13])
}

/// Proves a stream.
///
/// # Errors
/// [`Fault`] with what could go wrong.
pub fn check(shape: &Add, stream: &[u32]) -> Result<(), Fault> {
    let [low, high, a, b, start, shift] = *stream else { return Err(Fault::Range) };
    Epilogue::check(low, high, shape.table, shape.halves)?;
    if shift > SHIFT_MAX {
        return Err(Fault::Range);
    }
    if [a, b].iter().any(|&m| m as i32 <= 0 || m as i32 > MULTIPLIER_MAX) {
        return Err(Fault::Multiplier { channel: 0 });
    }
    let most = i64::from(start as i32) + 255 * (i64::from(a) + i64::from(b));
    if i32::try_from(most).is_err() { Err(Fault::Accumulator { channel: 0 }) } else { Ok(()) }
}

/// The sum of two maps.
#[inline(never)]
pub fn add(shape: &Add, stream: &[u32], table: Option<&Table>, terms: [Input<'_>; 2], output: &mut [u32]) {
    let [low, high, a, b, start, shift] = *stream else { return };
    let epilogue = Epilogue::new(low, high, table);
    let mut output = Output::new(output, shape.halves);
    let area = shape.shape.height * shape.shape.width;
    output.clear_rest(shape.shape.channels, area);
    if let (Output::Packed(bytes), [Input::Packed(first), Input::Packed(second)]) = (&mut output, terms) {
        for ((to, x), y) in bytes.as_chunks_mut::<LANES>().0.iter_mut().zip(first).zip(second) {
            for (lane, to) in to.iter_mut().enumerate() {
                let [x, y] = [x, y].map(|word| i32::from((word >> (8 * lane)) as u8));
                let sum = (start as i32).wrapping_add(x * a as i32).wrapping_add(y * b as i32);
                *to = epilogue.finish(sum >> (shift & 31)) as u8;
            }
        }
        return output.clear_rest(shape.shape.channels, area);
    }
    for quad in 0..shape.shape.channels.div_ceil(LANES) {
        for position in 0..area {
            let words = terms.map(|term| term.word(quad, area, position));
            for lane in 0..LANES {
                let channel = LANES * quad + lane;
                if channel < shape.shape.channels {
                    let [x, y] = words.map(|word| i32::from((word >> (8 * lane)) as u8));
                    let sum = (start as i32).wrapping_add(x * a as i32).wrapping_add(y * b as i32);
                    output.put(channel, area, position, epilogue.finish(sum >> (shift & 31)));
                }
            }
        }
    }
}

/// A map as one row of values: channel, row, column.
#[inline(never)]
pub fn flatten(shape: &Shape, input: Input<'_>, output: &mut [u32]) {
    let mut output = Output::new(output, false);
    let area = shape.height * shape.width;
    output.clear_rest(shape.len(), 1);
    let mut at = 0;
    for channel in 0..shape.channels {
        for position in 0..area {
            output.put(at, 1, 0, input.code(channel, area, position).into());
            at += 1;
        }
    }
}
