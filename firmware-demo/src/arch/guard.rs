//! What lies below the stack: nothing. The memory maps put the stack at the bottom of RAM, so one that is too deep cannot
//! overwrite statics. The processor notices it by what it has: a stack limit (Armv8-M, set by the runtime), a region that may
//! not be accessed (Armv7-M), or the bus alone (Armv6-M). Touches the memory protection unit.
#![allow(unsafe_code)]

unsafe extern "C" {
    /// Given by the linker: the lowest address the stack may reach.
    static _stack_end: u32;
    /// Given by the linker: where the stack begins.
    pub static _stack_start: u32;
}

/// Bytes of an exception's frame.
const FRAME: u32 = 32;

/// The lowest address of the stack.
pub fn end() -> u32 {
    (&raw const _stack_end).addr() as u32
}

/// The address above the stack.
pub fn start() -> u32 {
    (&raw const _stack_start).addr() as u32
}

/// Bytes of the whole stack.
pub fn stack_bytes() -> u32 {
    start() - end()
}

/// Whether a stack pointer has left the stack.
pub fn is_below_stack(sp: u32) -> bool {
    sp < end()
}

/// Whether an exception's frame at this address lies in the stack. One that would begin exactly at its end may have been
/// moved there by the stack limit, without being written.
pub fn holds_frame(sp: u32) -> bool {
    end() < sp && sp <= start() - FRAME && sp.is_multiple_of(4)
}

/// log2 of the bytes below the stack that must not be accessed. No frame of a function leaps over them.
#[cfg(armv7m)]
const GUARD_BITS: u32 = 16;

/// Forbids every access to the 64 KB below the stack; all else stays as it is without memory protection.
#[cfg(armv7m)]
pub fn forbid(mpu: &mut cortex_m::peripheral::MPU) {
    const EXECUTE_NEVER: u32 = 1 << 28;
    const ENABLE: u32 = 1;
    const PRIVILEGED_DEFAULT: u32 = 1 << 2;
    // SAFETY: the program neither runs code nor has data in these addresses, which lie outside its memories.
    unsafe {
        mpu.rnr.write(0);
        mpu.rbar.write(end() - (1 << GUARD_BITS));
        mpu.rasr.write(EXECUTE_NEVER | (GUARD_BITS - 1) << 1 | ENABLE);
        mpu.ctrl.write(PRIVILEGED_DEFAULT | ENABLE);
    }
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}
