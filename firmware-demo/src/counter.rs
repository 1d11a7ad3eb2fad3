//! Counts what an inference costs: executed instructions in an emulator, processor cycles on a board.
//!
//! The emulator advances its clock by a fixed step for each executed instruction when QEMU is started with `-icount`; SysTick
//! then counts instructions, scaled by a factor that a loop of known length reveals. QEMU's own trace of every executed
//! instruction (`-d exec -singlestep`) gives the same number, less the six instructions of the call. On a board the DWT unit
//! counts cycles where the core has one that runs, and SysTick does elsewhere: [`choose`] decides. Touches those two units.

use core::hint::black_box;

use cortex_m::Peripherals;
use cortex_m::asm::delay;
#[cfg(not(armv6m))]
use cortex_m::peripheral::DWT;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

use crate::choice::{Choice, Unit, choose};
use crate::place::Place;

/// SysTick counts down through 24 bits.
const SYSTICK_MASK: u32 = 0x00FF_FFFF;
/// Iterations by which the two calibration loops differ.
const ITERATIONS: u32 = 8_000;
/// Instructions by which they differ: an iteration of [`delay`] is a subtraction and a branch.
const CALIBRATION: u32 = 2 * ITERATIONS;

enum Source {
    /// So many ticks are [`CALIBRATION`] units.
    SysTick {
        timer: SYST,
        ticks: u32,
    },
    CycleCounter,
}

/// Measures closures.
pub struct Counter {
    source: Source,
    unit: Unit,
    overhead: u32,
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
        counter.overhead = counter.raw(|| ()).1.unwrap_or(0);
        Some(counter)
    }

    /// What [`measure`](Self::measure) counts.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Runs `work` and counts. `None` if the counter ran over.
    pub fn measure<R>(&mut self, work: impl FnOnce() -> R) -> (R, Option<u32>) {
        let (result, raw) = self.raw(work);
        let counted = raw.map(|raw| {
            let raw = raw.saturating_sub(self.overhead);
            match self.source {
                Source::CycleCounter => raw,
                Source::SysTick { ticks, .. } => {
                    ((u64::from(raw) * u64::from(CALIBRATION) + u64::from(ticks) / 2) / u64::from(ticks)) as u32
                }
            }
        });
        (result, counted)
    }

    fn of_instructions(mut timer: SYST) -> Option<Self> {
        // The slower of the two clocks: 24 bits then hold more than ten million instructions.
        timer.set_clock_source(SystClkSource::External);
        timer.set_reload(SYSTICK_MASK);
        timer.enable_counter();
        let source = Source::SysTick { timer, ticks: 1 };
        let mut counter = Self { source, unit: Unit::Instructions, overhead: 0 };
        let first = counter.calibrate()?;
        // A clock that follows the instructions gives the same answer every time, up to the rounding of a tick.
        for _ in 0..3 {
            if counter.calibrate()?.abs_diff(first) > 2 {
                return None;
            }
        }
        counter.overhead = counter.raw(|| ()).1?;
        if let Source::SysTick { ticks, .. } = &mut counter.source {
            *ticks = first;
        }
        Some(counter)
    }

    /// Ticks of [`CALIBRATION`] instructions.
    fn calibrate(&mut self) -> Option<u32> {
        let short = self.delay(1_000)?;
        let long = self.delay(1_000 + ITERATIONS)?;
        long.checked_sub(short).filter(|&ticks| ticks > 0)
    }

    /// Ticks of a loop. One copy for both lengths: the alignment of another copy's loop could cost other instructions.
    #[inline(never)]
    fn delay(&mut self, iterations: u32) -> Option<u32> {
        self.raw(|| delay(black_box(iterations))).1
    }

    /// Runs `work` between two readings of the counter.
    fn raw<R>(&mut self, work: impl FnOnce() -> R) -> (R, Option<u32>) {
        match &mut self.source {
            Source::CycleCounter => {
                let start = cycle_count();
                let result = black_box(work());
                let end = cycle_count();
                (result, Some(end.wrapping_sub(start)))
            }
            Source::SysTick { timer, .. } => {
                timer.clear_current();
                // The reload value appears with the next tick.
                while SYST::get_current() == 0 {}
                timer.has_wrapped();
                let start = SYST::get_current();
                let result = black_box(work());
                let end = SYST::get_current();
                let wrapped = timer.has_wrapped();
                (result, (!wrapped).then_some(start.wrapping_sub(end) & SYSTICK_MASK))
            }
        }
    }
}

/// SysTick as a counter of cycles. 24 bits hold sixteen million of them.
fn on_the_cores_clock(mut timer: SYST) -> Source {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(SYSTICK_MASK);
    timer.enable_counter();
    Source::SysTick { timer, ticks: CALIBRATION }
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
