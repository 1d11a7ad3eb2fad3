//! Ends the program when the processor refuses an instruction or an access. Touches the log and the exit code.
#![allow(unsafe_code)]

#[cfg(not(armv6m))]
use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, exception};

use crate::place;
use crate::protocol::EXIT_FAULT;

/// Logs where and why, and ends with [`EXIT_FAULT`].
// SAFETY (of the declaration): the runtime calls it once, as the vector table says, and it never returns.
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
