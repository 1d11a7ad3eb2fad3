//! Ends the program when the processor refuses an instruction or an access. Touches the log and the exit code.
#![allow(unsafe_code)]

#[cfg(all(target_arch = "arm", not(armv6m)))]
use cortex_m::peripheral::SCB;
#[cfg(target_arch = "arm")]
use cortex_m_rt::{ExceptionFrame, exception};

use crate::place;
use crate::protocol::EXIT_FAULT;

/// Logs where and why, and ends with [`EXIT_FAULT`].
// SAFETY (of the declaration): the runtime calls it once, as the vector table says, and it never returns.
#[cfg(target_arch = "arm")]
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    // SAFETY: the system control block always exists, and these two status registers can be read at any time.
    #[cfg(not(armv6m))]
    let (cfsr, hfsr) = unsafe { ((*SCB::PTR).cfsr.read(), (*SCB::PTR).hfsr.read()) };
    #[cfg(armv6m)]
    let (cfsr, hfsr) = (0_u32, 0_u32);
    defmt::error!("hard fault at {=u32:#010x}: CFSR {=u32:#010x}, HFSR {=u32:#010x}", frame.pc(), cfsr, hfsr);
    place::exit(EXIT_FAULT)
}

/// Logs where and why, and ends with [`EXIT_FAULT`].
// SAFETY: the runtime's linker script looks for this name, and nothing else has it.
#[cfg(target_arch = "riscv32")]
#[unsafe(no_mangle)]
extern "C" fn ExceptionHandler(_: &riscv_rt::TrapFrame) -> ! {
    let (pc, cause) = (riscv::register::mepc::read() as u32, riscv::register::mcause::read().bits() as u32);
    defmt::error!("exception at {=u32:#010x}: mcause {=u32}", pc, cause);
    place::exit(EXIT_FAULT)
}

/// Executes an instruction that no processor has.
pub fn illegal_instruction() -> ! {
    #[cfg(target_arch = "arm")]
    cortex_m::asm::udf();
    #[cfg(target_arch = "riscv32")]
    // SAFETY: the processor goes on in the handler above, which does not return.
    unsafe {
        core::arch::asm!("unimp", options(noreturn))
    }
}
