//! Measures how deep the stack grows, by painting what lies below it and looking later where the paint is gone. Touches only
//! memory between the end of the stack and the stack pointer.
#![allow(unsafe_code)]

use core::hint::black_box;

use cortex_m::register::msp;

use super::guard;

/// The paint. The runtime paints the whole stack with it before the program starts.
const PAINT: u32 = cortex_m_rt::STACK_PAINT_VALUE;

/// Left unpainted below the stack pointer: room for the frame of the function that paints. So no depth below this many
/// bytes is told apart.
const OWN_FRAME: usize = 64;

/// Deepest stack since the program started, or since [`measure`] last painted, in bytes.
pub fn high_water() -> u32 {
    guard::start() - lowest_touched() as u32
}

/// Runs `work` and says how many bytes of stack it took below this function's own frame.
#[inline(never)]
pub fn measure<R>(work: impl FnOnce() -> R) -> (R, u32) {
    let top = msp::read() as usize;
    paint(top - OWN_FRAME);
    let result = black_box(work());
    (result, (top - lowest_touched().min(top)) as u32)
}

/// Paints from the end of the stack up to `below`.
fn paint(below: usize) {
    let mut word = guard::end() as *mut u32;
    while word.addr() < below {
        // SAFETY: between the end of the stack and the stack pointer lies memory that nobody owns; no interrupt is enabled that could
        // push a frame there meanwhile.
        unsafe {
            word.write_volatile(PAINT);
            word = word.add(1);
        }
    }
}

/// The lowest address of the stack whose paint is gone.
fn lowest_touched() -> usize {
    let (mut word, start) = (guard::end() as *const u32, guard::start() as usize);
    // SAFETY: the words from the end to the start of the stack are readable, aligned RAM.
    while word.addr() < start && unsafe { word.read_volatile() } == PAINT {
        // SAFETY: the loop ends before the end of RAM.
        word = unsafe { word.add(1) };
    }
    word.addr()
}
