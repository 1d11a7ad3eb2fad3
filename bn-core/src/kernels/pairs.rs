//! Streams that hold channels two by two, with int16 weights: what [`winograd3`](super::winograd3), [`polyphase3`](super::polyphase3)
//! and [`pointwise`](super::pointwise) share.
//!
//! Of each two channels stand their start values, their weights `[point][word of four codes][channel][codes 0 and 2, 1 and 3]`, two
//! int16 a word, their multipliers, and where a map is added, that map's factors. Multipliers may stand before weights.

#[cfg(any(bn_lenet_arch = "armv7m", bn_lenet_arch = "armv6m"))]
mod cortex_m;

use super::Fault;
use super::conv::PAIR;
use super::packed::{Epilogue, LANES, Window, check_multiplier, check_sums};

/// How channels stand in a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs {
    /// What the layer reads.
    pub(super) window: Window,
    /// Channels that it gives.
    pub(super) channels: usize,
    /// Weights for each code that a channel reads.
    pub(super) points: usize,
    /// Whether a map is added.
    pub(super) adds: bool,
    /// Whether multipliers stand before weights.
    pub(super) leads: bool,
}

/// Two channels of a stream.
pub(super) struct Pair<'a> {
    pub(super) start: [i32; PAIR],
    pub(super) weights: &'a [u32],
    pub(super) multiplier: [i32; PAIR],
    pub(super) adds: [i32; PAIR],
}

impl Pairs {
    /// Words of four codes of a position.
    pub(super) const fn quads(&self) -> usize {
        self.window.input.channels.div_ceil(LANES)
    }

    /// Words of the weights of two channels.
    const fn weight_words(&self) -> usize {
        self.points * self.quads() * 2 * PAIR
    }

    /// Words of two channels.
    pub(super) const fn words(&self) -> usize {
        PAIR * (2 + self.adds as usize) + self.weight_words()
    }

    /// Words of a stream of so many channels.
    pub(super) const fn stream_words(&self, channels: usize) -> usize {
        self.window.preamble_words() + channels.div_ceil(PAIR) * self.words()
    }

    /// Where a weight stands among the halfwords of two channels' weights.
    const fn place(&self, point: usize, input: usize, o: usize) -> usize {
        2 * ((point * self.quads() + input / LANES) * 2 * PAIR + 2 * o + input % 2) + input % LANES / 2
    }

    /// Two channels, given their words.
    #[inline(always)]
    pub(super) fn pair<'a>(&self, words: &'a [u32]) -> Option<Pair<'a>> {
        let signed = |words: &[u32; PAIR]| words.map(|word| word as i32);
        let (start, rest) = words.split_first_chunk()?;
        let (multiplier, weights, rest) = if self.leads {
            let (multiplier, rest) = rest.split_first_chunk()?;
            let (weights, rest) = rest.split_at_checked(self.weight_words())?;
            (multiplier, weights, rest)
        } else {
            let (weights, rest) = rest.split_at_checked(self.weight_words())?;
            let (multiplier, rest) = rest.split_first_chunk()?;
            (multiplier, weights, rest)
        };
        let adds = rest.first_chunk().map_or([0; PAIR], signed);
        Some(Pair { start: signed(start), weights, multiplier: signed(multiplier), adds })
    }

    /// The stream of these channels: range of the results, the code of zero by input channel. `expand` makes the weights at all points
    /// of those that stand for one code's channel.
    #[cfg(feature = "build")]
    pub(super) fn stream<const TAPS: usize, const POINTS: usize>(
        &self,
        (range, zeros): ([i32; 2], &[u8]),
        channels: &[super::conv::Channel],
        expand: impl Fn([i32; TAPS]) -> [i32; POINTS],
    ) -> std::vec::Vec<u32> {
        let mut stream = self.window.preamble(range, zeros);
        for pair in channels.chunks(PAIR) {
            let mut halves = std::vec![0_u16; 2 * self.weight_words()];
            for (o, channel) in pair.iter().enumerate() {
                for (input, taps) in channel.weights.as_chunks::<TAPS>().0.iter().enumerate() {
                    for (point, weight) in expand(taps.map(i32::from)).into_iter().enumerate() {
                        halves[self.place(point, input, o)] = weight as u16;
                    }
                }
            }
            let of = |value: fn(&super::conv::Channel) -> i32| {
                [0, 1].map(|o| pair.get(o).map_or(0, |channel| value(channel) as u32))
            };
            let multipliers = of(|channel| channel.multiplier);
            stream.extend(of(|channel| channel.start));
            if self.leads {
                stream.extend(multipliers);
            }
            stream.extend(halves.as_chunks().0.iter().map(|&[low, high]| u32::from(low) | u32::from(high) << 16));
            if !self.leads {
                stream.extend(multipliers);
            }
            if self.adds {
                stream.extend(of(|channel| channel.adds));
            }
        }
        stream
    }

    /// Proves a stream: the weights at all points come of some of at most that magnitude, what only pads is zero, every multiplier
    /// positive, and no result out of i32, whatever the input, where a product counts as `unit`. `contract` gives the weights that
    /// those at all points come of, if there are any.
    ///
    /// # Errors
    /// [`Fault`] with the first channel that could go wrong.
    #[inline(always)]
    pub(super) fn check<const TAPS: usize, const POINTS: usize>(
        &self,
        stream: &[u32],
        (unit, most): (i32, i32),
        contract: impl Fn(&[i32; POINTS]) -> Option<[i32; TAPS]>,
    ) -> Result<(), Fault> {
        let [low, high, ..] = *stream else { return Err(Fault::Range) };
        Epilogue::check(low, high, false, false)?;
        let pairs = stream.get(self.window.preamble_words()..).unwrap_or_default();
        for (at, words) in pairs.chunks_exact(self.words().max(1)).enumerate() {
            let Some(pair) = self.pair(words) else { return Err(Fault::Range) };
            let halves = bytemuck::must_cast_slice::<u32, i16>(pair.weights);
            for o in 0..PAIR {
                let channel = PAIR * at + o;
                let is_there = channel < self.channels;
                let (mut up, mut down) = (0_i64, 0_i64);
                for input in 0..LANES * self.quads() {
                    let mut points = [0; POINTS];
                    for (point, to) in points.iter_mut().enumerate() {
                        *to = halves.get(self.place(point, input, o)).copied().unwrap_or(0).into();
                    }
                    let most = if is_there && input < self.window.input.channels { most } else { 0 };
                    for w in contract(&points).ok_or(Fault::WeightRange { channel })? {
                        if w.abs() > most {
                            return Err(Fault::WeightRange { channel });
                        }
                        (up, down) = (up + i64::from(w.max(0)), down + i64::from(w.min(0)));
                    }
                }
                check_multiplier(channel, is_there, pair.multiplier[o], pair.adds[o])?;
                let (start, most) = (i64::from(pair.start[o]), 255 * i64::from(unit));
                check_sums(channel, [start + most * down, start + most * up + 255 * i64::from(pair.adds[o])])?;
            }
        }
        Ok(())
    }
}

/// Two sums of a channel, one for each of two places.
pub(super) type Places = [i32; 2];

/// Sums of two channels that go on from one point to the next, after each point: of the first channel and of the second. Each point
/// has as many words `[word of four codes]`: codes 0 and 2 at both places, 1 and 3 at both; weights of codes 0 and 2, 1 and 3 of one
/// channel, then of the other.
#[inline(always)]
pub(super) fn chain(start: [Places; PAIR], [codes, weights]: [&[u32]; 2], first: &mut [Places], second: &mut [Places]) {
    let words = codes.len() / first.len().max(1);
    #[cfg(any(bn_lenet_arch = "armv7m", bn_lenet_arch = "armv6m"))]
    if words.is_multiple_of(4)
        && words > 0
        && codes.len() == words * first.len()
        && codes.len() == weights.len()
        && first.len() == second.len()
    {
        return cortex_m::chain(start, [codes, weights], words / 4, [first, second]);
    }
    let mut sums = start;
    let points = codes.chunks_exact(words.max(1)).zip(weights.chunks_exact(words.max(1)));
    for ((first, second), (codes, weights)) in first.iter_mut().zip(second).zip(points) {
        add_products(&mut sums, codes, weights);
        [*first, *second] = sums;
    }
}

/// Adds the products of one point.
#[inline(always)]
fn add_products(sums: &mut [Places; PAIR], codes: &[u32], weights: &[u32]) {
    let codes = bytemuck::must_cast_slice::<u32, [i16; 2]>(codes).as_chunks::<4>().0;
    let weights = bytemuck::must_cast_slice::<u32, [i16; 2]>(weights).as_chunks::<4>().0;
    // Channel by channel: the sums of both would not fit a core's registers beside what they are made of.
    let add = |sums: &mut Places, of: fn(&[[i16; 2]; 4]) -> [[i16; 2]; 2]| {
        for ([even0, even1, odd0, odd1], weights) in codes.iter().zip(weights) {
            let [even, odd] = of(weights);
            for (w, at0, at1) in [(even, even0, even1), (odd, odd0, odd1)] {
                let [w0, w1] = w.map(i32::from);
                sums[0] = sums[0].wrapping_add(w0 * i32::from(at0[0])).wrapping_add(w1 * i32::from(at0[1]));
                sums[1] = sums[1].wrapping_add(w0 * i32::from(at1[0])).wrapping_add(w1 * i32::from(at1[1]));
            }
        }
    };
    let [first, second] = sums;
    add(first, |&[even, odd, ..]| [even, odd]);
    add(second, |&[.., even, odd]| [even, odd]);
}
