//! Counts what an inference costs: executed instructions in an emulator, processor cycles on a board.
//!
//! The emulator advances its clock by a fixed step for each executed instruction when QEMU is started with `-icount`; SysTick
//! then counts instructions, scaled by a factor that a loop of known length reveals; its exception counts how often it runs
//! over. QEMU's own trace of every executed
//! instruction (`-d exec -singlestep`) gives the same number, less the six instructions of the call. On a board the DWT unit
//! counts cycles where the core has one that runs, and SysTick does elsewhere: [`choose`] decides. Touches those two units.

use core::hint::black_box;

use cortex_m::Peripherals;
use cortex_m::asm::delay;
#[cfg(not(armv6m))]
use cortex_m::peripheral::DWT;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

use crate::arch::ticks;
use crate::choice::{Choice, Unit, choose};
use crate::place::Place;

/// Iterations by which the two calibration loops differ.
const ITERATIONS: u32 = 8_000;
/// Instructions by which they differ: an iteration of [`delay`] is a subtraction and a branch.
const CALIBRATION: u32 = 2 * ITERATIONS;

enum Source {
    /// So many ticks are [`CALIBRATION`] units.
    SysTick {
        timer: SYST,
        ticks: u64,
    },
    CycleCounter,
}

/// Measures closures.
pub struct Counter {
    source: Source,
    unit: Unit,
    overhead: u64,
}

impl Counter {
    /// Starts the counter of this place. `None` in an emulator whose clock does not follow the instructions.
    pub fn new(place: Place, mut peripherals: Peripherals) -> Option<Self> {
        let choice = choose(place == Place::Emulator, || cycle_counter_runs(&mut peripherals));
        let source = match choice {
            Choice::CalibratedSysTick => return Self::of_instructions(peripherals.SYST),
            Choice::CycleCounter => Source::CycleCounter,
            Choice::SysTick => on_the_cores_clock(peripherals.SYST),
        };
        let mut counter = Self { source, unit: choice.unit(), overhead: 0 };
        counter.overhead = counter.raw(|| ()).1;
        Some(counter)
    }

    /// What [`measure`](Self::measure) counts.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Runs `work` and counts.
    pub fn measure<R>(&mut self, work: impl FnOnce() -> R) -> (R, u32) {
        let (result, raw) = self.raw(work);
        let raw = raw.saturating_sub(self.overhead);
        let counted = match self.source {
            Source::CycleCounter => raw,
            Source::SysTick { ticks, .. } => (raw * u64::from(CALIBRATION) + ticks / 2) / ticks,
        };
        (result, u32::try_from(counted).unwrap_or(u32::MAX))
    }

    fn of_instructions(mut timer: SYST) -> Option<Self> {
        // The slower of the two clocks, which runs over less often.
        timer.set_clock_source(SystClkSource::External);
        timer.set_reload(ticks::RELOAD);
        timer.enable_counter();
        let source = Source::SysTick { timer, ticks: 1 };
        let mut counter = Self { source, unit: Unit::Instructions, overhead: 0 };
        let first = counter.calibrate();
        // A clock that follows the instructions gives the same answer every time, up to the rounding of a tick.
        if first == 0 || (0..3).any(|_| counter.calibrate().abs_diff(first) > 2) {
            return None;
        }
        counter.overhead = counter.raw(|| ()).1;
        if let Source::SysTick { ticks, .. } = &mut counter.source {
            *ticks = first;
        }
        Some(counter)
    }

    /// Ticks of [`CALIBRATION`] instructions.
    fn calibrate(&mut self) -> u64 {
        let short = self.delay(1_000);
        self.delay(1_000 + ITERATIONS).saturating_sub(short)
    }

    /// Ticks of a loop. One copy for both lengths: the alignment of another copy's loop could cost other instructions.
    #[inline(never)]
    fn delay(&mut self, iterations: u32) -> u64 {
        self.raw(|| delay(black_box(iterations))).1
    }

    /// Runs `work` between two readings of the counter.
    fn raw<R>(&mut self, work: impl FnOnce() -> R) -> (R, u64) {
        match &mut self.source {
            Source::CycleCounter => {
                let start = cycle_count();
                let result = black_box(work());
                let end = cycle_count();
                (result, end.wrapping_sub(start).into())
            }
            Source::SysTick { timer, .. } => {
                let start = ticks::begin(timer);
                let result = black_box(work());
                let end = SYST::get_current();
                (result, ticks::since(timer, start, end))
            }
        }
    }
}

/// SysTick as a counter of cycles.
fn on_the_cores_clock(mut timer: SYST) -> Source {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(ticks::RELOAD);
    timer.enable_counter();
    Source::SysTick { timer, ticks: CALIBRATION.into() }
}

/// Starts the DWT unit's cycle counter, if the core has one, and looks whether it moves.
#[cfg(not(armv6m))]
fn cycle_counter_runs(peripherals: &mut Peripherals) -> bool {
    if !DWT::has_cycle_counter() {
        return false;
    }
    peripherals.DCB.enable_trace();
    // Some chips with a Cortex-M7 lock it.
    DWT::unlock();
    peripherals.DWT.set_cycle_count(0);
    peripherals.DWT.enable_cycle_counter();
    let start = cycle_count();
    delay(64);
    cycle_count() != start
}

/// The architecture has none.
#[cfg(armv6m)]
fn cycle_counter_runs(_: &mut Peripherals) -> bool {
    false
}

#[cfg(not(armv6m))]
fn cycle_count() -> u32 {
    DWT::cycle_count()
}

/// Never read: [`cycle_counter_runs`] says so.
#[cfg(armv6m)]
fn cycle_count() -> u32 {
    0
}
