//! Reads which chip this is. Touches one read-only register.
#![allow(unsafe_code)]

/// `DBGMCU_IDCODE` of the STM32F4 family (reference manual RM0090, section 38.6.1).
const DBGMCU_IDCODE: *const u32 = 0xE004_2000 as *const u32;

/// The chip's device number: 0x413 on an STM32F405 (0x411 on its first silicon), 0 where there is no debug unit: emulators
/// read unclaimed addresses of the private peripheral bus as zero.
pub fn device_id() -> u32 {
    // SAFETY: a readable, aligned register of the chip this program is linked for, and reading it has no side effect.
    let idcode = unsafe { DBGMCU_IDCODE.read_volatile() };
    idcode & 0xFFF
}
