//! Pools over any windows, padded too. The largest code keeps its meaning; a mean gets the scale of the next layer's input.

use super::packed::{Epilogue, Input, LANES, Output, Window};
use super::{Core, Fault};

/// By how much a mean's sum is finer than a code, so that its multiplier fits i32.
pub const MEAN_UNIT: i32 = 16;

/// Sizes of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What it reads.
    pub window: Window,
    /// Whether padded positions count as zeros of the mean; else the mean is over the others.
    pub count_pad: bool,
    /// Whether its results are the network's.
    pub halves: bool,
}

impl Pool {
    /// Whether windows hold different numbers of values.
    const fn varies(&self) -> bool {
        self.window.is_padded() && !self.count_pad
    }

    /// Whether there is one window, the whole map.
    const fn is_whole(&self) -> bool {
        self.window.taps() == self.window.area() && !self.window.is_padded()
    }

    /// About how many instructions a mean takes on a core.
    pub const fn mean_cost(&self, core: Core) -> usize {
        let [whole, tap, window] = core.of([[5, 20, 335], [5, 20, 355], [8, 30, 580], [6, 12, 300]]);
        self.windows() * (self.window.taps() * if self.is_whole() { whole } else { tap } + window)
    }

    /// About how many instructions a maximum takes on a core.
    pub const fn max_cost(&self, core: Core) -> usize {
        let [tap, window] = core.of([[21, 175], [21, 175], [25, 200], [15, 130]]);
        self.windows() * (self.window.taps() * tap + window)
    }

    /// Windows of four channels.
    const fn windows(&self) -> usize {
        self.window.input.channels.div_ceil(LANES) * self.window.positions()
    }

    /// Words of the stream of a mean: range of the results, code of zero, what is added in the end, then the multiplier, for each
    /// number of values where that varies.
    pub const fn mean_words(&self) -> usize {
        4 + if self.varies() { self.window.taps() } else { 1 }
    }
}

/// Proves the stream of a mean.
///
/// # Errors
/// [`Fault`] with what could go wrong.
pub fn check_mean(shape: &Pool, stream: &[u32]) -> Result<(), Fault> {
    let [low, high, zero, shift, ref multipliers @ ..] = *stream else { return Err(Fault::Range) };
    Epilogue::check(low, high, false, shape.halves)?;
    if zero > 255 || (shift as i32).unsigned_abs() > 1 << 24 {
        return Err(Fault::Range);
    }
    if let Some(channel) = multipliers.iter().position(|&m| m as i32 <= 0) {
        return Err(Fault::Multiplier { channel });
    }
    let most = shape.window.taps() as u64 * 255 * MEAN_UNIT as u64;
    if most > i32::MAX as u64 { Err(Fault::Accumulator { channel: 0 }) } else { Ok(()) }
}

/// The mean of each window.
#[inline(never)]
pub fn mean(shape: &Pool, stream: &[u32], input: Input<'_>, output: &mut [u32]) {
    let [low, high, zero, shift, ref multipliers @ ..] = *stream else { return };
    let epilogue = Epilogue::new(low, high, None);
    let zero = zero as i32;
    each(shape, input, output, sums, |sum, values| {
        // With `count_pad` what is not there adds nothing: neither a code nor the code of zero.
        let multiplier = if shape.varies() { multipliers.get(values.wrapping_sub(1)) } else { multipliers.first() };
        let sum = MEAN_UNIT * (sum - values as i32 * zero);
        let value = crate::quant::requantize(sum, multiplier.copied().unwrap_or(0) as i32);
        epilogue.finish(value.wrapping_add(shift as i32))
    });
}

/// The largest code of each window.
#[inline(never)]
pub fn max(shape: &Pool, input: Input<'_>, output: &mut [u32]) {
    each(shape, input, output, largest, |sum, _| sum);
}

/// Adds the codes of some words, lane by lane. Two lanes travel in one number, which 257 codes cannot fill.
#[inline(always)]
fn sums(words: &[u32], sums: &mut [i32; LANES]) {
    for words in words.chunks(256) {
        let (mut even, mut odd) = (0_u32, 0_u32);
        for word in words {
            even = even.wrapping_add(word & 0x00FF_00FF);
            odd = odd.wrapping_add((word >> 8) & 0x00FF_00FF);
        }
        for (sum, of) in sums.iter_mut().zip([even, odd, even >> 16, odd >> 16]) {
            *sum += (of & 0xFFFF) as i32;
        }
    }
}

/// The largest codes of some words, lane by lane.
#[inline(always)]
fn largest(words: &[u32], most: &mut [i32; LANES]) {
    for word in words {
        for (most, code) in most.iter_mut().zip(word.to_le_bytes()) {
            *most = (*most).max(code.into());
        }
    }
}

/// Goes over all windows: what `add` makes of their words, and `finish` of that and the number of a window's values.
#[inline(always)]
fn each(
    shape: &Pool,
    input: Input<'_>,
    output: &mut [u32],
    add: impl Fn(&[u32], &mut [i32; LANES]),
    finish: impl Fn(i32, usize) -> i32,
) {
    let window = &shape.window;
    let (channels, area) = (window.input.channels, window.area());
    let is_whole = shape.is_whole();
    let mut output = Output::new(output, shape.halves);
    output.clear_rest(channels, window.positions());
    for quad in 0..channels.div_ceil(LANES) {
        let mut position = 0;
        for row in 0..window.output[0] {
            for column in 0..window.output[1] {
                let (mut found, mut values) = ([0; LANES], 0);
                if let (true, Some(plane)) = (is_whole, input.plane(quad, area)) {
                    add(plane, &mut found);
                    values = area;
                } else {
                    window.each(row, column, |at| {
                        if let Some(at) = at {
                            add(&[input.word(quad, area, at)], &mut found);
                            values += 1;
                        }
                    });
                }
                for (lane, &found) in found.iter().enumerate() {
                    let channel = LANES * quad + lane;
                    if channel < channels {
                        output.put(channel, window.positions(), position, finish(found, values));
                    }
                }
                position += 1;
            }
        }
    }
}
