//! Flips bits in a copy of the weights, one at a time, and has the device's own parser judge each: all must be refused. Then
//! the same for flash that was never written. Arguments: the first bit, the bit after the last, and the step from one bit to the
//! next; a step of 8 or less reaches every byte. For emulators; the copy lies in RAM.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    println!("damage: {}", firmware_demo::HOW_TO_RUN);
}

#[cfg(target_os = "none")]
mod device {
    use bn_core::format::FormatError;
    use firmware_demo::arch::watchdog;
    use firmware_demo::device;
    use firmware_demo::model::{self, Aligned, Bytes};
    use firmware_demo::place::{self, Place};
    use firmware_demo::protocol::EXIT_OK;

    /// The copy, or nothing where the RAM is too small for it.
    fn copy() -> Option<&'static mut Aligned<Bytes>> {
        #[cfg(not(all(target_arch = "arm", holds_a_copy)))]
        return None;
        #[cfg(all(target_arch = "arm", holds_a_copy))]
        cortex_m::singleton!(: Aligned<Bytes> = model::EMPTY)
    }

    #[firmware_demo::entry]
    fn main() -> ! {
        let (place, _) = device::start();
        if place == Place::Board {
            device::fail("this program is for the emulator");
        }
        let Some(Aligned(bytes)) = copy() else { device::fail("the RAM is too small for a copy of the weights") };
        *bytes = *model::bytes();
        let (first, end, step) = arguments(8 * bytes.len());
        if model::read(bytes).is_err() {
            device::fail("the weights are damaged before anything was done to them");
        }
        let (mut refused, mut by_checksum) = (0_u32, 0_u32);
        for bit in (first..end).step_by(step) {
            watchdog::feed();
            let (at, mask) = (bit / 8, 1 << (bit % 8));
            bytes[at] ^= mask;
            match model::read(bytes) {
                Ok(_) => {
                    defmt::error!("byte {=usize} is damaged by {=u8:#04x} and the parser accepts it", at, mask);
                    device::fail("a damaged file was accepted");
                }
                Err(error) => by_checksum += u32::from(matches!(error, FormatError::Checksum { .. })),
            }
            bytes[at] ^= mask;
            refused += 1;
        }
        if bytes != model::bytes() || model::read(bytes).is_err() {
            device::fail("the copy is not what it was");
        }
        for erased in [0xFF, 0] {
            bytes.fill(erased);
            match model::read(bytes) {
                Ok(_) => device::fail("erased flash was accepted"),
                Err(error) => defmt::info!("every byte {=u8:#04x}: {}", erased, error),
            }
        }
        defmt::info!("{=u32} flipped bits refused, {=u32} by the checksum", refused, by_checksum);
        place::exit(EXIT_OK)
    }

    /// The three numbers of the command line, within what there is.
    fn arguments(bits: usize) -> (usize, usize, usize) {
        let Ok(arguments) = semihosting::experimental::env::args::<128>() else { device::fail("no command line") };
        let mut numbers = (&arguments).skip(1).map(|text| text.ok().and_then(|text| text.parse().ok()));
        match [(); 3].map(|()| numbers.next().flatten()) {
            [Some(first), Some(end), Some(step)] if first < end && end <= bits && step > 0 => (first, end, step),
            _ => device::fail("say the first bit, the bit after the last, and the step from one to the next"),
        }
    }
}
