//! Counts with `minstret`, the core's own count of retired instructions, in an emulator.
//!
//! QEMU lets it follow the executed instructions when it is started with `-icount`; some versions then multiply it by two to the
//! power of `shift`, which a loop of known length reveals. Without `-icount` it is the host's clock.

use core::hint::black_box;

use riscv::asm::delay;
use riscv::register::minstret;

use crate::choice::Unit;

/// Instructions by which the two calibration loops differ: [`delay`] takes their number.
const CALIBRATION: u32 = 16_000;

/// Measures closures.
pub struct Counter {
    /// What `minstret` grows by with each instruction.
    step: u32,
    overhead: u32,
}

impl Counter {
    /// `None` in an emulator whose counter does not follow the instructions.
    pub fn new() -> Option<Self> {
        let grown = calibrate();
        if grown == 0 || !grown.is_multiple_of(CALIBRATION) || (0..3).any(|_| calibrate() != grown) {
            return None;
        }
        let step = grown / CALIBRATION;
        Some(Self { step, overhead: raw(|| ()).1 / step })
    }

    /// What [`measure`](Self::measure) counts.
    pub fn unit(&self) -> Unit {
        Unit::Instructions
    }

    /// Runs `work` and counts.
    pub fn measure<R>(&mut self, work: impl FnOnce() -> R) -> (R, u32) {
        let (result, grown) = raw(work);
        (result, (grown / self.step).saturating_sub(self.overhead))
    }
}

/// What [`CALIBRATION`] instructions count as.
fn calibrate() -> u32 {
    let short = timed_delay(1_000);
    timed_delay(1_000 + CALIBRATION).wrapping_sub(short)
}

#[inline(never)]
fn timed_delay(instructions: u32) -> u32 {
    raw(|| delay(black_box(instructions))).1
}

/// Runs `work` between two readings of the counter.
fn raw<R>(work: impl FnOnce() -> R) -> (R, u32) {
    let start = minstret::read();
    let result = black_box(work());
    let end = minstret::read();
    (result, end.wrapping_sub(start) as u32)
}
