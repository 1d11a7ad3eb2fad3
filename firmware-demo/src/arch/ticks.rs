//! Counts how often SysTick, a counter of 24 bits, has run over: by its exception, which is on while something is measured and
//! costs that measurement a handful of instructions. Touches SysTick's exception alone.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;

/// What SysTick counts down from.
pub const RELOAD: u32 = 0x00FF_FFFF;
/// Ticks from one time that it runs over to the next.
const PERIOD: u64 = RELOAD as u64 + 1;

static RUN_OVER: AtomicU32 = AtomicU32::new(0);

// SAFETY: the vector table wants this name, and the runtime's default gives way to it. The processor alone calls it.
#[unsafe(export_name = "SysTick")]
extern "C" fn run_over() {
    RUN_OVER.store(RUN_OVER.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Begins to count, and says where SysTick stands.
#[inline(always)]
pub fn begin(timer: &mut SYST) -> u32 {
    RUN_OVER.store(0, Ordering::Relaxed);
    timer.clear_current();
    timer.enable_interrupt();
    // The reload value appears with the next tick.
    while SYST::get_current() == 0 {}
    SYST::get_current()
}

/// Ticks since [`begin`] said `start`, where SysTick stood at `end` just now.
pub fn since(timer: &mut SYST, start: u32, end: u32) -> u64 {
    timer.disable_interrupt();
    let late = SYST::get_current();
    let run_over = RUN_OVER.load(Ordering::Relaxed);
    // It counts as run over where it reaches 0, and that may have happened after `end` was read.
    let meanwhile = end != 0 && (late == 0 || late > end);
    let periods = u64::from(run_over) - u64::from(meanwhile && run_over > 0);
    let end = if end == 0 { PERIOD } else { u64::from(end) };
    (periods * PERIOD + u64::from(start)).saturating_sub(end)
}
