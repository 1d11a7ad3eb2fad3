//! Ends the program on every exception of a RISC-V core. Logs why and where. Touches two status registers, the log and the exit
//! code.
#![allow(unsafe_code)]

use riscv::register::{mcause, mepc};

use crate::place;
use crate::protocol::EXIT_FAULT;

// SAFETY: the runtime's linker script looks for this name, and nothing else has it.
#[unsafe(no_mangle)]
extern "C" fn ExceptionHandler(_: &riscv_rt::TrapFrame) -> ! {
    let reason = match mcause::read().code() {
        0 => "jump to an odd address",
        1 => "code must not run there",
        2 => "undefined instruction",
        3 => "breakpoint",
        4 => "unaligned read",
        5 => "nothing to read there",
        6 => "unaligned write",
        7 => "nothing to write there",
        _ => "unexpected exception",
    };
    defmt::error!("exception at {=u32:#010x}: {=str}", mepc::read() as u32, reason);
    place::exit(EXIT_FAULT)
}
