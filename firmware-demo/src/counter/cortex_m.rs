//! Counts with the timers of a Cortex-M core.
//!
//! The emulator advances its clock by a fixed step for each executed instruction when QEMU is started with `-icount`; SysTick
//! then counts instructions, scaled by a factor that a loop of known length reveals. QEMU's own trace of every executed
//! instruction (`-d exec -singlestep`) gives the same number, less the six instructions of the call. On a board the DWT unit
//! counts cycles; on an Armv6-M, which has none, SysTick does.

use core::hint::black_box;

use cortex_m::Peripherals;
use cortex_m::asm::delay;
#[cfg(not(armv6m))]
use cortex_m::peripheral::DWT;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

use super::Unit;
use crate::place::Place;

/// SysTick counts down through 24 bits.
const SYSTICK_MASK: u32 = 0x00FF_FFFF;
/// Iterations by which the two calibration loops differ.
const ITERATIONS: u32 = 8_000;
/// Instructions by which they differ: an iteration of [`delay`] is a subtraction and a branch.
const CALIBRATION: u32 = 2 * ITERATIONS;

enum Source {
    /// So many ticks are [`CALIBRATION`] units.
    SysTick { timer: SYST, ticks: u32 },
    #[cfg(not(armv6m))]
    CycleCounter,
}

/// Measures closures.
pub struct Counter {
    source: Source,
    unit: Unit,
    overhead: u32,
}

impl Counter {
    /// Starts the counter of this place. `None` in an emulator whose clock does not follow the instructions, and the second time.
    pub fn new(place: Place) -> Option<Self> {
        let peripherals = Peripherals::take()?;
        match place {
            Place::Board => Some(Self::of_cycles(peripherals)),
            Place::Emulator => Self::of_instructions(peripherals.SYST),
        }
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
                #[cfg(not(armv6m))]
                Source::CycleCounter => raw,
                Source::SysTick { ticks, .. } => {
                    ((u64::from(raw) * u64::from(CALIBRATION) + u64::from(ticks) / 2) / u64::from(ticks)) as u32
                }
            }
        });
        (result, counted)
    }

    /// SysTick on the processor's own clock. 24 bits hold sixteen million cycles.
    #[cfg(armv6m)]
    fn of_cycles(peripherals: Peripherals) -> Self {
        let mut timer = peripherals.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(SYSTICK_MASK);
        timer.enable_counter();
        let source = Source::SysTick { timer, ticks: CALIBRATION };
        let mut counter = Self { source, unit: Unit::Cycles, overhead: 0 };
        counter.overhead = counter.raw(|| ()).1.unwrap_or(0);
        counter
    }

    #[cfg(not(armv6m))]
    fn of_cycles(mut peripherals: Peripherals) -> Self {
        peripherals.DCB.enable_trace();
        peripherals.DWT.set_cycle_count(0);
        peripherals.DWT.enable_cycle_counter();
        let mut counter = Self { source: Source::CycleCounter, unit: Unit::Cycles, overhead: 0 };
        counter.overhead = counter.raw(|| ()).1.unwrap_or(0);
        counter
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
        match &mut counter.source {
            Source::SysTick { ticks, .. } => *ticks = first,
            #[cfg(not(armv6m))]
            Source::CycleCounter => {}
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
            #[cfg(not(armv6m))]
            Source::CycleCounter => {
                let start = DWT::cycle_count();
                let result = black_box(work());
                let end = DWT::cycle_count();
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
