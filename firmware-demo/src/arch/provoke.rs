//! Does what a program must not, so that tests see each kind of fault come out. Touches nothing that it may.
#![allow(unsafe_code)]

use core::arch::asm;
use core::hint::black_box;

use super::guard;

/// An address behind which no chip and no emulator here has anything.
const NOWHERE: usize = 0xD000_0000;

/// Goes down the stack for ever, as a recursion without end does.
#[inline(never)]
#[allow(unconditional_recursion, reason = "that is what it is for")]
pub fn stack_overflow(depth: u32) -> u32 {
    let frame = black_box([depth; 16]);
    stack_overflow(depth + 1) + black_box(frame)[3]
}

/// Runs the instruction that is defined to be undefined.
pub fn undefined_instruction() {
    cortex_m::asm::udf();
}

/// Reads where nothing is.
pub fn read_nowhere() {
    // SAFETY: it is a fault, and the program ends there.
    unsafe { black_box((NOWHERE as *const u32).read_volatile()) };
}

/// Reads a word below the stack, with the stack as it should be.
pub fn read_below_stack() {
    // SAFETY: as above.
    unsafe { black_box(((guard::end() - 64) as *const u32).read_volatile()) };
}

/// Runs code where peripherals are.
pub fn run_peripheral() {
    // SAFETY: as above; the lowest bit says Thumb.
    unsafe { asm!("bx {}", in(reg) 0x4000_0001_u32) };
}

/// Leaves Thumb, the only instruction set that there is.
pub fn leave_thumb() {
    // SAFETY: as above.
    unsafe { asm!("bx {}", in(reg) 0_u32) };
}

/// Reads two words at an odd address, which no core does.
pub fn read_unaligned() {
    let words = [0_u32; 4];
    // SAFETY: as above.
    unsafe { asm!("ldm {0}!, {{r2, r3}}", inout(reg) (&raw const words).addr() + 1 => _, out("r2") _, out("r3") _) };
}

/// Speaks to a coprocessor that does not exist.
#[cfg(not(armv6m))]
pub fn use_coprocessor() {
    // SAFETY: as above.
    unsafe { asm!("mcr p3, #0, r0, c0, c0, #0") };
}

/// Asks for a supervisor that does not exist.
pub fn call_supervisor() {
    // SAFETY: as above.
    unsafe { asm!("svc #0") };
}
