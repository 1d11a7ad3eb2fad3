//! Random numbers for the drawings: ChaCha8, one independent stream a drawing, so that images can be drawn in any order.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// The random choices of one drawing. The conversions to ranges are our own: a library's may change with its version.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The choices of drawing `stream` under a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Evenly in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// Evenly between two numbers.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with that probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    /// Around 0 with variance 1, never beyond 3.5: a sum of four even ones.
    pub(super) fn bell(&mut self) -> f64 {
        let word = self.0.next_u64();
        let sum: u64 = (0..4).map(|part| word >> (16 * part) & 0xffff).sum();
        // Each 16-bit part has mean 32767.5 and standard deviation 65536 / sqrt(12).
        (sum as f64 - 131_070.0) / 37_837.2
    }
}
