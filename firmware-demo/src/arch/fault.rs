//! Ends the program on every exception that it does not expect: a fault, a stack that is full, the watchdog. Logs what it was,
//! why and where in one line. Touches the fault registers, the stack pointer, the log and the exit code.
#![allow(unsafe_code)]

use core::arch::naked_asm;

use cortex_m::Peripherals;
use cortex_m::peripheral::SCB;
use cortex_m::peripheral::scb::{Exception, VectActive};
use cortex_m_rt::ExceptionFrame;

use crate::arch::{guard, watchdog};
use crate::place;
use crate::protocol::{EXIT_FAULT, EXIT_STACK_OVERFLOW, EXIT_WATCHDOG};

/// Hands the stack pointer over as the exception left it, and begins a new stack where the program's began: the program never
/// goes on, and what is left of its own stack may be nothing.
// SAFETY (of the declaration): the vector table wants these names, the runtime's defaults give way to them, and the exception's
// frame is all that the code uses. Only the processor calls it.
#[unsafe(naked)]
#[unsafe(export_name = "HardFault")]
unsafe extern "C" fn entry() -> ! {
    naked_asm!("mrs r0, MSP", "ldr r1, ={start}", "mov sp, r1", "bl {report}", start = sym guard::_stack_start, report = sym report)
}

/// Everything that is not a hard fault.
// SAFETY (of the declaration): as above.
#[unsafe(naked)]
#[unsafe(export_name = "DefaultHandler")]
unsafe extern "C" fn other_entry() -> ! {
    naked_asm!("bl {entry}", entry = sym entry)
}

/// Logs what happened, with the frame that the processor saved at `sp`, and ends the program.
extern "C" fn report(sp: u32) -> ! {
    let cause = Cause::read();
    let at = At(guard::holds_frame(sp).then(|| {
        // SAFETY: the frame lies within the stack, which is aligned RAM that the processor has just written.
        unsafe { (*(sp as *const ExceptionFrame)).pc() }
    }));
    if cause.stack_limit() || guard::is_below_stack(sp) {
        defmt::error!("stack overflow at {}: all {=u32} bytes are in use", at, guard::stack_bytes());
        place::exit(EXIT_STACK_OVERFLOW);
    }
    let what = match SCB::vect_active() {
        VectActive::Exception(Exception::NonMaskableInt) if watchdog::EXISTS => {
            defmt::error!("watchdog: no inference ended in time; the program is at {}", at);
            place::exit(EXIT_WATCHDOG)
        }
        VectActive::Exception(Exception::HardFault) => "hard fault",
        #[cfg(not(armv6m))]
        VectActive::Exception(Exception::MemoryManagement) => "memory management fault",
        #[cfg(not(armv6m))]
        VectActive::Exception(Exception::BusFault) => "bus fault",
        #[cfg(not(armv6m))]
        VectActive::Exception(Exception::UsageFault) => "usage fault",
        _ => "unexpected exception",
    };
    defmt::error!("{=str} at {}: {}", what, at, cause);
    place::exit(EXIT_FAULT)
}

/// Lets each kind of fault have its own exception (one that comes while a hard fault is on its way would lock the processor
/// up), and forbids what lies below the stack.
#[cfg(not(armv6m))]
pub fn arm(peripherals: &mut Peripherals) {
    for exception in [Exception::MemoryManagement, Exception::BusFault, Exception::UsageFault] {
        peripherals.SCB.enable(exception);
    }
    #[cfg(armv7m)]
    guard::forbid(&mut peripherals.MPU);
}

/// There is nothing to arm: every fault is a hard fault.
#[cfg(armv6m)]
pub fn arm(_: &mut Peripherals) {}

/// Address of the instruction that was interrupted, if the processor could save it.
struct At(Option<u32>);

impl defmt::Format for At {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.0 {
            Some(pc) => defmt::write!(f, "{=u32:#010x}", pc),
            None => defmt::write!(f, "an address that was lost"),
        }
    }
}

/// What the fault registers say. Armv6-M has none.
struct Cause {
    #[cfg(not(armv6m))]
    cfsr: u32,
    #[cfg(not(armv6m))]
    hfsr: u32,
    /// The address that was accessed, where it is known.
    #[cfg(not(armv6m))]
    address: Option<u32>,
}

#[cfg(armv6m)]
impl Cause {
    fn read() -> Self {
        Self {}
    }

    fn stack_limit(&self) -> bool {
        false
    }
}

#[cfg(armv6m)]
impl defmt::Format for Cause {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "this core does not say why");
    }
}

/// Bits of the configurable fault status register. Source: Armv7-M and Armv8-M Architecture Reference Manuals, CFSR.
#[cfg(not(armv6m))]
const REASONS: [(u32, &str); 15] = [
    (0, "code must not run there"),
    (1, "access not allowed"),
    (3, "no access to the stack on return"),
    (4, "no access to the stack on entry"),
    (8, "bus error on an instruction"),
    (9, "bus error on data"),
    (10, "bus error on earlier data"),
    (11, "bus error on the stack on return"),
    (12, "bus error on the stack on entry"),
    (16, "undefined instruction"),
    (17, "not in Thumb state"),
    (18, "invalid return from an exception"),
    (19, "no such coprocessor"),
    (24, "unaligned access"),
    (25, "division by zero"),
];
#[cfg(not(armv6m))]
const MMARVALID: u32 = 1 << 7;
#[cfg(not(armv6m))]
const BFARVALID: u32 = 1 << 15;
/// Armv8-M alone: the stack pointer was to go below its limit.
#[cfg(not(armv6m))]
const STKOF: u32 = 1 << 20;

#[cfg(not(armv6m))]
impl Cause {
    fn read() -> Self {
        // SAFETY: the system control block always exists, and these status registers can be read at any time.
        let (cfsr, hfsr, mmfar, bfar) = unsafe {
            let scb = &*SCB::PTR;
            (scb.cfsr.read(), scb.hfsr.read(), scb.mmfar.read(), scb.bfar.read())
        };
        let address = match cfsr {
            _ if cfsr & MMARVALID != 0 => Some(mmfar),
            _ if cfsr & BFARVALID != 0 => Some(bfar),
            _ => None,
        };
        Self { cfsr, hfsr, address }
    }

    fn stack_limit(&self) -> bool {
        self.cfsr & STKOF != 0
    }
}

#[cfg(not(armv6m))]
impl defmt::Format for Cause {
    fn format(&self, f: defmt::Formatter<'_>) {
        for (bit, reason) in REASONS {
            if self.cfsr >> bit & 1 == 1 {
                defmt::write!(f, "{=str}, ", reason);
            }
        }
        if let Some(address) = self.address {
            defmt::write!(f, "address {=u32:#010x}, ", address);
        }
        defmt::write!(f, "CFSR {=u32:#010x}, HFSR {=u32:#010x}", self.cfsr, self.hfsr);
    }
}
