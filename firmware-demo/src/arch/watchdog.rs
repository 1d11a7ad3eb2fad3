//! Arm's CMSDK watchdog, which the MPS2 boards have: a counter that interrupts the processor unless it is fed in time. The
//! interrupt cannot be masked; `fault` takes it and says where the program hangs. On other boards nothing is armed. Touches the
//! watchdog's registers.
//!
//! Source: Arm Cortex-M System Design Kit, Technical Reference Manual, "APB watchdog".
#![allow(unsafe_code)]

/// Where it lies, if there is one; of the M33's the secure one that counts the processor's clock.
const WATCHDOG: Option<*mut Registers> = if cfg!(feature = "mps2-secure") {
    Some(0x5008_1000 as *mut Registers)
} else if cfg!(feature = "mps2") {
    Some(0x4000_8000 as *mut Registers)
} else {
    None
};

/// Whether the non-maskable interrupt is the watchdog's.
pub const EXISTS: bool = WATCHDOG.is_some();

/// Ticks without food, as the build script says: one second at 25 MHz, or more for a network whose inference or proof takes longer.
const LIMIT: u32 = match u32::from_str_radix(env!("BN_LENET_WATCHDOG_TICKS"), 10) {
    Ok(ticks) => ticks,
    Err(_) => panic!("the build script counts them"),
};

/// The first registers of the unit.
#[repr(C)]
struct Registers {
    /// What the counter begins with. Writing it begins anew.
    load: u32,
    value: u32,
    control: u32,
    /// Writing anything clears the interrupt and begins anew.
    clear: u32,
}

/// Begins to count. No reset on a second time-out: in an emulator it would only start the same program again.
pub fn start() {
    const INTERRUPT: u32 = 1;
    if let Some(watchdog) = WATCHDOG {
        // SAFETY: the registers of a unit that nobody else touches, at the address where this board has it.
        unsafe {
            (&raw mut (*watchdog).load).write_volatile(LIMIT);
            (&raw mut (*watchdog).control).write_volatile(INTERRUPT);
        }
    }
}

/// Begins the count anew.
pub fn feed() {
    if let Some(watchdog) = WATCHDOG {
        // SAFETY: as in `start`.
        unsafe { (&raw mut (*watchdog).clear).write_volatile(0) };
    }
}
